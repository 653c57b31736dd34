//! The DNS zone of a cluster: a pure projection of the cluster snapshot, and the answers from it.
//!
//! Follows the Kubernetes DNS-Based Service Discovery specification 1.1.0 and, where the specification is silent, the
//! `kubernetes` plugin of CoreDNS. Opens no socket, starts no task, reads no clock and writes no log.

mod options;
mod address;
mod sharded;
mod records;
mod zone;
mod answer;
mod index;
mod nodes;
mod pods;

pub use address::reversed;
pub use answer::{ExternalZones, NameSource, SearchedName, ZoneVerdict};
pub use index::ZoneIndex;
pub use nodes::{NodeIndex, NodeNames};
pub use options::{PodMode, ZoneOptions};
pub use pods::{PodIndex, PodNamespaces};
pub use zone::Zone;
