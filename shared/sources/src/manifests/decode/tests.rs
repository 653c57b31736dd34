use proptest::proptest;

use super::*;

/// The keys of the objects, then the problems, a line each.
fn shown(name: &str, text: &str) -> Vec<String> {
    let decoded = decode(name, text);
    let objects = decoded.objects.iter().map(|object| format!("{} {}", object.kind(), object.key()));
    let problems = decoded.problems.iter().map(ToString::to_string);
    let ignored = decoded.ignored.iter().map(|kind| format!("ignored {kind}"));
    objects.chain(problems).chain(ignored).collect()
}

#[test]
fn a_file_contains_documents_and_lists() {
    let text = "\
# A shop.
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
# nothing here
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}}
- apiVersion: networking.k8s.io/v1
  kind: Ingress
  metadata: {name: web}
- {apiVersion: multicluster.x-k8s.io/v1alpha1, kind: ServiceImport, metadata: {name: web}, spec: {type: Headless}}
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}
...
---
apiVersion: v1
kind: ConfigMapList
items:
- metadata: {name: settings}
  data:
    block: |
      ---
      not a document
    indented: |
      first
       ---
---
";
    assert_eq!(
        shown("shop.yaml", text),
        [
            "Namespace shop",
            "Service shop/web",
            "Ingress default/web",
            "ServiceImport default/web",
            "ConfigMap default/settings",
            "ignored apps/v1 Deployment"
        ]
    );
}

#[test]
fn json_is_read_value_by_value() {
    let text = r#"
{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
{
	"apiVersion": "v1",
	"kind": "Service",
	"metadata": {"name": "db", "annotations": {"emoji": "\ud83d\ude00"}},
	"spec": {"ports": [{"port": 70000}]}
}
{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"}}"#;
    assert_eq!(
        shown("shop.json", text),
        [
            "Service default/web",
            "Service default/api",
            // The YAML reader knows the line; where it cannot read the JSON it is the first of the document.
            "manifest shop.json:7: Service default/db: spec.ports[0].port: invalid value: integer `70000`; wanted a port number from 1 to 65535",
        ]
    );
    assert_eq!(
        shown("shop.json", "{\"apiVersion\": \"v1\",\n \"kind\": \"Service\""),
        ["manifest shop.json:2: EOF while parsing an object at line 2 column 18; wanted YAML or JSON"]
    );
    assert_eq!(
        shown("flow.yaml", "{apiVersion: v1, kind: Service, metadata: {name: web}}"),
        ["Service default/web"],
        "YAML may begin with a brace"
    );
}

/// Each row: the text of the file, and the reported problem.
#[test]
fn an_invalid_document_is_reported_with_its_line_and_what_was_expected() {
    let rows = [
        (
            "kind: Service\nmetadata: {name: web}",
            r#"manifest f.yaml:1: Service default/web: apiVersion: missing; wanted v1"#,
        ),
        (
            "apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: web}",
            r#"manifest f.yaml:1: Ingress default/web: apiVersion: "extensions/v1beta1"; wanted networking.k8s.io/v1"#,
        ),
        (
            "kind: EndpointSlice\napiVersion: discovery.k8s.io/v1beta1\nmetadata: {name: web}",
            r#"manifest f.yaml:2: EndpointSlice default/web: apiVersion: "discovery.k8s.io/v1beta1"; wanted discovery.k8s.io/v1"#,
        ),
        ("apiVersion: serving.knative.dev/v1\nkind: Service", "ignored serving.knative.dev/v1 Service"),
        (
            "just text",
            "manifest f.yaml:1: not an object; wanted an object with apiVersion, kind and metadata",
        ),
        (
            "apiVersion: v1\nmetadata: {name: web}",
            "manifest f.yaml:1: kind: missing; wanted the kind of object, such as Service",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  ports:\n  - name: http\n    port: many",
            "manifest f.yaml:8: Service default/web: spec.ports[0].port: invalid type: string \"many\"; wanted a port number from 1 to 65535",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  clusterIP: 10.0.0.300",
            "manifest f.yaml:6: Service default/web: spec.clusterIP: \"10.0.0.300\"; wanted an IP address or \"None\"",
        ),
        (
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: web\n  annotations:\n    a: \"true\"\n    b: true",
            "manifest f.yaml:7: Ingress default/web: metadata.annotations.b: invalid type: boolean `true`; wanted a string",
        ),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: tls}\ndata:\n  tls.key: private!",
            "manifest f.yaml:5: Secret default/tls: data.tls.key: invalid value; wanted base64 (plain text belongs under stringData)",
        ),
        (
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\nspec:\n  rules:\n  - http:\n      paths:\n      - path: /\n        backend: {}",
            "manifest f.yaml:8: Ingress default/web: spec.rules[0].http.paths[0]: missing field `pathType`",
        ),
        (
            "apiVersion: v1\nkind: List\nitems: 3",
            "manifest f.yaml:3: items: not a list; wanted a list of objects",
        ),
        (
            "apiVersion: v1\nkind: ServiceList\nitems: {}",
            "manifest f.yaml:3: Service: items: not a list; wanted a list of objects",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: []",
            "manifest f.yaml:4: Service default/web: spec: invalid type: sequence; wanted an object",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata:\n- web",
            "manifest f.yaml:4: Service: metadata: invalid type: sequence; wanted an object",
        ),
        ("apiVersion: example.org/v1\nkind: ShoppingList\nitems: 3", "ignored example.org/v1 ShoppingList"),
    ];
    for (text, reported) in rows {
        assert_eq!(shown("f.yaml", text), [reported], "{text}");
    }
}

