use cluster::{Event, Object};

use super::*;
use crate::testing::{TestCluster, manifests};

/// The verdict on a manifest: `admitted`, or the reasons, and the warnings after a bar.
fn verdict(cluster: &TestCluster, options: &RouteOptions, manifest: &str) -> String {
    let ingress = Arc::new(manifests(manifest).pop().unwrap());
    let table = cluster.table.load_full();
    let mut cache = cluster::Cache::default();
    for (kind, key) in table.admission_references(&ingress, options) {
        if kind == Kind::ConfigMap
            && let Some(found) = cluster.snapshot().get::<ConfigMap>(&key)
        {
            cache.apply([Event::Apply(Object::ConfigMap(found.clone()))], 1);
        }
    }
    let AdmissionVerdict { refusals, warnings } = table.review(&ingress, options, cache.snapshot());
    let refused = if refusals.is_empty() { "admitted".to_owned() } else { refusals.join("; ") };
    if warnings.is_empty() { refused } else { format!("{refused} | {}", warnings.join("; ")) }
}

fn options() -> RouteOptions {
    RouteOptions {
        watch_ingress_without_class: true,
        config_map: Some(Key::new("ingress", "controller")),
        ..RouteOptions::default()
    }
}

const RULE: &str = "spec: {rules: [{host: new.example, paths: [[/, Prefix, web]]}]}";

const KNOWN: &str = "
metadata: {name: known}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web], [/exact, Exact, web]]}, {paths: [[/any, Prefix, web]]}]}
---
metadata: {name: canary, annotations: {canary: 'true', canary-weight: '5'}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, other]]}]}
---
metadata: {name: second}
spec: {rules: [{host: b.example, paths: [[/, Prefix, web]]}, {host: a.example, paths: [[/, Prefix, web]]}]}
";

#[test]
fn a_path_of_another_ingress_is_refused_unless_one_of_the_two_is_a_canary() {
    let cluster = TestCluster::configured(KNOWN);
    let new = |annotations: &str, rule: &str| {
        let manifest =
            format!("metadata: {{name: new, annotations: {{{annotations}}}}}\nspec: {{rules: [{rule}]}}");
        verdict(&cluster, &options(), &manifest)
    };
    for (annotations, rule, refused) in [
        ("", "{host: a.example, paths: [[/, Prefix, web]]}", true),
        ("", "{host: A.example, paths: [[/, ImplementationSpecific, web]]}", true),
        ("", "{host: a.example, paths: [[/exact, Prefix, web]]}", true),
        ("", "{host: a.example, paths: [[/other, Prefix, web]]}", false),
        ("", "{host: new.example, paths: [[/, Prefix, web]]}", false),
        ("", "{paths: [[/any, Prefix, web]]}", true),
        ("", "{paths: [[/, Prefix, web]]}", false),
        ("canary: 'true'", "{host: a.example, paths: [[/exact, Exact, web]]}", false),
        ("canary: 'false'", "{host: a.example, paths: [[/, Prefix, web]]}", false),
        // Two canaries.
        ("canary: 'true'", "{host: a.example, paths: [[/, Prefix, web]]}", true),
    ] {
        let found = new(annotations, rule);
        assert_eq!(
            found.contains("already defined in Ingress default/"),
            refused,
            "{annotations} {rule}: {found}"
        );
    }
    assert_eq!(
        new("", "{host: a.example, paths: [[/, Prefix, web]]}"),
        "spec.rules[0].http.paths[0]: host \"a.example\" and path \"/\" are already defined in Ingress default/second"
    );
}

#[test]
fn an_ingress_may_keep_a_path_that_it_had_before() {
    let cluster = TestCluster::configured(KNOWN);
    let known = "metadata: {name: known}\nspec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}";
    let found = verdict(&cluster, &options(), known);
    assert!(found.starts_with("admitted"), "{found}");
    let more = "metadata: {name: second}\nspec: {rules: [{host: a.example, paths: [[/exact, Exact, web]]}]}";
    assert!(verdict(&cluster, &options(), more).contains("already defined"));
}

