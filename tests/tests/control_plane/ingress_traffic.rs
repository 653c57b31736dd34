//! Requests go where Ingresses, Services, EndpointSlices and Secrets say, from the first moment on and after each
//! change.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tests::backend::Backend;
use tests::credentials::{Authority, Certified};
use tests::stage::{SOON, Stage};
use tests::web::EDGE;

/// The words by which ingress-nginx names the certificate it makes for itself.
const FAKE: &[u8] = b"Kubernetes Ingress Controller Fake Certificate";

/// A namespace with the class `nginx` in the cluster.
fn prepare(stage: &Stage, namespace: &str) {
    stage.plane.api.apply(&format!(
        "
apiVersion: v1
kind: Namespace
metadata: {{ name: {namespace} }}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {{ name: nginx }}
spec: {{ controller: k8s.io/ingress-nginx }}
"
    ));
}

/// A Service with a selector, and a ready Pod of it for each address.
fn workload(namespace: &str, service: &str, addresses: &[&str]) -> String {
    let mut text = format!(
        "
apiVersion: v1
kind: Service
metadata: {{ name: {service}, namespace: {namespace} }}
spec: {{ selector: {{ app: {service} }}, ports: [{{ name: http, port: 80, targetPort: 8080 }}] }}
"
    );
    for address in addresses {
        let pod = address.replace('.', "-");
        text += &format!(
            "---
apiVersion: v1
kind: Pod
metadata: {{ name: pod-{pod}, namespace: {namespace}, labels: {{ app: {service} }} }}
spec: {{ nodeName: node-1, containers: [{{ name: web, image: web, ports: [{{ name: web, containerPort: 8080 }}] }}] }}
status:
  phase: Running
  podIP: {address}
  podIPs: [{{ ip: {address} }}]
  conditions: [{{ type: Ready, status: 'True' }}]
"
        );
    }
    text
}

/// An Ingress of the class `nginx` with one path of one host.
fn ingress(namespace: &str, name: &str, host: &str, path: &str, service: &str) -> String {
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  ingressClassName: nginx
  rules:
  - host: {host}
    http: {{ paths: [{{ path: {path}, pathType: Prefix, backend: {{ service: {{ name: {service}, port: {{ name: http }} }} }} }}] }}
"
    )
}

fn secret(namespace: &str, name: &str, certified: &Certified) -> String {
    let Certified { certificate, key, .. } = certified;
    let data = serde_json::json!({ "tls.crt": certificate, "tls.key": key });
    format!(
        "{{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {{name: {name}, namespace: {namespace}}},
           stringData: {data}}}"
    )
}

pub(crate) fn an_ingress_leads_to_its_pods_from_its_creation_on(stage: &mut Stage) {
    prepare(stage, "traffic");
    let _pods = [Backend::start("a", "10.244.1.1:8080"), Backend::start("b", "10.244.1.2:8080")];
    let _portolan = stage.ingress("portolan", &[]);
    EDGE.expect(SOON, "http://shop.test/ = 404");

    stage.plane.api.apply(&workload("traffic", "web", &["10.244.1.1"]));
    let created = Instant::now();
    stage.plane.api.apply(&ingress("traffic", "shop", "shop.test", "/shop", "web"));
    EDGE.expect(SOON, "http://shop.test/shop = 200 a");
    println!("    from the creation of an Ingress to its first 200: {:.1?}", created.elapsed());
    EDGE.expect(
        SOON,
        "
http://shop.test/shop/cart  = 200 a
http://SHOP.TEST/shop?x=y   = 200 a
http://shop.test/shopping   = 404
http://shop.test/           = 404
http://other.test/shop      = 404
",
    );
    let echo = EDGE.get("http://shop.test/shop/cart?x=y", &["x-own: kept"]).expect("a response").text();
    let lower = echo.to_ascii_lowercase();
    assert!(echo.starts_with("GET /shop/cart?x=y HTTP/1.1\r\n"), "{echo}");
    for line in ["host: shop.test", "x-own: kept", "x-forwarded-proto: http", "x-forwarded-for: 127.0.0.1"] {
        assert!(lower.contains(line), "{line} is missing in\n{echo}");
    }

    stage.plane.api.delete("Ingress", "traffic", "shop");
    EDGE.expect(SOON, "http://shop.test/shop = 404");
}