#[test]
fn a_broken_document_does_not_affect_others() {
    let text = "\
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: v1
kind: Service
metadata: {name: [}
---
apiVersion: v1
kind: Service
metadata: {name: db}
";
    let shown = shown("f.yaml", text);
    assert_eq!(shown[..2], ["Service default/web", "Service default/db"]);
    assert!(shown[2].starts_with("manifest f.yaml:7: "), "{shown:?}");
    assert!(shown[2].ends_with("; wanted YAML or JSON"), "{shown:?}");
    assert_eq!(shown.len(), 3);
}

#[test]
fn an_invalid_item_does_not_affect_others() {
    let text = "\
apiVersion: v1
kind: ServiceList
items:
- metadata: {name: web}
- metadata: {name: Web}
- metadata: {name: db}
";
    assert_eq!(
        shown("f.yaml", text),
        [
            "Service default/web",
            "Service default/db",
            "manifest f.yaml:5: Service default/Web: metadata.name: \"Web\"; wanted 1 to 63 lower-case letters, digits and inner hyphens",
        ]
    );
}

#[test]
fn anchors_are_expanded_and_exponential_expansion_is_rejected() {
    let text = "\
apiVersion: v1
kind: List
shared: &port {port: 80}
items:
- {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [*port]}}
";
    assert_eq!(shown("f.yaml", text), ["Service default/web"]);
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let below = level - 1;
        bomb += &format!("a{level}: &a{level} [{}]\n", vec![format!("*a{below}"); 10].join(", "));
    }
    let shown = shown("f.yaml", &bomb);
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert!(shown[0].contains("wanted YAML or JSON"), "{shown:?}");
}

#[test]
fn a_list_without_items_is_empty() {
    assert_eq!(shown("f.yaml", "apiVersion: v1\nkind: ServiceList\nitems: null"), [""; 0]);
}

#[test]
fn an_object_that_is_in_a_file_twice_is_reported_and_the_last_one_is_used() {
    let text = "\
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: v1
kind: Service
metadata: {name: web}
";
    let decoded = decode("f.yaml", text);
    assert_eq!(decoded.objects.len(), 2);
    assert!(decoded.undecoded.is_empty());
    let problems: Vec<_> = decoded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "manifest f.yaml:5: Service default/web is in this file twice; line 1 has no effect; wanted each object once"
        ]
    );
}

#[test]
fn a_part_of_an_object_that_is_left_out_is_reported_with_its_line() {
    let text = "\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints:
- addresses: [10.0.0.1]
- addresses:
  - fd00::1
";
    assert_eq!(
        shown("f.yaml", text),
        [
            "EndpointSlice default/web-1",
            "manifest f.yaml:8: endpoints[1].addresses[0]: \"fd00::1\"; wanted an IPv4 address, because of addressType",
        ]
    );
}

