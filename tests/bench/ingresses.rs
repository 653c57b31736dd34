//! The ingress proxy with many Ingresses, each with its own host, from a real API server.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::control_plane::ControlPlane;
use tests::http::{self, Connection};
use tests::{namespace, programs};

use crate::http::backend;
use crate::ingress_proxy::{self, IngressProxy, NAMESPACE};
use crate::samples::{LoadResult, Samples};
use crate::table::{Table, mebibytes, milliseconds};
use crate::testbed::Testbed;

const INGRESSES: usize = 20_000;
/// Number of Ingresses that share a Service.
const INGRESSES_PER_SERVICE: usize = 10;

/// Number of changes that are timed.
const CHANGES: usize = 300;

/// Connections that create objects.
const CONNECTIONS: usize = 8;

/// The Pod of all Services: the backend, which listens on all addresses of this network namespace.
const POD: &str = "10.244.9.1";

/// The namespace of the one Ingress of the other proxy.
const SINGLE: &str = "single";

/// Client connections that measure CPU time per request.
const CLIENTS: usize = 8;

/// How long to wait until a change is visible.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Times of one change, in milliseconds.
struct ChangeTimes {
    /// From the beginning of the write to the first changed response.
    since_write: f64,
    /// From the response of the API server to the first changed response.
    since_written: f64,
}

/// Measures Portolan only: ingress-nginx is not available from a package registry.
pub(crate) fn measure(testbed: &Testbed, rounds: usize, duration: Duration) -> Result<Table, String> {
    let binary = programs::cluster()?;
    // The process cannot leave these namespaces again.
    namespace::enter()?;
    let plane = ControlPlane::start(&binary, &testbed.folder("control-plane-of-ingresses")?);
    let backend = backend::start(testbed, Ipv4Addr::UNSPECIFIED)?;
    create(&plane, backend.address.port());

    let start = Instant::now();
    let IngressProxy { mut process, address: proxy } =
        ingress_proxy::start_with(testbed, &plane, &["--watch-namespace", NAMESPACE])?;
    process.wait_until(|| http::get(proxy, &host(INGRESSES - 1), "/").is_ok_and(|got| got.status == 200))?;
    let (ready, ready_cpu) = (start.elapsed(), process.cpu());
    // The allocator returns memory that was freed after the initial list within seconds, if at all.
    thread::sleep(Duration::from_secs(10));
    let memory = process.memory();
    let mut single = ingress_proxy::start_with(testbed, &plane, &["--watch-namespace", SINGLE])?;
    let one = |address| http::get(address, &host(0), "/").is_ok_and(|got| got.status == 200);
    single.process.wait_until(|| one(single.address))?;

    let (mut many_samples, mut single_samples) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        many_samples.measure(&process, || load(proxy, INGRESSES, duration));
        single_samples.measure(&single.process, || load(single.address, 1, duration));
    }
    let single_memory = single.process.memory();
    drop(single);

    let changes: Result<Vec<ChangeTimes>, String> =
        (0..CHANGES).map(|number| time_change(&plane, proxy, number)).collect();
    let changes = changes?;
    let since_write: Vec<f64> = changes.iter().map(|times| times.since_write).collect();
    let since_written: Vec<f64> = changes.iter().map(|times| times.since_written).collect();

    let mut table = Table::new(
        format!("Ingress proxy with {INGRESSES} Ingresses and as many hosts"),
        &[
            "Ingresses",
            "ready after",
            "CPU until ready",
            "RSS",
            "peak RSS",
            "CPU µs per request",
            "write to response p50",
            "p99",
            "written to response p50",
            "p99",
        ],
    );
    let cost = |samples: &Samples| samples.cost().map_or_else(|| "–".into(), |cost| format!("{cost:.2}"));
    table.row(vec![
        INGRESSES.to_string(),
        format!("{:.1} s", ready.as_secs_f64()),
        format!("{:.2} s", ready_cpu.as_secs_f64()),
        mebibytes(memory.rss),
        mebibytes(process.memory().peak),
        cost(&many_samples),
        milliseconds(&since_write, 0.5),
        milliseconds(&since_write, 0.99),
        milliseconds(&since_written, 0.5),
        milliseconds(&since_written, 0.99),
    ]);
    let mut row = vec!["1".to_owned(), "–".into(), "–".into(), mebibytes(single_memory.rss), "–".into()];
    row.push(cost(&single_samples));
    row.extend(["–"; 4].map(str::to_owned));
    table.row(row);
    if let (Some(many), Some(one)) = (many_samples.cost(), single_samples.cost()) {
        table.note(format!("CPU time per request: {:.3} × that with one Ingress", many / one));
    }
    table.note_failures("Portolan", "20,000 Ingresses", &many_samples);
    table.note_failures("Portolan", "one Ingress", &single_samples);
    table.note(format!(
        "{CHANGES} changes of an annotation, one at a time, each to the first redirected response: from the beginning of the \
         write, which includes the time that the API server takes, and from the response of the API server"
    ));
    table.note("ready after: with the lists, which the API server makes on the core of the load");
    Ok(table)
}

