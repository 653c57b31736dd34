//! A whole service on loopback: Corefile in, packets out.

mod support;

use std::io::Write;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use dns_wire::codes::{class, rcode, rtype};
use dns_wire::{Edns, Owner, Query, Reply, Section};
use support::{FakeCluster, FakeUpstream, TestClient, TestService, address, answers, denial, read_framed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn cluster_names_are_answered_over_udp_and_tcp() {
    let service = TestService::start(
        ".:0 {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus 127.0.0.1:0
    loadbalance
}",
    )
    .await;
    for client in [TestClient::udp(service.address), TestClient::tcp(service.address)] {
        for (name, qtype, code, wanted) in [
            ("web.default.svc.cluster.local.", rtype::A, rcode::NOERROR, "A 10.96.0.10"),
            ("WEB.default.svc.cluster.local.", rtype::A, rcode::NOERROR, "A 10.96.0.10"),
            ("10-1-2-3.default.pod.cluster.local.", rtype::A, rcode::NOERROR, "A 10.1.2.3"),
            ("none.default.svc.cluster.local.", rtype::A, rcode::NXDOMAIN, ""),
            ("web.default.svc.cluster.local.", rtype::AAAA, rcode::NOERROR, ""),
            ("10.0.96.10.in-addr.arpa.", rtype::PTR, rcode::NOERROR, "PTR web.default.svc.cluster.local."),
            ("1.0.96.10.in-addr.arpa.", rtype::PTR, rcode::SERVFAIL, ""),
        ] {
            let (query, reply) = client.query(name, qtype);
            assert_eq!(
                (reply.rcode, answers(&reply, &query).as_str()),
                (code, wanted),
                "{name} {qtype} {client:?}"
            );
        }
    }
    let (status, page) = service.page("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "coredns_dns_requests_total{server=\"dns://:0\",zone=\".\",view=\"\",proto=\"udp\",family=\"1\",type=\"A\"} 4",
        "coredns_dns_requests_total{server=\"dns://:0\",zone=\".\",view=\"\",proto=\"tcp\",family=\"1\",type=\"PTR\"} 2",
        "coredns_dns_responses_total{server=\"dns://:0\",zone=\".\",view=\"\",rcode=\"NXDOMAIN\",plugin=\"kubernetes\"} 2",
        "coredns_dns_responses_total{server=\"dns://:0\",zone=\".\",view=\"\",rcode=\"SERVFAIL\",plugin=\"\"} 2",
        "coredns_dns_request_duration_seconds_count{server=\"dns://:0\",zone=\".\",view=\"\"} 14",
        "coredns_plugin_enabled{server=\"dns://:0\",zone=\".\",view=\"\",name=\"kubernetes\"} 1",
        "coredns_panics_total 0",
        "coredns_build_info{version=\"test\"",
        "coredns_reload_failed_total 0",
    ] {
        assert!(page.contains(line), "{line}\nin\n{page}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_packets_get_the_response_codes_of_coredns() {
    let service = TestService::start(".:0 {\nwhoami\n}").await;
    let question = b"\x01a\x00\x00\x01\x00\x01";
    let header = |flags: [u8; 2], counts: [u8; 4]| {
        let counts = counts.iter().flat_map(|count| [0, *count]);
        [0x12, 0x34].into_iter().chain(flags).chain(counts).collect::<Vec<u8>>()
    };
    let message = |flags, counts, rest: &[u8]| [header(flags, counts), rest.to_vec()].concat();
    let bad_version = b"\x00\x00\x29\x04\xd0\x00\x01\x00\x00\x00\x00";
    let no_options = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
    for (what, packet, code) in [
        ("shorter than a header", vec![0x12, 0x34], None),
        ("a response", message([0x80, 0], [1, 0, 0, 0], question), None),
        ("an update", message([0x28, 0], [1, 0, 0, 0], question), Some(rcode::NOTIMP)),
        ("no question", message([0, 0], [0, 0, 0, 0], b""), Some(rcode::FORMERR)),
        (
            "two questions",
            message([0, 0], [2, 0, 0, 0], &[&question[..], question].concat()),
            Some(rcode::FORMERR),
        ),
        ("a missing question", message([0, 0], [1, 0, 0, 0], b""), Some(rcode::SERVFAIL)),
        ("a truncated label", message([0, 0], [1, 0, 0, 0], b"\x05ab"), Some(rcode::FORMERR)),
        ("EDNS version 1", message([0, 0], [1, 0, 0, 1], &[&question[..], bad_version].concat()), Some(0)),
        (
            "EDNS version 1 and class CH",
            message([0, 0], [1, 0, 0, 1], &[&b"\x01a\x00\x00\x01\x00\x03"[..], bad_version].concat()),
            Some(rcode::REFUSED),
        ),
        ("the end after the name", message([0, 0], [1, 0, 0, 0], b"\x01a\x00"), Some(rcode::REFUSED)),
        ("the end after the type", message([0, 0], [1, 0, 0, 0], b"\x01a\x00\x00\x01"), Some(rcode::REFUSED)),
        (
            "an additional record with invalid data",
            message(
                [0, 0],
                [1, 0, 0, 1],
                &[&question[..], b"\x00\x00\x01\x00\x01\0\0\0\0\x00\x01x"].concat(),
            ),
            Some(rcode::FORMERR),
        ),
        (
            "two OPT records",
            message([0, 0], [1, 0, 0, 2], &[&question[..], no_options, no_options].concat()),
            Some(rcode::FORMERR),
        ),
        ("a notification", message([0x20, 0], [1, 0, 0, 0], question), Some(rcode::REFUSED)),
        ("well formed", message([1, 0], [1, 0, 0, 0], question), Some(rcode::NOERROR)),
    ] {
        // Each packet is followed by a query that gets a reply, so that a missing reply is noticed.
        let good = message([1, 0], [1, 0, 0, 0], b"\x04good\x00\x00\x01\x00\x01");
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.connect(service.address).unwrap();
        let mut stream = TcpStream::connect(service.address).unwrap();
        for packet in [&packet, &good] {
            socket.send(packet).unwrap();
            stream.write_all(&[&(packet.len() as u16).to_be_bytes(), &packet[..]].concat()).unwrap();
        }
        let mut reply = [0; 512];
        let length = socket.recv(&mut reply).unwrap();
        let over_tcp = read_framed(&mut stream).unwrap();
        for reply in [&reply[..length], &over_tcp] {
            let is_good = reply.get(12..17) == Some(b"\x04good");
            let found = (!is_good).then(|| u16::from(reply[3] & 15));
            assert_eq!(found, code, "{what}: {reply:?}");
        }
    }
    service.stop().await;
}

/// Neither names nor addresses of clients are labels, and types and codes that a client or an upstream chooses share a label.
#[tokio::test(flavor = "multi_thread")]
async fn queries_of_any_name_type_and_client_add_a_bounded_number_of_counters() {
    // Response codes by the type of the query, so that the upstream chooses them.
    let upstream = FakeUpstream::start(|query, _| Some(denial(query.qtype % 4096, 60)));
    let service = TestService::start(&format!(
        ".:0 {{
    errors
    prometheus 127.0.0.1:0
    log . \"{{name}}\"
    cache
    kubernetes cluster.local
    template ANY ANY template.test {{
        rcode REFUSED
    }}
    forward . {} {{
        max_fails 0
    }}
}}",
        upstream.address
    ))
    .await;
    let address = service.address;
    let ask = move |round: u16| {
        for number in 0..1024_u16 {
            let client =
                std::net::UdpSocket::bind(format!("127.0.{}.{}:0", round + 1, number % 250 + 1)).unwrap();
            let zone = ["cluster.local", "template.test", "example.org"][usize::from(number % 3)];
            let name = format!("marker{round}x{number}.{zone}.").parse().unwrap();
            // No zone transfers, OPT or ANY of a whole zone.
            let mut query = Query::new(number, &name, round * 1024 + number + 1);
            query.qclass = if number % 7 == 0 { number } else { class::IN };
            let mut packet = [0; 512];
            let length = query.encode(number, &mut packet);
            // The opcode.
            packet[2] |= if number % 11 == 0 { (number as u8 % 16) << 3 } else { 0 };
            client.send_to(&packet[..length], address).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let _ = client.recv(&mut [0; 4096]);
        }
    };
    let mut lines = Vec::new();
    for round in 0..3 {
        tokio::task::spawn_blocking(move || ask(round)).await.unwrap();
        let text = service.metrics.text();
        for chosen in ["marker", "127.0.1.", "127.0.2.", "=\"TYPE", "=\"CLASS"] {
            assert!(!text.contains(chosen), "{chosen}: {text}");
        }
        lines.push(text.lines().count());
    }
    // The first round has asked for each type and code that has a name.
    assert!(lines[2] <= lines[0] + 20, "lines after each round: {lines:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_matching_zone_answers_and_names_outside_all_zones_are_refused() {
    let upstreams = ["192.0.2.1", "192.0.2.2"].map(|ip| {
        let ip = ip.parse::<std::net::Ipv4Addr>().unwrap().octets();
        FakeUpstream::start(move |query, _| {
            let mut reply = address(query, ip, 60);
            if query.qtype == rtype::DS {
                reply.records_mut().clear();
                reply.push(Section::Answer, Owner::Question, rtype::A, 60, &ip);
            }
            Some(reply)
        })
    });
    let service = TestService::start(&format!(
        "example.org:0 {{\nforward . {}\n}}\nsub.example.org:0 {{\nforward . {}\n}}\nempty.example.org:0 {{\n}}",
        upstreams[0].address, upstreams[1].address
    ))
    .await;
    let client = TestClient::udp(service.address);
    for (name, qtype, code, wanted) in [
        ("www.example.org.", rtype::A, rcode::NOERROR, "A 192.0.2.1"),
        ("www.SUB.example.org.", rtype::A, rcode::NOERROR, "A 192.0.2.2"),
        ("sub.example.org.", rtype::DS, rcode::NOERROR, "A 192.0.2.1"),
        ("notexample.org.", rtype::A, rcode::REFUSED, ""),
        ("www.empty.example.org.", rtype::A, rcode::REFUSED, ""),
    ] {
        let (query, reply) = client.query(name, qtype);
        assert_eq!((reply.rcode, answers(&reply, &query).as_str()), (code, wanted), "{name} {qtype}");
    }
    let dropped = "coredns_dns_responses_total{server=\"dns://:0\",zone=\"dropped\",view=\"\",rcode=\"REFUSED\",plugin=\"\"} 1";
    assert!(service.metrics.text().contains(dropped), "{}", service.metrics.text());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_of_classes_other_than_in_are_refused() {
    let service = TestService::start(".:0 {\nwhoami\n}").await;
    let mut query = Query::new(1, &"version.bind.".parse().unwrap(), rtype::TXT);
    query.qclass = class::CH;
    assert_eq!(TestClient::udp(service.address).send_query(query).1.rcode, rcode::REFUSED);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_truncated_to_the_size_that_the_client_accepts() {
    let upstream = FakeUpstream::start(|query, _| {
        let mut reply = address(query, [192, 0, 2, 0], 60);
        for last in 1..100 {
            reply.push(Section::Answer, Owner::Question, rtype::A, 60, &[192, 0, 2, last]);
        }
        Some(reply)
    });
    let service =
        TestService::start(&format!(".:0 {{\ncache\nforward . {} {{\nforce_tcp\n}}\n}}", upstream.address))
            .await;
    let name = "many.example.org.".parse().unwrap();
    for (client, size, whole) in [
        (TestClient::udp(service.address), None, false),
        (TestClient::udp(service.address), Some(1232), false),
        (TestClient::udp(service.address), Some(4096), true),
        (TestClient::tcp(service.address), None, true),
    ] {
        let mut query = Query::new(7, &name, rtype::A);
        query.edns = size.map(|udp_size| dns_wire::Edns { udp_size, version: 0, dnssec_ok: false });
        let (_, reply) = client.send_query(query);
        let count = reply.section(Section::Answer).count();
        assert_eq!((reply.truncated, count == 100), (!whole, whole), "{client:?} {size:?}: {count}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_larger_than_a_datagram_is_truncated() {
    // 65,520 bytes: the client accepts them, but an IPv4 datagram cannot carry them.
    let upstream = FakeUpstream::start(|_, _| {
        let mut reply = Reply::default();
        reply.push(Section::Answer, Owner::Question, rtype::TXT, 60, &[0; 65_464]);
        Some(reply)
    });
    let service =
        TestService::start(&format!(".:0 {{\ncache\nforward . {} {{\nforce_tcp\n}}\n}}", upstream.address))
            .await;
    let mut query = Query::new(7, &"www.example.org.".parse().unwrap(), rtype::TXT);
    query.edns = Some(Edns { udp_size: 65_535, version: 0, dnssec_ok: false });
    for what in ["forwarded", "cached"] {
        let (_, reply) = TestClient::udp(service.address).send_query(query.clone());
        assert!(reply.truncated, "{what}");
    }
    let (_, reply) = TestClient::tcp(service.address).send_query(query);
    assert_eq!((reply.truncated, reply.section(Section::Answer).count()), (false, 1));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_are_sent_from_the_address_that_was_queried() {
    let any = TestService::try_start(".:0 {\nlog . \"{local}\"\nwhoami\n}", FakeCluster::listed(), &[])
        .await
        .unwrap();
    let port = any.address.port();
    for ip in ["127.0.0.1", "127.0.0.2", "::1"] {
        let ip: IpAddr = ip.parse().unwrap();
        let bind: IpAddr = if ip.is_ipv4() { [127, 0, 0, 1].into() } else { ip };
        let Ok(socket) = std::net::UdpSocket::bind((bind, 0)) else {
            assert!(ip.is_ipv6(), "a machine without IPv6");
            continue;
        };
        // A connected socket receives packets only from the address that it is connected to.
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.connect((ip, port)).unwrap();
        let mut packet = [0; 512];
        let length = Query::new(1, &"a.".parse().unwrap(), rtype::A).encode(1, &mut packet);
        socket.send(&packet[..length]).unwrap();
        assert!(socket.recv(&mut packet).is_ok(), "{ip}");
    }
    any.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_reported() {
    let first = TestService::start(".:0 {\nwhoami\n}").await;
    let corefile = format!(".:{} {{\nwhoami\n}}", first.address.port());
    let error = TestService::try_start(&corefile, FakeCluster::listed(), &[[127, 0, 0, 1].into()])
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        format!("Corefile:1 - cannot listen on {}: the address is in use", first.address)
    );
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_a_line_for_each_query_of_its_classes() {
    let service = TestService::start(
        ".:0 {
    log example.org {
        class denial error
    }
    log . \"{type} {name} {rcode} {>rflags}\"
    kubernetes cluster.local
    whoami
}",
    )
    .await;
    let client = TestClient::udp(service.address);
    client.query("www.example.org.", rtype::A);
    client.query("None.default.svc.cluster.local.", rtype::AAAA);
    let log = service.log.clone();
    service.stop().await;
    let wanted = "[INFO] A www.example.org. NOERROR qr,aa,rd\n[INFO] AAAA none.default.svc.cluster.local. NXDOMAIN qr,aa,rd\n";
    loop {
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        // Lines of different threads may be written in any order.
        if text.len() >= wanted.len() {
            let sorted =
                |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
            assert_eq!(sorted(&text), sorted(wanted));
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_query_does_not_delay_other_queries_on_its_connection() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    let upstream = FakeUpstream::start(move |query, _| {
        released.lock().unwrap().recv().unwrap();
        Some(address(query, [192, 0, 2, 1], 60))
    });
    let service =
        TestService::start(&format!(".:0 {{\nkubernetes cluster.local\nforward . {}\n}}", upstream.address))
            .await;
    let mut stream = TcpStream::connect(service.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut out = Vec::new();
    for (id, name) in [(1, "slow.example.org."), (2, "web.default.svc.cluster.local.")] {
        let mut packet = [0; 512];
        let length = Query::new(id, &name.parse().unwrap(), rtype::A).encode(id, &mut packet);
        out.extend_from_slice(&(length as u16).to_be_bytes());
        out.extend_from_slice(&packet[..length]);
    }
    stream.write_all(&out).unwrap();
    // The client sends no more queries and still reads the replies.
    stream.shutdown(Shutdown::Write).unwrap();
    let mut next = || read_framed(&mut stream).map(|reply| reply[1]);
    assert_eq!(next(), Some(2), "the quick one first");
    release.send(()).unwrap();
    assert_eq!((next(), next()), (Some(1), None), "the slow one before the end");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_of_four_thousand_addresses_is_complete_over_tcp() {
    let upstream = FakeUpstream::start(|query, _| {
        let mut reply = address(query, [10, 0, 0, 0], 60);
        for last in 1..4000_u32 {
            reply.push(Section::Answer, Owner::Question, rtype::A, 60, &(0x0a00_0000 + last).to_be_bytes());
        }
        Some(reply)
    });
    let service =
        TestService::start(&format!(".:0 {{\nforward . {} {{\nforce_tcp\n}}\n}}", upstream.address)).await;
    let (_, reply) = TestClient::tcp(service.address).query("n4000.payments.example.org.", rtype::A);
    assert_eq!((reply.section(Section::Answer).count(), reply.truncated), (4000, false));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_has_the_same_reply_over_udp_and_tcp() {
    let upstream = FakeUpstream::start(|query, _| {
        Some(match query.name()[1] {
            b'n' => denial(rcode::NXDOMAIN, 300),
            b'f' => denial(rcode::SERVFAIL, 300),
            b'u' => {
                // An unknown type, and one whose data contains a name.
                let mut reply = Reply::default();
                reply.authentic_data = true;
                reply.push(Section::Answer, Owner::Question, 65_280, 60, b"\x00\xc0\x0c\xff");
                reply.push(Section::Answer, Owner::Question, rtype::CNAME, 60, b"\x03WWW\x03net\x00");
                reply.push(Section::Additional, Owner::Name(b"\x03WWW\x03net\x00"), rtype::A, 7, &[1; 4]);
                reply
            }
            _ => address(query, [192, 0, 2, 1], 60),
        })
    });
    let service = TestService::start(&format!(
        ".:0 {{
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
    forward example.org {}
}}",
        upstream.address
    ))
    .await;
    let edns = |udp_size, version, dnssec_ok| Some(Edns { udp_size, version, dnssec_ok });
    for (name, qtype, code, records) in [
        ("web.default.svc.cluster.local.", rtype::A, rcode::NOERROR, 1),
        ("WEB.Default.svc.cluster.LOCAL.", rtype::A, rcode::NOERROR, 1),
        ("many.default.svc.cluster.local.", rtype::AAAA, rcode::NOERROR, 1),
        ("_http._tcp.web.default.svc.cluster.local.", rtype::SRV, rcode::NOERROR, 2),
        ("10-1-2-3.default.pod.cluster.local.", rtype::A, rcode::NOERROR, 1),
        ("10.0.96.10.in-addr.arpa.", rtype::PTR, rcode::NOERROR, 1),
        ("web.default.svc.cluster.local.", rtype::AAAA, rcode::NOERROR, 1),
        ("none.default.svc.cluster.local.", rtype::A, rcode::NXDOMAIN, 1),
        ("ext.default.svc.cluster.local.", rtype::A, rcode::NOERROR, 2),
        ("cluster.local.", rtype::NS, rcode::NOERROR, 3),
        ("Www.example.org.", rtype::A, rcode::NOERROR, 1),
        ("unknown.example.org.", rtype::A, rcode::NOERROR, 3),
        ("none.example.org.", rtype::A, rcode::NXDOMAIN, 1),
        ("fails.example.org.", rtype::A, rcode::SERVFAIL, 1),
        ("other.example.net.", rtype::A, rcode::SERVFAIL, 0),
    ] {
        for edns in [None, edns(4096, 0, false), edns(1232, 0, true), edns(1232, 1, false)] {
            let mut query = Query::new(4711, &name.parse().unwrap(), qtype);
            query.edns = edns;
            let mut packet = [0; 512];
            let length = query.encode(query.id, &mut packet);
            let [udp, tcp] = [TestClient::udp(service.address), TestClient::tcp(service.address)]
                .map(|client| client.exchange(&packet[..length]).expect("a reply"));
            assert_eq!(tcp, udp, "{name} {qtype} {edns:?}");
            let mut reply = Reply::default();
            assert!(reply.parse(&tcp, &query).unwrap().matches, "{name} {qtype} {edns:?}");
            let wanted = match edns {
                Some(Edns { version: 1, .. }) => (rcode::BADVERS, 0),
                _ => (code, records),
            };
            assert_eq!((reply.rcode, reply.records().len()), wanted, "{name} {qtype} {edns:?}");
        }
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_over_the_in_flight_limit_of_a_connection_are_all_answered() {
    let upstream = FakeUpstream::start(|query, _| Some(address(query, [192, 0, 2, 1], 60)));
    let service = TestService::start(&format!(".:0 {{\nforward . {}\n}}", upstream.address)).await;
    let mut stream = TcpStream::connect(service.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for id in 0..1000 {
        let mut packet = [0; 512];
        let length = Query::new(id, &"www.example.org.".parse().unwrap(), rtype::A).encode(id, &mut packet);
        stream.write_all(&[&(length as u16).to_be_bytes(), &packet[..length]].concat()).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let ids = std::iter::from_fn(|| read_framed(&mut stream)).map(|r| u16::from_be_bytes([r[0], r[1]]));
    let ids: std::collections::BTreeSet<u16> = ids.collect();
    assert_eq!(ids.len(), 1000);
    service.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_is_disconnected() {
    let service = TestService::start(".:0 {\nwhoami\n}").await;
    let mut packet = [0; 512];
    let length = Query::new(1, &"a.".parse().unwrap(), rtype::A).encode(1, &mut packet);
    let whole = [&(length as u16).to_be_bytes(), &packet[..length]].concat();
    // No data, half a message, and a message with half of the next one.
    for (sent, replies, seconds) in
        [(Vec::new(), 0, 3), (whole[..7].to_vec(), 0, 3), ([&whole, &whole[..7]].concat(), 1, 10)]
    {
        let start = tokio::time::Instant::now();
        let mut stream = tokio::net::TcpStream::connect(service.address).await.unwrap();
        stream.write_all(&sent).await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        assert_eq!(!received.is_empty(), replies > 0, "{received:?}");
        assert_eq!(start.elapsed().as_secs(), seconds, "{} bytes", sent.len());
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_longer_than_the_receive_buffer_is_a_format_error() {
    let service = TestService::start(".:0 {\nwhoami\n}").await;
    let query = Query::new(7, &"www.example.org.".parse().unwrap(), rtype::A);
    let mut packet = vec![0; 512];
    let length = query.encode(7, &mut packet);
    packet.truncate(length);
    // An OPT record with one option of 5,000 bytes.
    packet[11] = 1;
    packet.extend([0, 0, 41, 16, 0, 0, 0, 0, 0, 0x13, 0x8c, 0, 12, 0x13, 0x88]);
    packet.resize(packet.len() + 5_000, 0);
    let reply = TestClient::udp(service.address).exchange(&packet).expect("a reply");
    assert_eq!(u16::from(reply[3] & 15), rcode::FORMERR);
    // The same query fits into a TCP message.
    let reply = TestClient::tcp(service.address).exchange(&packet).expect("a reply");
    assert_eq!(u16::from(reply[3] & 15), rcode::NOERROR);
    service.stop().await;
}