#[test]
fn the_problems_of_a_file_are_bounded_in_number_and_length() {
    let decoded = decode("f.yaml", &"---\nnothing\n".repeat(10_000));
    assert_eq!(decoded.problems.len(), MAX_PROBLEMS + 1);
    assert_eq!(decoded.problems[MAX_PROBLEMS].what, "more problems from here on are not listed");
    let long = "x".repeat(1_000_000);
    for text in [
        format!("apiVersion: {long}\nkind: Service"),
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {long}}}"),
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{ports: {long}}}"),
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: a, annotations: {{{long}: 1}}}}"
        ),
        format!("apiVersion: v1\nkind: {long}"),
        format!("{long}: {long}: ["),
    ] {
        let decoded = decode("f.yaml", &text);
        let reported = decoded.problems.iter().map(ToString::to_string).chain(decoded.ignored);
        let longest = reported.map(|line| line.len()).max();
        assert!(longest.is_some_and(|longest| longest < 1000), "{longest:?} bytes: {}", &text[..60]);
    }
}

#[test]
fn the_values_of_a_json_file_are_bounded() {
    let text = format!(r#"{{"apiVersion":"v1","kind":"List","items":[{}0]}}"#, "0,".repeat(1_000_000));
    assert_eq!(shown("f.json", &text), ["manifest f.json:1: more than 1000000 values; wanted YAML or JSON"]);
    let text = format!(r#"{{"apiVersion":"v1","kind":"List","more":"{}"}}"#, ",".repeat(1_000_000));
    assert_eq!(shown("f.json", &text), ["ignored v1 List"], "text is one value");
}

#[test]
fn nesting_is_bounded() {
    for text in ["[".repeat(100_000), "{\"a\":".repeat(100_000), "- ".repeat(100_000)] {
        assert_eq!(decode("f.yaml", &text).problems.len(), 1);
        assert_eq!(decode("f.json", &text).problems.len(), 1);
    }
}

proptest! {
    #[test]
    fn arbitrary_text_does_not_panic(text in ".{0,200}") {
        decode("f.yaml", &text);
        decode("f.json", &text);
    }

    #[test]
    fn truncated_and_corrupted_text_does_not_panic(at in 0..400_usize, end in 0..400_usize, new: char) {
        let text = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, annotations: {\"a\": 'b', c: |-
  block}}
spec:
  rules:
  - host: &h shop.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
  - host: *h
  tls:
  - {hosts: [shop.example], secretName: tls}
";
        let (at, end) = (at % text.len(), end % text.len());
        decode("f.yaml", &text[at.min(end)..at.max(end)]);
        decode("f.yaml", &format!("{}{new}{}", &text[..at], &text[at + 1..]));
    }
}

#[test]
fn a_value_of_a_config_map_that_is_not_text_is_reported_and_hides_no_other() {
    let text = "apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data:
  a: true
  b.c: 8
  d: 1.5
  e: 18446744073709551615
  f:
  g: x
";
    let decoded = decode("f.yaml", text);
    let Some(Object::ConfigMap(map)) = decoded.objects.first() else { panic!("{decoded:?}") };
    let values: Vec<&str> = map.data.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["true", "8", "1.5", "18446744073709551615", "", "x"]);
    let problems: Vec<_> = decoded.problems.iter().map(ToString::to_string).collect();
    let wanted = "wanted text in quotes (the API server refuses numbers and booleans)";
    assert_eq!(
        problems,
        [
            format!("manifest f.yaml:5: data.a: a boolean, taken as the text \"true\"; {wanted}"),
            format!("manifest f.yaml:6: data.b.c: a number, taken as the text \"8\"; {wanted}"),
            format!("manifest f.yaml:7: data.d: a number, taken as the text \"1.5\"; {wanted}"),
            format!(
                "manifest f.yaml:8: data.e: a number, taken as the text \"18446744073709551615\"; {wanted}"
            ),
            format!("manifest f.yaml:9: data.f: null, taken as the text \"\"; {wanted}"),
        ]
    );
    let list = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  a: x\n  b: [x]\n";
    assert_eq!(
        shown("f.yaml", list),
        [
            "manifest f.yaml:6: ConfigMap default/c: data.b: invalid type: sequence; wanted text (quote numbers and true or false)"
        ]
    );
}
