use cluster::{CompactString, Endpoint, ServiceKind, ServicePort};

use super::*;

/// The decoded object as text, or why it is rejected. `{}` at the beginning is replaced by valid metadata.
fn shown(kind: Kind, rest: &str) -> String {
    let text = match rest.strip_prefix("{}") {
        Some(rest) => format!(r#"{{"metadata":{{"name":"web","namespace":"shop"}}{rest}}}"#),
        None => format!("{{{rest}}}"),
    };
    match decode(kind, &mut serde_json::Deserializer::from_str(&text)) {
        Ok(Ok(DecodedObject { object: Some(object), defects, .. })) => {
            show(&object) + &defects.iter().map(|defect| format!(" | {defect}")).collect::<String>()
        }
        Ok(Ok(DecodedObject { object: None, .. })) => "nothing".into(),
        Ok(Err(wrong)) => wrong.to_string(),
        Err(error) => error.to_string().split(" at line").next().unwrap().to_owned(),
    }
}

fn show(object: &Object) -> String {
    match object {
        Object::IngressStatus(status) => format!(
            "{} {} {:?}",
            status.key,
            status.uid,
            status.addresses.iter().map(|address| (&*address.hostname, &*address.ip)).collect::<Vec<_>>()
        ),
        Object::Node(node) => format!("{} {:?} {:?}", node.key.name, node.addresses, node.hostnames),
        Object::Service(service) => {
            let external = service.external.iter().map(|target| format!(" >{target}"));
            let zone = if service.prefers_own_zone { " own zone" } else { "" };
            reached(&service.kind, &service.ports) + &external.collect::<String>() + zone
        }
        Object::ServiceImport(import) => reached(&import.kind, &import.ports),
        Object::EndpointSlice(slice) => {
            let ports = slice
                .ports
                .iter()
                .map(|port| format!(" {}:{}/{}", port.name, port.port, port.protocol.label()));
            let endpoints = slice.endpoints.iter().map(|endpoint| {
                let zone = slice.zone_of(&endpoint).map(|zone| format!(" zone={zone}")).unwrap_or_default();
                let Endpoint { addresses, ready, hostname, pod, zone: _, hints } = &endpoint.to_endpoint();
                let hints = hints.iter().map(|hint| format!(" for={}", slice.zones[usize::from(*hint) - 1]));
                let zones = zone + &hints.collect::<String>();
                format!(
                    " {addresses:?} ready={ready} host={} pod={}{zones}",
                    name(hostname.as_deref()),
                    name(pod.as_deref())
                )
            });
            let aliases = slice.aliases.iter();
            let aliases = aliases.map(|alias| format!(" {}={}", alias.name, name(alias.hostname.as_deref())));
            let endpoints = endpoints.chain(aliases);
            let import =
                slice.import.as_ref().map(|import| format!("[{}@{}]", import.service, import.cluster));
            let owner = format!("{}{}", slice.service, import.unwrap_or_default());
            format!("{owner}{}{}", ports.collect::<String>(), endpoints.collect::<String>())
        }
        Object::Pod(pod) => format!("{:?}", pod.addresses),
        Object::Ingress(ingress) => {
            format!(
                "{} {:?} {:?} {:?} {:?} {:?}",
                ingress.created,
                ingress.annotations,
                ingress.class,
                ingress.default_backend,
                ingress.rules,
                ingress.tls
            )
        }
        Object::IngressClass(class) => format!("{} default={}", class.controller, class.default),
        Object::Secret(secret) => {
            format!(
                "{:?} {:?}{}",
                String::from_utf8_lossy(&secret.certificate),
                String::from_utf8_lossy(&secret.private_key),
                secret
                    .other
                    .iter()
                    .map(|(name, value)| format!(" {name}={}", String::from_utf8_lossy(value)))
                    .collect::<String>()
            )
        }
        Object::ConfigMap(map) => format!("{:?}", map.data),
        Object::Namespace(namespace) => format!("{:?}", namespace.labels),
    }
}

fn reached(kind: &ServiceKind, ports: &[ServicePort]) -> String {
    let reach = match kind {
        ServiceKind::ClusterIp(ips) => format!("{ips:?}"),
        ServiceKind::Headless => "headless".into(),
        ServiceKind::ExternalName(name) => name.to_string(),
    };
    let ports = ports
        .iter()
        .map(|port| format!(" {}:{}/{}->{}", port.name, port.port, port.protocol.label(), port.target));
    format!("{reach}{}", ports.collect::<String>())
}

fn name(text: Option<&str>) -> &str {
    text.unwrap_or("-")
}

fn check(kind: Kind, table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(shown(kind, text), *expected, "{kind}: {text}");
    }
}

