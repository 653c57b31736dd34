//! Builds chains from a Corefile for a cluster without objects.
#![allow(unreachable_pub, reason = "a module of each test file")]
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

use std::sync::{Arc, Mutex};

use cluster::{Cache, Current};
use config::{ConfigErrors, Corefile};
use dns_chain::{ApiConnection, ChainLimits, ClusterSource, PluginContext, Servers};
use dns_zone::{NodeIndex, NodeNames, Zone, ZoneIndex};
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
}

pub fn parse(text: &str) -> Result<Corefile, ConfigErrors> {
    let options = config::ParseOptions { dns_port: 53, directives: &[], env: &|_| None };
    Corefile::parse("Corefile", text, &config::Disk, &options)
}

/// A context with that runtime and registry.
pub fn context(cluster: Arc<EmptyCluster>, runtime: Handle, metrics: &Registry) -> PluginContext {
    PluginContext {
        cluster,
        views: Default::default(),
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
