//! `load-balance: ewma`: the faster of two random endpoints gets the request, as in ingress-nginx's `balancer/ewma.lua`.
//!
//! The score of an endpoint is a moving average of the time that its responses take. It decays while the endpoint gets no requests, so
//! that a slow one is tried again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::pools::Pool;

/// How fast an average forgets: after so many seconds the past counts 1/e.
const DECAY_SECONDS: f64 = 10.0;

/// The scores of the endpoints of one pool.
#[derive(Debug, Default)]
pub struct EwmaScores {
    /// The pool whose endpoints they belong to; `None` before the first request.
    pool: Option<Arc<Pool>>,
    /// In the order of its endpoints.
    scores: Vec<Score>,
}

/// The score of an endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    /// The average, in seconds.
    average: f64,
    /// When it was changed last; `None` if no response was measured.
    changed: Option<Duration>,
}

impl Score {
    /// The average after another measurement of `seconds`.
    fn after(self, seconds: f64, now: Duration) -> f64 {
        let past = match self.changed {
            None => 0.0,
            Some(changed) => (-now.saturating_sub(changed).as_secs_f64() / DECAY_SECONDS).exp(),
        };
        self.average * past + seconds * (1.0 - past)
    }
}

impl EwmaScores {
    /// The endpoint of an attempt, given those tried before; `None` if the pool is empty. `now` is any time that does not go back.
    /// Hot: no allocation unless the endpoints have changed.
    pub fn pick(
        &mut self,
        pool: &Arc<Pool>,
        tried: &[SocketAddr],
        now: Duration,
        mut random_below: impl FnMut(u32) -> u32,
    ) -> Option<SocketAddr> {
        self.follow(pool, now);
        let endpoints = pool.endpoints();
        let is_untried = |at: &usize| !tried.contains(&endpoints[*at]);
        let untried = (0..endpoints.len()).filter(is_untried).count();
        // If all were tried, all may be tried again.
        let (candidates, skips) = if untried == 0 { (endpoints.len(), false) } else { (untried, true) };
        let nth = |n: usize| {
            if skips && !tried.is_empty() { (0..endpoints.len()).filter(is_untried).nth(n) } else { Some(n) }
        };
        let count = u32::try_from(candidates).unwrap_or(u32::MAX);
        let one = match count {
            0 => return None,
            1 => return endpoints.get(nth(0)?).copied(),
            _ => random_below(count) as usize,
        };
        let other = random_below(count - 1) as usize;
        let other = if other >= one { other + 1 } else { other };
        let (one, other) = (nth(one)?, nth(other)?);
        let score = |at: usize| self.scores[at].after(0.0, now);
        let faster = if score(other) < score(one) { other } else { one };
        endpoints.get(faster).copied()
    }

    /// Counts the response of an endpoint: `time` is how long connecting took, plus how long the response took until its end.
    pub fn measured(&mut self, endpoint: SocketAddr, time: Duration, now: Duration) {
        let Some(pool) = &self.pool else { return };
        let Ok(at) = pool.endpoints().binary_search(&endpoint) else { return };
        let average = self.scores[at].after(time.as_secs_f64(), now);
        self.scores[at] = Score { average, changed: Some(now) };
    }

    /// Takes the scores over for the current endpoints. A new one begins with the average of the others, so that it does not get every
    /// request at once.
    fn follow(&mut self, pool: &Arc<Pool>, now: Duration) {
        if self.pool.as_ref().is_some_and(|known| Arc::ptr_eq(known, pool)) {
            return;
        }
        let last = self.pool.replace(pool.clone());
        let known = last.as_ref().map_or(&[][..], |last| last.endpoints());
        let kept = |endpoint: &SocketAddr| known.binary_search(endpoint).ok().map(|at| self.scores[at]);
        let measured = pool.endpoints().iter().filter_map(kept).filter(|score| score.changed.is_some());
        let (sum, count) =
            measured.fold((0.0, 0_u32), |(sum, count), score| (sum + score.average, count + 1));
        let new = match count {
            0 => Score::default(),
            _ => Score { average: sum / f64::from(count), changed: Some(now) },
        };
        self.scores = pool.endpoints().iter().map(|endpoint| kept(endpoint).unwrap_or(new)).collect();
    }
}

#[cfg(test)]
mod tests {
    use cluster::{Key, PortRef};

