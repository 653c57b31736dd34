//! Changes of Pods under load: no request and no lookup is lost.

use std::time::{Duration, Instant};

use tests::meter::{Meter, Series};
use tests::node::ClusterNode;
use tests::stage::DNS;

use crate::backends::SHOP;
use crate::chart::{DEPLOYMENTS, NAMESPACE, ensure_ingress};
use crate::ingress::{
    WebSocket, ensure_canary, ensure_session, ensure_tls, expect_canary, expect_session, expect_tls,
};
use crate::logs;

/// How long traffic goes on without the API server.
const OUTAGE: Duration = Duration::from_secs(4);

/// Requests to the backend through the ingress Service, and lookups of a cluster name and an external one.
fn traffic(node: &ClusterNode, service: &str) -> [Series; 3] {
    let meter = Meter::of(node);
    let web = node.field(SHOP, "service/web", "{.spec.clusterIP}");
    [
        meter.requests(&format!("http://{service}/"), "shop.example", "by%20web-"),
        meter.lookups(DNS, "web.shop.svc.cluster.local.", &web),
        meter.lookups(DNS, "www.example.com.", "192.0.2.8"),
    ]
}

#[track_caller]
fn expect_no_loss(series: [Series; 3]) {
    let reports = series.map(Series::end);
    for report in reports {
        report.expect_no_loss(100);
    }
}

pub(crate) fn a_restart_of_the_backend_fails_no_request(node: &mut ClusterNode) {
    let service = ensure_ingress(node);
    let series = traffic(node, &service);
    node.kubectl(&["rollout", "restart", "-n", SHOP, "deployment/web"]);
    node.wait_for_rollout(SHOP, "deployment/web");
    node.wait_for_only(SHOP, "app=web", 2);
    expect_no_loss(series);
}

pub(crate) fn a_restart_of_portolan_loses_nothing(node: &mut ClusterNode) {
    let service = ensure_ingress(node);
    let series = traffic(node, &service);
    for deployment in DEPLOYMENTS {
        node.kubectl(&["rollout", "restart", "-n", NAMESPACE, deployment]);
    }
    for deployment in DEPLOYMENTS {
        node.wait_for_rollout(NAMESPACE, deployment);
    }
    node.wait_for_only(NAMESPACE, "app.kubernetes.io/instance=portolan", 4);
    expect_no_loss(series);
}

pub(crate) fn without_the_api_server_dns_and_ingress_serve(node: &mut ClusterNode) {
    let service = ensure_ingress(node);
    let trust = ensure_tls(node, &service);
    ensure_canary(node, &service);
    let session = ensure_session(node, &service);
    let mut websocket = WebSocket::open(&service);
    let series = traffic(node, &service);

    node.plane.server.stop();
    let start = Instant::now();
    while start.elapsed() < OUTAGE {
        // First: on a loaded machine the others take longer than a connection may be silent (`proxy-read-timeout`).
        websocket.expect_echo();
        WebSocket::open(&service).expect_echo();
        expect_tls(&service, &trust);
        expect_session(&service, &session);
        expect_canary(&service, 40);
    }
    expect_no_loss(series);
    node.plane.server.start(&[]);
    node.wait_for("", "node/node", "condition=Ready");
    let lines = logs::expect_quiet(node, &["API server https://10.96.0.1: unreachable"]);
    assert!(lines.len() >= 4, "each Pod says that the API server is away: {lines:?}");
}
