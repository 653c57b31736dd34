//! `portolan up` on a real cluster, with the commands of a user.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tests::backend::Backend;
use tests::stage::{SOON, Stage};
use tests::web::EDGE;
use tests::{http, programs};

const MANIFEST: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: up }
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: { name: nginx }
spec: { controller: k8s.io/ingress-nginx }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: up }
spec: { clusterIP: 10.96.0.90, ports: [{ name: http, port: 80 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web, namespace: up, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
ports: [{ name: http, port: 8080 }]
endpoints: [{ addresses: [10.244.4.1] }]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: web, namespace: up }
spec:
  ingressClassName: nginx
  rules:
  - host: up.test
    http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { name: http } } } }] }
";

pub(crate) fn both_services_follow_kubectl_and_print_each_change(stage: &mut Stage) {
    let _pod = Backend::start("a", "10.244.4.1:8080");
    let kubeconfig = stage.plane.kubeconfig("portolan", 6443);
    let mut up = stage.run(
        &["up", "--kubeconfig", &kubeconfig.to_string_lossy(), "--dns", "10.96.0.10:53"],
        &["--http", "127.0.0.1:80", "--https", "127.0.0.1:443", "--admin", "127.0.0.1:10254"],
    );
    up.wait_for_page(10254, "/healthz");
    stage.resolver().expect(SOON, "web.up.svc.cluster.local A = NXDOMAIN");

    let manifest = stage.folder().join("up.yaml");
    fs::write(&manifest, MANIFEST).expect("the scratch folder is writable");
    let kubectl = |words: &[&str]| {
        let admin = stage.plane.kubeconfig("admin", 6443);
        let output = stage.plane.kubectl(&[&["--kubeconfig", &*admin.to_string_lossy()], words].concat());
        assert!(output.status.success(), "kubectl {words:?}: {output:?}");
    };
    kubectl(&["apply", "-f", &manifest.to_string_lossy()]);
    stage.resolver().expect(SOON, "web.up.svc.cluster.local A = 10.96.0.90");
    EDGE.expect(SOON, "http://up.test/ = 200 a");
    up.wait_for_log(&["Service", "up/web"]);
    up.wait_for_log(&["Ingress", "up/web"]);

    kubectl(&["delete", "--wait=false", "-f", &manifest.to_string_lossy()]);
    stage.resolver().expect(SOON, "web.up.svc.cluster.local A = NXDOMAIN");
    EDGE.expect(SOON, "http://up.test/ = 404");
    assert!(up.stop().success(), "SIGTERM is a good end");
}

pub(crate) fn the_demo_runs_beside_another_and_with_a_closed_output(stage: &mut Stage) {
    let mut first = stage.run(&["up"], &[]);
    first.wait_for_page(10254, "/healthz");
    let addresses =
        ["--dns=127.0.0.1:2053", "--http=0.0.0.0:8088", "--https=127.0.0.1:2443", "--admin=127.0.0.1:20254"];
    let mut second = stage.run(&["up"], &addresses);
    second.wait_for_page(20254, "/healthz");
    for port in [8080, 8088] {
        let page = http::get(([127, 0, 0, 1], port).into(), "shop.localhost", "/").expect("the edge answers");
        assert!(page.status == 200 && page.text().contains("web-"), "port {port}: {page:?}");
    }
    let plain = http::get(([127, 0, 0, 1], 8080).into(), "cart.localhost", "/a").expect("the edge answers");
    assert_eq!(plain.header("location"), Some("https://cart.localhost:8443/a"));
    the_live_page_shows_the_demo(10254);
    top_prints_the_demo("127.0.0.1:10254");
    a_running_instance_explains_and_shows_what_it_serves(10254);
    for words in [
        "up --dns=127.0.0.1:3053 --http=127.0.0.1:3080 --https=127.0.0.1:3443 --admin=127.0.0.1:30254",
        "reference annotations",
        "dns --help",
    ] {
        let (reader, writer) = std::io::pipe().expect("pipes are to be had");
        drop(reader);
        let mut command = Command::new(programs::portolan().expect("it runs already"));
        let mut deaf = command
            .args(words.split(' '))
            .stdout(writer.try_clone().expect("descriptors are to be had"))
            .stderr(writer)
            .spawn()
            .expect("it runs already");
        if words.starts_with("up") {
            first.wait_for_page(30254, "/healthz");
            kill(Pid::from_raw(deaf.id().cast_signed()), Signal::SIGTERM).expect("it runs");
        }
        assert!(deaf.wait().expect("it is a child").success(), "{words}");
    }
    assert!(first.stop().success() && second.stop().success(), "SIGTERM is a good end");
}

