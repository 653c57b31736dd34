//! Responses to subrequests that may be used again (`auth-cache-key`).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use ingress_routes::plan::subrequest::SubrequestResponse;
use ingress_routes::plan::subrequest_cache::CacheRule;
use ingress_routes::shard_lock::ShardLock;

use crate::observe::metrics::SubrequestCacheMetrics;
use crate::state::generations::Generations;

/// The memory of all responses, about: nginx's cache is larger, but on disk.
const MAX_BYTES: usize = 16 << 20;
/// The memory of an entry besides its text.
const ENTRY_BYTES: usize = 256;
/// How many parts the cache has, each with a lock of its own, so that workers seldom wait for each other. An entry may take half of a part:
/// more than the header of a response may.
const SHARDS: usize = 16;

/// The responses, for all workers. A worker locks one of its parts, for two probes of a table.
pub(crate) struct SubrequestCache {
    hasher: RandomState,
    shards: [ShardLock<Generations<String, CachedResponse>>; SHARDS],
    metrics: SubrequestCacheMetrics,
}

struct CachedResponse {
    /// Unix time from which it must not be used.
    expires: Duration,
    response: Arc<SubrequestResponse>,
}

impl SubrequestCache {
    pub(crate) fn new(metrics: SubrequestCacheMetrics) -> Self {
        let shard = || ShardLock::new(Generations::new(MAX_BYTES / SHARDS));
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| shard()), metrics }
    }

    fn lock(&self, hash: u64) -> MutexGuard<'_, Generations<String, CachedResponse>> {
        self.shards[hash as usize % SHARDS].lock()
    }

    /// The response of a key, if it is still valid at a Unix time; counted if it is.
    pub(crate) fn get(&self, key: &str, now: Duration) -> Option<Arc<SubrequestResponse>> {
        let hash = self.hasher.hash_one(key);
        let mut responses = self.lock(hash);
        let cached = responses.get(hash, key)?;
        if cached.expires <= now {
            responses.remove(hash);
            return None;
        }
        let response = cached.response.clone();
        drop(responses);
        self.metrics.hits.inc();
        Some(response)
    }

    /// Counts a subrequest for which there was no response.
    pub(crate) fn count_miss(&self) {
        self.metrics.misses.inc();
    }

    /// Stores a response that came at a Unix time, which has no body, if the rule allows it.
    pub(crate) fn insert(&self, rule: &CacheRule, response: &Arc<SubrequestResponse>, now: Duration) {
        let lifetime = rule.lifetime(response.status, &response.headers, now);
        if lifetime.is_zero() {
            return;
        }
        let fields = response.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64);
        let cost = ENTRY_BYTES + rule.key.len() + fields.sum::<usize>();
        let cached = CachedResponse { expires: now.saturating_add(lifetime), response: response.clone() };
        let (hash, key) = (self.hasher.hash_one(rule.key.as_str()), rule.key.clone());
        let forgotten = self.lock(hash).insert(hash, key, cached, cost);
        self.metrics.evicted.add(forgotten.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};
    use ingress_routes::plan::subrequest_cache::Validity;
    use telemetry::metrics::Counter;

    use super::*;

    fn cache() -> SubrequestCache {
        let [hits, misses, evicted] = <[Counter; 3]>::default();
        SubrequestCache::new(SubrequestCacheMetrics { hits, misses, evicted })
    }

    fn rule(key: &str) -> CacheRule {
        let time = Duration::from_secs(60);
        CacheRule { key: key.into(), validity: [Validity { statuses: vec![200], time }].into() }
    }

    #[test]
    fn responses_are_used_until_they_expire() {
        let (cache, now) = (cache(), Duration::from_secs(1000));
        let ok = Arc::new(SubrequestResponse::status(StatusCode::OK));
        cache.insert(&rule("a"), &ok, now);
        cache.insert(&rule("b"), &Arc::new(SubrequestResponse::status(StatusCode::UNAUTHORIZED)), now);
        assert_eq!(cache.get("a", now + Duration::from_secs(59)).as_ref(), Some(&ok));
        assert_eq!(cache.get("b", now), None, "its status is not listed");
        assert_eq!(cache.get("a", now + Duration::from_secs(60)), None);
        assert_eq!(cache.get("a", now), None, "an expired response is removed");
        assert_eq!(cache.metrics.hits.value(), 1);
    }

    #[test]
    fn a_part_that_is_locked_delays_no_other() {
        let (cache, now) = (cache(), Duration::from_secs(1000));
        let ok = Arc::new(SubrequestResponse::status(StatusCode::OK));
        let keys: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        keys.iter().for_each(|key| cache.insert(&rule(key), &ok, now));
        let shard = |key: &String| cache.hasher.hash_one(key.as_str()) as usize % SHARDS;
        let _locked = cache.lock(cache.hasher.hash_one("0"));
        let mut others = keys.iter().filter(|key| shard(key) != shard(&keys[0]));
        assert!(others.clone().count() > 50 && others.all(|key| cache.get(key, now).is_some()));
    }

    #[test]
    fn the_memory_of_the_responses_is_bounded() {
        let (cache, now) = (cache(), Duration::from_secs(1000));
        let mut response = SubrequestResponse::status(StatusCode::OK);
        let value = HeaderValue::try_from("x".repeat(10_000)).unwrap();
        response.headers.insert("x-user", value);
        let response = Arc::new(response);
        for number in 0..4000 {
            cache.insert(&rule(&number.to_string()), &response, now);
        }
        let evicted = cache.metrics.evicted.value();
        assert!(evicted > 2000, "{evicted}");
        let kept = (0..4000).filter(|number| cache.get(&number.to_string(), now).is_some()).count();
        assert!((500..=MAX_BYTES / 10_000).contains(&kept), "{kept}");
    }
}
