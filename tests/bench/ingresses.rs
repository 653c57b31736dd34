//! The ingress proxy with many Ingresses, each with its own host.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::http::{self, Connection};

use crate::http::backend;
use crate::ingress_proxy::{self, IngressProxy, NAMESPACE};
use crate::object_server::ObjectServer;
use crate::process::Process;
use crate::samples::{LoadResult, Samples};
use crate::table::{Table, mebibytes, milliseconds};
use crate::testbed::Testbed;

const INGRESSES: usize = 20_000;
/// Number of Ingresses that share a Service.
const INGRESSES_PER_SERVICE: usize = 10;

/// Number of changes that are timed: of Ingresses, and of the ConfigMap.
const CHANGES: usize = 300;
const CONFIG_MAP_CHANGES: usize = 10;

/// The Pod of all Services: the backend.
const POD: &str = "127.0.0.1";

/// The namespace of the one Ingress of the other proxy.
const SINGLE: &str = "single";

/// Client connections that measure CPU time per request.
const CLIENTS: usize = 8;

/// How long to wait until a change is visible.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Measures Portolan only: ingress-nginx is not available from a package registry.
pub(crate) fn measure(testbed: &Testbed, rounds: usize, duration: Duration) -> Result<Table, String> {
    let backend = backend::start(testbed, Ipv4Addr::LOCALHOST)?;
    let api = ObjectServer::start(&testbed.folder("api-server-of-ingresses")?)?;
    create(&api, backend.address.port());

    let start = Instant::now();
    let flags = ["--watch-namespace", NAMESPACE, "--configmap", "default/controller"];
    let IngressProxy { mut process, address: proxy } =
        ingress_proxy::start(testbed, &api.kubeconfig, &flags)?;
    process.wait_until(|| http::get(proxy, &host(INGRESSES - 1), "/").is_ok_and(|got| got.status == 200))?;
    let (ready, ready_cpu) = (start.elapsed(), process.cpu());
    // The allocator returns memory that was freed after the initial list within seconds, if at all.
    thread::sleep(Duration::from_secs(10));
    let memory = process.memory();
    let mut single = ingress_proxy::start(testbed, &api.kubeconfig, &["--watch-namespace", SINGLE])?;
    let one = |address| http::get(address, &host(0), "/").is_ok_and(|got| got.status == 200);
    single.process.wait_until(|| one(single.address))?;

    // The first request of each host creates its metrics.
    let first = load(proxy, INGRESSES, Load::Requests(INGRESSES));
    let requested = process.memory();
    let [mut spread, mut hot, mut alone] = <[Samples; 3]>::default();
    for _ in 0..rounds {
        spread.measure(&process, || load(proxy, INGRESSES, Load::For(duration)));
        hot.measure(&process, || load(proxy, 1, Load::For(duration)));
        alone.measure(&single.process, || load(single.address, 1, Load::For(duration)));
    }
    let single_memory = single.process.memory();
    drop(single);
    let changes: Result<Vec<f64>, String> =
        (0..CHANGES).map(|number| time_change(&api, proxy, number)).collect();
    let (changes, defaults) = (changes?, time_defaults(&api, proxy, &process)?);

    let mut table = Table::new(
        format!("Ingress proxy with {INGRESSES} Ingresses and as many hosts"),
        &[
            "Ingresses",
            "requests to",
            "ready after",
            "CPU until ready",
            "RSS",
            "CPU µs per request",
            "× of one Ingress",
        ],
    );
    let one_cost = alone.cost().unwrap_or(f64::NAN);
    let cost = |samples: &Samples| {
        let cost = samples.cost().unwrap_or(f64::NAN);
        [format!("{cost:.2}"), format!("{:.3}", cost / one_cost)]
    };
    let none = || "–".to_owned();
    let (ready, ready_cpu) =
        (format!("{:.1} s", ready.as_secs_f64()), format!("{:.2} s", ready_cpu.as_secs_f64()));
    let with = |mut row: Vec<String>, samples: &Samples| {
        row.extend(cost(samples));
        row
    };
    let number = INGRESSES.to_string();
    table.row(with(vec![number.clone(), "one host".into(), ready, ready_cpu, mebibytes(memory.rss)], &hot));
    table.row(with(vec![number, "all hosts".into(), none(), none(), mebibytes(requested.rss)], &spread));
    table
        .row(with(vec!["1".into(), "one host".into(), none(), none(), mebibytes(single_memory.rss)], &alone));
    for (name, samples) in [("one host of 20,000", &hot), ("all hosts", &spread), ("one Ingress", &alone)] {
        table.note_failures("Portolan", name, samples);
    }
    if first.wrong + first.lost > 0 {
        table.note(format!("{} first requests failed", first.wrong + first.lost));
    }
    table.note(format!(
        "{CHANGES} changes of an annotation, one at a time, from the event to the first redirected response: p50 {}, p99 {}",
        milliseconds(&changes, 0.5),
        milliseconds(&changes, 0.99),
    ));
    table.note(defaults);
    table.note(format!(
        "RSS of all hosts: after a request to each, which has its own series of each metric; peak {}",
        mebibytes(process.memory().peak)
    ));
    table.note("ready after: with the lists, which the API server makes on the core of the load");
    Ok(table)
}

