//! What the options of plugins do to queries and sockets.

mod support;

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use dns_wire::codes::{rcode, rtype};
use dns_wire::{Owner, Query, Section};
use support::{FakeUpstream, TestClient, TestService, address, read_framed};

const PATIENCE: Duration = Duration::from_secs(10);

async fn serving(lines: &str) -> TestService {
    TestService::start(&format!(".:0 {{\n{lines}\n}}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_come_first_as_often_as_they_weigh_and_equally_where_nothing_is_said() {
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
        let service =
            serving(&format!("loadbalance weighted {}\nforward . {}", file.display(), upstream.address))
                .await;
        let client = TestClient::udp(service.address);
        let first = (0..400).filter(|_| {
            let (_, reply) = client.ask(name, rtype::A);
            assert_eq!(reply.records().len(), 2);
            reply.rdata(&reply.records()[0]) == [192, 0, 2, 1]
        });
        let first = first.count();
        assert!((least..=most).contains(&first), "{name} with {}: {first} of 400", file.display());
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_are_asked_from_the_source_address() {
    let source = IpAddr::from([127, 0, 0, 53]);
    for (option, tcp) in [("", false), ("force_tcp", true)] {
        let (udp, listener) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(listener) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, listener);
            }
        };
        let at = udp.local_addr().unwrap();
        let (from, asked_from) = channel();
        std::thread::spawn(move || {
            // Nothing is answered: only who asks matters.
            let client = if tcp {
                let (mut stream, client) = listener.accept().unwrap();
                read_framed(&mut stream).unwrap();
                client
            } else {
                udp.recv_from(&mut [0; 512]).unwrap().1
            };
            from.send(client.ip()).unwrap();
        });
        let lines = "max_connect_attempts 1\nread_timeout 100ms";
        let service =
            serving(&format!("forward . {at} {{\nsource_address {source}\n{option}\n{lines}\n}}")).await;
        let (_, reply) = TestClient::udp(service.address).ask("www.example.org.", rtype::A);
        assert_eq!(reply.rcode, rcode::SERVFAIL);
        assert_eq!(asked_from.recv_timeout(PATIENCE), Ok(source), "{option:?}");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_connections_wait_for_their_next_query() {
    for (option, made) in [("", 2), ("max_idle_conns 0", 2), ("max_idle_conns 1", 3)] {
        // Both queries of a round are in flight before either is answered.
        let both = Barrier::new(2);
        let upstream = FakeUpstream::start(move |query, _| {
            both.wait();
            Some(address(query, [192, 0, 2, 1], 60))
        });
        let lines = format!("forward . {} {{\nforce_tcp\nread_timeout 5s\n{option}\n}}", upstream.address);
        let service = serving(&lines).await;
        let client = TestClient::udp(service.address);
        for _ in 0..2 {
            std::thread::scope(|scope| {
                let ask = || assert_eq!(client.ask("www.example.org.", rtype::A).1.rcode, rcode::NOERROR);
                let asking = [scope.spawn(ask), scope.spawn(ask)];
                asking.into_iter().for_each(|one| one.join().unwrap());
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
async fn a_check_asks_as_the_options_say() {
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
        let service = serving(&format!("forward . {} {{\n{option}\n{lines}\n}}", upstream.address)).await;
        TestClient::udp(service.address).ask("www.example.org.", rtype::A);
        let (name, recursion) = checks.recv_timeout(PATIENCE).unwrap();
        assert_eq!((name.as_str(), recursion), wanted, "{option}");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_ready_once_is_watched_on_only_where_that_is_wanted() {
    for (option, after) in
        [("", (200, "OK")), ("monitor until-ready", (200, "OK")), ("monitor continuously", (503, "upstream"))]
    {
        let service = serving(&format!("ready 127.0.0.1:0 {{\n{option}\n}}\nwhoami")).await;
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
async fn exceptions_and_codes_add_up_over_lines() {
    let codes: BTreeMap<u8, u16> =
        [(b'n', rcode::NXDOMAIN), (b'f', rcode::SERVFAIL), (b'r', rcode::REFUSED)].into();
    let first = Arc::new(FakeUpstream::start(move |query, _| {
        Some(match codes.get(&query.name()[1]) {
            Some(code) => support::denial(*code, 60),
            None => address(query, [192, 0, 2, 1], 60),
        })
    }));
    let second = FakeUpstream::start(|query, _| Some(address(query, [192, 0, 2, 2], 60)));
    let service = serving(&format!(
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
        let (query, reply) = TestClient::udp(service.address).ask(name, rtype::A);
        assert_eq!(support::answers(&reply, &query), wanted, "{name}");
    }
    service.stop().await;
}
