use super::*;
use crate::outcome::Outcome;
use crate::output;
use crate::workload::ControllerFlags;

const CONTROLLER: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: controller, namespace: edge}
spec:
  template:
    spec:
      containers:
      - image: registry.k8s.io/ingress-nginx/controller:v1.15.1
        args:
        - /nginx-ingress-controller
        - --configmap=$(POD_NAMESPACE)/controller
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: controller, namespace: edge}
data:
  hsts: \"true\"
  no-such-key: x
";

fn ingress(name: &str, class: &str, annotations: &str) -> String {
    format!(
        "
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
  namespace: shop
  annotations: {{{annotations}}}
spec:
  ingressClassName: {class}
  rules:
  - host: {name}.example
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}
"
    )
}

/// Checks the text of one manifest file, as the command does.
async fn checked(text: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.yaml");
    std::fs::write(&path, text).unwrap();
    let input = crate::read_files(&[folder.path().to_owned()], &|_, _| {}).unwrap();
    let flags = |args: &[String]| {
        let config_map = args.iter().find_map(|arg| arg.strip_prefix("--configmap="));
        let key = config_map
            .and_then(|text| text.split_once('/'))
            .map(|(namespace, name)| Key::new(namespace, name));
        Ok(ControllerFlags { options: RouteOptions { config_map: key, ..options() }, findings: Vec::new() })
    };
    let mut report = check(input, options(), &flags, &Handle::current(), &|_, _| {});
    // Paths without the temporary folder.
    let prefix = format!("{}/", folder.path().display());
    report.objects.iter_mut().for_each(|object| object.name = object.name.replace(&prefix, ""));
    let places = report.objects.iter_mut().flat_map(|object| {
        object.place.iter_mut().chain(object.settings.iter_mut().filter_map(|finding| finding.place.as_mut()))
    });
    places.for_each(|place| place.file = place.file.replace(&prefix, ""));
    report
}

fn options() -> RouteOptions {
    RouteOptions { admit_default_class: true, ..RouteOptions::default() }
}

fn outcome(report: &Report, kind: &str, name: &str) -> Outcome {
    let found = report.objects.iter().find(|object| object.kind == kind && object.name == name);
    found.unwrap_or_else(|| panic!("no {kind} {name} in {report:?}")).outcome
}

#[tokio::test]
async fn every_object_and_setting_has_an_outcome() {
    let prefix = "nginx.ingress.kubernetes.io";
    let all = [
        ingress("same", "nginx", &format!("{prefix}/app-root: /home, example.com/other: x")),
        ingress("differs", "nginx", &format!("{prefix}/proxy-body-size: ten")),
        ingress("closed", "nginx", &format!("{prefix}/enable-modsecurity: 'true'")),
        ingress("hidden", "nginx", &format!("{prefix}/auth-type: basic, {prefix}/auth-secret: users")),
        ingress("theirs", "traefik", ""),
        "---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: traefik}\nspec: {controller: traefik.io/c}\n".to_owned(),
        ingress("unclear", "internal", ""),
    ]
    .concat();
    let report = checked(&format!("{CONTROLLER}{all}")).await;
    for (kind, name, wanted) in [
        ("Ingress", "shop/same", Outcome::AsBefore),
        ("Ingress", "shop/differs", Outcome::Differs),
        ("Ingress", "shop/closed", Outcome::Closed),
        ("Ingress", "shop/hidden", Outcome::Unknown),
        ("Ingress", "shop/theirs", Outcome::NotOurs),
        ("Ingress", "shop/unclear", Outcome::Unknown),
        ("ConfigMap", "edge/controller", Outcome::Differs),
        ("Deployment", "edge/controller", Outcome::AsBefore),
    ] {
        assert_eq!(outcome(&report, kind, name), wanted, "{kind} {name}: {}", output::text(&report, true));
    }
    assert_eq!(report.exit_code(), 2);
    let text = output::text(&report, false);
    assert!(text.contains("6 Ingresses: 1 as before, 1 not ours, 2 unknown, 1 differs, 1 closed"), "{text}");
    assert!(text.contains("all.yaml:24  no-such-key: differs: is not known"), "{text}");
    assert!(text.contains("ConfigMap edge/controller, annotations"), "{text}");
    assert!(!text.contains("app-root"), "{text}");
    assert!(output::text(&report, true).contains("nginx.ingress.kubernetes.io/app-root: as before"));
}

