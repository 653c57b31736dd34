//! DNS over UDP by kind of query: names of the cluster, forwarded names, and plugins that answer or change queries.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::dataset::{self, Dataset};
use super::load::Load;
use super::query::{QueryKind, TestQuery};
use super::{LoadMode, SERVICES, cost_cell};
use crate::process::Process;
use crate::samples::Samples;
use crate::server::Server;
use crate::table::Table;
use crate::testbed::{NO_COREDNS, NO_PORTOLAN, Testbed, find, free_port, portolan, write};

/// Names of each kind that the Services do not have.
const NAMES: usize = 100;

/// A row of the table: its name, the queries, and whether they are sent to the server with further plugins.
struct KindOfQuery {
    name: &'static str,
    queries: Vec<TestQuery>,
    with_plugins: bool,
}

/// The servers of one engine.
struct Engine {
    name: &'static str,
    /// With kubeadm's Corefile.
    plain: Server,
    /// The same with `rewrite`, `hosts` and `template`.
    with_plugins: Server,
    samples: Vec<Samples>,
}

/// Measures Portolan and CoreDNS.
pub(crate) fn compare(testbed: &Testbed, rounds: usize, length: Duration) -> Result<Table, String> {
    let (upstream, dataset) = (start_upstream()?, Dataset::new(SERVICES));
    let kinds = kinds(&dataset);
    let mut table = Table::new(
        "DNS over UDP by kind of query: CPU µs per answer (× A of the same server)",
        &["query", "CoreDNS", "Portolan", "Portolan / CoreDNS"],
    );
    let mut engines = Vec::new();
    for (name, start) in [("CoreDNS", start_coredns as StartEngine), ("Portolan", start_portolan)] {
        let started = [false, true].map(|with_plugins| start(testbed, &dataset, upstream, with_plugins));
        let [plain, with_plugins] = started;
        match plain.and_then(|plain| Ok((plain, with_plugins?))).and_then(|servers| ready(servers, &kinds)) {
            Ok((plain, with_plugins)) => {
                let samples = vec![Samples::default(); kinds.len()];
                engines.push(Engine { name, plain, with_plugins, samples });
            }
            Err(reason) => table.note(format!("{name} was not measured: {reason}")),
        }
    }
    for _ in 0..rounds {
        for (at, kind) in kinds.iter().enumerate() {
            for engine in &mut engines {
                let server = if kind.with_plugins { &engine.with_plugins } else { &engine.plain };
                let mut load = Load::new(server.address)?;
                load.saturate(&kind.queries, Duration::from_millis(100));
                engine.samples[at]
                    .measure(&server.process, || load.run(&kind.queries, LoadMode::Saturate, length));
            }
        }
    }
    for (at, kind) in kinds.iter().enumerate() {
        let engine = |name: &str| engines.iter().find(|engine| engine.name == name);
        let cell =
            |name| engine(name).map_or("–".to_owned(), |it| cost_cell(&it.samples[at], &it.samples[0]));
        let cost = |name| engine(name)?.samples[at].cost();
        let ratio = cost("Portolan").zip(cost("CoreDNS"));
        let ratio = ratio.map_or("–".to_owned(), |(one, other)| format!("{:.2}", one / other));
        table.row(vec![kind.name.to_owned(), cell("CoreDNS"), cell("Portolan"), ratio]);
        for engine in &engines {
            table.note_failures(engine.name, kind.name, &engine.samples[at]);
        }
    }
    table.note(format!("median of {rounds} rounds of {:.1} s each, servers in turn", length.as_secs_f64()));
    Ok(table)
}

fn kinds(dataset: &Dataset) -> Vec<KindOfQuery> {
    let plain = |name, queries| KindOfQuery { name, queries, with_plugins: false };
    let with_plugins = |name, queries| KindOfQuery { name, queries, with_plugins: true };
    let names = |count: u8, name: fn(usize) -> String| {
        (0..NAMES).map(|number| TestQuery::addresses(number as u16, &name(number), count)).collect()
    };
    let headless = dataset::headless().enumerate();
    let headless = headless.map(|(id, (name, _))| TestQuery::addresses(id as u16, &name, dataset::ENDPOINTS));
    let of_service = |kind| dataset.queries(kind);
    vec![
        plain("A", of_service(QueryKind::Address)),
        plain("NXDOMAIN", of_service(QueryKind::Missing)),
        plain("NODATA", of_service(QueryKind::NoData)),
        plain("SRV", of_service(QueryKind::Port)),
        plain("headless, 4 addresses", headless.collect()),
        plain("cached external name", names(1, external)),
        plain("ndots:5 walk to a cached external name", walks()),
        plain("forwarded, not cached", names(1, |number| format!("host-{number}.miss.example"))),
        with_plugins("A, with rewrite, hosts and template", of_service(QueryKind::Address)),
        with_plugins("rewrite name exact", names(1, |number| format!("alias-{number}.example"))),
        with_plugins("hosts", names(1, |number| format!("entry-{number}.hosts.example"))),
        with_plugins("template without captures", names(1, |number| format!("a{number}.fixed.example"))),
    ]
}

fn external(number: usize) -> String {
    format!("host-{number}.example.org")
}

/// What a resolver in a Pod asks with the search list of `team-0` and `ndots:5`.
fn walks() -> Vec<TestQuery> {
    let search = ["team-0.svc.cluster.local", "svc.cluster.local", "cluster.local"];
    let of_name = |number: usize| {
        let missing = search.map(|domain| (format!("{}.{domain}", external(number)), 0));
        missing.into_iter().chain([(external(number), 1)])
    };
    let names = (0..NAMES).flat_map(of_name).enumerate();
    names.map(|(id, (name, count))| TestQuery::addresses(id as u16, &name, count)).collect()
}

