//! The list of plugins. A query passes it from top to bottom; the order in the Corefile has no effect.

mod acl;
mod any;
mod auto;
mod autopath;
mod bind;
mod bufsize;
mod cache;
mod cancel;
mod chaos;
mod debug;
mod dns64;
mod erratic;
mod errors;
mod etcd;
mod file;
mod forward;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod header;
mod health;
mod hosts;
mod k8s_external;
mod kubernetes;
mod loadbalance;
mod local;
mod log;
mod loop_;
mod metadata;
mod minimal;
mod multisocket;
mod nsid;
mod pprof;
mod prometheus;
mod ready;
mod reload;
mod rewrite;
mod root;
mod shed;
mod siit;
mod template;
mod timeouts;
mod trace;
mod view;
mod whoami;

pub use self::reload::ReloadMetrics;
use crate::setup::PluginEntry;

/// The registry of plugins, in the order of CoreDNS's plugin.cfg.
pub const PLUGINS: &[PluginEntry] = &[
    root::ENTRY,
    metadata::ENTRY,
    cancel::ENTRY,
    timeouts::ENTRY,
    multisocket::ENTRY,
    reload::ENTRY,
    nsid::ENTRY,
    bufsize::ENTRY,
    bind::ENTRY,
    debug::ENTRY,
    trace::ENTRY,
    ready::ENTRY,
    health::ENTRY,
    pprof::ENTRY,
    shed::ENTRY,
    prometheus::ENTRY,
    errors::ENTRY,
    log::ENTRY,
    local::ENTRY,
    dns64::ENTRY,
    siit::ENTRY,
    any::ENTRY,
    chaos::ENTRY,
    loadbalance::ENTRY,
    rewrite::ENTRY,
    autopath::ENTRY,
    acl::ENTRY,
    cache::ENTRY,
    header::ENTRY,
    minimal::ENTRY,
    template::ENTRY,
    hosts::ENTRY,
    k8s_external::ENTRY,
    kubernetes::ENTRY,
    file::ENTRY,
    auto::ENTRY,
    etcd::ENTRY,
    loop_::ENTRY,
    forward::ENTRY,
    erratic::ENTRY,
    whoami::ENTRY,
    view::ENTRY,
];

/// Directives of CoreDNS 1.15 that are not built yet.
pub const NOT_BUILT: &[&str] = &[
    "geoip",
    "proxyproto",
    "quic",
    "grpc_server",
    "https",
    "https3",
    "dnstap",
    "tsig",
    "dnssec",
    "tls",
    "transfer",
    "dynupdate",
    "route53",
    "azure",
    "clouddns",
    "secondary",
    "grpc",
    "on",
    "sign",
    "nomad",
];

/// A task that is aborted when this is dropped.
struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