pub(crate) fn a_changed_path_moves_the_route(stage: &mut Stage) {
    prepare(stage, "traffic-path");
    let _pod = Backend::start("a", "10.244.1.11:8080");
    let api = &stage.plane.api;
    api.apply(&workload("traffic-path", "web", &["10.244.1.11"]));
    api.apply(&ingress("traffic-path", "shop", "path.test", "/old", "web"));
    let _portolan = stage.ingress("portolan", &[]);
    EDGE.expect(SOON, "http://path.test/old = 200 a\n http://path.test/new = 404");

    api.apply(&ingress("traffic-path", "shop", "path.test", "/new", "web"));
    EDGE.expect(SOON, "http://path.test/new = 200 a\n http://path.test/old = 404");

    api.apply(&ingress("traffic-path", "shop", "moved.test", "/new", "web"));
    EDGE.expect(SOON, "http://moved.test/new = 200 a\n http://path.test/new = 404");
}

pub(crate) fn requests_follow_the_endpoints(stage: &mut Stage) {
    prepare(stage, "traffic-pods");
    let _pods = [Backend::start("a", "10.244.1.21:8080"), Backend::start("b", "10.244.1.22:8080")];
    let api = &stage.plane.api;
    api.apply(&workload("traffic-pods", "web", &["10.244.1.21"]));
    api.apply(&ingress("traffic-pods", "shop", "pods.test", "/", "web"));
    let _portolan = stage.ingress("portolan", &[]);
    EDGE.expect(SOON, "http://pods.test/ = 200 a");

    api.apply(&workload("traffic-pods", "web", &["10.244.1.21", "10.244.1.22"]));
    EDGE.expect(SOON, "http://pods.test/ = 200 b");
    EDGE.expect(SOON, "http://pods.test/ = 200 a");

    api.delete("Pod", "traffic-pods", "pod-10-244-1-21");
    EDGE.expect(SOON, "http://pods.test/ = 200 b\n".repeat(8).as_str());

    api.delete("Pod", "traffic-pods", "pod-10-244-1-22");
    EDGE.expect(SOON, "http://pods.test/ = 503");

    api.apply(&workload("traffic-pods", "web", &["10.244.1.21"]));
    EDGE.expect(SOON, "http://pods.test/ = 200 a");
}

/// A Pod that is gone while its slice still names it: the next one answers.
pub(crate) fn a_dead_pod_costs_no_request(stage: &mut Stage) {
    prepare(stage, "traffic-dead");
    let (dying, _living) = (Backend::start("a", "10.244.1.31:8080"), Backend::start("b", "10.244.1.32:8080"));
    let api = &stage.plane.api;
    api.apply(&workload("traffic-dead", "web", &["10.244.1.31", "10.244.1.32"]));
    api.apply(&ingress("traffic-dead", "shop", "dead.test", "/", "web"));
    let _portolan = stage.ingress("portolan", &[]);
    EDGE.expect(SOON, "http://dead.test/ = 200 a");
    EDGE.expect(SOON, "http://dead.test/ = 200 b");

    drop(dying);
    for _ in 0..20 {
        EDGE.matches("http://dead.test/ = 200 b").unwrap_or_else(|problem| panic!("{problem}"));
    }
}

/// A response is owed to whoever has asked, whatever the cluster becomes meanwhile.
pub(crate) fn a_request_under_way_outlives_its_route(stage: &mut Stage) {
    prepare(stage, "traffic-open");
    let _pod = Backend::start("a", "10.244.1.71:8080");
    let api = &stage.plane.api;
    api.apply(&workload("traffic-open", "web", &["10.244.1.71"]));
    api.apply(&ingress("traffic-open", "shop", "open.test", "/", "web"));
    let _portolan = stage.ingress("portolan", &[]);
    EDGE.expect(SOON, "http://open.test/ = 200 a");

    let mut upload = TcpStream::connect(("127.0.0.1", EDGE.http)).expect("the edge listens");
    upload.set_read_timeout(Some(SOON)).expect("the socket is open");
    let head = "POST /upload HTTP/1.1\r\nhost: open.test\r\ncontent-length: 10\r\nconnection: close\r\n\r\n";
    upload.write_all(format!("{head}first").as_bytes()).expect("the edge reads");
    api.delete("Ingress", "traffic-open", "shop");
    api.delete("Pod", "traffic-open", "pod-10-244-1-71");
    EDGE.expect(SOON, "http://open.test/ = 404");

    upload.write_all(b"later").expect("the edge reads on");
    let mut response = String::new();
    upload.read_to_string(&mut response).expect("the edge answers");
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(response.contains("POST /upload HTTP/1.1"), "{response}");
}

