//! The names of a cluster and what they answer: a pure projection of the snapshot.
//!
//! Follows the Kubernetes DNS-Based Service Discovery specification 1.1.0 and, where that leaves room, the `kubernetes`
//! plugin of CoreDNS. Quiet: no socket, task, clock or log; objects and queries in, answers out.

mod options;
mod address;
mod sharded;
mod records;
mod zone;
mod answer;
mod index;

pub use answer::ZoneVerdict;
pub use index::ZoneIndex;
pub use options::{PodMode, ZoneOptions};
pub use zone::Zone;
