//! Nodes.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::key::{CompactString, Key};

/// A Node (core/v1); read by `nodes` of the `hosts` plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `metadata.name`; the namespace part is empty.
    pub key: Key,
    /// `status.addresses` of type InternalIP, one for each address family as a rule.
    pub addresses: SmallVec<[IpAddr; 2]>,
    /// `status.addresses` of type Hostname that differ from the name.
    pub hostnames: SmallVec<[CompactString; 1]>,
}
