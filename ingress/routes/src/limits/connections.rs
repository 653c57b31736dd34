//! Open requests by client: nginx's `limit_conn`.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::{ClientKey, SHARDS, ZoneKey, shard_of};
use crate::shard_lock::ShardLock;

/// The open requests of the clients of one limit. A client without an open request has no entry.
pub struct ConnectionZone {
    key: ZoneKey,
    /// A permit counts as an owner of its part only: a count of the owners of the zone would be changed by all workers.
    shards: [Arc<OpenShard>; SHARDS],
}

/// How many requests of each client are open.
type OpenShard = ShardLock<HashMap<ClientKey, u32, RandomState>>;

/// Without its state, by which routes must not be compared.
impl std::fmt::Debug for ConnectionZone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.key.fmt(f)
    }
}

impl ConnectionZone {
    pub(super) fn new(key: ZoneKey) -> Self {
        Self { key, shards: Default::default() }
    }

    /// Counts a request of a client until the permit is dropped; `None` if the client has `limit` of them.
    pub fn admit(&self, client: ClientKey, limit: u32) -> Option<ConnectionPermit> {
        let shard = &self.shards[shard_of(client)];
        let mut open = shard.lock();
        let count = open.get(&client).copied().unwrap_or(0);
        if count >= limit {
            return None;
        }
        open.insert(client, count + 1);
        Some(ConnectionPermit { shard: shard.clone(), client })
    }
}

/// One counted request.
pub struct ConnectionPermit {
    shard: Arc<OpenShard>,
    client: ClientKey,
}

impl std::fmt::Debug for ConnectionPermit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionPermit").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.shard.lock();
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster::Key;

    use std::net::IpAddr;

    use super::*;
    use crate::limits::{LimitKind, LimitZones};

    #[test]
    fn a_client_has_no_more_permits_than_the_limit() {
        let zones = LimitZones::default();
        let key = ZoneKey { ingress: Key::new("default", "web"), kind: LimitKind::Connections };
        let zone = zones.connections(key);
        let [one, other] = [7, 8].map(|last| ClientKey::from(IpAddr::from([192, 0, 2, last])));
        let mut permits: Vec<_> = (0..3).map_while(|_| zone.admit(one, 2)).collect();
        assert_eq!(permits.len(), 2);
        assert!(zone.admit(other, 2).is_some());
        permits.pop();
        permits.extend(zone.admit(one, 2));
        assert!(permits.len() == 2 && zone.admit(one, 2).is_none());
        assert!(zone.admit(one, 3).is_some(), "a higher limit applies to the same count");
        permits.clear();
        let entries: usize = zone.shards.iter().map(|shard| shard.lock().len()).sum();
        assert_eq!(entries, 0, "clients without open requests take no memory");
    }
}