#[test]
fn service_imports_have_addresses_or_are_headless() {
    check(
        Kind::ServiceImport,
        &[
            (
                r#"{},"spec":{"type":"ClusterSetIP","ips":["10.97.0.1","fd00::1"],"ports":[{"name":"http","port":80,"appProtocol":"http"}]}"#,
                "[10.97.0.1, fd00::1] http:80/tcp->",
            ),
            (
                r#"{},"spec":{"type":"Headless","ips":[],"ports":[{"protocol":"udp","port":53}]}"#,
                "headless :53/udp->",
            ),
            (
                r#"{},"spec":{"type":"ClusterSetIP","ports":null},"status":{"clusters":[{"cluster":"a"}]}"#,
                "[]",
            ),
            (r#"{}"#, "[]"),
            (
                r#"{},"spec":{"type":"External"}"#,
                "unknown variant `External`, expected `ClusterSetIP` or `Headless`",
            ),
            (r#"{},"spec":{"ips":["10.97.0.1","x"]}"#, r#"spec.ips[1]: "x"; wanted an IP address"#),
            (
                r#"{},"spec":{"ports":[{"port":80,"protocol":"ICMP"}]}"#,
                r#"spec.ports[0].protocol: "ICMP"; wanted TCP, UDP or SCTP"#,
            ),
        ],
    );
}

#[test]
fn services_have_external_addresses_and_those_of_their_load_balancers() {
    check(
        Kind::Service,
        &[
            (r#"{},"spec":{"clusterIP":"10.96.0.1"},"status":{"loadBalancer":{}}"#, "[10.96.0.1]"),
            (r#"{},"spec":{"externalIPs":null},"status":{"loadBalancer":{"ingress":null}}"#, "[]"),
            (r#"{},"spec":{"externalIPs":["192.0.2.1",""]},"status":null"#, "[] >192.0.2.1"),
            (
                r#"{},"spec":{"externalIPs":["192.0.2.1"]},"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.2","hostname":"a.example"},{"hostname":"b.example"},{}]}}"#,
                "[] >192.0.2.1 >192.0.2.2 >b.example",
            ),
        ],
    );
}

#[test]
fn services_get_the_defaults_of_the_api_server() {
    check(
        Kind::Service,
        &[
            (r#"{},"spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}"#, "[10.96.0.1] :80/tcp->80"),
            (
                r#"{},"spec":{"clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1","fd00::1"]}"#,
                "[10.96.0.1, fd00::1]",
            ),
            (r#"{},"spec":{"type":"LoadBalancer","clusterIP":"10.96.0.1"}"#, "[10.96.0.1]"),
            (r#"{},"spec":{"clusterIP":"None","clusterIPs":["None"]}"#, "headless"),
            (r#"{},"spec":{"clusterIPs":["None"]}"#, "headless"),
            (r#"{},"spec":{}"#, "[]"),
            (r#"{},"spec":{"trafficDistribution":"PreferClose"}"#, "[] own zone"),
            (r#"{},"spec":{"trafficDistribution":"PreferSameZone"}"#, "[] own zone"),
            (r#"{},"spec":{"trafficDistribution":"PreferSameNode"}"#, "[]"),
            (
                r#""metadata":{"name":"web","annotations":{"a":"b","service.kubernetes.io/topology-mode":"auto"}}"#,
                "[] own zone",
            ),
            (
                r#""metadata":{"name":"web","annotations":{"service.kubernetes.io/topology-mode":"Disabled"}}"#,
                "[]",
            ),
            (r#"{},"spec":null"#, "[]"),
            (r#"{}"#, "[]"),
            (r#"{},"spec":{"clusterIP":"","ports":null}"#, "[]"),
            (r#"{},"spec":{"type":"ExternalName","externalName":"Example.org."}"#, "Example.org"),
            (r#"{},"spec":{"type":"ExternalName","externalName":"10.1.2.3."}"#, "10.1.2.3."),
            (
                r#"{},"spec":{"type":"ExternalName"}"#,
                "spec.externalName: missing; wanted a DNS name, which type ExternalName requires",
            ),
            (
                r#"{},"spec":{"type":"Cluster"}"#,
                "unknown variant `Cluster`, expected one of `ClusterIP`, `NodePort`, `LoadBalancer`, `ExternalName`",
            ),
            (
                r#"{},"spec":{"clusterIP":"10.96.0.300"}"#,
                r#"spec.clusterIP: "10.96.0.300"; wanted an IP address or "None""#,
            ),
            (
                r#"{},"spec":{"clusterIP":"None","ports":[{"name":"dns","protocol":"UDP","port":53,"targetPort":"dns-udp"},{"name":"m","port":9153,"targetPort":9154}]}"#,
                "headless dns:53/udp->dns-udp m:9153/tcp->9154",
            ),
            (
                r#"{},"spec":{"clusterIP":"None","ports":[{"name":"dns","port":53},{"port":54}]}"#,
                "headless dns:53/tcp->53 :54/tcp->54 | spec.ports[1].name: missing; wanted a name, because there are several ports",
            ),
            (
                r#"{},"spec":{"ports":[{"port":0}]}"#,
                "invalid value: integer `0`, expected a port number from 1 to 65535",
            ),
            (
                r#"{},"spec":{"ports":[{"port":"80"}]}"#,
                "invalid type: string \"80\", expected a port number from 1 to 65535",
            ),
            (r#"{},"spec":{"ports":[{}]}"#, "missing field `port`"),
            (
                r#"{},"spec":{"ports":[{"port":80},{"name":"Web","port":80}]}"#,
                r#"spec.ports[1].name: "Web"; wanted 1 to 63 lower-case letters, digits and inner hyphens"#,
            ),
            (
                r#"{},"spec":{"ports":[{"port":80,"protocol":"tcp"}]}"#,
                "unknown variant `tcp`, expected one of `TCP`, `UDP`, `SCTP`",
            ),
            (
                r#""metadata":{"name":"Web"}"#,
                r#"metadata.name: "Web"; wanted 1 to 63 lower-case letters, digits and inner hyphens"#,
            ),
            (
                r#""metadata":{"generateName":"web-"}"#,
                "metadata.name: missing; wanted 1 to 63 lower-case letters, digits and inner hyphens",
            ),
            (
                r#""metadata":{"name":"web","namespace":"a.b"}"#,
                r#"metadata.namespace: "a.b"; wanted 1 to 63 lower-case letters, digits and inner hyphens"#,
            ),
        ],
    );
}

#[test]
fn slices_have_their_service_and_a_missing_ready_condition_means_ready() {
    let labels = r#""metadata":{"name":"web-x","namespace":"shop","labels":{"a":"b","kubernetes.io/service-name":"web"},"managedFields":[{"manager":"x"}]},"#;
    let rows = [
        (
            r#""addressType":"IPv4","ports":[{"name":"http","port":8080}],"endpoints":[{"addresses":["10.244.0.1"],"conditions":{"ready":true},"hostname":"web-0","targetRef":{"kind":"Pod","name":"web-0"}},{"addresses":["10.244.0.2"],"conditions":{"ready":false}}]"#,
            "web http:8080/tcp [10.244.0.1] ready=true host=web-0 pod=web-0 [10.244.0.2] ready=false host=- pod=-",
        ),
        (
            r#""addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}]"#,
            "web [10.0.0.1] ready=true host=- pod=-",
        ),
        (
            r#""addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":null}}]"#,
            "web [10.0.0.1] ready=true host=- pod=-",
        ),
        (
            r#""addressType":"IPv6","endpoints":[{"addresses":["fd00::1"],"targetRef":{"kind":"Node","name":"n"}}]"#,
            "web [fd00::1] ready=true host=- pod=-",
        ),
        (
            r#""addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"zone":"b"},{"addresses":["10.0.0.2"],"zone":"a"},{"addresses":["10.0.0.3"],"zone":"b"}]"#,
            "web [10.0.0.1] ready=true host=- pod=- zone=b [10.0.0.2] ready=true host=- pod=- zone=a [10.0.0.3] ready=true host=- pod=- zone=b",
        ),
        (
            r#""addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"zone":"a","hints":{"forZones":[{"name":"a"}]}},{"addresses":["10.0.0.2"],"zone":"a","hints":{"forZones":[{"name":"b"},{"name":"a"}],"forNodes":[{"name":"n"}]}},{"addresses":["10.0.0.3"],"hints":null}]"#,
            "web [10.0.0.1] ready=true host=- pod=- zone=a for=a [10.0.0.2] ready=true host=- pod=- zone=a for=b for=a [10.0.0.3] ready=true host=- pod=-",
        ),
        (r#""addressType":"IPv4","endpoints":null,"ports":null"#, "web"),
        (r#""addressType":"IPv4","endpoints":[],"ports":[{"port":null}]"#, "web :0/tcp"),
        (
            r#""addressType":"FQDN","endpoints":[{"addresses":["example.org.","example.net"],"hostname":"db"},{"addresses":["a.example"],"conditions":{"ready":false}}]"#,
            "web example.org=db example.net=db",
        ),
        (
            r#""addressType":"FQDN","endpoints":[{"addresses":["10.0.0.1","-"]}]"#,
            r#"web 10.0.0.1=- | endpoints[0].addresses[1]: "-"; wanted 1 to 253 lower-case letters, digits, inner hyphens and inner dots"#,
        ),
        (
            r#""addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]},{"addresses":["web"]}]"#,
            r#"web [10.0.0.1] ready=true host=- pod=- | endpoints[1].addresses[0]: "web"; wanted an IP address"#,
        ),
        (
            r#""addressType":"IPv4","endpoints":[{"addresses":["fd00::1","10.0.0.1"],"hostname":"Web"}]"#,
            r#"web [10.0.0.1] ready=true host=- pod=- | endpoints[0].hostname: "Web"; wanted 1 to 63 lower-case letters, digits and inner hyphens | endpoints[0].addresses[0]: "fd00::1"; wanted an IPv4 address, because of addressType"#,
        ),
        (
            r#""addressType":"IPv6","endpoints":[{"addresses":["10.0.0.1"]},{"addresses":["fd00::1"]}]"#,
            r#"web [fd00::1] ready=true host=- pod=- | endpoints[0].addresses[0]: "10.0.0.1"; wanted an IPv6 address, because of addressType"#,
        ),
        (
            r#""addressType":"IPv4","ports":[{"name":"HTTP","port":80},{"name":"web","port":8080}]"#,
            r#"web web:8080/tcp | ports[0].name: "HTTP"; wanted 1 to 63 lower-case letters, digits and inner hyphens"#,
        ),
        (
            r#""addressType":"IPv4","ports":[{"port":80},{"port":81},{"name":"a","port":82},{"name":"a","port":83}]"#,
            r#"web :80/tcp :81/tcp a:82/tcp a:83/tcp | ports[0].name: missing; wanted a name, because there are several ports | ports[1].name: missing; wanted a name, because there are several ports | ports[3].name: "a"; wanted a name that no other port has"#,
        ),
        (r#""endpoints":[]"#, "missing field `addressType`"),
    ];
    for (rest, expected) in rows {
        assert_eq!(shown(Kind::EndpointSlice, &format!("{labels}{rest}")), expected, "{rest}");
    }
    check(Kind::EndpointSlice, &[(r#"{},"addressType":"IPv4""#, "")]);
    let imported = labels.replace(
        r#""a":"b""#,
        r#""multicluster.kubernetes.io/source-cluster":"east","multicluster.kubernetes.io/service-name":"shop""#,
    );
    assert_eq!(shown(Kind::EndpointSlice, &format!(r#"{imported}"addressType":"IPv4""#)), "web[shop@east]");
}

#[test]
fn pods_are_used_only_while_they_run_and_have_an_address() {
    check(
        Kind::Pod,
        &[
            (
                r#"{},"status":{"phase":"Running","podIP":"10.244.0.1","podIPs":[{"ip":"10.244.0.1"},{"ip":"fd00::1"}]}"#,
                "[10.244.0.1, fd00::1]",
            ),
            (r#"{},"status":{"phase":"Pending","podIP":"10.244.0.1"}"#, "[10.244.0.1]"),
            (r#"{},"status":{"phase":"Pending"}"#, "nothing"),
            (r#"{}"#, "nothing"),
            (r#"{},"status":{"phase":"Succeeded","podIP":"10.244.0.1"}"#, "nothing"),
            (r#"{},"status":{"phase":"Failed","podIP":"10.244.0.1"}"#, "nothing"),
            (
                r#""metadata":{"name":"web","namespace":"shop","deletionTimestamp":"2026-01-01T00:00:00Z"},"status":{"podIP":"10.244.0.1"}"#,
                "nothing",
            ),
        ],
    );
}

#[test]
fn ingresses_keep_the_fields_that_routes_use() {
    check(
        Kind::Ingress,
        &[
            (
                r#""metadata":{"name":"web","namespace":"shop","creationTimestamp":"2026-01-01T00:00:10Z","annotations":{"b":"2","kubectl.kubernetes.io/last-applied-configuration":"x","a":"1"}},"spec":{"ingressClassName":"nginx","tls":[{"hosts":["shop.example"],"secretName":"tls"},{}]}"#,
                r#"1767225610 [("a", "1"), ("b", "2")] Some("nginx") None [] [IngressTls { hosts: ["shop.example"], secret: "tls" }, IngressTls { hosts: [], secret: "" }]"#,
            ),
            (
                r#"{},"spec":{"defaultBackend":{"resource":{"apiGroup":"x","kind":"Bucket","name":"b"}}}"#,
                r#"0 [] None Some(Resource("Bucket/b")) [] []"#,
            ),
            (
                r#"{},"spec":{"rules":[{"host":"a"},{"http":{"paths":[{"path":"/x","pathType":"Prefix","backend":{"service":{"name":"web","port":{"number":80}}}},{"pathType":"ImplementationSpecific","backend":{"service":{"name":"web","port":{"name":"http"}}}}]}}]}"#,
                r#"0 [] None None [IngressRule { host: "a", paths: [] }, IngressRule { host: "", paths: [IngressPath { path: "/x", kind: Prefix, backend: Service(ServiceBackend { name: "web", port: Number(80) }) }, IngressPath { path: "", kind: ImplementationSpecific, backend: Service(ServiceBackend { name: "web", port: Name("http") }) }] }] []"#,
            ),
            (
                r#"{},"spec":{"rules":[{"http":{"paths":[{"path":"/x","pathType":"prefix","backend":{}}]}}]}"#,
                "unknown variant `prefix`, expected one of `Exact`, `Prefix`, `ImplementationSpecific`",
            ),
            (
                r#"{},"spec":{"rules":[{"http":{"paths":[{"path":"/x","backend":{}}]}}]}"#,
                "missing field `pathType`",
            ),
            (
                r#"{},"spec":{"rules":[{"http":{"paths":[{"path":"x","pathType":"Exact","backend":{}}]}}]}"#,
                r#"spec.rules[0].http.paths[0].path: "x"; wanted a path that begins with a slash"#,
            ),
            (
                r#"{},"spec":{"rules":[{"http":{"paths":[{"path":"/x","pathType":"Exact","backend":{"serviceName":"web","servicePort":80}}]}}]}"#,
                "spec.rules[0].http.paths[0].backend.service: missing; wanted a name and a port",
            ),
            (
                r#"{},"spec":{"defaultBackend":{"service":{"name":"web","port":{}}}}"#,
                "spec.defaultBackend.service.port: missing; wanted a number or a name",
            ),
            (
                r#""metadata":{"name":"web","namespace":"shop","annotations":{"a":true}}"#,
                "invalid type: boolean `true`, expected a string",
            ),
        ],
    );
    check(
        Kind::IngressClass,
        &[
            (
                r#""metadata":{"name":"nginx"},"spec":{"controller":"k8s.io/ingress-nginx"}"#,
                "k8s.io/ingress-nginx default=false",
            ),
            (
                r#""metadata":{"name":"nginx","annotations":{"ingressclass.kubernetes.io/is-default-class":"true"}}"#,
                " default=true",
            ),
        ],
    );
}

#[test]
fn entries_of_secrets_are_decoded_unless_they_are_long() {
    let long = "YWJj".repeat(400);
    check(
        Kind::Secret,
        &[
            (
                r#"{},"type":"Opaque","data":{"tls.crt":"Y2VydA==","tls.key":"a2V5","password":"!"}"#,
                r#""cert" "key""#,
            ),
            (r#"{},"data":{"tls.crt":"Y2Vy\ndA==\n"}"#, r#""cert" """#),
            (
                r#"{},"data":{"b":"YmI=","auth":"YQ==","c":null},"stringData":{"b":"plain"}"#,
                r#""" "" auth=a b=plain"#,
            ),
            (
                &format!(r#"{{}},"data":{{"ca.crt":"{long}","blob":"{long}"}}"#),
                &format!(r#""" "" ca.crt={}"#, "abc".repeat(400)),
            ),
            (r#"{},"data":null"#, r#""" """#),
            (r#"{},"data":{"tls.crt":null}"#, r#""" """#),
            (r#"{},"data":{"tls.crt":"Y2VydA=="},"stringData":{"tls.crt":"plain"}"#, r#""plain" """#),
            (
                r#"{},"data":{"tls.crt":"-----BEGIN"}"#,
                "invalid value, expected base64 (plain text belongs under stringData)",
            ),
        ],
    );
    check(
        Kind::ConfigMap,
        &[(r#"{},"data":{"b":"2","a":"1"},"binaryData":{"c":"!"}"#, r#"[("a", "1"), ("b", "2")]"#)],
    );
    check(
        Kind::Namespace,
        &[(r#""metadata":{"name":"shop","labels":{"b":"2","a":"1"}}"#, r#"[("a", "1"), ("b", "2")]"#)],
    );
}

#[test]
fn an_object_without_a_namespace_is_in_default() {
    let key = |kind, text: &str| decode_name(kind, &mut serde_json::Deserializer::from_str(text)).unwrap().0;
    let text = r#"{"metadata":{"name":"web"}}"#;
    assert_eq!(key(Kind::Service, text), Key::new("default", "web"));
    assert_eq!(key(Kind::Namespace, r#"{"metadata":{"name":"web","namespace":"x"}}"#), Key::cluster("web"));
}

#[test]
fn the_resource_version_is_decoded_with_the_key() {
    let text = r#"{"metadata":{"name":"web","resourceVersion":"42","annotations":{"x":"y"}}}"#;
    let (_, version) = decode_name(Kind::Service, &mut serde_json::Deserializer::from_str(text)).unwrap();
    assert_eq!(version, CompactString::from("42"));
}

#[test]
fn quoted_text_in_messages_is_bounded() {
    let long = "ä".repeat(1_000_000);
    let cut = format!("{}… (2000000 bytes)", "ä".repeat(200));
    assert_eq!(shorten(&long), cut);
    assert_eq!(shorten("short"), "short");
    assert_eq!(InvalidField::new("a", &long, "b").to_string(), format!("a: {cut:?}; wanted b"));
    let message = format!("invalid type: string {long:?}, expected {long}");
    let field = InvalidField::of_error(&message);
    assert!(field.what.chars().count() < 250 && field.wanted.chars().count() < 250, "{field:?}");
}

#[test]
fn a_node_has_its_internal_addresses_and_other_host_names() {
    let address = |kind: &str, address: &str| format!(r#"{{"type":"{kind}","address":"{address}"}}"#);
    let addresses = [
        address("InternalIP", "10.0.0.21"),
        address("ExternalIP", "192.0.2.1"),
        address("InternalIP", "fd00::21"),
        address("InternalIP", "none"),
        address("Hostname", "node-1"),
        address("Hostname", "host.example"),
    ];
    let text =
        format!(r#""metadata":{{"name":"node-1"}},"status":{{"addresses":[{}]}}"#, addresses.join(","));
    let shown_node = shown(Kind::Node, &text);
    assert!(shown_node.starts_with("node-1 [10.0.0.21, fd00::21] [\"host.example\"] | "), "{shown_node}");
    assert!(shown_node.contains("status.addresses[3].address"), "{shown_node}");
    assert_eq!(shown(Kind::Node, r#""metadata":{"name":"node-1"}"#), "node-1 [] []");
}

#[test]
fn the_status_of_an_ingress_has_its_addresses_in_order() {
    let entries =
        r#"{"ip":"192.0.2.2"},{"hostname":"lb.example","ports":[]},{"ip":"192.0.2.1","hostname":null}"#;
    let text = format!(
        r#""metadata":{{"name":"web","namespace":"shop","uid":"7","managedFields":[{{}}]}},"spec":{{}},"status":{{"loadBalancer":{{"ingress":[{entries}]}}}}"#
    );
    let wanted = r#"shop/web 7 [("", "192.0.2.1"), ("", "192.0.2.2"), ("lb.example", "")]"#;
    assert_eq!(shown(Kind::IngressStatus, &text), wanted);
    let none = r#""metadata":{"name":"web","namespace":"shop"},"status":null"#;
    assert_eq!(shown(Kind::IngressStatus, none), "shop/web  []");
}
