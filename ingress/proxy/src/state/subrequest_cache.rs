//! Responses to subrequests that may be used again (`auth-cache-key`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ingress_routes::plan::subrequest::SubrequestResponse;
use ingress_routes::plan::subrequest_cache::CacheRule;

use crate::observe::metrics::SubrequestCacheMetrics;
use crate::state::generations::Generations;

/// The memory of all responses, about: nginx's cache is larger, but on disk.
const MAX_BYTES: usize = 16 << 20;
/// The memory of an entry besides its text.
const ENTRY_BYTES: usize = 256;

/// The responses, for all workers: each locks it for a lookup only.
pub(crate) struct SubrequestCache {
    responses: Mutex<Generations<String, CachedResponse>>,
    metrics: SubrequestCacheMetrics,
}

struct CachedResponse {
    /// Unix time from which it must not be used.
    expires: Duration,
    response: Arc<SubrequestResponse>,
}

impl SubrequestCache {
    pub(crate) fn new(metrics: SubrequestCacheMetrics) -> Self {
        Self { responses: Mutex::new(Generations::new(MAX_BYTES)), metrics }
    }

    fn lock(&self) -> MutexGuard<'_, Generations<String, CachedResponse>> {
        self.responses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The response of a key, if it is still valid at a Unix time.
    pub(crate) fn get(&self, key: &str, now: Duration) -> Option<Arc<SubrequestResponse>> {
        let mut responses = self.lock();
        let found = responses.get(key);
        if let Some(cached) = found.filter(|cached| cached.expires > now) {
            self.metrics.hits.inc();
            return Some(cached.response.clone());
        }
        self.metrics.misses.inc();
        responses.remove(key);
        None
    }

    /// Stores a response that came at a Unix time, without its body, if the rule allows it.
    pub(crate) fn insert(&self, rule: &CacheRule, response: &SubrequestResponse, now: Duration) {
        let lifetime = rule.lifetime(response.status, &response.headers, now);
        if lifetime.is_zero() {
            return;
        }
        let SubrequestResponse { status, headers, .. } = response;
        let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64);
        let cost = ENTRY_BYTES + rule.key.len() + fields.sum::<usize>();
        let response = SubrequestResponse { status: *status, headers: headers.clone(), body: Bytes::new() };
        let cached = CachedResponse { expires: now.saturating_add(lifetime), response: Arc::new(response) };
        let forgotten = self.lock().insert(rule.key.clone(), cached, cost);
        self.metrics.evicted.add(forgotten as u64);
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
        let ok = SubrequestResponse::status(StatusCode::OK);
        cache.insert(&rule("a"), &ok, now);
        cache.insert(&rule("b"), &SubrequestResponse::status(StatusCode::UNAUTHORIZED), now);
        assert_eq!(cache.get("a", now + Duration::from_secs(59)).as_deref(), Some(&ok));
        assert_eq!(cache.get("b", now), None, "its status is not listed");
        assert_eq!(cache.get("a", now + Duration::from_secs(60)), None);
        assert_eq!(cache.get("a", now), None, "an expired response is removed");
        assert_eq!((cache.metrics.hits.value(), cache.metrics.misses.value()), (1, 3));
    }

    #[test]
    fn the_memory_of_the_responses_is_bounded() {
        let (cache, now) = (cache(), Duration::from_secs(1000));
        let mut response = SubrequestResponse::status(StatusCode::OK);
        let value = HeaderValue::try_from("x".repeat(10_000)).unwrap();
        response.headers.insert("x-user", value);
        for number in 0..4000 {
            cache.insert(&rule(&number.to_string()), &response, now);
        }
        let evicted = cache.metrics.evicted.value();
        assert!(evicted > 2000, "{evicted}");
        let kept = (0..4000).filter(|number| cache.get(&number.to_string(), now).is_some()).count();
        assert!((500..=MAX_BYTES / 10_000).contains(&kept), "{kept}");
    }
}
