//! The vulnerabilities of ingress-nginx's admission webhook, each with its attack. Those of the data plane are tested in `ingress-proxy`.

use serde_json::{Value, json};

use super::tests::{review, send, webhook};
use super::{MAX_BODY, SHORT_BODY};

/// A review of an Ingress with these metadata.
fn review_with(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut body: Value = serde_json::from_slice(&review("new.example")).unwrap();
    change(&mut body["request"]["object"]);
    body.to_string().into_bytes()
}

fn allowed(body: &str) -> (bool, String) {
    let answer: Value = serde_json::from_str(body).unwrap();
    let message = answer["response"]["status"]["message"].as_str().unwrap_or_default();
    (answer["response"]["allowed"].as_bool().unwrap(), message.to_owned())
}

#[tokio::test]
async fn cve_2025_1098_a_uid_that_is_no_uuid_is_refused() {
    let webhook = webhook(0).await;
    let uid = "x\n}}}\nssl_engine /tmp/engine;\n#";
    let body = review_with(|object| {
        object["metadata"]["uid"] = uid.into();
        object["metadata"]["annotations"]["nginx.ingress.kubernetes.io/mirror-target"] =
            "http://a.example".into();
    });
    let (status, body) = send(&webhook, "POST", body).await;
    let (is_allowed, message) = allowed(&body);
    assert!(status == 200 && !is_allowed && message.contains("should be a UUID"), "{body}");
}

#[tokio::test]
async fn cve_2025_1974_a_review_starts_no_process_and_opens_no_file() {
    let webhook = webhook(0).await;
    let children = || std::fs::read_to_string("/proc/thread-self/children").unwrap();
    let before = children();
    // The library that nginx would have loaded is this test's program: an open file of the process, as in the attack.
    let engine = format!("/proc/{}/fd/3", std::process::id());
    for (name, value) in [
        ("auth-url", format!("http://a.example/#;}}}}}}\n\nssl_engine {engine};\n\n")),
        ("auth-tls-match-cn", format!("CN=a #(\n){{}}\n }}}}\nssl_engine {engine};\n#")),
        ("rewrite-target", format!("/x;}}}}}}\nload_module {engine};")),
        ("server-snippet", format!("ssl_engine {engine};")),
        ("configuration-snippet", format!("ssl_engine {engine};")),
    ] {
        let body = review_with(|object| {
            object["metadata"]["annotations"][format!("nginx.ingress.kubernetes.io/{name}")] =
                value.clone().into();
            object["metadata"]["annotations"]["nginx.ingress.kubernetes.io/auth-tls-secret"] =
                "shop/ca".into();
        });
        let (status, body) = send(&webhook, "POST", body).await;
        let (is_allowed, message) = allowed(&body);
        assert!(status == 200 && !is_allowed && message.contains(name), "{name}: {body}");
    }
    assert_eq!(children(), before, "no process was started");
}

#[tokio::test]
async fn cve_2026_24514_large_reviews_are_refused_or_read_one_after_the_other() {
    let webhook = webhook(0).await;
    let huge = review_with(|object| object["metadata"]["annotations"]["x"] = "y".repeat(MAX_BODY).into());
    assert_eq!(send(&webhook, "POST", huge).await.0, 413);
    let rules: Vec<_> = (0..20_000).map(|at| json!({"host": format!("h{at}.example")})).collect();
    for large in [
        review_with(|object| object["spec"]["rules"] = rules.into()),
        review_with(|object| object["metadata"]["annotations"]["x"] = "y".repeat(MAX_BODY / 2).into()),
        review_with(|object| object["metadata"]["managedFields"] = json!([{"x": "y".repeat(MAX_BODY / 2)}])),
    ] {
        assert!(large.len() > SHORT_BODY);
        // Another long review is being read.
        let held = webhook.long_bodies.acquire().await.unwrap();
        let waiting = tokio::spawn({
            let webhook = webhook.clone();
            async move { send(&webhook, "POST", large).await }
        });
        assert_eq!(send(&webhook, "POST", review("a.example")).await.0, 200, "a short one does not wait");
        assert!(!waiting.is_finished());
        drop(held);
        let (status, body) = waiting.await.unwrap();
        assert!(status == 200 && body.len() < 64 << 10, "{status} with {} bytes", body.len());
    }
}
