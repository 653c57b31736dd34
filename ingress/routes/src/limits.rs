//! What limits on clients have counted. It outlives views: routes of successive views share it by the identity of the limit, and
//! all workers share it. It ends with the last route that uses it.
//!
//! Counts and times are those of nginx's `ngx_http_limit_req_module` and `ngx_http_limit_conn_module`.

mod buckets;
mod client_key;
mod connections;
mod lru_map;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use cluster::Key;
use foldhash::fast::RandomState;

pub use self::buckets::{RateZone, RequestRateLimit, admit};
pub use self::client_key::ClientKey;
pub use self::connections::{ConnectionPermit, ConnectionZone};

/// How many parts a zone has. Each has a lock of its own, so that workers seldom wait for each other.
const SHARDS: usize = 16;

/// One seed for every zone of the process. Clients cannot know which addresses share a shard.
static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// The number of the part that has a client.
fn shard_of(client: ClientKey) -> usize {
    let hash = std::hash::BuildHasher::hash_one(&*SEED, client);
    // Bits that do not choose the bucket within the shard's hash table.
    (hash >> 32) as usize % SHARDS
}

/// The unit that a zone counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// `limit-rps`.
    RequestsPerSecond,
    /// `limit-rpm`.
    RequestsPerMinute,
    /// `limit-connections`.
    Connections,
}

/// The identity of a zone: an Ingress and what is counted for it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ZoneKey {
    /// The Ingress.
    pub ingress: Key,
    /// The unit that is counted.
    pub kind: LimitKind,
}

impl std::fmt::Debug for ZoneKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.ingress, self.kind)
    }
}

/// The zones that are in use.
#[derive(Debug, Default)]
pub struct LimitZones {
    rates: Mutex<HashMap<ZoneKey, Weak<RateZone>>>,
    connections: Mutex<HashMap<ZoneKey, Weak<ConnectionZone>>>,
    evicted: Arc<AtomicU64>,
}

impl LimitZones {
    /// The zone of a limit on the rate of requests.
    pub fn rate(&self, key: ZoneKey) -> Arc<RateZone> {
        get(&self.rates, key, |key| RateZone::new(key, self.evicted.clone()))
    }

    /// The zone of a limit on connections.
    pub fn connections(&self, key: ZoneKey) -> Arc<ConnectionZone> {
        get(&self.connections, key, ConnectionZone::new)
    }

    /// How many clients were forgotten because a zone was full.
    pub fn evicted(&self) -> Evicted {
        Evicted(self.evicted.clone())
    }
}

/// The number of clients that full zones have forgotten.
#[derive(Clone, Debug, Default)]
pub struct Evicted(Arc<AtomicU64>);

impl Evicted {
    /// The number.
    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Views are compared without the number.
impl PartialEq for Evicted {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The zone under a key; a new one if none is in use.
fn get<Z>(zones: &Mutex<HashMap<ZoneKey, Weak<Z>>>, key: ZoneKey, new: impl FnOnce(ZoneKey) -> Z) -> Arc<Z> {
    let mut zones = zones.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(zone) = zones.get(&key).and_then(Weak::upgrade) {
        return zone;
    }
    let zone = Arc::new(new(key.clone()));
    if zones.len() == zones.capacity() {
        zones.retain(|_, zone| zone.strong_count() > 0);
    }
    zones.insert(key, Arc::downgrade(&zone));
    zone
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn key(name: &str) -> ZoneKey {
        ZoneKey { ingress: Key::new("default", name), kind: LimitKind::RequestsPerMinute }
    }

    #[test]
    fn a_zone_lives_as_long_as_it_is_used() {
        let zones = LimitZones::default();
        let client = IpAddr::from([192, 0, 2, 7]).into();
        let once = |zone: Arc<RateZone>| {
            let limit = RequestRateLimit { zone, rate: 16, burst: 0 };
            admit(std::slice::from_ref(&limit), client, 1_000)
        };
        let first = zones.rate(key("a"));
        assert!(once(zones.rate(key("a"))));
        assert!(!once(zones.rate(key("a"))), "both are the same zone");
        assert!(once(zones.rate(key("b"))));
        drop(first);
        assert!(once(zones.rate(key("a"))), "nothing used it any more");
    }

    #[test]
    fn zones_that_are_not_used_are_removed() {
        let zones = LimitZones::default();
        for number in 0..10_000 {
            zones.rate(key(&number.to_string()));
        }
        assert!(zones.rates.lock().unwrap().len() < 100);
    }
}
