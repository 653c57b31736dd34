//! Builds chains from a Corefile for a cluster without objects.
#![allow(unreachable_pub, reason = "a module of each test file")]
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

use std::sync::{Arc, Mutex};

use cluster::{Cache, Current};
use config::{ConfigErrors, Corefile};
use dns_chain::presentation::{self, TextRecord};
use dns_chain::{
    Answer, ApiConnection, ChainLimits, ClusterSource, PluginContext, PluginGuard, Request, Servers,
    Transport, ZoneRoutes, run,
};
use dns_wire::{Edns, Name, Owner, Query, Record, Reply, Section};
use dns_zone::{NodeIndex, NodeNames, PodIndex, PodNamespaces, Zone, ZoneIndex};
use telemetry::metrics::{Counter, Registry};
use telemetry::{AdminServer, LogWriter, ReadinessGates, Reports};
use tokio::runtime::Handle;

#[derive(Default)]
pub struct EmptyCluster {
    pub cache: Mutex<Cache>,
    connections: Mutex<Vec<ApiConnection>>,
}

impl ClusterSource for EmptyCluster {
    fn project(&self, zone: ZoneIndex, connection: &ApiConnection) -> Result<Current<Zone>, String> {
        if let Some((file, _)) = connection.kubeconfig.as_ref().filter(|(file, _)| file == "/none") {
            return Err(format!("kubeconfig {file}: it cannot be read"));
        }
        self.connections.lock().unwrap().push(connection.clone());
        Ok(self.cache.lock().unwrap().project(zone))
    }

    fn nodes(&self, _: &ApiConnection) -> Result<Current<NodeNames>, String> {
        Ok(self.cache.lock().unwrap().project(NodeIndex))
    }

    fn pods(&self, _: &ApiConnection) -> Result<Current<PodNamespaces>, String> {
        Ok(self.cache.lock().unwrap().project(PodIndex))
    }
}

pub fn parse(text: &str) -> Result<Corefile, ConfigErrors> {
    let options = config::ParseOptions { dns_port: 53, directives: &[], env: &|_| None };
    Corefile::parse("Corefile", text, &config::Disk, &options)
}

/// A context with that runtime and registry.
pub fn context(cluster: Arc<EmptyCluster>, runtime: Handle, metrics: &Registry) -> PluginContext {
    PluginContext {
        cluster,
        shared: Default::default(),
        metrics: metrics.clone(),
        legacy_metrics: true,
        gates: ReadinessGates::new(),
        admin: AdminServer::new(&Registry::new()),
        reports: Reports::new(&Registry::new()),
        queries: LogWriter::new(std::io::sink(), Counter::default()),
        json: false,
        runtime,
        fatal: Arc::new(|_| {}),
        version: "test",
        limits: ChainLimits::new(&Registry::new()),
    }
}

pub fn build(text: &str) -> Result<(Servers, Vec<ApiConnection>), String> {
    build_with(text, &Registry::new(), true)
}

pub fn build_with(
    text: &str,
    metrics: &Registry,
    legacy_metrics: bool,
) -> Result<(Servers, Vec<ApiConnection>), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let cluster = Arc::new(EmptyCluster::default());
    let context =
        PluginContext { legacy_metrics, ..context(cluster.clone(), runtime.handle().clone(), metrics) };
    let corefile = parse(text).map_err(|errors| errors.to_string())?;
    let servers = dns_chain::build(&corefile, &context).map_err(|errors| errors.to_string())?;
    let connections = cluster.connections.lock().unwrap().clone();
    Ok((servers, connections))
}

/// A query and how it is sent.
pub struct Question<'a> {
    pub name: &'a str,
    pub qtype: &'a str,
    pub qclass: &'a str,
    /// UDP size and DO, if there is an OPT record.
    pub edns: Option<(u16, bool)>,
    pub client: &'a str,
}

impl<'a> Question<'a> {
    pub fn new(name: &'a str, qtype: &'a str) -> Self {
        Self { name, qtype, qclass: "IN", edns: None, client: "127.0.0.1" }
    }

    pub fn query(&self) -> Query {
        let qtype = dns_chain::codes::Type::named(self.qtype).unwrap().0;
        let mut query = Query::new(7, &self.name.parse().unwrap(), qtype);
        query.qclass = dns_chain::codes::Class::named(self.qclass).unwrap().0;
        query.edns = self.edns.map(|(udp_size, dnssec_ok)| Edns { udp_size, version: 0, dnssec_ok });
        query
    }
}

