//! Leaky buckets: nginx's `limit_req` with `nodelay`.
//!
//! Each client has an excess in thousandths of a request. A request adds 1000, and time takes the rate away, in whole
//! milliseconds. A request that would raise the excess over the burst is refused and counts nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, MutexGuard};

use smallvec::SmallVec;

use super::lru_map::{EntryId, LruMap};
use super::{ClientKey, SHARDS, ZoneKey, shard_of};
use crate::shard_lock::ShardLock;

/// How many clients a zone remembers: as many as 5 MiB of shared memory hold in nginx, which is what ingress-nginx gives a
/// zone.
pub(super) const CLIENTS: usize = 80 * 1024;

/// After this long without a request, a client without excess may be forgotten, and after a clock was set back this far, one
/// millisecond counts as passed.
const IDLE: i64 = 60_000;

/// A time that is long enough ago, in milliseconds, for every excess to have leaked: a day.
const LONG_AGO: i64 = 86_400_000;

/// The buckets of the clients of one limit.
pub struct RateZone {
    key: ZoneKey,
    shards: [ShardLock<LruMap<Bucket>>; SHARDS],
    /// How many clients were forgotten too early because the zone was full.
    evicted: Arc<AtomicU64>,
}

/// Without its state, by which routes must not be compared.
impl std::fmt::Debug for RateZone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.key.fmt(f)
    }
}

impl RateZone {
    pub(super) fn new(key: ZoneKey, evicted: Arc<AtomicU64>) -> Self {
        Self { key, shards: Default::default(), evicted }
    }
}

/// A limit on the rate of requests.
#[derive(Clone, Debug)]
pub struct RequestRateLimit {
    /// The clients.
    pub zone: Arc<RateZone>,
    /// Thousandths of a request per second.
    pub rate: i64,
    /// The highest excess, in thousandths of a request.
    pub burst: i64,
}

/// The state of one client.
#[derive(Debug)]
struct Bucket {
    /// In thousandths of a request.
    excess: i64,
    /// When the excess was current, in milliseconds.
    last: i64,
}

impl Bucket {
    /// The excess with one more request, and the milliseconds that have passed.
    fn next(&self, rate: i64, now: i64) -> (i64, i64) {
        let passed = match now - self.last {
            passed if passed < -IDLE => 1,
            passed => passed.max(0),
        };
        ((self.excess - leaked(rate, passed) + 1000).max(0), passed)
    }

    fn set(&mut self, (excess, passed): (i64, i64), now: i64) {
        self.excess = excess;
        if passed != 0 {
            self.last = now;
        }
    }

    /// Whether nothing is lost if the client is forgotten.
    fn is_idle(&self, rate: i64, now: i64) -> bool {
        let passed = (now - self.last).abs();
        passed >= IDLE && self.excess <= leaked(rate, passed)
    }
}

/// A request that counts for a limit if no later limit refuses it: the locked shard, the client's bucket, the rate.
type PendingRequest<'z> = (MutexGuard<'z, LruMap<Bucket>>, EntryId, i64);

fn leaked(rate: i64, passed: i64) -> i64 {
    rate.saturating_mul(passed) / 1000
}

