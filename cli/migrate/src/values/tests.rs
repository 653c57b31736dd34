use super::*;

/// A file of `tests/values`, which the tests of the chart install.
macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/values/", $name))
    };
}

/// A program that does not write the status of Ingresses.
fn flag(name: &str, value: &str) -> Option<&'static str> {
    (name == "publish-status-address" && !value.is_empty()).then_some("no status")
}

fn migrated(text: &str) -> MigratedValues {
    migrate_values(text, None, &flag).unwrap()
}

/// The outcomes of keys, as in the report without the reason.
#[track_caller]
fn check(values: &MigratedValues, wanted: &[(&str, KeyOutcome, Option<usize>)]) {
    for (path, outcome, line) in wanted {
        let found = values.findings.iter().find(|finding| finding.path.to_string() == *path);
        let found = found.unwrap_or_else(|| panic!("{path} is missing in\n{}", values.report()));
        assert_eq!((found.outcome, found.line), (*outcome, *line), "{found}");
        assert!(found.outcome == KeyOutcome::Honoured || !found.reason.is_empty(), "{found}");
    }
}

#[test]
fn a_file_of_ingress_nginx_keeps_its_text_but_for_what_is_refused() {
    let values = migrated(file!("ingress-nginx-cloud.yaml"));
    assert_eq!(values.origin, ValuesOrigin::IngressNginx);
    check(
        &values,
        &[
            ("controller.image.tag", KeyOutcome::Refused, Some(5)),
            ("controller.image.digest", KeyOutcome::Refused, Some(6)),
            ("controller.replicaCount", KeyOutcome::Honoured, Some(7)),
            ("controller.config.ssl-redirect", KeyOutcome::Honoured, Some(14)),
            ("controller.config.use-gzipp", KeyOutcome::Differs, Some(20)),
            ("controller.service.targetPorts.https", KeyOutcome::Honoured, Some(27)),
            ("controller.admissionWebhooks.enabled", KeyOutcome::Honoured, Some(37)),
            ("controller.admissionWebhooks.failurePolicy", KeyOutcome::Honoured, Some(38)),
            ("controller.extraArgs.default-ssl-certificate", KeyOutcome::Honoured, Some(40)),
            ("controller.extraArgs.publish-status-address", KeyOutcome::Differs, Some(41)),
            ("controller.extraArgs.enable-dynamic-certificates", KeyOutcome::Refused, Some(43)),
            ("controller.addHeaders", KeyOutcome::Honoured, Some(44)),
            ("controller.electionID", KeyOutcome::Honoured, Some(59)),
            ("config", KeyOutcome::Unknown, Some(61)),
            ("tcp", KeyOutcome::Honoured, Some(65)),
        ],
    );
    let changed: Vec<&str> = {
        let given: std::collections::HashSet<&str> = file!("ingress-nginx-cloud.yaml").lines().collect();
        values.text.lines().filter(|line| !given.contains(line)).collect()
    };
    assert!(changed.iter().all(|line| line.trim_start().starts_with('#')), "{changed:#?}");
    assert!(values.text.contains("  #   tag: v1.13.3\n"), "the whole block is a comment: {}", values.text);
    assert!(values.text.contains(
        "# unknown: config: is not a key of the root; did you mean controller.config?\n# config:\n"
    ));
    assert!(values.is_incomplete());
    assert!(values.report().starts_with("values of ingress-nginx: 3 refused, "), "{}", values.report());
}

#[test]
fn maps_on_one_line_are_written_anew_where_a_key_is_refused() {
    let values = migrated(file!("ingress-nginx-bare-metal.yaml"));
    check(
        &values,
        &[
            ("controller.image.tag", KeyOutcome::Refused, None),
            ("controller.image.registry", KeyOutcome::Honoured, None),
            ("controller.extraModules", KeyOutcome::Refused, Some(20)),
            ("controller.customTemplate.configMapName", KeyOutcome::Refused, Some(26)),
            ("controller.enableMimalloc", KeyOutcome::NoEffect, Some(32)),
            ("podSecurityPolicy", KeyOutcome::NoEffect, Some(33)),
            ("dhParam", KeyOutcome::NoEffect, Some(35)),
        ],
    );
    assert!(
        values.text.contains("  image: {\"chroot\":false,\"registry\":\"mirror.example.com\"}\n"),
        "{}",
        values.text
    );
    assert!(values.text.contains("## Homelab: a DaemonSet"), "{}", values.text);
    assert!(values.notes.is_empty(), "{:?}", values.notes);
}

#[test]
fn a_file_of_coredns_moves_below_dns() {
    let values = migrated(file!("coredns-takeover.yaml"));
    assert_eq!(values.origin, ValuesOrigin::CoreDns);
    check(
        &values,
        &[
            ("dns.image.repository", KeyOutcome::Refused, Some(3)),
            ("dns.image.tag", KeyOutcome::Refused, Some(4)),
            ("dns.service.clusterIP", KeyOutcome::Honoured, Some(10)),
            ("dns.servers[0].plugins[4].name", KeyOutcome::Refused, Some(42)),
            ("dns.servers[0].plugins[5].parameters", KeyOutcome::Honoured, Some(45)),
            ("dns.servers[1].zones[0].scheme", KeyOutcome::Refused, Some(57)),
            ("dns.replicas", KeyOutcome::Unknown, Some(76)),
        ],
    );
    let read: Value = serde_saphyr::from_str(&values.text).unwrap();
    assert_eq!(read["controller"], json!({ "enabled": false }));
    assert_eq!(read["dns"]["enabled"], true);
    assert_eq!(read["dns"].get("image"), None);
    let plugins = read["dns"]["servers"][0]["plugins"].as_array().unwrap();
    assert!(plugins.len() == 10 && plugins.iter().all(|plugin| plugin["name"] != "clouddns"), "{plugins:?}");
    assert_eq!(plugins[1]["configBlock"], "lameduck 10s");
    assert_eq!(read["dns"]["servers"][1]["zones"], json!([{ "zone": "corp.example.com." }]));
    assert!(values.text.contains("    # An alias from before the last move.\n"), "{}", values.text);
    assert!(values.notes.is_empty(), "{:?}", values.notes);
}

