//! What the ingress controller writes to the cluster, as ingress-nginx does: other tools (external-dns, cert-manager, Argo CD, kubectl)
//! depend on it.
//!
//! # Design
//!
//! Nothing here is on the way of a request. [`ControllerThread::start`] starts one thread with a runtime of its own; it reads the published
//! [`RouteTable`](ingress_routes::RouteTable) and writes to the API server. If it fails, requests are served as before, and the failure is
//! on `/problems`.
//!
//! ```text
//!  Lease ──▶ election ──leader──▶ term: status of Ingresses   GET, PUT …/ingresses/NAME/status
//!                                  │   ▲ addresses             Service, or Pods of this workload and their Nodes
//!  RouteTable, problems ───────────┴──▶ Events                 POST, PATCH …/events
//! ```
//!
//! - **Election** (`election`): one Lease, with the names and times of ingress-nginx (client-go's leader election: `--election-ttl`,
//!   renewed within half of it, tried every quarter), so that a rollout that replaces ingress-nginx never has two leaders. Whether the
//!   lease of another process has expired is decided by the local clock since its last change, not by its timestamps. A conflict is a lost
//!   attempt. On shutdown the lease is released.
//! - **Term** (`term`): what the leader does until it no longer is. The status of Ingresses is watched only then (`IngressStatus`, a kind
//!   of its own, so that a written status rebuilds no route).
//! - **Status** (`addresses`, `status`): an Ingress without addresses is written at once, one with other addresses at the next
//!   `--status-update-interval`, so that two controllers with different addresses cannot write in a loop. Each write reads the Ingress and
//!   replaces its status: this needs the permissions that ingress-nginx has, and a conflict is noticed and repeated. An equal status is
//!   not written. Requests pass a token bucket, at most ten at a time.
//! - **Admission webhook** (`webhook`): every replica judges Ingresses by its current
//!   [`RouteTable`](ingress_routes::RouteTable). Nothing is rendered or executed, and no other Ingress is read again. The leader makes the certificate.
//! - **Events** (`events`): `Sync` for an Ingress that is served in a new version, and a Warning for every problem that the
//!   routes report, counted, combined and limited as client-go does. Problems are state: they wait until they can be written. `Sync` Events
//!   beyond a bound are dropped and counted.
//!
//! `election::lease`, `addresses`, `events::correlator`, `webhook::review` and `token_bucket` are values and functions without I/O, with the time passed in.

mod token_bucket;
mod addresses;

pub mod options;
mod metrics;
mod views;

mod api;
mod problems;

mod changed_ingresses;
mod election;
mod status;
mod events;
mod term;
mod webhook;

mod controller;
#[cfg(test)]
mod testing;

pub use controller::{ControllerStartError, ControllerThread};
pub use metrics::ControllerMetrics;
pub use options::{
    AddressSource, ControllerOptions, ElectionOptions, PodIdentity, StatusOptions, WebhookCertificateSource,
    WebhookOptions,
};
pub use views::ControllerViews;