/// What a client gets.
pub struct Received {
    pub query: Query,
    pub reply: Reply,
    /// The encoded message; empty if none is sent.
    pub message: Vec<u8>,
    /// Why the query failed.
    pub why: String,
}

impl Received {
    /// The records of a section, with names in lower case.
    pub fn records(&self, section: Section) -> Vec<TextRecord> {
        let shown = |record: &Record| {
            let mut rdata = Vec::new();
            self.reply.canonical_rdata(record, &self.query, &mut rdata);
            // The target of SVCB and HTTPS; the values behind it keep their letter case.
            if let (64 | 65, Some(target)) = (record.rtype, rdata.get(2..).and_then(Name::from_wire)) {
                rdata[2..2 + target.wire().len()].make_ascii_lowercase();
            }
            let Record { rtype, class, ttl, .. } = *record;
            TextRecord { owner: self.reply.owner(record, &self.query).lower(), rtype, class, ttl, rdata }
        };
        let mut records: Vec<_> = self.reply.section(section).map(shown).collect();
        records.sort_by_key(|record| format!("{record:?}"));
        records
    }
}

/// Records in presentation format, as [`Received::records`] returns them.
pub fn parsed(lines: &[&str]) -> Vec<TextRecord> {
    let mut reply = Reply::default();
    for line in lines {
        let record = presentation::record(line).unwrap_or_else(|error| panic!("{line}: {error}")).unwrap();
        let TextRecord { owner, rtype, class, ttl, rdata } = record;
        reply.push_class(Section::Answer, Owner::Name(owner.wire()), (rtype, class), ttl, &rdata);
    }
    let received = Received { query: Query::default(), reply, message: Vec::new(), why: String::new() };
    received.records(Section::Answer)
}

/// Builds a Corefile within the runtime of the test.
pub fn check(text: &str) -> Result<Servers, String> {
    let context = context(Arc::new(EmptyCluster::default()), Handle::current(), &Registry::new());
    let corefile = parse(text).map_err(|errors| errors.to_string())?;
    dns_chain::build(&corefile, &context).map_err(|errors| errors.to_string())
}

/// The routes of the first listener of a Corefile, as they are once the configuration is served.
pub async fn routes(text: &str) -> Result<TestRoutes, String> {
    let metrics = Registry::new();
    let cluster = Arc::new(EmptyCluster::default());
    let context = context(cluster.clone(), Handle::current(), &metrics);
    let corefile = parse(text).map_err(|errors| errors.to_string())?;
    let mut servers = dns_chain::build(&corefile, &context).map_err(|errors| errors.to_string())?;
    let guards = servers.begin().await?;
    let routes = servers.listeners[0].routes.clone();
    Ok(TestRoutes { routes, metrics, cluster, _servers: servers, _guards: guards })
}

pub struct TestRoutes {
    pub routes: Arc<ZoneRoutes>,
    pub metrics: Registry,
    pub cluster: Arc<EmptyCluster>,
    _servers: Servers,
    _guards: Vec<PluginGuard>,
}

impl TestRoutes {
    pub async fn ask(&self, question: &Question<'_>) -> Received {
        self.ask_with(question, |_| ()).await
    }

    /// Changes the query before it is sent.
    pub async fn ask_with(&self, question: &Question<'_>, change: impl FnOnce(&mut Query)) -> Received {
        let mut request = Request::new(Transport::Udp, ([127, 0, 0, 1], 53).into());
        request.query = question.query();
        change(&mut request.query);
        request.client = (question.client.parse::<std::net::IpAddr>().unwrap(), 40_212).into();
        let (mut answer, mut buffer) = (Answer::default(), vec![0; 65_535]);
        let mut length = 0;
        let pending =
            run::answer(&self.routes, &mut request, &mut answer, |encode| length = encode(&mut buffer));
        if let Some(pending) = pending {
            pending.finish(&mut request, &mut answer, |encode| length = encode(&mut buffer)).await;
        }
        buffer.truncate(length);
        let why = answer.failure.map(|failure| failure.why.into_owned()).unwrap_or_default();
        Received { query: request.query, reply: answer.reply, message: buffer, why }
    }
}