/// Endpoints come and go in their slice before they come and go in truth, as in a rolling update.
pub(crate) fn a_rolling_update_fails_no_request(stage: &mut Stage) {
    prepare(stage, "traffic-roll");
    let _pods = [Backend::start("a", "10.244.1.81:8080"), Backend::start("b", "10.244.1.82:8080")];
    let api = &stage.plane.api;
    api.apply(&workload("traffic-roll", "web", &["10.244.1.81"]));
    api.apply(&ingress("traffic-roll", "shop", "roll.test", "/", "web"));
    let _portolan = stage.ingress("portolan", &[]);
    EDGE.expect(SOON, "http://roll.test/ = 200 a");

    let done = AtomicBool::new(false);
    let (asked, failed) = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let (mut asked, mut failed) = (0, Vec::new());
            while !done.load(Ordering::Relaxed) {
                asked += 1;
                match EDGE.get("http://roll.test/", &[]) {
                    Ok(response) if response.status == 200 => {}
                    other => failed.push(format!("{other:?}")),
                }
            }
            (asked, failed)
        });
        for _ in 0..10 {
            api.apply(&workload("traffic-roll", "web", &["10.244.1.82"]));
            EDGE.expect(SOON, "http://roll.test/ = 200 b");
            api.delete("Pod", "traffic-roll", "pod-10-244-1-81");
            EDGE.expect(SOON, "http://roll.test/ = 200 b\n".repeat(4).as_str());
            api.apply(&workload("traffic-roll", "web", &["10.244.1.81"]));
            EDGE.expect(SOON, "http://roll.test/ = 200 a");
            api.delete("Pod", "traffic-roll", "pod-10-244-1-82");
            EDGE.expect(SOON, "http://roll.test/ = 200 a\n".repeat(4).as_str());
        }
        done.store(true, Ordering::Relaxed);
        client.join().expect("the client does not panic")
    });
    assert!(failed.is_empty(), "{} of {asked} failed, the first: {}", failed.len(), failed[0]);
    assert!(asked > 100, "only {asked} requests were under way: that shows nothing");
}

pub(crate) fn certificates_follow_their_secrets(stage: &mut Stage) {
    prepare(stage, "traffic-tls");
    let authority = Authority::new("shop");
    let (first, second) = (authority.certify(&["tls.test"]), authority.certify(&["tls.test"]));
    let wild = authority.certify(&["*.wild.test"]);
    let _pod = Backend::start("a", "10.244.1.41:8080");
    let api = &stage.plane.api;
    api.apply(&workload("traffic-tls", "web", &["10.244.1.41"]));
    api.apply(&secret("traffic-tls", "shop", &first));
    api.apply(&secret("traffic-tls", "wild", &wild));
    let tls = "  tls: [{hosts: [tls.test], secretName: shop}]\n";
    api.apply(&(ingress("traffic-tls", "shop", "tls.test", "/", "web") + tls));
    let tls = "  tls: [{hosts: ['*.wild.test'], secretName: wild}]\n";
    api.apply(&(ingress("traffic-tls", "wild", "'*.wild.test'", "/", "web") + tls));
    let _portolan = stage.ingress("portolan", &[]);

    let shows = |host: &str, wanted: &Certified| {
        tests::wait::until(&format!("the certificate of {host}"), SOON, || match EDGE.certificate(host)? {
            shown if shown == wanted.der => Ok(()),
            shown => Err(format!(
                "another one, {}",
                if is_fake(&shown) { "the self-made" } else { "not the self-made" }
            )),
        });
    };
    shows("tls.test", &first);
    shows("a.wild.test", &wild);
    EDGE.expect(
        SOON,
        "
https://tls.test/x    = 200 a
https://b.wild.test/x = 200 a
http://tls.test/x     = 308 https://tls.test/x
",
    );

    api.apply(&secret("traffic-tls", "shop", &second));
    shows("tls.test", &second);

    api.delete("Secret", "traffic-tls", "shop");
    tests::wait::until("the self-made certificate", SOON, || match EDGE.certificate("tls.test")? {
        shown if is_fake(&shown) => Ok(()),
        _ => Err("another one".to_owned()),
    });
    let unknown = EDGE.certificate("unknown.test").expect("a certificate");
    assert!(is_fake(&unknown), "an unknown name gets the self-made certificate");

    api.apply(&secret("traffic-tls", "shop", &first));
    shows("tls.test", &first);
}

