use crate::exchange::tests::get;
use crate::testing::TestCluster;

const INGRESSES: &str = "
metadata: {name: minute, annotations: {limit-rpm: '6'}}
spec: {rules: [{host: minute.example, paths: [[/, Prefix, web], [/more, Prefix, web]]}]}
---
metadata: {name: burst, annotations: {limit-rps: '2', limit-burst-multiplier: '2'}}
spec: {rules: [{host: burst.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: both, annotations: {limit-rps: '100', limit-rpm: '1', limit-burst-multiplier: '1'}}
spec: {rules: [{host: both.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: exempt, annotations: {limit-rpm: '1', limit-connections: '1', limit-allowlist: '10.0.0.1, 192.0.2.0/24'}}
spec: {rules: [{host: exempt.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: open, annotations: {limit-connections: '2'}}
spec: {rules: [{host: open.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: none, annotations: {limit-rps: '0', limit-rpm: '-1', limit-connections: ' 0 '}}
spec: {rules: [{host: none.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: bad, annotations: {limit-rps: many}}
spec: {rules: [{host: bad.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: doubtful, annotations: {limit-rpm: '1', limit-burst-multiplier: '0', limit-allowlist: me, limit-connections: '-1'}}
spec: {rules: [{host: doubtful.example, paths: [[/, Prefix, web]]}]}
";

fn cluster() -> TestCluster {
    TestCluster::configured(INGRESSES).services("web 80 10.0.0.1")
}

/// How many of a hundred requests at the same time are served, each over before the next begins.
fn served(cluster: &TestCluster, url: &str) -> usize {
    (0..100).filter(|_| cluster.get(url) == "web").count()
}

#[test]
fn one_request_and_the_burst_are_served_at_once() {
    let cluster = cluster();
    for (url, number) in [
        ("minute.example/", 31),
        ("minute.example/more", 0),
        ("burst.example/", 5),
        ("both.example/", 2),
        ("exempt.example/", 100),
        ("open.example/", 100),
        ("none.example/", 100),
        ("bad.example/", 0),
        ("doubtful.example/", 6),
    ] {
        assert_eq!(served(&cluster, url), number, "{url}");
    }
    assert_eq!(cluster.get("minute.example/"), "503");
}

#[test]
fn a_change_of_the_view_keeps_what_was_counted() {
    let mut cluster = cluster();
    assert_eq!(served(&cluster, "minute.example/"), 31);
    cluster.configure(&[("limit-req-status-code", "429")]);
    assert_eq!(cluster.get("minute.example/"), "429", "the routes were built again");
    cluster.configure(&[("limit-req-status-code", "200")]);
    assert_eq!(cluster.get("minute.example/"), "503");
}

#[test]
fn open_requests_count_until_they_end() {
    let mut cluster = cluster();
    let mut open: Vec<_> = (0..3).map(|_| get("open.example/", &[])).collect();
    let answers: Vec<_> = open.iter_mut().map(|exchange| cluster.answer(exchange, 99)).collect();
    assert_eq!(answers, ["web", "web", "503"]);
    cluster.configure(&[("limit-conn-status-code", "429")]);
    assert_eq!(cluster.get("open.example/"), "429");
    open.clear();
    assert_eq!(cluster.get("open.example/"), "web");
}

#[test]
fn a_variable_tells_clients_apart() {
    let mut cluster = cluster();
    cluster.configure(&[("limit-conn-zone-variable", "$http_x_user")]);
    let served = |user: &str| {
        let headers = [("x-user", user)];
        (0..100).filter(|_| cluster.ask("burst.example/", &headers, 99) == "web").count()
    };
    assert_eq!([served("ann"), served("ben"), served("ann"), served("")], [5, 5, 0, 100]);
    assert_eq!((0..100).filter(|_| cluster.get("burst.example/") == "web").count(), 100, "no such header");
    let mut open = ["ann", "ann", "ann", "ben"].map(|user| get("open.example/", &[("x-user", user)]));
    assert_eq!(open.each_mut().map(|exchange| cluster.answer(exchange, 99)), ["web", "web", "503", "web"]);
    cluster.configure(&[("limit-conn-zone-variable", "$nothing")]);
    assert_eq!(self::served(&cluster, "both.example/"), 2, "limits by the address");
    assert!(cluster.problems().iter().any(|problem| problem.contains("limit-conn-zone-variable")));
}

#[test]
fn limits_count_by_the_address_of_the_client() {
    let mut cluster = cluster();
    cluster.configure(&[("use-forwarded-headers", "true")]);
    let ask = |client: &str| cluster.ask("both.example/", &[("x-forwarded-for", client)], 99);
    assert_eq!(
        [ask("1.2.3.4"), ask("1.2.3.4"), ask("1.2.3.4"), ask("1.2.3.5")],
        ["web", "web", "503", "web"]
    );
}

#[test]
fn invalid_values_are_reported() {
    let cluster = cluster();
    let problems = cluster.problems();
    let has = |parts: [&str; 3]| problems.iter().any(|text| parts.iter().all(|part| text.contains(part)));
    assert!(has(["default/bad", "limit-rps", "the routes answer 503"]), "{problems:?}");
    assert!(has(["default/doubtful", "limit-burst-multiplier", "its default is used"]), "{problems:?}");
    assert!(has(["default/doubtful", "limit-allowlist", "it is left out"]), "{problems:?}");
    let ignored = "is below 0 and limits nothing; it is ignored, as by ingress-nginx";
    assert!(has(["default/doubtful", "limit-connections: \"-1\"", ignored]), "{problems:?}");
    assert_eq!(problems.len(), 5, "{problems:?}");
}
