//! Hosts, paths, annotations and filters: what ingress-nginx does with an Ingress, as pure projections.
//!
//! Quiet: no socket, task, clock or log. Objects go in; a table, pools and certificates come out. Requests, chance and
//! time are passed in; routes, endpoints and answers come back.
//!
//! References such as "§3.6" are to the compatibility notes on ingress-nginx 1.15.

mod digest;
pub mod path;
mod pcre;

pub mod pattern;
mod shards;
mod sorted;

pub mod options;
pub mod problem;

pub mod exchange;
pub mod filter;

mod class;
mod precedence;
pub mod pools;

pub mod affinity;
pub mod canary;
pub mod upstream;

pub mod annotations;
mod hsts;
pub mod table;

pub mod certs;

pub mod fuzz;

#[cfg(test)]
mod testing;

pub use certs::{CertIndex, Certs, Facts};
pub use class::CLASS_ANNOTATION;
pub use exchange::{BadRequest, Exchange, Scheme};
pub use filter::{Answer, Filter, Flow};
pub use options::{Options, PoolKey};
pub use pools::{Missing, Pool, PoolIndex, Pools};
pub use problem::{BadValue, Outcome, Problem};
pub use table::{DEFAULT_UPSTREAM, Found, Host, Route, Table, TableIndex};
pub use upstream::{Choice, Draw, Endpoint, Pick, Target, Upstream};
