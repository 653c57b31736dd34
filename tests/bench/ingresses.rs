//! The edge at size: as many Ingresses as hosts, from a real API server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::control_plane::ControlPlane;
use tests::http::{self, Connection};
use tests::{namespace, programs};

use crate::ingress_proxy::{self, IngressProxy, NAMESPACE};
use crate::table::{Table, mebibytes, milliseconds};
use crate::testbed::Testbed;

const INGRESSES: usize = 20_000;
/// Ingresses that share a Service.
const INGRESSES_PER_SERVICE: usize = 10;

/// Changes whose way to the clients is timed.
const CHANGES: usize = 300;

/// For creating.
const CONNECTIONS: usize = 8;

/// Longer than a change takes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Measures Portolan: ingress-nginx is in no package registry.
pub(crate) fn measure(testbed: &Testbed) -> Result<Table, String> {
    let binary = programs::cluster()?;
    // There is no way back out of it.
    namespace::enter()?;
    let plane = ControlPlane::start(&binary, &testbed.folder("control-plane-of-ingresses")?);
    create(&plane);

    let start = Instant::now();
    let IngressProxy { mut process, address: proxy } = ingress_proxy::start(testbed, &plane)?;
    // None has an endpoint: 503 is what a host that is known answers, 404 one that is not.
    process.wait_until(|| http::get(proxy, &host(INGRESSES - 1), "/").is_ok_and(|got| got.status == 503))?;
    let ready = start.elapsed();
    // What was freed after the first list goes back to the system within seconds, or not at all.
    std::thread::sleep(Duration::from_secs(10));
    let memory = process.memory();
    let mut latencies = Vec::with_capacity(CHANGES);
    for number in 0..CHANGES {
        latencies.push(time_change(&plane, proxy, number)?.as_secs_f64() * 1e3);
    }

    let mut table = Table::new(
        format!("IngressProxy at {INGRESSES} Ingresses of as many hosts"),
        &["engine", "ready after", "RSS", "peak", "write to answer p50", "p99"],
    );
    table.row(vec![
        "Portolan".to_owned(),
        format!("{:.1} s", ready.as_secs_f64()),
        mebibytes(memory.rss),
        mebibytes(process.memory().peak),
        milliseconds(&latencies, 0.5),
        milliseconds(&latencies, 0.99),
    ]);
    table.note(format!(
        "{CHANGES} changes of an annotation, one at a time, each from the beginning of the write to the first \
         request that is redirected by it: the API server's own work is part of it"
    ));
    Ok(table)
}

fn create(plane: &ControlPlane) {
    plane.api.create_all(&[ingress_proxy::class()], 1);
    let services = (0..INGRESSES / INGRESSES_PER_SERVICE).map(|number| ingress_proxy::service(&web(number)));
    plane.api.create_all(&services.collect::<Vec<_>>(), CONNECTIONS);
    let root =
        |number| ingress_proxy::ingress(&name(number), &host(number), &web(number / INGRESSES_PER_SERVICE));
    plane.api.create_all(&(0..INGRESSES).map(root).collect::<Vec<_>>(), CONNECTIONS);
}

/// Makes an Ingress redirect. Returns how long it took until it did.
fn time_change(plane: &ControlPlane, proxy: SocketAddr, number: usize) -> Result<Duration, String> {
    let target = format!("https://moved-{number}.example/");
    let annotations = json!({ "nginx.ingress.kubernetes.io/permanent-redirect": target });
    let patch = json!({ "metadata": { "annotations": annotations } }).to_string();
    let (changed, host) = (name(number * 61 % INGRESSES), host(number * 61 % INGRESSES));
    let failed = |error: std::io::Error| format!("a request for {host}: {error}");
    let mut connection = Connection::plain(proxy).map_err(failed)?;
    let written = Instant::now();
    plane.api.merge("Ingress", NAMESPACE, &changed, &patch);
    while written.elapsed() < TIMEOUT {
        let response = connection.send("GET", "/", &[("host", &host)], b"").map_err(failed)?;
        if response.header("location") == Some(&target) {
            return Ok(written.elapsed());
        }
        if response.header("connection") == Some("close") {
            connection = Connection::plain(proxy).map_err(failed)?;
        }
    }
    Err(format!("{host} was not redirected within {TIMEOUT:?}"))
}

fn name(number: usize) -> String {
    format!("shop-{number}")
}

fn host(number: usize) -> String {
    format!("{}.example", name(number))
}

fn web(number: usize) -> String {
    format!("web-{number}")
}