/// Counts a request of a client at a time in milliseconds, unless it is over one of the limits: then it counts for none. Hot: one
/// lock for each limit.
///
/// As in nginx the first request of a client is free, for each limit.
pub fn admit(limits: &[RequestRateLimit], client: ClientKey, now: i64) -> bool {
    // Locks are taken in the order of the limits, which is the same for all requests.
    let shard = shard_of(client);
    let mut earlier = SmallVec::<[PendingRequest<'_>; 1]>::new();
    for (at, RequestRateLimit { zone, rate, burst }) in limits.iter().enumerate() {
        let is_last = at + 1 == limits.len();
        let mut buckets = zone.shards[shard].lock();
        let id = match buckets.find(client) {
            Some(id) => {
                let bucket = buckets.value(id);
                let next = bucket.next(*rate, now);
                if next.0 > *burst {
                    return false;
                }
                if is_last {
                    bucket.set(next, now);
                }
                id
            }
            None => {
                make_room(&mut buckets, *rate, now, &zone.evicted);
                let last = if is_last { now } else { now - LONG_AGO };
                buckets.insert(client, Bucket { excess: 0, last })
            }
        };
        if !is_last {
            earlier.push((buckets, id, *rate));
        }
    }
    for (mut buckets, id, rate) in earlier {
        let bucket = buckets.value(id);
        let next = bucket.next(rate, now);
        bucket.set(next, now);
    }
    true
}

/// Forgets up to two idle clients, and the oldest in any case if the shard is full.
fn make_room(buckets: &mut LruMap<Bucket>, rate: i64, now: i64, evicted: &AtomicU64) {
    for _ in 0..2 {
        match buckets.oldest() {
            Some((id, bucket)) if bucket.is_idle(rate, now) => buckets.remove(id),
            _ => break,
        }
    }
    if buckets.len() < CLIENTS / SHARDS {
        return;
    }
    if let Some((id, _)) = buckets.oldest() {
        buckets.remove(id);
        evicted.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use cluster::Key;

    use std::net::IpAddr;

    use super::*;
    use crate::limits::{LimitKind, LimitZones};

    fn limit(zones: &LimitZones, kind: LimitKind, rate: i64, burst: i64) -> RequestRateLimit {
        let zone = zones.rate(ZoneKey { ingress: Key::new("default", "web"), kind });
        RequestRateLimit { zone, rate, burst: burst * 1000 }
    }

    fn client(number: u32) -> ClientKey {
        IpAddr::from(number.to_be_bytes()).into()
    }

    /// The times at which a request is admitted.
    fn admitted(limits: &[RequestRateLimit], times: impl IntoIterator<Item = i64>) -> Vec<i64> {
        times.into_iter().filter(|now| admit(limits, client(1), *now)).collect()
    }

    #[test]
    fn one_request_and_the_burst_pass_at_once() {
        let zones = LimitZones::default();
        for (rate, burst) in [(1000, 0), (1000, 5), (100, 30), (16, 1)] {
            let limits = [limit(&zones, LimitKind::RequestsPerSecond, rate, burst)];
            let passed = admitted(&limits, [0; 100]).len() as i64;
            assert_eq!(passed, burst + 1, "rate {rate}, burst {burst}");
        }
    }

    #[test]
    fn the_excess_leaks_with_the_rate_to_the_millisecond() {
        let zones = LimitZones::default();
        // 2 requests a second: after the first ones, one every 500 ms.
        let limits = [limit(&zones, LimitKind::RequestsPerSecond, 2000, 1)];
        assert_eq!(
            admitted(&limits, [0, 0, 0, 499, 500, 500, 999, 1000, 1499, 1500]),
            [0, 0, 500, 1000, 1500]
        );
        // 1 a minute is 16 thousandths a second: 62.5 seconds.
        let limits = [limit(&zones, LimitKind::RequestsPerMinute, 16, 0)];
        assert_eq!(admitted(&limits, [0, 62_499, 62_500, 124_999, 125_000]), [0, 62_500, 125_000]);
    }

    #[test]
    fn over_a_long_time_the_rate_is_exact() {
        let zones = LimitZones::default();
        for (rate, burst) in [(1000, 5), (3000, 15), (7000, 0)] {
            let limits = [limit(&zones, LimitKind::RequestsPerSecond, rate, burst)];
            // A request every 10 ms for ten minutes.
            let passed = admitted(&limits, (0..60_000).map(|step| step * 10)).len() as i64;
            let allowed = burst + 1 + rate * 600 / 1000;
            // What leaks between two requests beyond an empty bucket is lost: less than a step for each.
            let least = rate * 600 / 1000 * 1000 / (1000 + rate / 100);
            assert!((least..=allowed).contains(&passed), "rate {rate}: {least} <= {passed} <= {allowed}");
        }
    }

    #[test]
    fn a_request_over_one_limit_counts_for_none() {
        let zones = LimitZones::default();
        let second = limit(&zones, LimitKind::RequestsPerSecond, 1000, 3);
        let minute = limit(&zones, LimitKind::RequestsPerMinute, 16, 0);
        let both = [second.clone(), minute];
        assert_eq!(admitted(&both, [0, 1, 2, 3, 4, 5]), [0], "the limit a minute refuses all others");
        // The first request has cost nothing of 3000.
        assert_eq!(admitted(&[second], [5, 5, 5, 5]), [5, 5, 5]);
    }

    #[test]
    fn the_first_request_of_a_client_is_free_for_each_limit() {
        // As nginx 1.22 with two directives `limit_req`.
        for (second, minute, expected) in [(1000, 50, 2), (2000, 1000, 3)] {
            let zones = LimitZones::default();
            let limits = [
                limit(&zones, LimitKind::RequestsPerSecond, second, second / 1000),
                limit(&zones, LimitKind::RequestsPerMinute, minute, 3 * second / 1000),
            ];
            assert_eq!(admitted(&limits, [0; 5]).len(), expected, "rate {second}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_takes_nothing_away() {
        let zones = LimitZones::default();
        let limits = [limit(&zones, LimitKind::RequestsPerSecond, 1000, 0)];
        assert_eq!(admitted(&limits, [100_000, 99_000, 50_000]), [100_000]);
        // Far in the future: the time of the bucket is corrected with the next request that is admitted.
        assert_eq!(admitted(&limits, [20_000, 20_000]), []);
    }

    #[test]
    fn clients_have_buckets_of_their_own() {
        let zones = LimitZones::default();
        let limits = [limit(&zones, LimitKind::RequestsPerSecond, 1000, 0)];
        assert_eq!([1, 1, 2, 2].map(|number| admit(&limits, client(number), 0)), [true, false, true, false]);
    }

    #[test]
    fn idle_clients_are_forgotten_and_a_full_zone_forgets_the_oldest() {
        let zones = LimitZones::default();
        let limits = [limit(&zones, LimitKind::RequestsPerSecond, 1000, 0)];
        let len = || limits[0].zone.shards.iter().map(|shard| shard.lock().len()).sum::<usize>();
        for number in 0..1000 {
            admit(&limits, client(number), 0);
        }
        assert_eq!(len(), 1000);
        for number in 0..2000 {
            admit(&limits, client(10_000 + number), 60_000);
        }
        assert!(len() < 2200, "each new client takes the place of up to two idle ones: {}", len());
        assert_eq!(zones.evicted().count(), 0);
        for number in 0..2 * CLIENTS as u32 {
            admit(&limits, client(1 << 20 | number), 60_001);
        }
        assert!(len() <= CLIENTS);
        assert!(zones.evicted().count() >= CLIENTS as u64);
        assert!(admit(&limits, client(10_000), 60_001), "its bucket was forgotten");
    }
}