/// Requests to the first `hosts` hosts in turn, over kept connections.
fn load(proxy: SocketAddr, hosts: usize, duration: Duration) -> LoadResult {
    let start = Instant::now();
    let results: Vec<LoadResult> = thread::scope(|scope| {
        let client = |client: usize| scope.spawn(move || client_load(proxy, client, hosts, start, duration));
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        clients.into_iter().map(|client| client.join().expect("a client does not panic")).collect()
    });
    let mut sum = LoadResult { took: start.elapsed(), ..LoadResult::default() };
    for result in results {
        sum.answers += result.answers;
        sum.wrong += result.wrong;
        sum.lost += result.lost;
    }
    sum
}

fn client_load(
    proxy: SocketAddr,
    client: usize,
    hosts: usize,
    start: Instant,
    duration: Duration,
) -> LoadResult {
    let (mut result, mut connection) = (LoadResult::default(), None);
    for number in 0.. {
        if start.elapsed() > duration {
            break;
        }
        // Neighbours in the order of requests are not neighbours in memory.
        let host = host((number * CLIENTS + client) * 7919 % hosts);
        let open: std::io::Result<Connection> =
            connection.take().map_or_else(|| Connection::plain(proxy), Ok);
        match open.and_then(|mut open| Ok((open.send("GET", "/", &[("host", &host)], b"")?, open))) {
            Ok((response, open)) => {
                *(if response.status == 200 { &mut result.answers } else { &mut result.wrong }) += 1;
                connection = (response.header("connection") != Some("close")).then_some(open);
            }
            Err(_) => result.lost += 1,
        }
    }
    result
}

fn create(plane: &ControlPlane, port: u16) {
    let (api, services) = (&plane.api, 0..INGRESSES / INGRESSES_PER_SERVICE);
    api.create_all(&[ingress_proxy::class()], 1);
    let objects = services.flat_map(|number| {
        let name = web(number);
        [ingress_proxy::service(&name), ingress_proxy::slice(&name, POD, port)]
    });
    api.create_all(&objects.collect::<Vec<_>>(), CONNECTIONS);
    let root =
        |number| ingress_proxy::ingress(&name(number), &host(number), &web(number / INGRESSES_PER_SERVICE));
    api.create_all(&(0..INGRESSES).map(root).collect::<Vec<_>>(), CONNECTIONS);

    api.apply(
        &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SINGLE } }).to_string(),
    );
    let of_single = [ingress_proxy::service("web"), ingress_proxy::slice("web", POD, port)];
    let root = ingress_proxy::ingress("shop", &host(0), "web");
    let objects =
        of_single.into_iter().chain([root]).map(|object| ingress_proxy::in_namespace(object, SINGLE));
    api.create_all(&objects.collect::<Vec<_>>(), 1);
}

/// Adds a redirect to an Ingress and waits for the first redirected response.
fn time_change(plane: &ControlPlane, proxy: SocketAddr, number: usize) -> Result<ChangeTimes, String> {
    let target = format!("https://moved-{number}.example/");
    let annotations = json!({ "nginx.ingress.kubernetes.io/permanent-redirect": target });
    let patch = json!({ "metadata": { "annotations": annotations } }).to_string();
    let (changed, host) = (name(number * 61 % INGRESSES), host(number * 61 % INGRESSES));
    let failed = |error: std::io::Error| format!("a request for {host}: {error}");
    let mut connection = Connection::plain(proxy).map_err(failed)?;
    let write = Instant::now();
    plane.api.merge("Ingress", NAMESPACE, &changed, &patch);
    let written = Instant::now();
    while written.elapsed() < TIMEOUT {
        let response = connection.send("GET", "/", &[("host", &host)], b"").map_err(failed)?;
        if response.header("location") == Some(&target) {
            let milliseconds = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
            return Ok(ChangeTimes {
                since_write: milliseconds(write),
                since_written: milliseconds(written),
            });
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
