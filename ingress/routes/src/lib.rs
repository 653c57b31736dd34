//! Routing as in ingress-nginx 1.15: hosts, paths, annotations and filters, as pure projections of the cluster.
//!
//! The crate has no socket, task, clock or log. Objects of the cluster go in; [`RouteTable`], [`Pools`] and [`Certs`] come
//! out. Requests, random numbers and time are passed in; routes, endpoints and direct responses come back.

mod cipher_list;
mod digest;
pub mod path;
pub mod template;

pub mod pattern;
pub mod shard_lock;
mod sharded_map;
mod sorted_list;

mod family_values;
pub mod limits;
pub mod identity_settings;
pub mod client_certificate;
pub mod geo;
pub mod trace_context;
pub mod exchange;
mod credentials;
pub mod variables;

pub mod access_log;
pub mod settings;
pub mod options;
mod unsupported;
pub mod problem;

mod class;
mod external_name;
mod precedence;
pub mod pools;

pub mod affinity;
pub mod balancing;
pub mod canary;
pub mod upstream;

mod password;
mod certificate;
pub mod upstream_tls;
pub mod plan;

pub mod snippet;

pub mod annotations;
pub mod globals;
pub mod streams;
pub mod table;

pub mod certs;

pub mod fuzz;

#[cfg(test)]
mod testing;

pub use access_log::{
    AccessLogSettings, LineFormat, LogEscape, LogVariable, SkippedUrls, StreamLineFormat, StreamVariable,
};
pub use balancing::Balancing;
pub use certs::{CertIndex, CertificateInfo, Certs};
pub use class::CLASS_ANNOTATION;
pub use client_certificate::{ClientCertificate, ClientCertificateRules, ClientRefusal};
pub use credentials::BasicCredentials;
pub use exchange::{BadRequest, Exchange, ProxiedConnection, RequestId, RequestScheme};
pub use external_name::refused_address;
pub use family_values::FamilyValues;
pub use geo::{GeoDatabase, GeoDatabases, GeoEdition, GeoSettings};
pub use globals::keys as config_map_keys;
pub use identity_settings::IdentitySettings;
pub use options::{PoolKey, RouteOptions};
pub use plan::Plan;
pub use plan::filter::{DirectResponse, FilterOutcome};
pub use pools::{OrphanReason, Pool, PoolIndex, Pools};
pub use problem::{BadValue, Effect, RoutingProblem};
pub use settings::{
    ConnectionSettings, Defaults, KeepAlive, ListenSettings, NextUpstream, ProxySettings, RetryCondition,
    ServerSettings, StreamSettings, TicketKey, TlsSettings, TlsVersions, TraceExportSettings,
};
pub use streams::{StreamIndex, StreamService, Streams};
pub use table::{
    AdmissionVerdict, ConditionalRoutes, Host, HostReason, PathReason, RequestConditions, Route, RouteIndex,
    RouteMatch, RouteTable, ServerTls, ValueCondition,
};
pub use unsupported::{Level, NeutralValues, UnsupportedSetting, parse_bool};
pub use upstream::{
    BalancerState, DEFAULT_UPSTREAM, EwmaScores, SelectedEndpoint, SelectedTarget, Upstream, UpstreamAddress,
    UpstreamTarget, WeightedTargets,
};