#[tokio::test]
async fn what_ingress_nginx_ignores_too_is_no_difference() {
    let prefix = "nginx.ingress.kubernetes.io";
    let canary = format!("{prefix}/canary: 'true', {prefix}/canary-weight: '10'");
    let snippet = format!("{prefix}/configuration-snippet: 'return 200;'");
    let all = [
        ingress("web", "nginx", ""),
        ingress("alone", "nginx", &canary),
        ingress("risky", "nginx", &snippet),
    ];
    let duplicate = ingress("early", "nginx", "").replace("early.example", "web.example");
    let report = checked(&(all.concat() + &duplicate)).await;
    for (name, wanted) in [
        ("web", Outcome::AsBefore),
        ("alone", Outcome::Ignored),
        ("risky", Outcome::Ignored),
        ("early", Outcome::Ignored),
    ] {
        let text = output::text(&report, true);
        assert_eq!(outcome(&report, "Ingress", &format!("shop/{name}")), wanted, "{name}: {text}");
    }
    assert_eq!(report.exit_code(), 0);
    let text = output::text(&report, false);
    assert!(text.contains("4 Ingresses: 1 as before, 3 ignored as before"), "{text}");
    assert!(text.contains("allows; the whole Ingress is left out, as by ingress-nginx"), "{text}");
}

#[tokio::test]
async fn a_bad_regular_expression_has_the_line_of_its_path() {
    let prefix = "nginx.ingress.kubernetes.io";
    let text =
        ingress("web", "nginx", &format!("{prefix}/use-regex: 'true'")).replace("path: /,", "path: '/(',");
    let line = 1 + text.lines().position(|line| line.contains("'/('")).unwrap();
    let text = output::text(&checked(&text).await, false);
    assert!(
        text.contains(&format!("all.yaml:{line}  spec.rules[0].http.paths[0]: closed: \"/(\" of host")),
        "{text}"
    );
}

#[tokio::test]
async fn without_a_controller_the_class_of_its_flags_is_ours() {
    let report = checked(&ingress("web", "nginx", "")).await;
    assert_eq!(outcome(&report, "Ingress", "shop/web"), Outcome::AsBefore);
    assert_eq!(report.exit_code(), 0);
}

#[tokio::test]
async fn a_corefile_of_a_config_map_has_the_lines_of_the_manifest() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: coredns, namespace: kube-system}\ndata:\n  Corefile: |\n    .:53 {\n      \
                errors\n      route53 example.org.:Z1\n      forward . /etc/resolv.conf\n    }\n";
    let report = checked(text).await;
    assert_eq!(outcome(&report, "Corefile", "kube-system/coredns"), Outcome::Refused);
    let text = output::text(&report, false);
    assert!(text.contains("1 Corefile: 1 refused (3 lines: 1 as before, 1 differs, 1 refused)"), "{text}");
    assert!(text.contains("all.yaml:8  route53 example.org.:Z1: refused"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_read_is_unknown_and_the_rest_is_checked() {
    let text = format!("{}\n---\nkind: [\n", ingress("web", "nginx", ""));
    let report = checked(&text).await;
    assert_eq!(outcome(&report, "Ingress", "shop/web"), Outcome::AsBefore);
    assert_eq!(outcome(&report, "File", "all.yaml").exit_code(), 1);
    assert_eq!(report.exit_code(), 1);
}

/// Names of objects may contain anything a file contains: no other line, element or document can be made of them.
#[tokio::test]
async fn text_of_objects_stays_text_in_every_format() {
    let evil = "\"nginx.ingress.kubernetes.io/<script>alert(1)</script>\\nIngress shop/x: as before\": \"x\"";
    let report = checked(&ingress("web", "nginx", evil)).await;
    let text = output::text(&report, true);
    assert!(!text.lines().any(|line| line.starts_with("Ingress shop/x")), "{text}");
    assert!(!output::html(&report).contains("<script"));
    for document in [output::json(&report), output::sarif(&report)] {
        serde_json::from_str::<serde_json::Value>(&document).unwrap();
    }
}

#[tokio::test]
async fn sarif_has_a_result_with_its_line_for_each_change() {
    let report = checked(&ingress("web", "nginx", "nginx.ingress.kubernetes.io/proxy-body-size: ten")).await;
    let sarif: serde_json::Value = serde_json::from_str(&output::sarif(&report)).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 1);
    assert_eq!(results[0]["level"], "warning");
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "all.yaml");
    assert_eq!(place["region"]["startLine"], 8);
}

#[tokio::test]
async fn a_line_of_coredns_custom_has_its_place_in_the_manifest() {
    let report = checked(
        "
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    .:53 {
      errors
      import /etc/coredns/custom/*.override
    }
---
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns-custom, namespace: kube-system}
data:
  own.override: |
    log
    route53 example.org.:Z1
",
    )
    .await;
    let refused = report.objects[0].settings.iter().find(|finding| finding.outcome == Outcome::Refused);
    let place = refused.and_then(|finding| finding.place.clone()).expect("a place");
    assert_eq!(place.to_string(), "all.yaml:18");
}