fn is_fake(certificate: &[u8]) -> bool {
    certificate.windows(FAKE.len()).any(|bytes| bytes == FAKE)
}

pub(crate) fn only_ingresses_of_its_class_are_served(stage: &mut Stage) {
    prepare(stage, "traffic-class");
    let _pod = Backend::start("a", "10.244.1.51:8080");
    let api = &stage.plane.api;
    api.apply(&workload("traffic-class", "web", &["10.244.1.51"]));
    let ours = ingress("traffic-class", "ours", "ours.test", "/", "web");
    api.apply(&ours);
    api.apply(
        &ingress("traffic-class", "theirs", "theirs.test", "/", "web")
            .replace("ClassName: nginx", "ClassName: other"),
    );
    api.apply(
        &ingress("traffic-class", "none", "none.test", "/", "web").replace("  ingressClassName: nginx\n", ""),
    );
    api.apply(
        &ingress("traffic-class", "old", "old.test", "/", "web")
            .replace("  ingressClassName: nginx\n", "")
            .replace("name: old,", "name: old, annotations: { kubernetes.io/ingress.class: nginx },"),
    );
    let _portolan = stage.ingress("portolan", &[]);
    EDGE.expect(
        SOON,
        "
http://ours.test/   = 200 a
http://old.test/    = 200 a
http://theirs.test/ = 404
http://none.test/   = 404
",
    );
    // An IngressClass that comes later, with a controller that is ours, brings its Ingresses with it.
    api.apply(
        "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: other},
          spec: {controller: k8s.io/ingress-nginx}}",
    );
    EDGE.expect(SOON, "http://theirs.test/ = 200 a");
    api.delete("IngressClass", "", "other");
    EDGE.expect(SOON, "http://theirs.test/ = 404");
}

pub(crate) fn annotations_hold_from_the_moment_they_are_set(stage: &mut Stage) {
    prepare(stage, "traffic-notes");
    let _pods = [Backend::start("main", "10.244.1.61:8080"), Backend::start("canary", "10.244.1.62:8080")];
    let api = &stage.plane.api;
    api.apply(&workload("traffic-notes", "web", &["10.244.1.61"]));
    api.apply(&workload("traffic-notes", "next", &["10.244.1.62"]));
    api.apply(&ingress("traffic-notes", "main", "notes.test", "/", "web"));
    let _portolan = stage.ingress("portolan", &[]);
    EDGE.expect(SOON, "http://notes.test/ [x-next: always] = 200 main");

    let annotated = |name: &str, service: &str, annotations: &str| {
        let note = format!("name: {name}, annotations: {{ {annotations} }},");
        ingress("traffic-notes", name, "notes.test", "/", service).replace(&format!("name: {name},"), &note)
    };
    api.apply(&annotated(
        "canary",
        "next",
        "nginx.ingress.kubernetes.io/canary: 'true', nginx.ingress.kubernetes.io/canary-by-header: x-next",
    ));
    EDGE.expect(
        SOON,
        "
http://notes.test/ [x-next: always] = 200 canary
http://notes.test/ [x-next: never]  = 200 main
http://notes.test/                  = 200 main
",
    );

    api.apply(&annotated(
        "main",
        "web",
        "nginx.ingress.kubernetes.io/permanent-redirect: 'https://new.test/'",
    ));
    EDGE.expect(SOON, "http://notes.test/ = 301 https://new.test/");

    // What guards and is not built must not stand open.
    api.apply(&annotated("main", "web", "nginx.ingress.kubernetes.io/auth-url: 'http://auth.test/'"));
    EDGE.expect(SOON, "http://notes.test/ = 503");
    api.apply(&annotated("main", "web", ""));
    EDGE.expect(SOON, "http://notes.test/ = 200 main");
}
