//! Requests that are followed by a secret of the admin side.

use ingress_proxy::followed_requests::{FollowState, FollowedRequests, RequestReport};

use ingress_routes::plan::phase::Phase;

use crate::message::TEST_TIMEOUT;
use crate::support::{ScriptedEndpoint, TestCluster, TestOptions, options, unused_address};

/// The report once the request has ended: its record is complete a moment after the client has the response.
fn report(followed: &FollowedRequests, secret: &str) -> RequestReport {
    let start = std::time::Instant::now();
    loop {
        match followed.state(secret) {
            Some(FollowState::Ended(report)) => return *report,
            state => assert!(start.elapsed() < TEST_TIMEOUT, "{state:?}"),
        }
        std::thread::yield_now();
    }
}

fn cluster(endpoints: &[std::net::SocketAddr]) -> (TestCluster, FollowedRequests) {
    let options = TestOptions::from(options());
    let followed = options.proxy.followed.clone();
    (TestCluster::serving_with(options, endpoints), followed)
}

#[test]
fn what_happened_to_a_request_with_a_secret_is_reported() {
    let script = ScriptedEndpoint::always("HTTP/1.1 201 Created\nContent-Length: 2\n\nok");
    let (world, followed) = cluster(&[script.address]);
    let secret = followed.arm().unwrap();
    let request =
        |path: &str| format!("GET {path} HTTP/1.1\nHost: shop.example\nX-Portolan-Follow: {secret}\n\n");
    assert_eq!(world.ask(&request("/a?b")).status, 201);
    let head = script.seen().head;
    assert!(!head.to_ascii_lowercase().contains("portolan"), "the endpoint must not see the secret: {head}");
    let report = report(&followed, &secret);
    assert_eq!((report.line.as_str(), report.status, report.sent), ("GET /a?b HTTP/1.1", 201, 2));
    assert_eq!(
        report.route,
        Some(("shop.example".to_owned(), "Prefix /".to_owned(), Some("default/shop".to_owned())))
    );
    let [attempt] = report.attempts.as_slice() else { panic!("{report:?}") };
    assert_eq!((attempt.endpoint.as_str(), attempt.status), (script.address.to_string().as_str(), Some(201)));
    assert!(attempt.header.is_some() && attempt.ended >= attempt.header && report.elapsed > attempt.began);
    // The secret is used up.
    world.ask(&request("/again"));
    assert_eq!(followed.state(&secret), None);
}

#[test]
fn a_response_of_the_proxy_has_its_phase() {
    let (mut world, followed) = cluster(&[unused_address()]);
    let annotations = [("app-root", "/start"), ("temporal-redirect", "https://away.example/")];
    world.ingress("shop", "shop.example", &annotations);
    for (path, phase) in [("/", Phase::Server), ("/a", Phase::Rewrite)] {
        let secret = followed.arm().unwrap();
        let request = format!("GET {path} HTTP/1.1\nHost: shop.example\nX-Portolan-Follow: {secret}\n\n");
        assert_eq!(world.ask(&request).status, 302);
        assert_eq!(report(&followed, &secret).answered_in, Some(phase), "{path}");
    }
}

#[test]
fn the_header_of_a_stranger_does_nothing() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    let (world, followed) = cluster(&[script.address]);
    let request =
        "GET / HTTP/1.1\nHost: shop.example\nx-portolan-FOLLOW: 00000000000000000000000000000000\n\n";
    for armed in [None, followed.arm()] {
        assert_eq!(world.ask(request).status, 200);
        let head = script.seen().head;
        assert!(!head.to_ascii_lowercase().contains("portolan"), "it reaches no endpoint: {head}");
        assert_eq!(
            armed.as_deref().and_then(|secret| followed.state(secret)),
            armed.map(|_| FollowState::Armed)
        );
    }
    let log = world.log(2);
    assert!(log.iter().all(|line| !line.contains("00000000")), "it reaches no log: {log:?}");
}

#[test]
fn attempts_that_failed_are_part_of_the_report() {
    let script = ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 0\n\n");
    let (world, followed) = cluster(&[unused_address(), script.address]);
    // The position in the round decides which endpoint is tried first.
    let attempts: Vec<usize> = (0..4)
        .map(|_| {
            let secret = followed.arm().unwrap();
            world.ask(&format!("GET / HTTP/1.1\nHost: shop.example\nX-Portolan-Follow: {secret}\n\n"));
            let report = report(&followed, &secret);
            assert_eq!(report.attempts.last().and_then(|attempt| attempt.status), Some(200), "{report:?}");
            report.attempts.len()
        })
        .collect();
    assert!(attempts.contains(&2), "{attempts:?}");
}
