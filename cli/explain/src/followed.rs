//! What happened to a request that was followed.

use std::time::Duration;

use ingress_proxy::traces::{TracedAttempt, TracedRequest};

use crate::tree::Tree;

/// The report of a request as a tree.
pub fn explain(request: &TracedRequest) -> Tree {
    let TracedRequest { line, client, request_id, route, target, upstream, canary, attempts, .. } = request;
    let mut tree = Tree::new(format!("what happened: {line} from {client}, id {request_id}"));
    tree = tree.with(match route {
        Some((host, path, Some(ingress))) => format!("route: host {host}, {path} of Ingress {ingress}"),
        Some((host, path, None)) => format!("route: host {host}, {path}, of no Ingress"),
        None => "route: none, because the head was refused".to_owned(),
    });
    if let Some(target) = target {
        tree = tree.with(format!("rewrite: the endpoint got {target}"));
    }
    if let Some(canary) = canary {
        tree = tree.with(format!("canary: upstream {canary} instead of {upstream}"));
    }
    if attempts.is_empty() {
        tree = tree.with("no endpoint was asked: the proxy made the response");
    }
    tree = tree.with_all(attempts.iter().map(attempt));
    tree.with(format!(
        "answer: status {}, {} bytes of body, after {}",
        request.status,
        request.sent,
        millis(request.elapsed)
    ))
}

fn attempt(attempt: &TracedAttempt) -> Tree {
    let TracedAttempt { endpoint, began, status, .. } = attempt;
    let times = [
        ("connected", attempt.connected),
        ("head of the response", attempt.header),
        ("ended", attempt.ended),
    ];
    let times = times.into_iter().filter_map(|(what, time)| Some(format!("{what} after {}", millis(time?))));
    Tree::new(format!("attempt at {endpoint}, {} after the start: status {status}", millis(*began)))
        .with_all(times)
}

fn millis(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_has_its_times() {
        let millis = Duration::from_millis;
        let failed =
            TracedAttempt { endpoint: "10.0.0.1:80".into(), status: 502, ..TracedAttempt::default() };
        let answered = TracedAttempt {
            endpoint: "10.0.0.2:80".into(),
            began: millis(3),
            connected: Some(millis(1)),
            header: Some(millis(2)),
            ended: Some(millis(4)),
            status: 200,
        };
        let request = TracedRequest {
            line: "GET / HTTP/1.1".into(),
            attempts: vec![failed, answered],
            status: 200,
            elapsed: millis(8),
            ..TracedRequest::default()
        };
        let text = explain(&request).to_text();
        for wanted in [
            "attempt at 10.0.0.1:80, 0.000 ms after the start: status 502\n",
            "attempt at 10.0.0.2:80, 3.000 ms after the start: status 200\n",
            "head of the response after 2.000 ms",
            "answer: status 200, 0 bytes of body, after 8.000 ms",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is missing in\n{text}");
        }
    }
}