/// How long a load lasts.
#[derive(Clone, Copy)]
enum Load {
    For(Duration),
    Requests(usize),
}

/// Requests to the first `hosts` hosts in turn, over kept connections.
fn load(proxy: SocketAddr, hosts: usize, length: Load) -> LoadResult {
    let (start, count) = (Instant::now(), AtomicUsize::new(0));
    let next = || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let is_within = match length {
            Load::For(duration) => start.elapsed() < duration,
            Load::Requests(requests) => number < requests,
        };
        // Neighbours in the order of requests are not neighbours in memory.
        is_within.then(|| host(number * 7919 % hosts))
    };
    let results: Vec<LoadResult> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| client_load(proxy, next))).collect();
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

fn client_load(proxy: SocketAddr, next: impl Fn() -> Option<String>) -> LoadResult {
    let (mut result, mut connection) = (LoadResult::default(), None);
    while let Some(host) = next() {
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

fn create(api: &ObjectServer, port: u16) {
    api.put([ingress_proxy::class(), config_map(false)]);
    let services = (0..INGRESSES / INGRESSES_PER_SERVICE).flat_map(|number| {
        let name = web(number);
        [ingress_proxy::service(&name), ingress_proxy::slice(&name, POD, port)]
    });
    api.put(services);
    api.put((0..INGRESSES).map(ingress));
    let of_single = [ingress_proxy::service("web"), ingress_proxy::slice("web", POD, port)];
    let root = ingress_proxy::ingress("shop", &host(0), "web");
    api.put(of_single.into_iter().chain([root]).map(|object| ingress_proxy::in_namespace(object, SINGLE)));
}

fn ingress(number: usize) -> serde_json::Value {
    ingress_proxy::ingress(&name(number), &host(number), &web(number / INGRESSES_PER_SERVICE))
}

/// The ConfigMap. `force-ssl-redirect` is a default of all Ingresses with an effect that a client sees at once.
fn config_map(forces_https: bool) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "controller", "namespace": NAMESPACE },
        "data": { "force-ssl-redirect": forces_https.to_string() },
    })
}

/// Adds a redirect to an Ingress. Returns the milliseconds from the event to the first redirected response.
fn time_change(api: &ObjectServer, proxy: SocketAddr, number: usize) -> Result<f64, String> {
    let target = format!("https://moved-{number}.example/");
    let changed = number * 61 % INGRESSES;
    let mut object = ingress(changed);
    object["metadata"]["annotations"] = json!({ "nginx.ingress.kubernetes.io/permanent-redirect": target });
    time(proxy, &host(changed), |location| location == Some(&target), || api.put([object]))
}

/// Changes a default of all Ingresses back and forth. Returns a sentence with the times and the CPU time.
fn time_defaults(api: &ObjectServer, proxy: SocketAddr, process: &Process) -> Result<String, String> {
    let (mut times, start) = (Vec::new(), process.cpu());
    for change in 0..CONFIG_MAP_CHANGES {
        let forces_https = change % 2 == 0;
        let is_changed = |location: Option<&String>| location.is_some() == forces_https;
        times.push(time(proxy, &host(INGRESSES - 1), is_changed, || api.put([config_map(forces_https)]))?);
        // The rest of the work, such as reports and the release of the view before.
        thread::sleep(Duration::from_millis(500));
    }
    let cpu = (process.cpu() - start).as_secs_f64() * 1e3 / CONFIG_MAP_CHANGES as f64;
    Ok(format!(
        "{CONFIG_MAP_CHANGES} changes of a default in the ConfigMap (`force-ssl-redirect`), which rebuild all routes, from the event \
         to the first response: p50 {}, slowest {}; {cpu:.0} ms of CPU time each",
        milliseconds(&times, 0.5),
        milliseconds(&times, 1.0),
    ))
}

/// Makes a change and requests a host until the `Location` of a response shows it. Returns the milliseconds since the event was written.
fn time(
    proxy: SocketAddr,
    host: &str,
    is_changed: impl Fn(Option<&String>) -> bool,
    change: impl FnOnce() -> Instant,
) -> Result<f64, String> {
    let failed = |error: std::io::Error| format!("a request for {host}: {error}");
    let mut connection = Connection::plain(proxy).map_err(failed)?;
    let written = change();
    while written.elapsed() < TIMEOUT {
        let response = connection.send("GET", "/", &[("host", host)], b"").map_err(failed)?;
        let location = response.headers.iter().find(|(name, _)| name == "location").map(|(_, value)| value);
        if is_changed(location) {
            return Ok(written.elapsed().as_secs_f64() * 1e3);
        }
        if response.header("connection") == Some("close") {
            connection = Connection::plain(proxy).map_err(failed)?;
        }
    }
    Err(format!("{host} did not show a change within {TIMEOUT:?}"))
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
