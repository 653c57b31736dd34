//! Sets up a Corefile without serving it, to find its errors: no cluster, no log, no listener.

use std::sync::{Arc, Mutex, PoisonError};

use cluster::{Cache, Current};
use config::{Corefile, Word};
use dns_zone::{NodeIndex, NodeNames, PodIndex, PodNamespaces, Zone, ZoneIndex};
use telemetry::metrics::{Counter, Registry};
use telemetry::{AdminServer, LogWriter, ReadinessGates, Reports};
use tokio::runtime::Handle;

use crate::limits::ChainLimits;
use crate::setup::{ApiConnection, ClusterSource, PluginContext};

/// Stands for the servers of a file that exists only in the Pod, such as its `/etc/resolv.conf` (RFC 5737).
const DOCUMENTATION_ADDRESS: &str = "192.0.2.53";

/// A context for [`crate::build`] with which nothing is started.
pub fn context(version: &'static str, runtime: Handle) -> PluginContext {
    let registry = Registry::new();
    PluginContext {
        cluster: Arc::new(NoCluster::default()),
        shared: Default::default(),
        gates: ReadinessGates::new(),
        admin: AdminServer::new(&registry),
        reports: Reports::new(&registry),
        queries: LogWriter::new(std::io::sink(), Counter::default()),
        json: false,
        runtime,
        fatal: Arc::new(|_| {}),
        version,
        limits: ChainLimits::new(&registry),
        metrics: registry,
        legacy_metrics: true,
    }
}

/// Replaces the files that plugins name: on this machine they may be other ones, or none.
pub fn replace_files(corefile: &mut Corefile) {
    for directive in corefile.blocks.iter_mut().flat_map(|block| &mut block.directives) {
        let (files, stand_in) = match directive.name.text.as_str() {
            "forward" => (directive.args.get_mut(1..), DOCUMENTATION_ADDRESS),
            // Its content is not read before the start.
            "hosts" => (directive.args.get_mut(..1), "/etc/hosts"),
            _ => continue,
        };
        for file in files.into_iter().flatten().filter(|arg| arg.text.starts_with('/')) {
            *file = Word::new(stand_in, &file.at);
        }
    }
}

/// Replaces the files that name upstreams by an address that stands for their servers.
pub fn replace_upstream_files(corefile: &mut Corefile) {
    let directives = corefile.blocks.iter_mut().flat_map(|block| &mut block.directives);
    let forwards = directives.filter(|directive| directive.name.text == "forward");
    for file in forwards.flat_map(|directive| directive.args.iter_mut().skip(1)) {
        if file.text.starts_with('/') {
            *file = Word::new(DOCUMENTATION_ADDRESS, &file.at);
        }
    }
}

/// Plugins that open listeners or send telemetry, and have no part in answers.
const NOT_STARTED: [&str; 5] = ["health", "ready", "pprof", "prometheus", "trace"];

/// Removes the plugins that would open listeners or send telemetry once the servers begin. Returns their names.
pub fn remove_listeners(corefile: &mut Corefile) -> Vec<&'static str> {
    let mut removed: Vec<&'static str> = Vec::new();
    for block in &mut corefile.blocks {
        block.directives.retain(|directive| {
            let found = NOT_STARTED.iter().find(|name| **name == directive.name.text);
            removed.extend(found);
            found.is_none()
        });
    }
    removed.sort_unstable();
    removed.dedup();
    removed
}

/// A cluster without objects.
#[derive(Default)]
struct NoCluster(Mutex<Cache>);

impl ClusterSource for NoCluster {
    fn project(&self, zone: ZoneIndex, _connection: &ApiConnection) -> Result<Current<Zone>, String> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).project(zone))
    }

    fn nodes(&self, _connection: &ApiConnection) -> Result<Current<NodeNames>, String> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).project(NodeIndex))
    }

    fn pods(&self, _connection: &ApiConnection) -> Result<Current<PodNamespaces>, String> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).project(PodIndex))
    }
}
