//! The DNS plugin chain: request, answer, chain, runner, plugin registry, and one file per plugin.
//!
//! A listener (see `dns-server`) parses a message into a [`Request`], passes it to [`run::answer`] with the [`ZoneRoutes`] of
//! its address, and sends the encoded reply. Queries that can be answered from memory are answered on the thread that read
//! the packet. The others move to the async runtime, where [`limits`] bounds how many wait and for how long. Plugins do not
//! refer to each other: a query passes them in the order of [`plugins::PLUGINS`].

mod authorities;
mod http_client;
pub mod codes;
pub mod presentation;
mod host;
pub mod limits;
pub mod extensions;
pub mod request;

mod notes;
pub mod plugin;

mod recording;

mod chain;
mod listener;
mod query_metrics;

mod routes;

pub mod run;

pub mod setup;

mod names;

mod metadata;
pub mod search_path;
mod cluster_names;
pub mod expression;

pub mod plugins;

pub mod explain;
mod build;
pub mod offline;

#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;

#[cfg(test)]
mod testing;

pub use build::{DnsListener, Servers, build, directives};
pub use chain::{Chain, Link};
pub use extensions::Extensions;
pub use limits::{ChainLimits, PartialReplies};
pub use listener::ListenerSettings;
pub use metadata::{MetadataOffer, MetadataSource};
pub use names::Zones;
pub use notes::Notes;
pub use plugin::{After, Answer, EncodedReply, Flow, Hooks, Plugin, QueryFailure};
pub use plugins::ReloadMetrics;
pub use query_metrics::QueryMetrics;
pub use recording::RecordedStep;
pub use request::{Purpose, Request, Transport};
pub use routes::{RouteFilter, ZoneRoute, ZoneRoutes};
pub use setup::{
    ApiConnection, ApiLimits, ClusterSource, Lifecycle, ListenAddress, PluginContext, PluginEntry,
    PluginGuard, PluginOption,
};
pub use setup::{PluginInstances, ReloadOptions, SharedValues};
