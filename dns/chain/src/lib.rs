//! The chain of plugins that answers a query: query, reply, runner, registry, and one file per plugin.
//!
//! A front (see `dns-server`) reads a message into an [`Request`], hands it to [`run::answer`] with the [`Routes`] of the
//! address it came to, and sends what comes back. What can be answered from memory is answered on the thread that
//! read the packet; only what has to wait moves to the async runtime. No plugin knows the next one.

pub mod request;
mod authorities;
pub mod codes;
pub mod plugin;
mod random;

mod chain;
mod query_metrics;

mod routes;

pub mod run;

pub mod setup;

mod names;

pub mod plugins;

mod build;

pub use build::{Servers, build, directives};
pub use chain::{Chain, Link};
pub use names::Zones;
pub use plugin::{Answer, Flow, Plugin, QueryFailure};
pub use query_metrics::QueryMetrics;
pub use request::{Purpose, Request, Transport};
pub use routes::Routes;
pub use setup::{
    ApiConnection, ApiLimits, ClusterSource, PluginContext, PluginEntry, PluginGuard, PluginInstances,
    ReloadOptions, ZoneViews,
};
