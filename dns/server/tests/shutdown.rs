//! Readiness, lameduck and queries in progress when the server stops.

mod support;

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Event, Kind};
use dns_wire::Section;
use dns_wire::codes::{rcode, rtype};
use support::{FakeCluster, FakeUpstream, TestClient, TestService, answers};

#[tokio::test(start_paused = true)]
async fn readiness_waits_for_the_cluster_and_ends_first_at_shutdown() {
    let fake = Arc::new(FakeCluster::default());
    let service = TestService::try_start(
        ".:0 {
    health 127.0.0.1:0 {
        lameduck 1s
    }
    ready 127.0.0.1:0
    kubernetes cluster.local {
        startup_timeout 0s
    }
}",
        fake.clone(),
        &[[127, 0, 0, 1].into()],
    )
    .await
    .unwrap();
    let client = TestClient::udp(service.address);
    assert_eq!(service.page("/ready").await, (503, "kubernetes".to_owned()));
    assert_eq!(service.page("/health").await, (200, "OK".to_owned()));
    let (_, reply) = client.query("web.default.svc.cluster.local.", rtype::A);
    assert_eq!(
        (reply.rcode, reply.section(Section::Authority).count()),
        (rcode::SERVFAIL, 1),
        "SERVFAIL with SOA"
    );
    fake.0.lock().unwrap().apply(Kind::ALL.map(Event::Synced), 1);
    service.gates.all_open().await;
    assert_eq!(service.page("/ready").await, (200, "OK".to_owned()));
    assert_eq!(client.query("web.default.svc.cluster.local.", rtype::A).1.rcode, rcode::NXDOMAIN);

    let (admin, gates) = (service.admin.clone(), service.gates.clone());
    let stopping = tokio::spawn(service.dns.stop());
    while gates.closed(telemetry::Monitor::UntilReady) != ["shutdown"] {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        client.query("web.default.svc.cluster.local.", rtype::A).1.rcode,
        rcode::NXDOMAIN,
        "queries are answered during lameduck"
    );
    assert!(admin.listen("127.0.0.1:0").await.is_ok());
    stopping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn queries_that_arrive_after_lameduck_are_answered_for_25_seconds_in_all() {
    let corefile = "\
.:0 {
    health 127.0.0.1:0 {
        lameduck 5s
    }
    kubernetes cluster.local
}";
    for (seconds_of_queries, stopped_after) in [(0, 6..=6), (7, 8..=9), (40, 25..=26)] {
        let service = TestService::try_start(corefile, FakeCluster::listed(), &[[127, 0, 0, 1].into()]).await;
        let service = service.unwrap();
        let (client, gates) = (TestClient::udp(service.address), service.gates.clone());
        let start = tokio::time::Instant::now();
        let stopping = tokio::spawn(service.dns.stop());
        while gates.closed(telemetry::Monitor::UntilReady) != ["shutdown"] {
            tokio::task::yield_now().await;
        }
        while start.elapsed().as_secs() < seconds_of_queries && start.elapsed().as_secs() < 25 {
            let (_, reply) = client.query("web.default.svc.cluster.local.", rtype::A);
            assert_eq!(reply.rcode, rcode::NOERROR, "after {:?}", start.elapsed());
            tokio::time::advance(Duration::from_millis(200)).await;
        }
        stopping.await.unwrap();
        let stopped = start.elapsed().as_secs();
        assert!(stopped_after.contains(&stopped), "{seconds_of_queries}: stopped after {stopped} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_in_flight_is_answered_during_shutdown() {
    for make_client in [TestClient::udp, TestClient::tcp] {
        let (upstream, received, release) = FakeUpstream::blocking();
        let service = TestService::start(&format!(".:0 {{\nforward . {}\n}}", upstream.address)).await;
        let client = make_client(service.address);
        let client_thread = std::thread::spawn(move || client.query("www.example.org.", rtype::A));
        received.recv().unwrap();
        // The upstream answers only once the server has closed its listeners.
        let address = service.address;
        let stopping = tokio::spawn(service.stop());
        while TcpStream::connect(address).is_ok() {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
        let (query, reply) = tokio::task::spawn_blocking(|| client_thread.join().unwrap()).await.unwrap();
        assert_eq!(answers(&reply, &query), "A 192.0.2.1", "{client:?}");
        stopping.await.unwrap();
    }
}
