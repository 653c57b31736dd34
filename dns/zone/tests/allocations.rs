//! A query on the fast path, from packet to packet, makes no allocation.

#[allow(dead_code)]
#[path = "../../../tests/counting_allocator.rs"]
mod counting_allocator;
#[allow(dead_code)]
mod world;

use counting_allocator::allocations;
use dns_wire::{Name, Query, Reply};
use dns_zone::{ExternalZones, PodMode, ZoneOptions, ZoneVerdict};
use world::{options, zone};

#[test]
fn an_answer_allocates_nothing() {
    let zone = zone(
        ZoneOptions { pods: PodMode::Insecure, zonal: true, ..options() },
        "
        namespace n
        service n/web 10.96.0.1,fd00::1 http/tcp/80
        service n/heads None
        slice n/heads-4 heads http/tcp/80 : 10.0.0.1=web-0@east 10.0.0.2=web-1@west 10.0.0.3
        slice n/heads-6 heads http/tcp/80 : fd00::a=web-0@east fd00::b
        service n/inside -> web.n.svc.cluster.local
        service n/ext -> example.org
        service n/edge 10.96.0.2 http/tcp/80 >192.0.2.1 >2001:db8::1
        ",
    );
    let external = ExternalZones::new(
        &["example.com", "2.0.192.in-addr.arpa"].map(|zone| zone.parse().expect("a name")),
        &"dns".parse().expect("a name"),
        5,
        true,
    );
    let packets: Vec<(&str, u16, Vec<u8>, ZoneVerdict)> = [
        ("web.n.svc.cluster.local", 1, ZoneVerdict::Answered),
        ("WEB.N.svc.cluster.local", 28, ZoneVerdict::Answered),
        ("inside.n.svc.cluster.local", 28, ZoneVerdict::Answered),
        ("web.n.svc.cluster.local", 16, ZoneVerdict::Answered),
        ("nope.n.svc.cluster.local", 1, ZoneVerdict::NameError),
        ("web.n.svc.cluster.local.n.svc.cluster.local", 28, ZoneVerdict::NameError),
        ("heads.n.svc.cluster.local", 1, ZoneVerdict::Answered),
        ("web-0.heads.n.svc.cluster.local", 1, ZoneVerdict::Answered),
        ("10-0-0-3.heads.n.svc.cluster.local", 1, ZoneVerdict::Answered),
        ("fd00--b.heads.n.svc.cluster.local", 28, ZoneVerdict::Answered),
        ("_http._tcp.web.n.svc.cluster.local", 33, ZoneVerdict::Answered),
        ("_http._tcp.heads.n.svc.cluster.local", 33, ZoneVerdict::Answered),
        ("_http._tcp.HEADS.n.svc.cluster.local", 33, ZoneVerdict::Answered),
        ("east.pin._zone.heads.n.svc.cluster.local", 1, ZoneVerdict::Answered),
        ("1.0.96.10.in-addr.arpa", 12, ZoneVerdict::Answered),
        ("1.0.0.10.in-addr.arpa", 12, ZoneVerdict::Answered),
        ("9.9.9.9.in-addr.arpa", 12, ZoneVerdict::NameError),
        ("1-2-3-4.n.pod.cluster.local", 1, ZoneVerdict::Answered),
        ("inside.n.svc.cluster.local", 1, ZoneVerdict::Answered),
        ("ext.n.svc.cluster.local", 1, ZoneVerdict::Chase),
        ("cluster.local", 6, ZoneVerdict::Answered),
        ("dns-version.cluster.local", 16, ZoneVerdict::Answered),
        ("example.org", 1, ZoneVerdict::NotMine),
        ("edge.n.example.com", 1, ZoneVerdict::Answered),
        ("edge.n.example.com", 33, ZoneVerdict::Answered),
        ("nope.n.example.com", 28, ZoneVerdict::NameError),
        ("web-0.heads.n.example.com", 28, ZoneVerdict::Answered),
        ("_http._tcp.heads.n.example.com", 33, ZoneVerdict::Answered),
        ("1.2.0.192.in-addr.arpa", 12, ZoneVerdict::Answered),
    ]
    .into_iter()
    .map(|(name, qtype, verdict)| (name, qtype, packet(name, qtype), verdict))
    .collect();
    let (mut query, mut reply, mut out) = (Query::default(), Reply::default(), vec![0; 4096]);
    for round in 0..3 {
        for (name, qtype, packet, verdict) in &packets {
            let mut result = None;
            let count = allocations(|| {
                let taken = query.parse(packet);
                let mut got = zone.answer_external(&external, &query, &[], &mut reply);
                if got == ZoneVerdict::NotMine {
                    got = zone.answer(&query, &[], &mut reply);
                }
                result = Some((taken, got, reply.encode(&query, query.udp_limit(), &mut out)));
            });
            let (taken, got, length) = result.expect("the work was done");
            assert_eq!((taken, got), (Ok(()), *verdict), "{name} {qtype}");
            assert!(length > 12, "{name} {qtype}");
            // The first rounds grow the buffers.
            assert!(round < 2 || count == 0, "{name} {qtype}: {count} allocations");
        }
    }
}

/// A query as clients send it, with EDNS and a cookie.
fn packet(name: &str, qtype: u16) -> Vec<u8> {
    let name: Name = name.parse().expect(name);
    let mut packet = vec![0; 512];
    let length = Query::new(7, &name, qtype).encode(7, &mut packet);
    packet.truncate(length);
    packet[11] = 1;
    packet.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x0812345678");
    packet
}
