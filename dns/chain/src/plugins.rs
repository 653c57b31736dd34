//! The list of plugins. A query passes it from top to bottom; the order in the Corefile has no effect.

mod bind;
mod cache;
mod errors;
mod forward;
mod health;
mod hosts;
mod kubernetes;
mod loadbalance;
mod log;
mod loop_;
mod prometheus;
mod ready;
mod reload;
mod whoami;

pub use self::reload::ReloadMetrics;
use crate::setup::PluginEntry;

/// The registry of plugins, in the order of CoreDNS's plugin.cfg.
pub const PLUGINS: &[PluginEntry] = &[
    reload::ENTRY,
    bind::ENTRY,
    ready::ENTRY,
    health::ENTRY,
    prometheus::ENTRY,
    errors::ENTRY,
    log::ENTRY,
    loadbalance::ENTRY,
    cache::ENTRY,
    hosts::ENTRY,
    kubernetes::ENTRY,
    loop_::ENTRY,
    forward::ENTRY,
    whoami::ENTRY,
];

/// Directives of CoreDNS 1.15 that are not built yet.
pub const NOT_BUILT: &[&str] = &[
    "root",
    "metadata",
    "geoip",
    "cancel",
    "proxyproto",
    "quic",
    "grpc_server",
    "https",
    "https3",
    "timeouts",
    "multisocket",
    "nsid",
    "bufsize",
    "debug",
    "trace",
    "pprof",
    "shed",
    "dnstap",
    "local",
    "dns64",
    "siit",
    "any",
    "chaos",
    "tsig",
    "rewrite",
    "autopath",
    "acl",
    "header",
    "dnssec",
    "tls",
    "minimal",
    "template",
    "transfer",
    "dynupdate",
    "route53",
    "azure",
    "clouddns",
    "k8s_external",
    "file",
    "auto",
    "secondary",
    "etcd",
    "grpc",
    "erratic",
    "on",
    "sign",
    "view",
    "nomad",
];

/// A task that is aborted when this is dropped.
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