#[test]
fn a_file_that_cannot_be_edited_in_place_is_written_anew() {
    let values = migrated(file!("coredns-minimal.yaml"));
    check(
        &values,
        &[
            ("dns.servers[0].plugins[3].name", KeyOutcome::Refused, None),
            ("dns.serviceType", KeyOutcome::Honoured, Some(2)),
        ],
    );
    let read: Value = serde_saphyr::from_str(&values.text).unwrap();
    assert_eq!(read["dns"]["servers"][0]["plugins"].as_array().map(Vec::len), Some(4), "{}", values.text);
    assert!(
        values.notes.iter().any(|note| note.starts_with("dns.service.name is not set")),
        "{:?}",
        values.notes
    );

    let values = migrated("{controller: {image: {tag: v1}, replicaCount: 2}}\n");
    assert_eq!(
        serde_saphyr::from_str::<Value>(&values.text).unwrap(),
        json!({ "controller": { "replicaCount": 2 } })
    );
    assert!(values.notes.iter().any(|note| note.contains("written anew")), "{:?}", values.notes);
}

#[test]
fn a_file_of_portolan_stays_as_it_is() {
    let values = migrated(file!("portolan.yaml"));
    assert_eq!((values.origin, values.text.as_str()), (ValuesOrigin::Portolan, file!("portolan.yaml")));
    assert!(
        values.findings.iter().all(|finding| finding.outcome == KeyOutcome::Honoured),
        "{}",
        values.report()
    );
}

#[test]
fn wrong_values_are_refused_with_what_is_wanted() {
    for (text, path, reason) in [
        ("controller: { kind: Pod }", "controller.kind", "wanted one of Deployment, DaemonSet"),
        ("controller: { replicaCount: two }", "controller.replicaCount", "wanted text that matches ^[0-9]+$"),
        ("controller: {}\ntcp: { http: a/b:80 }", "tcp", "wanted keys that match"),
        (
            "controller: { keda: { enabled: true }, autoscaling: { enabled: true } }",
            "controller.keda.enabled",
            "excludes",
        ),
        ("controller: {}\nrbac: { scope: true }", "rbac.scope", "needs controller.scope.enabled"),
        ("servers: [{ port: 53, plugins: [] }]", "dns.livenessProbe.enabled", "needs the plugin health"),
    ] {
        let values = migrated(text);
        let found = values.findings.iter().find(|finding| finding.path.to_string() == path);
        let found = found.unwrap_or_else(|| panic!("{text}: {}", values.report()));
        assert!(found.outcome == KeyOutcome::Refused && found.reason.contains(reason), "{text}: {found}");
    }
}

/// What is lost without being left out is not a mere difference: the command ends with exit code 1.
#[test]
fn what_protects_and_is_not_implemented_is_closed() {
    let text = "controller: { config: { enable-modsecurity: 'true' } }";
    let values = migrated(text);
    let is_key = |path: &str| path == "controller.config.enable-modsecurity";
    let found = values.findings.iter().find(|finding| is_key(&finding.path.to_string()));
    let found = found.unwrap_or_else(|| panic!("{}", values.report()));
    assert!(found.outcome == KeyOutcome::Closed && found.reason.contains("gets 503"), "{found}");
    assert!(values.is_incomplete() && values.text.trim_end() == text, "it stays: {}", values.text);
    let off = migrated("controller: { config: { enable-modsecurity: 'false' } }");
    assert!(!off.is_incomplete(), "{}", off.report());
}

#[test]
fn the_chart_of_a_file_is_detected_or_asked_for() {
    let origin = |text: &str| migrate_values(text, None, &flag).map(|values| values.origin);
    for (text, wanted) in [
        ("controller: {}", ValuesOrigin::IngressNginx),
        ("defaultBackend: { enabled: true }", ValuesOrigin::IngressNginx),
        ("tcp: { 53: a/b:53 }", ValuesOrigin::IngressNginx),
        ("isClusterService: true", ValuesOrigin::CoreDns),
        ("replicaCount: 2\nservers: []", ValuesOrigin::CoreDns),
        ("dns: { enabled: true }", ValuesOrigin::Portolan),
        ("controller: {}\nmode: combined", ValuesOrigin::Portolan),
    ] {
        assert_eq!(origin(text), Ok(wanted), "{text}");
    }
    for (text, reason) in [
        ("rbac: { create: true }", "--from"),
        ("", "--from"),
        ("ingress-nginx: { controller: {} }", "pass the part below it"),
        ("apiVersion: helm.cattle.io/v1\nkind: HelmChartConfig", "HelmChartConfig"),
        ("- a", "a map of keys"),
        ("a: [", "1"),
    ] {
        let error = origin(text).unwrap_err();
        assert!(error.contains(reason), "{text:?}: {error}");
    }
    let forced = migrate_values("rbac: { create: true }", Some(ValuesOrigin::CoreDns), &flag).unwrap();
    assert_eq!(serde_saphyr::from_str::<Value>(&forced.text).unwrap()["dns"]["rbac"]["create"], true);
}