#[test]
fn values_and_annotations_that_ingress_nginx_refuses_are_refused_with_what_was_wanted() {
    let mut cluster = TestCluster::configured("");
    cluster.configure(&[("annotation-value-word-blocklist", "set_by_lua,{")]);
    let of = |annotations: &str| {
        verdict(
            &cluster,
            &options(),
            &format!("metadata: {{name: new, annotations: {{{annotations}}}}}\n{RULE}"),
        )
    };
    for (annotations, wanted) in [
        ("connection-proxy-header: set_by_lua", "contains \"set_by_lua\""),
        ("configuration-snippet: return 200", "allow-snippet-annotations"),
        ("auth-url: 'http://a.example/x', auth-snippet: proxy_set_header A b", "allow-snippet-annotations"),
        ("auth-tls-secret: \"a b\\n;\"", "auth-tls-secret: "),
        ("upstream-vhost: 'a;b'", "upstream-vhost: \"a;b\" should be"),
        ("permanent-redirect: \"http://a\\nreturn 200\"", "permanent-redirect: "),
        ("connection-proxy-header: 'a;}'", "connection-proxy-header: \"a;}\" should be"),
        ("rewrite-target: '/x;return 200'", "rewrite-target: "),
        ("server-alias: 'a b'", "server-alias: \"a b\""),
        ("auth-url: 'http://a.example/ x'", "auth-url: "),
    ] {
        let found = of(annotations);
        let refused = found.split(" | ").next().unwrap();
        assert!(refused.contains(wanted), "{annotations}: {found}");
    }
    for (annotations, warning) in [
        ("canary: 'true', canary-weight: abc", "canary-weight"),
        ("proxy-body-size: abc", "proxy-body-size"),
        ("auth-type: basic, auth-secret: missing", "the routes answer 503"),
        ("rewrite-traget: /x", "did you mean rewrite-target?"),
        ("secure-verify-ca-secret: x", "is deprecated"),
    ] {
        let found = of(annotations);
        assert!(found.starts_with("admitted | ") && found.contains(warning), "{annotations}: {found}");
    }
    assert_eq!(of("rewrite-target: /x"), "admitted");
}

#[test]
fn snippets_need_both_keys_and_are_admitted_with_a_warning() {
    let manifest =
        format!("metadata: {{name: new, annotations: {{configuration-snippet: return 200}}}}\n{RULE}");
    let mut cluster = TestCluster::configured("");
    cluster.configure(&[("allow-snippet-annotations", "true")]);
    assert!(verdict(&cluster, &options(), &manifest).contains("it would need Critical"));
    cluster.configure(&[("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")]);
    let found = verdict(&cluster, &options(), &manifest);
    assert!(found.starts_with("admitted | ") && found.contains("the routes answer 503"), "{found}");
}

#[test]
fn paths_of_the_types_exact_and_prefix_are_plain() {
    let mut cluster = TestCluster::configured("");
    let manifest = "metadata: {name: new}\nspec: {rules: [{host: a.example, paths: [['/a(.*)', Prefix, web], ['/b[0-9]', ImplementationSpecific, web]]}]}";
    let found = verdict(&cluster, &options(), manifest);
    assert!(
        found.starts_with("spec.rules[0].http.paths[0].path: \"/a(.*)\" cannot be used with pathType Prefix"),
        "{found}"
    );
    assert!(!found.contains("/b["), "{found}");
    cluster.configure(&[("strict-validate-path-type", "false")]);
    assert!(verdict(&cluster, &options(), manifest).starts_with("admitted | "));
}

#[test]
fn nginx_text_is_refused_whatever_the_class_and_nothing_else_of_a_foreign_one() {
    let cluster = TestCluster::configured(KNOWN);
    let foreign = |path: &str| {
        let manifest = format!(
            "metadata: {{name: new, annotations: {{configuration-snippet: x}}}}\nspec: {{ingressClassName: other, rules: [{{host: a.example, paths: [['{path}', ImplementationSpecific, web]]}}]}}"
        );
        verdict(&cluster, &options(), &manifest)
    };
    assert_eq!(foreign("/"), "admitted");
    for path in [
        "/x/etc/passwd",
        "/x root /var;",
        "/x\u{20}alias /etc; }",
        "/content_by_lua_block",
        "/var/run/secrets",
    ] {
        assert!(foreign(path).contains("which would be nginx configuration"), "{path}");
    }
    assert_eq!(foreign("/roots/alias"), "admitted");
}

#[test]
fn flags_decide_about_default_backends_and_the_prefix() {
    let cluster = TestCluster::configured("");
    let manifest = "metadata: {name: new}\nspec: {defaultBackend: web}";
    assert_eq!(verdict(&cluster, &options(), manifest), "admitted");
    let closed = RouteOptions { disable_catch_all: true, ..options() };
    assert!(verdict(&cluster, &closed, manifest).starts_with("spec.defaultBackend: "));
    let own = RouteOptions { annotations_prefix: "own.example".into(), ..options() };
    let manifest = format!("metadata: {{name: new, annotations: {{rewrite-target: /x}}}}\n{RULE}");
    assert!(verdict(&cluster, &own, &manifest).contains("the prefix of annotations is own.example"));
}

#[test]
fn a_huge_ingress_gets_a_short_answer() {
    let cluster = TestCluster::configured(KNOWN);
    let mut ingress =
        manifests("metadata: {name: new}\nspec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}")
            .pop()
            .unwrap();
    ingress.rules = vec![ingress.rules[0].clone(); 20_000];
    let table = cluster.table.load_full();
    let verdict = table.review(&Arc::new(ingress.clone()), &options(), &Snapshot::default());
    assert_eq!(verdict.refusals.len(), MAX_REFUSALS + 1);
    ingress.rules.clear();
    ingress.annotations = vec![("a.example/b".into(), "x".repeat(9 << 20))];
    let verdict = table.review(&Arc::new(ingress), &options(), &Snapshot::default());
    assert!(verdict.refusals[0].len() < 200, "{:?}", verdict.refusals[0].len());
}
