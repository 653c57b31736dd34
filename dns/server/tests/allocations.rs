//! An answer from memory allocates nothing, from the socket through the whole chain and back.

#[allow(dead_code)]
#[path = "../../../tests/counting_allocator.rs"]
mod counting_allocator;
mod support;

use std::net::UdpSocket;
use std::time::Duration;

use counting_allocator::allocations_of_process;
use dns_wire::Query;
use dns_wire::codes::rtype;
use support::{FakeUpstream, TestService};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_memory_allocates_nothing() {
    let upstream = FakeUpstream::start(|query, _| Some(support::address(query, [192, 0, 2, 1], 3600)));
    let folder = tempfile::tempdir().unwrap();
    let zone = folder.path().join("example.net.db");
    std::fs::write(&zone, "@ 60 SOA ns h 1 2 3 4 5\n@ NS ns\nwww A 10.0.0.3\n*.w A 10.0.0.4\n").unwrap();
    let service = TestService::start(&format!(
        ".:0 {{
            metadata
            cancel
            bufsize
            local
            any
            acl {{
                block net 203.0.113.0/24
            }}
            rewrite name exact a.none.test b.none.test
            rewrite name exact alias.test web.default.svc.cluster.local
            rewrite name exact gone.test none.default.svc.cluster.local
            rewrite name suffix .none.test .test
            rewrite name regex ^x(.*)[.]none[.]test[.]$ {{1}}.test
            rewrite ttl exact c.none.test 5
            header {{
                query set rd
            }}
            minimal
            template IN A fixed.test {{
                match ^a[0-9]*[.]
                answer \"{{{{ .Name }}}} 60 IN A 192.0.2.7\"
                fallthrough
            }}
            template ANY ANY blocked.test {{
                rcode NXDOMAIN
                authority \"blocked.test. 60 {{{{ .Class }}}} SOA ns.blocked.test. h.blocked.test. 1 2 3 4 5\"
                ederror 15 Blocked
            }}
            file {} example.net
            errors
            log . {{
                class error
            }}
            kubernetes cluster.local in-addr.arpa ip6.arpa {{
                pods insecure
                fallthrough in-addr.arpa ip6.arpa
                ttl 30
            }}
            prometheus localhost:0
            hosts /none {{
                10.0.0.1 one.hosts.test
                10.0.0.2 *.wild.hosts.test
                fallthrough
            }}
            forward . {}
            cache 30
            loadbalance
        }}",
        zone.display(),
        upstream.address
    ))
    .await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.connect(service.address).unwrap();
    let cases = [
        ("web.default.svc.cluster.local.", rtype::A),
        ("WEB.default.svc.cluster.local.", rtype::A),
        ("web.default.svc.cluster.local.", rtype::AAAA),
        ("_http._tcp.web.default.svc.cluster.local.", rtype::SRV),
        ("many.default.svc.cluster.local.", rtype::A),
        ("none.default.svc.cluster.local.", rtype::A),
        ("10.0.96.10.in-addr.arpa.", rtype::PTR),
        ("10-1-2-3.default.pod.cluster.local.", rtype::A),
        ("one.hosts.test.", rtype::A),
        ("one.hosts.test.", rtype::TXT),
        ("a.wild.hosts.test.", rtype::A),
        ("1.0.0.10.in-addr.arpa.", rtype::PTR),
        ("www.example.org.", rtype::A),
        ("a.localhost.", rtype::A),
        ("www.example.org.", rtype::ANY),
        ("WWW.example.net.", rtype::A),
        ("x.w.example.net.", rtype::A),
        ("none.example.net.", rtype::A),
        ("A1.fixed.test.", rtype::A),
        ("www.blocked.test.", rtype::AAAA),
        ("Alias.test.", rtype::A),
        ("alias.test.", rtype::AAAA),
        ("gone.test.", rtype::A),
    ];
    let queries = cases.map(|(name, qtype)| {
        let mut packet = [0; 512];
        let length = Query::new(1, &name.parse().unwrap(), qtype).encode(1, &mut packet);
        packet[..length].to_vec()
    });
    let mut reply = [0; 4096];
    let mut send_all = |rounds| {
        for packet in queries.iter().cycle().take(rounds * queries.len()) {
            socket.send(packet).unwrap();
            socket.recv(&mut reply).unwrap();
        }
    };
    // Warm-up: each thread grows its buffers, each metric series is created and the forwarded answer is cached.
    send_all(50);
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..20 {
        let warm = UdpSocket::bind("127.0.0.1:0").unwrap();
        warm.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        for packet in &queries {
            warm.send_to(packet, service.address).unwrap();
            warm.recv(&mut [0; 4096]).unwrap();
        }
    }
    drop(other);
    let before = allocations_of_process();
    send_all(200);
    let count = allocations_of_process() - before;
    assert_eq!(count, 0, "allocations for {} answers", 200 * queries.len());
    assert_eq!(upstream.query_count(), 1, "the name was forwarded once");
    service.stop().await;
}
