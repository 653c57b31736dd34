//! An upstream that sends queries back.

mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dns_wire::codes::{rcode, rtype};
use support::{FakeUpstream, TestClient, TestService};

/// A service with an upstream that sends each query back to it.
async fn start_loop(options: &str) -> TestService {
    let back: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
    let to = back.clone();
    let upstream = FakeUpstream::start(move |query, _| {
        let to = (*to.lock().expect("no test panics with it"))?;
        Some(TestClient::udp(to).query(&query.to_name().to_string(), query.qtype).1)
    });
    let service = TestService::start(&format!(
        ".:0 {{\nkubernetes cluster.local\nloop {options}\nforward . {} {{\nread_timeout 50ms\nmax_fails 0\n}}\n}}",
        upstream.address
    ))
    .await;
    *back.lock().expect("no test panics with it") = Some(service.address);
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarding_loop_is_a_problem_and_cluster_names_are_answered() {
    let service = start_loop("").await;
    while service.reports.current().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let what = &service.reports.current()[0].1.what;
    assert!(what.starts_with("Loop (127.0.0.1:") && what.contains("/etc/resolv.conf"), "{what}");
    let client = TestClient::udp(service.address);
    assert_eq!(client.query("www.example.org.", rtype::A).1.rcode, rcode::SERVFAIL);
    assert_eq!(client.query("web.default.svc.cluster.local.", rtype::A).1.rcode, rcode::NOERROR);
    assert_eq!(service.fatal.lock().unwrap().len(), 0, "the process goes on");
    // The problem ends with the configuration.
    service.reload(".:0 {\nwhoami\n}").await.unwrap();
    while !service.reports.current().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarding_loop_ends_the_process_where_that_is_configured() {
    let service = start_loop("{\nexit\n}").await;
    let reason = loop {
        if let Some(reason) = service.fatal.lock().unwrap().first() {
            break reason.clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(reason.starts_with("Loop (127.0.0.1:") && reason.contains("/etc/resolv.conf"), "{reason}");
    service.stop().await;
}
