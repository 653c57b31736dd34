//! Forwarding, caching, and resolving the targets of ExternalNames.

mod support;

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dns_chain::{Answer, Request, Transport, ZoneRoutes, run};
use dns_wire::codes::{rcode, rtype};
use dns_wire::{Owner, Query, Reply, Section};
use support::{FakeUpstream, TestClient, TestService, address, answers, denial, read_framed};

async fn start_service(lines: &str) -> TestService {
    TestService::start(&format!(".:0 {{\n{lines}\n}}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_forwarded_over_the_protocol_it_arrived_over() {
    let protocols = Arc::new(Mutex::new(Vec::new()));
    let seen = protocols.clone();
    let upstream = FakeUpstream::start(move |query, tcp| {
        seen.lock().unwrap().push((query.id, tcp));
        Some(address(query, [192, 0, 2, 1], 60))
    });
    let service = start_service(&format!("forward . {}", upstream.address)).await;
    for client in [TestClient::udp(service.address), TestClient::tcp(service.address)] {
        let (query, reply) = client.query("WWW.example.org.", rtype::A);
        assert_eq!(answers(&reply, &query), "A 192.0.2.1");
        assert!(reply.recursion_available);
    }
    let protocols = protocols.lock().unwrap().clone();
    assert_eq!(protocols.iter().map(|(_, tcp)| *tcp).collect::<Vec<_>>(), [false, true]);
    assert!(
        protocols.iter().any(|(id, _)| *id != 4711),
        "the forwarded ID is a new random one: {protocols:?}"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_answer_needs_no_upstream_query() {
    let upstream = FakeUpstream::start(|query, _| {
        Some(match query.name()[1] {
            b'n' => denial(rcode::NXDOMAIN, 300),
            b'f' => denial(rcode::SERVFAIL, 300),
            _ => address(query, [192, 0, 2, 1], 600),
        })
    });
    let service = start_service(&format!("cache 30\nforward . {}", upstream.address)).await;
    let client = TestClient::udp(service.address);
    for (count, (name, code)) in (1..).zip([
        ("www.example.org.", rcode::NOERROR),
        ("none.example.org.", rcode::NXDOMAIN),
        ("fails.example.org.", rcode::SERVFAIL),
    ]) {
        for round in 0..3 {
            let (_, reply) = client.query(name, rtype::A);
            assert_eq!((reply.rcode, upstream.query_count()), (code, count), "{name}, round {round}");
            assert!(reply.records().iter().all(|record| record.ttl <= 30), "{name}: the TTL is at most 30 s");
        }
    }
    let text = service.metrics.text();
    for line in [
        "coredns_cache_hits_total{server=\"dns://:0\",type=\"success\",zones=\".\",view=\"\"} 2",
        "coredns_cache_hits_total{server=\"dns://:0\",type=\"denial\",zones=\".\",view=\"\"} 4",
        "coredns_cache_requests_total{server=\"dns://:0\",zones=\".\",view=\"\"} 9",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_queries_for_the_cache_set_ad_and_clients_get_ad_only_if_they_set_it() {
    let upstream = FakeUpstream::start(|query, _| {
        let mut reply = address(query, [192, 0, 2, 1], 600);
        (reply.authentic_data, reply.authoritative) = (query.authentic_data(), true);
        Some(reply)
    });
    // AD is the sixth bit of the fourth byte. In a query it means that the client understands AD (RFC 6840 §5.7).
    let ad = |client: &TestClient, sent: u8| {
        let question = b"\x03www\x07example\x03org\0\0\x01\0\x01";
        let message = [&[0, 7, 1, sent, 0, 1, 0, 0, 0, 0, 0, 0], &question[..]].concat();
        let reply = client.exchange(&message).unwrap();
        assert_eq!(reply[2] & 4, 4, "AA is passed on unchanged");
        reply[3] & 0x20
    };
    for (lines, sent) in [("cache", [0, 0x20, 0, 0x20]), ("cache example.net", [0, 0x20, 0, 0x20])] {
        let service = start_service(&format!("{lines}\nforward . {}", upstream.address)).await;
        let client = TestClient::udp(service.address);
        for sent in sent {
            assert_eq!(ad(&client, sent), sent, "{lines}");
        }
        service.stop().await;
    }
    assert_eq!(
        upstream.query_count(),
        1 + 4,
        "one upstream query with the cache, and one for each query without it"
    );
}

/// CoreDNS shares the plugins of a server block among all of its zones and ports.
#[tokio::test(flavor = "multi_thread")]
async fn the_zones_of_a_server_block_share_one_cache_and_one_concurrency_limit() {
    let (upstream, received, release) = FakeUpstream::blocking();
    let lines =
        format!("cache\nprometheus 127.0.0.1:0\nforward . {} {{\nmax_concurrent 1\n}}", upstream.address);
    let service = TestService::start(&format!("example.org:0 example.net:0 {{\n{lines}\n}}")).await;
    let client = TestClient::udp(service.address);
    let first = std::thread::spawn(move || client.query("www.example.org.", rtype::A).1.rcode);
    received.recv().unwrap();
    assert_eq!(
        client.query("www.example.net.", rtype::A).1.rcode,
        rcode::REFUSED,
        "the limit of one query applies to both zones"
    );
    release.send(()).unwrap();
    assert_eq!(first.join().unwrap(), rcode::NOERROR);
    assert_eq!(client.query("www.example.org.", rtype::A).1.rcode, rcode::NOERROR);
    let text = service.metrics.text();
    for line in [
        "coredns_cache_entries{server=\"dns://:0\",type=\"success\",zones=\"example.org.,example.net.\",view=\"\"} 1",
        "coredns_dns_responses_total{server=\"dns://:0\",zone=\"example.org.\",view=\"\",rcode=\"NOERROR\",plugin=\"cache\"} 1",
        "coredns_dns_responses_total{server=\"dns://:0\",zone=\"example.net.\",view=\"\",rcode=\"REFUSED\",plugin=\"\"} 1",
        "coredns_plugin_enabled{server=\"dns://:0\",zone=\"example.net.\",view=\"\",name=\"cache\"} 1",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    service.stop().await;
}

/// The Corefile has no `loop` plugin, which would detect the loop.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forwards_to_itself_answers_and_can_be_reloaded() {
    let service = start_service("whoami").await;
    let itself = service.address;
    service.reload(&format!(".:0 {{\nforward . {itself}\n}}")).await.unwrap();
    let (_, reply) = TestClient::udp(itself).query("www.example.org.", rtype::A);
    assert_eq!(reply.rcode, rcode::SERVFAIL);
    let text = service.metrics.text();
    let busy = format!("portolan_forward_upstream_busy_total{{to=\"{itself}\"}}");
    let busy = text.lines().find_map(|line| line.strip_prefix(&busy)).expect(&text);
    assert_ne!(busy, " 0", "the loop ended because only a few queries may wait for the server itself");
    let upstream = FakeUpstream::start(|query, _| Some(address(query, [192, 0, 2, 1], 60)));
    service.reload(&format!(".:0 {{\nforward . {}\n}}", upstream.address)).await.unwrap();
    let (query, reply) = TestClient::udp(itself).query("www.example.org.", rtype::A);
    assert_eq!(answers(&reply, &query), "A 192.0.2.1");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_names_are_not_cached() {
    let service = start_service("cache 30\nkubernetes cluster.local {\n ttl 3600\n}").await;
    let client = TestClient::udp(service.address);
    for _ in 0..2 {
        let (_, reply) = client.query("web.default.svc.cluster.local.", rtype::A);
        let record = reply.records()[0];
        assert_eq!(
            (reply.authoritative, record.ttl),
            (true, 30),
            "the upper bound on TTLs applies and AA is set"
        );
    }
    assert!(
        service.metrics.text().contains(
            "coredns_cache_hits_total{server=\"dns://:0\",type=\"success\",zones=\".\",view=\"\"} 0"
        )
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_of_an_external_name_is_resolved_by_the_server_itself() {
    let upstream = FakeUpstream::start(|query, _| Some(address(query, [192, 0, 2, 7], 60)));
    let kubernetes = format!("kubernetes cluster.local\ncache\nforward . {}", upstream.address);
    let service = start_service(&kubernetes).await;
    for client in [TestClient::udp(service.address), TestClient::tcp(service.address)] {
        let (query, reply) = client.query("ext.default.svc.cluster.local.", rtype::A);
        assert_eq!(answers(&reply, &query), "CNAME www.example.org., A 192.0.2.7");
    }
    assert_eq!(upstream.query_count(), 1, "the target was cached");
    let (query, reply) =
        TestClient::udp(service.address).query("ext.default.svc.cluster.local.", rtype::CNAME);
    assert_eq!(answers(&reply, &query), "CNAME www.example.org.");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_name_that_no_zone_resolves_returns_only_the_cname() {
    let service = TestService::start("cluster.local:0 {\nkubernetes\n}").await;
    for qtype in [rtype::A, rtype::AAAA] {
        let (query, reply) = TestClient::udp(service.address).query("ext.default.svc.cluster.local.", qtype);
        assert_eq!(reply.rcode, rcode::NOERROR);
        assert_eq!(answers(&reply, &query), "CNAME www.example.org.");
        assert_eq!(reply.section(Section::Authority).count(), 0, "no SOA: it is not NODATA");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_goes_to_the_next_upstream_if_one_is_silent_closed_or_fails() {
    let good = FakeUpstream::start(|query, _| Some(address(query, [192, 0, 2, 1], 60)));
    let silent = FakeUpstream::start(|_, _| None);
    let failing = FakeUpstream::start(|_, _| Some(denial(rcode::SERVFAIL, 60)));
    // A port that no test gets for a socket of its own: it is below the range of ephemeral ports.
    let closed = SocketAddr::from(([127, 0, 0, 1], 1));
    for (first, lines) in
        [(silent.address, "read_timeout 100ms"), (closed, ""), (failing.address, "failover SERVFAIL")]
    {
        let lines = format!("forward . {first} {} {{\npolicy sequential\n{lines}\n}}", good.address);
        let service = start_service(&lines).await;
        let (query, reply) = TestClient::udp(service.address).query("www.example.org.", rtype::A);
        assert_eq!(answers(&reply, &query), "A 192.0.2.1", "{lines}");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_fails_health_checks_is_used_again_once_it_answers() {
    let up = Arc::new(AtomicBool::new(false));
    let answering = up.clone();
    let flaky = FakeUpstream::start(move |query, _| {
        answering.load(SeqCst).then(|| address(query, [192, 0, 2, 9], 60))
    });
    let lines = format!(
        "errors\nforward . {} {{\nmax_fails 1\nhealth_check 20ms\nread_timeout 50ms\nmax_connect_attempts 1\nfailfast_all_unhealthy_upstreams\n}}",
        flaky.address
    );
    let service = start_service(&lines).await;
    let client = TestClient::udp(service.address);
    let (_, reply) = client.query("www.example.org.", rtype::A);
    assert_eq!(reply.rcode, rcode::SERVFAIL);
    // The upstream is down after two failed health checks. From then on it receives only health checks.
    let down = |text: &str| text.contains("coredns_forward_healthcheck_broken_total 1");
    while !down(&service.metrics.text()) {
        client.query("www.example.org.", rtype::A);
    }
    up.store(true, SeqCst);
    loop {
        let (query, reply) = client.query("www.example.org.", rtype::A);
        if reply.rcode == rcode::NOERROR {
            assert_eq!(answers(&reply, &query), "A 192.0.2.9");
            break;
        }
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_reply_is_passed_on_or_retried_over_tcp() {
    let upstream = FakeUpstream::start(|query, tcp| {
        let mut reply = address(query, [192, 0, 2, 1], 60);
        if !tcp {
            reply.records_mut().clear();
            // One reply has TC set; the other lacks a byte of its address.
            match query.name()[1] {
                b'w' => reply.truncated = true,
                _ => reply.push(Section::Answer, Owner::Question, rtype::A, 60, &[192, 0, 2]),
            }
        }
        Some(reply)
    });
    for (option, wanted) in
        [("", (true, "")), ("prefer_udp", (false, "A 192.0.2.1")), ("force_tcp", (false, "A 192.0.2.1"))]
    {
        let service = start_service(&format!("forward . {} {{\n{option}\n}}", upstream.address)).await;
        for name in ["www.example.org.", "bad.example.org."] {
            let (query, reply) = TestClient::udp(service.address).query(name, rtype::A);
            assert_eq!((reply.truncated, answers(&reply, &query).as_str()), wanted, "{name} {option:?}");
        }
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_response_codes_select_the_forward_block() {
    let first = FakeUpstream::start(|query, _| {
        Some(match query.name()[1] {
            b'n' => denial(rcode::NXDOMAIN, 60),
            b'e' => denial(rcode::NOERROR, 60),
            _ => address(query, [192, 0, 2, 1], 60),
        })
    });
    let second = FakeUpstream::start(|query, _| Some(address(query, [192, 0, 2, 2], 60)));
    let service = start_service(&format!(
        "forward example.org {} {{\nexcept internal.example.org\nnext NXDOMAIN\nnext_on_nodata\n}}\nforward . {}",
        first.address, second.address
    ))
    .await;
    for (name, wanted) in [
        ("www.example.org.", "A 192.0.2.1"),
        ("www.internal.example.org.", "A 192.0.2.2"),
        ("none.example.org.", "A 192.0.2.2"),
        ("empty.example.org.", "A 192.0.2.2"),
        ("www.example.net.", "A 192.0.2.2"),
    ] {
        let (query, reply) = TestClient::udp(service.address).query(name, rtype::A);
        assert_eq!(answers(&reply, &query), wanted, "{name}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_to_another_question_is_a_format_error() {
    let upstream = FakeUpstream::start(|query, _| Some(address(query, [192, 0, 2, 1], 60)));
    // An attacker that replies with the right ID and another name.
    let attacker = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = attacker.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        let (_, client) = attacker.recv_from(&mut packet).unwrap();
        let id = u16::from_be_bytes([packet[0], packet[1]]);
        let query = Query::new(id, &"evil.example.".parse().unwrap(), rtype::A);
        let length = address(&query, [6, 6, 6, 6], 60).encode(&query, 512, &mut packet);
        // A reply with a wrong ID comes first and is ignored.
        let mut wrong_id = packet;
        wrong_id[1] ^= 1;
        attacker.send_to(&wrong_id[..length], client).unwrap();
        attacker.send_to(&packet[..length], client).unwrap();
    });
    drop(upstream);
    let service = start_service(&format!("forward . {at}")).await;
    let (_, reply) = TestClient::udp(service.address).query("www.example.org.", rtype::A);
    assert_eq!((reply.rcode, reply.records().len()), (rcode::FORMERR, 0));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_over_max_concurrent_are_refused() {
    let (upstream, received, release) = FakeUpstream::blocking();
    let service = start_service(&format!("forward . {} {{\nmax_concurrent 1\n}}", upstream.address)).await;
    let client = TestClient::udp(service.address);
    let ask = move || client.query("www.example.org.", rtype::A).1.rcode;
    let first = std::thread::spawn(ask);
    received.recv().unwrap();
    assert_eq!(ask(), rcode::REFUSED);
    release.send(()).unwrap();
    assert_eq!(first.join().unwrap(), rcode::NOERROR);
    assert!(service.metrics.text().contains("coredns_forward_max_concurrent_rejects_total 1"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_whose_port_is_closed_costs_no_time() {
    let good = FakeUpstream::start(|query, _| Some(address(query, [192, 0, 2, 1], 60)));
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let lines = format!("forward . {closed} {} {{\npolicy sequential\nread_timeout 30s\n}}", good.address);
    let service = start_service(&lines).await;
    let client = TestClient::udp(service.address);
    // All attempts together may take 5 seconds: a query that waited for the closed port would fail.
    for name in ["a.example.org.", "b.example.org.", "c.example.org."] {
        let (query, reply) = client.query(name, rtype::A);
        assert_eq!(answers(&reply, &query), "A 192.0.2.1", "{name}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_rewrite_adds_for_an_upstream_reach_no_client() {
    // What the upstream received: whether the query had an OPT record, and the data of option 0xffee.
    let received = Arc::new(Mutex::new(Vec::new()));
    let seen = received.clone();
    // Its reply has an OPT record if the query has one.
    let upstream = FakeUpstream::start(move |query, _| {
        seen.lock().unwrap().push((query.edns.is_some(), query.option(0xffee).map(<[u8]>::to_vec)));
        Some(address(query, [192, 0, 2, 1], 60))
    });
    for (rule, option) in [
        ("local set 0xffee secret", Some(b"secret".to_vec())),
        ("local append 0xffee secret", Some(b"secret".to_vec())),
        ("local replace 0xffee secret", None),
        ("local unset 0xffee", None),
        ("nsid unset", None),
    ] {
        let service = start_service(&format!("rewrite edns0 {rule}\nforward . {}", upstream.address)).await;
        let client = TestClient::udp(service.address);
        for has_edns in [false, true] {
            let mut query = Query::new(4711, &"www.example.org.".parse().unwrap(), rtype::A);
            if has_edns {
                query.add_edns();
            }
            let (query, reply) = client.send_query(query);
            assert_eq!(answers(&reply, &query), "A 192.0.2.1", "{rule}");
            assert_eq!(reply.options().count(), 0, "{rule}");
            assert_eq!(reply.has_edns(), has_edns, "{rule}: the reply has an OPT record as the query");
        }
        let received = std::mem::take(&mut *received.lock().unwrap());
        assert_eq!(received, [(true, option.clone()), (true, option)], "{rule}");
        service.stop().await;
    }
}

// Time is paused: it advances when no task can run.
#[tokio::test(start_paused = true)]
async fn a_query_to_unreachable_upstreams_ends_even_with_unlimited_connect_attempts() {
    let service = start_service(
        "forward . 127.0.0.1:9 {\nsource_address 192.0.2.1\nmax_fails 0\nmax_connect_attempts 0\n}",
    )
    .await;
    let client = TestClient::udp(service.address);
    let client_thread = std::thread::spawn(move || client.query("www.example.org.", rtype::A));
    while !client_thread.is_finished() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(client_thread.join().unwrap().1.rcode, rcode::SERVFAIL);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_replies_with_wrong_ids_move_the_query_to_tcp() {
    // Over UDP an attacker tries many IDs; over TCP the upstream answers.
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = std::net::TcpListener::bind(udp.local_addr().unwrap()) {
            break (udp, tcp);
        }
    };
    let at = udp.local_addr().unwrap();
    let answer = |packet: &[u8], ip| {
        let mut query = Query::default();
        query.parse(packet).unwrap();
        let mut out = vec![0; 512];
        let length = address(&query, ip, 60).encode(&query, 512, &mut out);
        out.truncate(length);
        out
    };
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, client)) = udp.recv_from(&mut packet) {
            let mut forged = answer(&packet[..length], [6, 6, 6, 6]);
            let id = u16::from_be_bytes([packet[0], packet[1]]);
            // The right ID is the last of a thousand.
            for guess in (0..1000).rev() {
                forged[..2].copy_from_slice(&id.wrapping_add(guess).to_be_bytes());
                let _ = udp.send_to(&forged, client);
            }
        }
    });
    std::thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let Some(query) = read_framed(&mut stream) else { continue };
            let reply = answer(&query, [192, 0, 2, 1]);
            stream.write_all(&[&(reply.len() as u16).to_be_bytes(), &reply[..]].concat()).unwrap();
        }
    });
    let service = start_service(&format!("forward . {at}")).await;
    let (query, reply) = TestClient::udp(service.address).query("www.example.org.", rtype::A);
    assert_eq!(answers(&reply, &query), "A 192.0.2.1");
    service.stop().await;
}

/// Sends a query to a chain as if it was received at the given time.
async fn query_at(received: Instant, routes: &Arc<ZoneRoutes>) -> (Query, Reply) {
    let mut request = Request::new(Transport::Udp, ([127, 0, 0, 1], 53).into());
    request.query = Query::new(1, &"www.example.org.".parse().expect("it is a name"), rtype::A);
    request.received = received;
    let mut answer = Answer::default();
    if let Some(pending) = run::answer(routes, &mut request, &mut answer, |_| ()) {
        pending.finish(&mut request, &mut answer, |_| ()).await;
    }
    (request.query, answer.reply)
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_answers_are_served_while_the_upstream_fails() {
    let up = Arc::new(AtomicBool::new(true));
    let answering = up.clone();
    let upstream = FakeUpstream::start(move |query, _| {
        let good: Reply = address(query, [192, 0, 2, 1], 60);
        Some(if answering.load(SeqCst) { good } else { denial(rcode::SERVFAIL, 60) })
    });
    for mode in ["immediate", "verify 2s"] {
        up.store(true, SeqCst);
        let corefile = format!(
            ".:0 {{\ncache {{\nserve_stale 1h {mode} 7s\nservfail 0\n}}\nforward . {}\n}}",
            upstream.address
        );
        let context = support::context(support::FakeCluster::listed());
        let servers = dns_chain::build(&support::parse(&corefile).unwrap(), &context).unwrap();
        let (routes, start) = (&servers.listeners[0].routes, Instant::now());
        for (seconds, is_up, code, ttl) in [
            (0, true, rcode::NOERROR, 60),
            (59, false, rcode::NOERROR, 1),
            (60, false, rcode::NOERROR, 7),
            (3659, false, rcode::NOERROR, 7),
            (3660, false, rcode::SERVFAIL, 0),
        ] {
            up.store(is_up, SeqCst);
            let (query, reply) = query_at(start + Duration::from_secs(seconds), routes).await;
            let wanted = if code == rcode::NOERROR { "A 192.0.2.1" } else { "" };
            assert_eq!(
                (reply.rcode, answers(&reply, &query).as_str()),
                (code, wanted),
                "{mode}, {seconds} s"
            );
            assert!(reply.section(Section::Answer).all(|record| record.ttl == ttl), "{mode}, {seconds} s");
        }
        let stale = "coredns_cache_served_stale_total{server=\"dns://:0\",zones=\".\",view=\"\"} 2";
        assert!(context.metrics.text().contains(stale), "{mode}: {}", context.metrics.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_arrives_after_the_verify_timeout_is_cached_for_the_next_query() {
    let (release, released) = channel::<()>();
    let (released, first) = (Mutex::new(released), AtomicBool::new(true));
    let upstream = FakeUpstream::start(move |query, _| {
        if first.swap(false, SeqCst) {
            return Some(address(query, [192, 0, 2, 1], 60));
        }
        released.lock().unwrap().recv().unwrap();
        Some(address(query, [192, 0, 2, 2], 60))
    });
    let corefile = format!(
        ".:0 {{\ncache {{\nserve_stale 1h verify 50ms\n}}\nforward . {} {{\nread_timeout 4s\n}}\n}}",
        upstream.address
    );
    let context = support::context(support::FakeCluster::listed());
    let servers = dns_chain::build(&support::parse(&corefile).unwrap(), &context).unwrap();
    let (routes, start) = (&servers.listeners[0].routes, Instant::now());
    let at = async |seconds| {
        let (query, reply) = query_at(start + Duration::from_secs(seconds), routes).await;
        answers(&reply, &query)
    };
    assert_eq!([at(0).await, at(60).await], ["A 192.0.2.1", "A 192.0.2.1"], "fresh, then stale");
    // Lets the upstream answer the refresh that the stale answer started, and the next one.
    release.send(()).unwrap();
    release.send(()).unwrap();
    while at(30).await != "A 192.0.2.2" {
        tokio::task::yield_now().await;
    }
}
