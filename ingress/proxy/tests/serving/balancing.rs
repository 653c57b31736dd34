//! Which endpoint gets a request.

use std::time::Duration;

use crate::support::{ScriptedEndpoint, TestCluster, one_worker, unused_address};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\nHost: shop.example\n\n")
}

/// An endpoint whose responses take at least 50 ms.
fn slow() -> ScriptedEndpoint {
    ScriptedEndpoint::new(|connection| {
        while connection.request().is_some() {
            std::thread::sleep(Duration::from_millis(50));
            if connection.send(OK).is_err() {
                break;
            }
        }
    })
}

#[test]
fn with_ewma_a_slow_endpoint_gets_few_requests() {
    let (slow, fast) = (slow(), ScriptedEndpoint::always(OK));
    let mut world = TestCluster::serving_with(one_worker(), &[slow.address, fast.address]);
    world.ingress("shop", "shop.example", &[("load-balance", "ewma")]);
    let mut client = world.client();
    for _ in 0..40 {
        client.send(&get("/"));
        assert_eq!(client.response().status, 200);
    }
    let (of_slow, of_fast) = (slow.all_seen().len(), fast.all_seen().len());
    // Each is asked once before it is measured; before the second is, the first may be asked several times.
    assert!(of_slow <= 10 && of_fast >= 30, "{of_slow} and {of_fast}");
}

#[test]
fn ewma_does_not_choose_an_endpoint_again_that_has_failed() {
    let endpoint = ScriptedEndpoint::always(OK);
    let gone = unused_address();
    let mut world = TestCluster::serving_with(one_worker(), &[gone, endpoint.address]);
    world.ingress("shop", "shop.example", &[("load-balance", "ewma")]);
    for _ in 0..20 {
        assert_eq!(world.ask(&get("/")).status, 200);
    }
}

#[test]
fn a_hash_keeps_its_endpoint_and_moves_on_only_when_it_fails() {
    let endpoints = [ScriptedEndpoint::always(OK), ScriptedEndpoint::always(OK)];
    let gone = unused_address();
    let addresses = [endpoints[0].address, endpoints[1].address, gone];
    let mut world = TestCluster::serving_with(one_worker(), &addresses);
    world.ingress("shop", "shop.example", &[("upstream-hash-by", "$request_uri")]);
    let mut of_gone = 0;
    for n in 0..30 {
        let target = format!("/item/{n}?q");
        for _ in 0..3 {
            assert_eq!(world.ask(&get(&target)).status, 200, "{target}");
        }
        let seen: Vec<usize> = endpoints.iter().map(|endpoint| endpoint.all_seen().len()).collect();
        assert!(seen == [3, 0] || seen == [0, 3], "{target}: {seen:?}");
        let lines = world.log(3 * (n + 1));
        of_gone += usize::from(lines[3 * n].contains(&format!(" {gone}, ")));
        let tried = |line: &String| line.contains(&gone.to_string());
        assert!(lines[3 * n..].iter().all(|line| tried(line) == tried(&lines[3 * n])), "{target}");
    }
    assert!((1..30).contains(&of_gone), "{of_gone} of 30 texts belong to the endpoint that is gone");
}
