//! Requests are routed as Ingresses, Services and EndpointSlices say, at start and after each change.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tests::backend::Backend;
use tests::stage::{SOON, Stage};
use tests::web::EDGE;

use crate::manifests::{self, CLASS, annotated, ingress, workload};

/// A namespace with the class `nginx` in the cluster.
pub(crate) fn prepare(stage: &Stage, namespace: &str) {
    stage.plane.api.apply(&(manifests::namespace(namespace) + CLASS));
}

pub(crate) fn an_ingress_routes_to_its_pods(stage: &mut Stage) {
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

/// A Pod has stopped while its slice still lists it: the next endpoint answers.
pub(crate) fn a_stopped_pod_fails_no_request(stage: &mut Stage) {
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

/// A request in progress is completed although its route was removed.
pub(crate) fn a_request_in_progress_outlives_its_route(stage: &mut Stage) {
    prepare(stage, "traffic-open");
    let _pod = Backend::start("a", "10.244.1.71:8080");
    let api = &stage.plane.api;
    api.apply(&workload("traffic-open", "web", &["10.244.1.71"]));
    api.apply(&ingress("traffic-open", "shop", "open.test", "/", "web"));
    let _portolan = stage.ingress("portolan", &[]);
    EDGE.expect(SOON, "http://open.test/ = 200 a");

    let mut upload = TcpStream::connect(("127.0.0.1", EDGE.http)).expect("the edge listens");
    upload.set_read_timeout(Some(SOON)).expect("the socket is open");
    let head = "POST /upload HTTP/1.1\r\nhost: open.test\r\ncontent-length: 10\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n";
    upload.write_all(head.as_bytes()).expect("the edge reads");
    // `100 Continue` shows that the route has been selected.
    const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut interim = [0; GO_ON.len()];
    upload.read_exact(&mut interim).expect("the edge answers");
    assert_eq!(interim, GO_ON);
    upload.write_all(b"first").expect("the edge reads on");
    api.delete("Ingress", "traffic-open", "shop");
    api.delete("Pod", "traffic-open", "pod-10-244-1-71");
    EDGE.expect(SOON, "http://open.test/ = 404");

    upload.write_all(b"later").expect("the edge reads on");
    let mut response = String::new();
    upload.read_to_string(&mut response).expect("the edge answers");
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(response.contains("POST /upload HTTP/1.1"), "{response}");
}

/// Endpoints are listed after they start and removed before they stop, as in a rolling update.
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
    api.apply(&annotated(
        &ingress("traffic-class", "old", "old.test", "/", "web").replace("  ingressClassName: nginx\n", ""),
        "kubernetes.io/ingress.class: nginx",
    ));
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
    // When an IngressClass of our controller is created later, its Ingresses are served.
    api.apply(
        "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: other},
          spec: {controller: k8s.io/ingress-nginx}}",
    );
    EDGE.expect(SOON, "http://theirs.test/ = 200 a");
    api.delete("IngressClass", "", "other");
    EDGE.expect(SOON, "http://theirs.test/ = 404");
}

pub(crate) fn annotations_take_effect_when_they_are_set(stage: &mut Stage) {
    prepare(stage, "traffic-notes");
    let _pods = [Backend::start("main", "10.244.1.61:8080"), Backend::start("canary", "10.244.1.62:8080")];
    let api = &stage.plane.api;
    api.apply(&workload("traffic-notes", "web", &["10.244.1.61"]));
    api.apply(&workload("traffic-notes", "next", &["10.244.1.62"]));
    api.apply(&ingress("traffic-notes", "main", "notes.test", "/", "web"));
    let _portolan = stage.ingress("portolan", &[]);
    EDGE.expect(SOON, "http://notes.test/ [x-next: always] = 200 main");

    let canary = ingress("traffic-notes", "canary", "notes.test", "/", "next");
    let main = ingress("traffic-notes", "main", "notes.test", "/", "web");
    api.apply(&annotated(
        &canary,
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

    api.apply(&annotated(&main, "nginx.ingress.kubernetes.io/permanent-redirect: 'https://new.test/'"));
    EDGE.expect(SOON, "http://notes.test/ = 301 https://new.test/");

    // An annotation that protects and is not implemented closes the route.
    api.apply(&annotated(&main, "nginx.ingress.kubernetes.io/enable-modsecurity: 'true'"));
    EDGE.expect(SOON, "http://notes.test/ = 503");
    api.apply(&main);
    EDGE.expect(SOON, "http://notes.test/ = 200 main");
}

/// The zone is that of the Node of the Pod that `POD_NAME` names; hints and the Service are followed.
pub(crate) fn requests_stay_in_the_zone_of_the_node(stage: &mut Stage) {
    prepare(stage, "traffic-zone");
    let _pods = [Backend::start("a", "10.244.1.91:8080"), Backend::start("b", "10.244.1.92:8080")];
    let api = &stage.plane.api;
    api.apply(
        "{apiVersion: v1, kind: Node, metadata: {name: node-1, labels: {topology.kubernetes.io/zone: east}}}",
    );
    api.apply(&manifests::pod("traffic-zone", "edge", "edge", "10.244.1.93", true, ""));
    let service = |distribution: &str| {
        format!(
            "
---
apiVersion: v1
kind: Service
metadata: {{ name: web, namespace: traffic-zone }}
spec: {{ ports: [{{ name: http, port: 80, targetPort: 8080 }}] {distribution} }}
"
        )
    };
    let slice = |hints: [&str; 2]| {
        let endpoint = |(address, zone): (&str, &str)| {
            format!("{{ addresses: [{address}], zone: {zone}, hints: {{ forZones: [{{ name: {zone} }}] }} }}")
        };
        let endpoints = ["10.244.1.91", "10.244.1.92"].into_iter().zip(hints).map(endpoint);
        format!(
            "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: web, namespace: traffic-zone, labels: {{ kubernetes.io/service-name: web }} }}
addressType: IPv4
ports: [{{ name: http, port: 8080 }}]
endpoints: [{}]
",
            endpoints.collect::<Vec<_>>().join(", ")
        )
    };
    let (any, own) = ("", ", trafficDistribution: PreferClose");
    api.apply(&(service(any) + &slice(["east", "west"])));
    api.apply(&ingress("traffic-zone", "shop", "zone.test", "/", "web"));
    let kubeconfig = stage.plane.kubeconfig("portolan", stage.plane.server.address().port());
    let command = ["ingress", "--http-port=80", "--https-port=443", "--post-shutdown-grace-period=0"];
    let more = ["--kubeconfig", &kubeconfig.to_string_lossy(), "--enable-topology-aware-routing"];
    let pod = [("POD_NAME", "edge"), ("POD_NAMESPACE", "traffic-zone")];
    let portolan = stage.run_with(&command, &more, &pod);
    portolan.wait_for_log(&["topology aware routing: this node is in zone east"]);
    let both = "http://zone.test/ = 200 a\nhttp://zone.test/ = 200 b\n";
    let always = |name: &str| format!("http://zone.test/ = 200 {name}\n").repeat(8);
    for line in both.lines() {
        EDGE.expect(SOON, line);
    }
    api.apply(&service(own));
    EDGE.expect(SOON, &always("a"));
    api.apply(&slice(["west", "east"]));
    EDGE.expect(SOON, &always("b"));
    // No hint for the zone: all are used.
    api.apply(&slice(["west", "west"]));
    for line in both.lines() {
        EDGE.expect(SOON, line);
    }
    assert!(portolan.stop().success());
}