    use super::*;
    use crate::options::PoolKey;
    use crate::testing::TestCluster;

    const INGRESS: &str =
        "metadata: {name: x}\nspec: {rules: [{host: a.example, paths: [[/, Prefix, 'web:80']]}]}\n";

    fn pool(addresses: &str) -> Arc<Pool> {
        let cluster = TestCluster::new(INGRESS).services(&format!("web 80 {addresses}"));
        let key = PoolKey { service: Key::new("default", "web"), port: PortRef::Number(80) };
        cluster.pools.load().get(&key).expect("a pool").clone()
    }

    fn at(address: &str) -> SocketAddr {
        format!("{address}:8080").parse().expect("an address")
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_faster_of_two_gets_the_request() {
        let pool = pool("10.0.0.1 10.0.0.2 10.0.0.3");
        let mut scores = EwmaScores::default();
        let pick = |scores: &mut EwmaScores, tried: &[SocketAddr], drawn: [u32; 2]| {
            let mut drawn = drawn.into_iter();
            scores.pick(&pool, tried, SECOND, |_| drawn.next().expect("two numbers"))
        };
        // Nothing is measured: the first one drawn.
        assert_eq!(pick(&mut scores, &[], [2, 0]), Some(at("10.0.0.3")));
        for (address, millis) in [("10.0.0.1", 10), ("10.0.0.2", 30), ("10.0.0.3", 20)] {
            scores.measured(at(address), Duration::from_millis(millis), SECOND);
        }
        for (drawn, address) in [
            ([0, 0], "10.0.0.1"),
            ([1, 0], "10.0.0.1"),
            ([1, 1], "10.0.0.3"),
            ([2, 1], "10.0.0.3"),
            ([2, 0], "10.0.0.1"),
        ] {
            assert_eq!(pick(&mut scores, &[], drawn), Some(at(address)), "{drawn:?}");
        }
        // Those tried are left out, until all were.
        assert_eq!(pick(&mut scores, &[at("10.0.0.1")], [0, 0]), Some(at("10.0.0.3")));
        assert_eq!(pick(&mut scores, &[at("10.0.0.1"), at("10.0.0.3")], [9, 9]), Some(at("10.0.0.2")));
        let all = [at("10.0.0.1"), at("10.0.0.2"), at("10.0.0.3")];
        assert_eq!(pick(&mut scores, &all, [1, 0]), Some(at("10.0.0.1")));
    }

    /// Computed with the formula of `ewma.lua`.
    #[test]
    fn averages_decay_in_ten_seconds() {
        let pool = pool("10.0.0.1 10.0.0.2");
        let mut scores = EwmaScores::default();
        scores.pick(&pool, &[], SECOND, |_| 0);
        scores.measured(at("10.0.0.1"), Duration::from_millis(100), SECOND);
        assert_eq!(scores.scores[0].average, 0.1, "the first measurement counts in full");
        scores.measured(at("10.0.0.1"), Duration::from_millis(300), 11 * SECOND);
        let average = 0.1 * (-1_f64).exp() + 0.3 * (1.0 - (-1_f64).exp());
        assert!((scores.scores[0].average - average).abs() < 1e-12);
        let later = scores.scores[0].after(0.0, 21 * SECOND);
        assert!((later - average * (-1_f64).exp()).abs() < 1e-12, "without requests the score falls");
        scores.measured(at("10.9.9.9"), SECOND, SECOND);
        assert_eq!(scores.scores.len(), 2, "an endpoint that is gone is ignored");
    }

    #[test]
    fn a_new_endpoint_begins_with_the_average_of_the_others() {
        let mut scores = EwmaScores::default();
        scores.pick(&pool("10.0.0.2 10.0.0.3"), &[], SECOND, |_| 0);
        scores.measured(at("10.0.0.2"), Duration::from_millis(10), SECOND);
        scores.measured(at("10.0.0.3"), Duration::from_millis(30), SECOND);
        scores.pick(&pool("10.0.0.1 10.0.0.3 10.0.0.4"), &[], 2 * SECOND, |_| 0);
        let averages: Vec<_> = scores.scores.iter().map(|score| score.average).collect();
        assert_eq!(averages, [0.03, 0.03, 0.03], "that of the endpoint that was removed does not count");
        scores.pick(&pool(""), &[], 2 * SECOND, |_| 0);
        assert!(scores.scores.is_empty());
    }
}