/// `portolan top --once`: the requests so far, by host.
fn top_prints_the_demo(admin: &str) {
    let mut command = Command::new(programs::portolan().expect("it runs already"));
    let printed = command.args(["top", "--once", "--admin", admin]).output().expect("it runs");
    let text = String::from_utf8_lossy(&printed.stdout);
    assert!(printed.status.success(), "{printed:?}");
    for wanted in ["4 Ingresses", "shop.localhost", "shop/shop", "DNS queries a second"] {
        assert!(text.contains(wanted), "{wanted:?} is missing in\n{text}");
    }
}

/// `explain --admin` and `dbg`, which ask the admin address.
fn a_running_instance_explains_and_shows_what_it_serves(port: u16) {
    let run = |words: &str| {
        let (command, words) = words.split_once(' ').expect("a command and its arguments");
        let output = Command::new(programs::portolan().expect("it runs already"))
            .args([command, "--admin", &format!("http://127.0.0.1:{port}")])
            .args(words.split(' '))
            .output()
            .expect("it runs already");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    for (words, code, wanted) in [
        (
            "explain web.shop.svc.cluster.local",
            0,
            &["Service shop/web: its cluster IPs", "IN A 10.96.20.1"][..],
        ),
        (
            "explain web --from shop/some-pod",
            0,
            &["search list of the client: shop.svc.cluster.local.", "web.shop.svc.cluster.local.: NOERROR"],
        ),
        (
            "explain example.org",
            0,
            &["forward: would ask other servers; nothing was sent", "answer: not known"],
        ),
        ("explain http://shop.localhost/ -H X-Canary:always", 0, &["this request goes to the canary"]),
        (
            "explain http://shop.localhost/ --connect 127.0.0.1:8080 --trace",
            0,
            &[
                "what happened: GET / HTTP/1.1 from 127.0.0.1",
                "of Ingress shop/shop",
                "attempt at 127.20.0.",
                "status 200",
            ],
        ),
        (
            "explain http://shop.localhost/ --connect 127.0.0.1:10254 --trace",
            1,
            &["has not seen the request"],
        ),
        ("explain web --trace", 2, &["--trace follows a request"]),
        ("explain tcp://shop.localhost:5432", 0, &["no entry for tcp:5432"]),
        ("dbg backends list", 0, &["shop-web-80\n", "shop-web-canary-80\n"]),
        (
            "dbg backends get shop-web-canary-80",
            0,
            &["\"trafficShapingPolicy\"", "\"noServer\": true", "\"port\": \"8080\""],
        ),
        ("dbg backends get none", 1, &["there is no backend \"none\""]),
        ("dbg conf all", 2, &["unexpected argument"]),
        ("dbg certs get shop.localhost", 1, &["no Secret has a certificate for \"shop.localhost\""]),
    ] {
        let (status, text) = run(words);
        assert_eq!(status, Some(code), "{words}: {text}");
        for part in wanted {
            assert!(text.contains(part), "{words}: {part:?} is missing in\n{text}");
        }
    }
}

/// The page, what it loads, the state, the first event and an explanation.
fn the_live_page_shows_the_demo(port: u16) {
    let get = |target: &str| {
        let response =
            http::get(([127, 0, 0, 1], port).into(), "localhost", target).expect("the admin address answers");
        assert_eq!(response.status, 200, "{target}: {response:?}");
        response.text()
    };
    let page = get("/live");
    for file in ["/live/script.js", "/live/style.css"] {
        assert!(page.contains(file) && !get(file).is_empty(), "{file}");
    }
    let state: Value = serde_json::from_str(&get("/live/state")).expect("JSON");
    let routes = state["ingress"]["routes"]["shown"].as_array().expect("routes");
    let shop = routes.iter().find(|route| route["host"] == "shop.localhost").expect("the demo has it");
    assert_eq!(shop["endpoints"].as_array().map(Vec::len), Some(2), "{shop}");
    assert_eq!(shop["canary"]["ingress"], "shop/shop-canary", "{shop}");
    let explained = get("/live/explain?url=http%3A%2F%2Fshop.localhost%2F&header=X-Canary%3A+always");
    assert!(explained.contains("goes to the canary"), "{explained}");

    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the admin address accepts");
    stream.write_all(b"GET /live/events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("it writes"));
    let event = lines.find(|line| line.starts_with("data: ")).expect("an event");
    let event: Value = serde_json::from_str(&event["data: ".len()..]).expect("JSON");
    assert!(event["http"]["total"].as_f64() >= Some(1.0), "{event}");
}
