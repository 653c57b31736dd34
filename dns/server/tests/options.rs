//! The effects of plugin options on queries and sockets.

mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use dns_wire::codes::{rcode, rtype};
use dns_wire::{Owner, Query, Section};
use support::{FakeUpstream, TestClient, TestService, address, read_framed};

const TIMEOUT: Duration = Duration::from_secs(10);

async fn start_service(lines: &str) -> TestService {
    TestService::start(&format!(".:0 {{\n{lines}\n}}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn weighted_loadbalance_orders_addresses_by_weight_or_equally_without_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (file, none) = (folder.path().join("weights.txt"), folder.path().join("none.txt"));
    std::fs::write(&file, "listed.example.org\n192.0.2.1 9\n192.0.2.2 1\n").unwrap();
    let upstream = FakeUpstream::start(|query, _| {
        let mut reply = address(query, [192, 0, 2, 1], 60);
        reply.push(Section::Answer, Owner::Question, rtype::A, 60, &[192, 0, 2, 2]);
        Some(reply)
    });
    for (file, name, (least, most)) in [
        (&file, "listed.example.org.", (320, 395)),
        (&file, "other.example.org.", (140, 260)),
        (&none, "listed.example.org.", (140, 260)),
    ] {
        let service = start_service(&format!(
            "loadbalance weighted {}\nforward . {}",
            file.display(),
            upstream.address
        ))
        .await;
        let client = TestClient::udp(service.address);
        let first = (0..400).filter(|_| {
            let (_, reply) = client.query(name, rtype::A);
            assert_eq!(reply.records().len(), 2);
            reply.rdata(&reply.records()[0]) == [192, 0, 2, 1]
        });
        let first = first.count();
        assert!((least..=most).contains(&first), "{name} with {}: {first} of 400", file.display());
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_queries_use_the_source_address() {
    let source = IpAddr::from([127, 0, 0, 53]);
    for (option, tcp) in [("", false), ("force_tcp", true)] {
        let (udp, listener) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(listener) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, listener);
            }
        };
        let at = udp.local_addr().unwrap();
        let (sender, client_ip) = channel();
        std::thread::spawn(move || {
            // The test needs only the client's address, so there is no reply.
            let client = if tcp {
                let (mut stream, client) = listener.accept().unwrap();
                read_framed(&mut stream).unwrap();
                client
            } else {
                udp.recv_from(&mut [0; 512]).unwrap().1
            };
            sender.send(client.ip()).unwrap();
        });
        let lines = "max_connect_attempts 1\nread_timeout 100ms";
        let service =
            start_service(&format!("forward . {at} {{\nsource_address {source}\n{option}\n{lines}\n}}"))
                .await;
        let (_, reply) = TestClient::udp(service.address).query("www.example.org.", rtype::A);
        assert_eq!(reply.rcode, rcode::SERVFAIL);
        assert_eq!(client_ip.recv_timeout(TIMEOUT), Ok(source), "{option:?}");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn max_idle_conns_limits_the_idle_connections() {
    for (option, made) in [("", 2), ("max_idle_conns 0", 2), ("max_idle_conns 1", 3)] {
        // Both queries of a round are in flight before either is answered.
        let both = Barrier::new(2);
        let upstream = FakeUpstream::start(move |query, _| {
            both.wait();
            Some(address(query, [192, 0, 2, 1], 60))
        });
        let lines = format!("forward . {} {{\nforce_tcp\nread_timeout 5s\n{option}\n}}", upstream.address);
        let service = start_service(&lines).await;
        let client = TestClient::udp(service.address);
        for _ in 0..2 {
            std::thread::scope(|scope| {
                let ask = || assert_eq!(client.query("www.example.org.", rtype::A).1.rcode, rcode::NOERROR);
                let queries = [scope.spawn(ask), scope.spawn(ask)];
                queries.into_iter().for_each(|query| query.join().unwrap());
            });
        }
        let line = format!(
            "coredns_proxy_conn_cache_misses_total{{proxy_name=\"forward\",to=\"{}\",proto=\"tcp\"}} {made}\n",
            upstream.address
        );
        let text = service.metrics.text();
        assert!(text.contains(&line), "{option:?}: {line} in\n{text}");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_check_queries_follow_the_options() {
    for (option, wanted) in [
        ("health_check 10ms", (".", true)),
        ("health_check 10ms no_rec", (".", false)),
        ("health_check 0 domain Example.ORG", ("example.org.", true)),
        ("health_check 10ms no_rec domain example.org", ("example.org.", false)),
    ] {
        let (seen, checks) = channel();
        let upstream = FakeUpstream::start(move |query: &Query, _| {
            if query.qtype != rtype::NS {
                return None;
            }
            let _ = seen.send((query.to_name().lower().to_string(), query.recursion_desired()));
            Some(address(query, [192, 0, 2, 1], 60))
        });
        let lines = "read_timeout 50ms\nmax_connect_attempts 1";
        let service =
            start_service(&format!("forward . {} {{\n{option}\n{lines}\n}}", upstream.address)).await;
        TestClient::udp(service.address).query("www.example.org.", rtype::A);
        let (name, recursion) = checks.recv_timeout(TIMEOUT).unwrap();
        assert_eq!((name.as_str(), recursion), wanted, "{option}");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_is_monitored_after_startup_only_with_monitor_continuously() {
    for (option, after) in
        [("", (200, "OK")), ("monitor until-ready", (200, "OK")), ("monitor continuously", (503, "upstream"))]
    {
        let service = start_service(&format!("ready 127.0.0.1:0 {{\n{option}\n}}\nwhoami")).await;
        let gate = service.gates.gate("upstream");
        assert_eq!(service.page("/ready").await, (503, "upstream".to_owned()), "{option}");
        gate.open();
        assert_eq!(service.page("/ready").await, (200, "OK".to_owned()), "{option}");
        gate.close();
        let (status, body) = service.page("/ready").await;
        assert_eq!((status, body.as_str()), after, "{option}");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_except_and_next_lines_add_up() {
    let codes: BTreeMap<u8, u16> =
        [(b'n', rcode::NXDOMAIN), (b'f', rcode::SERVFAIL), (b'r', rcode::REFUSED)].into();
    let first = Arc::new(FakeUpstream::start(move |query, _| {
        Some(match codes.get(&query.name()[1]) {
            Some(code) => support::denial(*code, 60),
            None => address(query, [192, 0, 2, 1], 60),
        })
    }));
    let second = FakeUpstream::start(|query, _| Some(address(query, [192, 0, 2, 2], 60)));
    let service = start_service(&format!(
        "forward . {} {{\nexcept a.example\nexcept b.example\nnext NXDOMAIN\nnext SERVFAIL\n}}\nforward . {}",
        first.address, second.address
    ))
    .await;
    for (name, wanted) in [
        ("www.example.", "A 192.0.2.1"),
        ("www.a.example.", "A 192.0.2.2"),
        ("www.b.example.", "A 192.0.2.2"),
        ("none.example.", "A 192.0.2.2"),
        ("fails.example.", "A 192.0.2.2"),
        ("refused.example.", ""),
    ] {
        let (query, reply) = TestClient::udp(service.address).query(name, rtype::A);
        assert_eq!(support::answers(&reply, &query), wanted, "{name}");
    }
    service.stop().await;
}