/// Waits until the servers answer each kind of query.
fn ready((plain, with_plugins): (Server, Server), kinds: &[KindOfQuery]) -> Result<(Server, Server), String> {
    let wait = |mut server: Server, has_plugins: bool| {
        let mut load = Load::new(server.address)?;
        let mut own = kinds.iter().filter(|kind| kind.with_plugins == has_plugins);
        let answered = |kind: &KindOfQuery, load: &mut Load| load.query_once(&kind.queries[0]);
        server.process.wait_until(|| own.clone().all(|kind| answered(kind, &mut load))).map_err(|error| {
            let missing = own.find(|kind| !answered(kind, &mut load)).map_or("", |kind| kind.name);
            format!("no correct answer for {missing:?}: {error}")
        })?;
        Ok::<_, String>(server)
    };
    Ok((wait(plain, false)?, wait(with_plugins, true)?))
}

type StartEngine = fn(&Testbed, &Dataset, SocketAddr, bool) -> Result<Server, String>;

fn start_coredns(
    testbed: &Testbed,
    dataset: &Dataset,
    upstream: SocketAddr,
    with_plugins: bool,
) -> Result<Server, String> {
    let program = find("coredns", "COREDNS").ok_or(NO_COREDNS)?;
    let folder = testbed.folder(&format!("coredns-kinds-{with_plugins}"))?;
    let zone = folder.join("cluster.local.zone");
    write(&zone, &dataset.zone())?;
    let source = format!("file {} cluster.local", zone.display());
    start_with(testbed, Command::new(program), &folder, &source, upstream, with_plugins)
}

fn start_portolan(
    testbed: &Testbed,
    dataset: &Dataset,
    upstream: SocketAddr,
    with_plugins: bool,
) -> Result<Server, String> {
    let mut command = Command::new(portolan().ok_or(NO_PORTOLAN)?);
    let folder = testbed.folder(&format!("portolan-kinds-{with_plugins}"))?;
    let manifests = testbed.folder(&format!("portolan-kinds-{with_plugins}/cluster"))?;
    dataset.manifests(&manifests)?;
    command.arg("dns").arg("--cluster").arg(manifests);
    let source = "kubernetes cluster.local in-addr.arpa ip6.arpa {\n        pods insecure\n        \
        fallthrough in-addr.arpa ip6.arpa\n        ttl 30\n    }";
    start_with(testbed, command, &folder, source, upstream, with_plugins)
}

fn start_with(
    testbed: &Testbed,
    mut command: Command,
    folder: &Path,
    source: &str,
    upstream: SocketAddr,
    with_plugins: bool,
) -> Result<Server, String> {
    let port = free_port()?;
    let file = folder.join("Corefile");
    write(&file, &corefile(port, source, upstream, with_plugins)?)?;
    command.arg("-conf").arg(file);
    let process = Process::start_server(testbed, &mut command, folder)?;
    Ok(Server::new(process, port))
}

/// kubeadm's Corefile, and a zone whose names are never cached.
fn corefile(port: u16, source: &str, upstream: SocketAddr, with_plugins: bool) -> Result<String, String> {
    let (health, ready, metrics) = (free_port()?, free_port()?, free_port()?);
    let plugins = if with_plugins { plugins() } else { String::new() };
    Ok(format!(
        ".:{port} {{\n    bind 127.0.0.1\n    errors\n    health 127.0.0.1:{health} {{\n        lameduck 0s\n    }}\n    \
         ready 127.0.0.1:{ready}\n    {source}\n    prometheus 127.0.0.1:{metrics}\n{plugins}    forward . {upstream}\n    \
         cache 30\n    reload\n    loadbalance\n}}\n\
         miss.example:{port} {{\n    bind 127.0.0.1\n    errors\n    prometheus 127.0.0.1:{metrics}\n    \
         forward . {upstream}\n}}\n"
    ))
}

fn plugins() -> String {
    let rewrite = |number: usize| {
        format!("    rewrite name exact alias-{number}.example web-{number}.team-0.svc.cluster.local\n")
    };
    let entry = |number: usize| format!("        10.1.0.{number} entry-{number}.hosts.example\n");
    let rewrites: String = (0..NAMES).map(rewrite).collect();
    let entries: String = (0..NAMES).map(entry).collect();
    format!(
        "{rewrites}    template IN A fixed.example {{\n        answer \"{{{{ .Name }}}} 60 IN A 192.0.2.7\"\n    }}\n    \
         hosts {{\n{entries}        fallthrough\n    }}\n"
    )
}

/// Starts a thread that answers every query with an address.
fn start_upstream() -> Result<SocketAddr, String> {
    let failed = |error: std::io::Error| format!("the upstream: {error}");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    std::thread::spawn(move || {
        let mut packet = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut packet) {
            if let Some(length) = answer(&mut packet, length) {
                let _ = socket.send_to(&packet[..length], client);
            }
        }
    });
    Ok(address)
}

/// Turns a query into its reply: one address, and no EDNS record.
fn answer(packet: &mut [u8], length: usize) -> Option<usize> {
    const HEADER: usize = 12;
    let name = packet.get(HEADER..length)?.iter().position(|byte| *byte == 0)?;
    let end = HEADER + name + 1 + 4;
    packet.get_mut(2..HEADER)?.copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    let record = [0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 192, 0, 2, 1];
    packet.get_mut(end..end + record.len())?.copy_from_slice(&record);
    Some(end + record.len())
}
