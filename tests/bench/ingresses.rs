//! The ingress proxy with many Ingresses, each with its own host, from a real API server.

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
/// Number of Ingresses that share a Service.
const INGRESSES_PER_SERVICE: usize = 10;

/// Number of changes that are timed.
const CHANGES: usize = 300;

/// Connections that create objects.
const CONNECTIONS: usize = 8;

/// How long to wait until a change is visible.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Measures Portolan only: ingress-nginx is not available from a package registry.
pub(crate) fn measure(testbed: &Testbed) -> Result<Table, String> {
    let binary = programs::cluster()?;
    // The process cannot leave these namespaces again.
    namespace::enter()?;
    let plane = ControlPlane::start(&binary, &testbed.folder("control-plane-of-ingresses")?);
    create(&plane);

    let start = Instant::now();
    let IngressProxy { mut process, address: proxy } = ingress_proxy::start(testbed, &plane)?;
    // No Service has endpoints: a known host answers 503, an unknown one 404.
    process.wait_until(|| http::get(proxy, &host(INGRESSES - 1), "/").is_ok_and(|got| got.status == 503))?;
    let ready = start.elapsed();
    // The allocator returns memory that was freed after the initial list within seconds, if at all.
    std::thread::sleep(Duration::from_secs(10));
    let memory = process.memory();
    let mut latencies = Vec::with_capacity(CHANGES);
    for number in 0..CHANGES {
        latencies.push(time_change(&plane, proxy, number)?.as_secs_f64() * 1e3);
    }

    let mut table = Table::new(
        format!("Ingress proxy with {INGRESSES} Ingresses and as many hosts"),
        &["server", "ready after", "RSS", "peak RSS", "write to response p50", "p99"],
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
         redirected response: includes the time that the API server takes"
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

/// Adds a redirect to an Ingress. Returns the time from the write to the first redirected response.
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
