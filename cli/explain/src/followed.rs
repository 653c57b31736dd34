//! What happened to a request that was followed: phase by phase, each with the annotations that have an effect in it.

use std::time::Duration;

use cluster::Ingress;
use ingress_proxy::followed_requests::{AttemptReport, RequestReport};
use ingress_routes::plan::phase::Phase;

use crate::ingress::of_phase;
use crate::tree::Tree;

/// The phases before an endpoint is asked.
const BEFORE: [Phase; 5] =
    [Phase::Server, Phase::Rewrite, Phase::Limits, Phase::Access, Phase::UpstreamRequest];

/// The phases of the response.
const AFTER: [Phase; 3] = [Phase::ResponseHead, Phase::ResponseBody, Phase::Log];

/// The report of a request as a tree. `ingress` is that of its rule, and `prefix` is `--annotations-prefix`.
pub fn explain(request: &RequestReport, ingress: Option<&Ingress>, prefix: &str) -> Tree {
    let RequestReport { line, client, request_id, route, upstream, canary, attempts, .. } = request;
    let mut tree = Tree::new(format!("what happened: {line} from {client}, id {request_id}"));
    tree = tree.with(match route {
        Some((host, path, Some(ingress))) => format!("route: host {host}, {path} of Ingress {ingress}"),
        Some((host, path, None)) => format!("route: host {host}, {path}, of no Ingress"),
        None => "route: none, because the head was refused".to_owned(),
    });
    let part = |of: Phase| phase(of, request, ingress, prefix);
    tree = tree.with_all(BEFORE.into_iter().filter_map(part));
    // The choice of a Service and an endpoint is told by the canary and the attempts.
    if let Some(canary) = canary {
        let settings = ingress.map(|ingress| of_phase(ingress, prefix, Phase::Balance)).unwrap_or_default();
        tree = tree
            .with(Tree::new(format!("canary: upstream {canary} instead of {upstream}")).with_all(settings));
    }
    if attempts.is_empty() {
        tree = tree.with("no endpoint was asked: the proxy made the response");
    }
    tree = tree.with_all(attempts.iter().map(attempt)).with_all(AFTER.into_iter().filter_map(part));
    tree.with(format!(
        "answer: status {}, {} bytes of body, after {}",
        request.status,
        request.sent,
        millis(request.elapsed)
    ))
}

/// What a phase did; `None` if the rule has nothing for it.
fn phase(phase: Phase, request: &RequestReport, ingress: Option<&Ingress>, prefix: &str) -> Option<Tree> {
    let settings = ingress.map(|ingress| of_phase(ingress, prefix, phase)).unwrap_or_default();
    let changes = match phase {
        Phase::UpstreamRequest => request.request_changes.as_slice(),
        Phase::ResponseHead => &request.response_changes,
        _ => &[],
    };
    let has_ended = request.answered_in.is_some_and(|ended| ended < phase && phase < Phase::ResponseHead);
    let effect = match (phase, &request.target) {
        _ if has_ended => Some("not reached".to_owned()),
        _ if request.answered_in == Some(phase) => Some(format!("answers with {}", request.status)),
        (Phase::Rewrite, Some(target)) => Some(format!("the endpoint gets {target}")),
        (Phase::Rewrite | Phase::Limits | Phase::Access, _) => Some("passed".to_owned()),
        _ => None,
    };
    if settings.is_empty()
        && changes.is_empty()
        && effect.as_deref().is_none_or(|effect| effect == "passed" || has_ended)
    {
        return None;
    }
    let text = match effect {
        Some(effect) => format!("{}: {effect}", phase.name()),
        None => phase.name().to_owned(),
    };
    Some(Tree::new(text).with_all(changes.iter().cloned()).with_all(settings))
}

fn attempt(attempt: &AttemptReport) -> Tree {
    let AttemptReport { endpoint, began, status, .. } = attempt;
    let times = [
        ("connected", attempt.connected),
        ("head of the response", attempt.header),
        ("ended", attempt.ended),
    ];
    let times = times.into_iter().filter_map(|(what, time)| Some(format!("{what} after {}", millis(time?))));
    let end = status.map_or_else(|| "ended by the client".to_owned(), |status| format!("status {status}"));
    Tree::new(format!("attempt at {endpoint}, {} after the start: {end}", millis(*began))).with_all(times)
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
            AttemptReport { endpoint: "10.0.0.1:80".into(), status: Some(502), ..AttemptReport::default() };
        let answered = AttemptReport {
            endpoint: "10.0.0.2:80".into(),
            began: millis(3),
            connected: Some(millis(1)),
            header: Some(millis(2)),
            ended: Some(millis(4)),
            status: Some(200),
        };
        let request = RequestReport {
            line: "GET / HTTP/1.1".into(),
            attempts: vec![failed, answered],
            status: 200,
            elapsed: millis(8),
            ..RequestReport::default()
        };
        let text = explain(&request, None, "").to_text();
        for wanted in [
            "attempt at 10.0.0.1:80, 0.000 ms after the start: status 502\n",
            "attempt at 10.0.0.2:80, 3.000 ms after the start: status 200\n",
            "head of the response after 2.000 ms",
            "answer: status 200, 0 bytes of body, after 8.000 ms",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is missing in\n{text}");
        }
    }

    #[test]
    fn each_phase_has_its_effect_and_its_annotations() {
        let manifest = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: shop
  annotations:
    nginx.ingress.kubernetes.io/rewrite-target: /new
    nginx.ingress.kubernetes.io/limit-rps: '5'
    nginx.ingress.kubernetes.io/custom-headers: shop/fields
    nginx.ingress.kubernetes.io/mine: unknown
spec: {}
";
        let objects = sources::manifests::decode_objects("ingress.yaml", manifest, |_| {}).objects;
        let [cluster::Object::Ingress(ingress)] = objects.as_slice() else { panic!("{objects:?}") };
        let passed = RequestReport {
            target: Some("/new".to_owned()),
            request_changes: vec!["sets X-Shop: 1".to_owned()],
            attempts: vec![AttemptReport::default()],
            ..RequestReport::default()
        };
        let explained = |request: &RequestReport| {
            explain(request, Some(ingress), "nginx.ingress.kubernetes.io").to_text()
        };
        let text = explained(&passed);
        for wanted in [
            "├─ rewrite: the endpoint gets /new\n│  └─ rewrite-target: \"/new\": ",
            "├─ limits: passed\n│  └─ limit-rps: \"5\": ",
            "├─ upstream request\n│  ├─ sets X-Shop: 1\n",
            "custom-headers: \"shop/fields\": ",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is missing in\n{text}");
        }
        assert!(!text.contains("mine"), "{text}");
        let refused =
            RequestReport { status: 503, answered_in: Some(Phase::Limits), ..RequestReport::default() };
        let text = explained(&refused);
        for wanted in
            ["├─ rewrite: passed\n", "├─ limits: answers with 503\n", "├─ upstream request: not reached\n"]
        {
            assert!(text.contains(wanted), "{wanted:?} is missing in\n{text}");
        }
    }
}
