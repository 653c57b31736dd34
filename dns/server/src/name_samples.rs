//! The names that clients ask for most, from samples of the queries over UDP.
//!
//! Each thread takes a few queries a second, with random gaps, and counts each for all those since the one before. The counts are kept by the
//! space-saving algorithm (Metwally, Agrawal, El Abbadi 2005) and fade.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dns_wire::{Name, Query};

/// Samples a second that a thread aims at.
const RATE: f64 = 16.0;

/// The longest mean gap between samples, in queries: at a higher rate there are more samples.
const MAX_GAP: f64 = 1024.0;

/// The longest time between samples while there are queries.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Names and types that are counted at a time.
const MAX_NAMES: usize = 256;

/// After this time, all counts are halved.
const HALF_LIFE: Duration = Duration::from_secs(60);

/// The counts of the samples of all threads. Clones share them.
#[derive(Clone, Default)]
pub struct NameSamples(Arc<Mutex<SampleTable>>);

/// A name and its estimated share.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledName {
    /// The name in lower case.
    pub name: Name,
    /// The queried type.
    pub qtype: u16,
    /// Its share of the queries of the last minutes, from 0 to 1.
    pub share: f64,
}

struct SampleTable {
    counts: HashMap<(Name, u16), f64>,
    halved: Option<Instant>,
}

impl Default for SampleTable {
    fn default() -> Self {
        // With twice the room the table never grows, whatever is replaced in it: a query does not allocate.
        Self { counts: HashMap::with_capacity(2 * MAX_NAMES), halved: None }
    }
}

impl NameSamples {
    /// The names with the largest shares, largest first.
    pub fn top(&self, count: usize) -> Vec<SampledName> {
        self.top_at(count, Instant::now())
    }

    fn top_at(&self, count: usize, now: Instant) -> Vec<SampledName> {
        let table = self.table(now);
        let all: f64 = table.counts.values().sum();
        let mut names: Vec<_> = table
            .counts
            .iter()
            .map(|((name, qtype), count)| SampledName { name: *name, qtype: *qtype, share: count / all })
            .collect();
        drop(table);
        names.sort_by(|one, other| other.share.total_cmp(&one.share));
        names.truncate(count);
        names
    }

    /// Counts a name for `queries` queries. Beyond the limit it replaces the name with the lowest count and takes over that count, so
    /// that a frequent name is never missed.
    fn add(&self, name: Name, qtype: u16, queries: f64, now: Instant) {
        let mut table = self.table(now);
        let counts = &mut table.counts;
        let mut base = 0.0;
        if counts.len() >= MAX_NAMES
            && !counts.contains_key(&(name, qtype))
            && let Some((lowest, count)) = counts.iter().min_by(|(_, one), (_, other)| one.total_cmp(other))
        {
            let lowest = *lowest;
            base = *count;
            counts.remove(&lowest);
        }
        *counts.entry((name, qtype)).or_insert(base) += queries;
    }

    /// The table, with the counts halved for each [`HALF_LIFE`] since the last time.
    fn table(&self, now: Instant) -> MutexGuard<'_, SampleTable> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(*table.halved.get_or_insert(now));
        let times = (since.as_secs_f64() / HALF_LIFE.as_secs_f64()).floor();
        if times >= 1.0 {
            table.halved = table.halved.map(|halved| halved + HALF_LIFE.mul_f64(times));
            let factor = 0.5_f64.powf(times);
            table.counts.retain(|_, count| {
                *count *= factor;
                *count >= 0.5
            });
        }
        table
    }
}

/// Chooses the samples of one thread.
pub(crate) struct NameSampler {
    samples: NameSamples,
    /// Queries before the next sample.
    left: usize,
    /// Queries from the last sample to the next one, with that one.
    gap: usize,
    last: Instant,
}

impl NameSampler {
    pub(crate) fn new(samples: NameSamples, now: Instant) -> Self {
        Self { samples, left: 0, gap: 1, last: now }
    }

    /// Which query of a batch is sampled, if one is. Hot: once a batch, two comparisons.
    #[inline]
    pub(crate) fn choose(&mut self, batch: usize, now: Instant) -> Option<usize> {
        if self.left < batch {
            return Some(self.left);
        }
        if now.saturating_duration_since(self.last) < MAX_PAUSE {
            self.left -= batch;
            return None;
        }
        // The rate has fallen since the gap was drawn.
        let place = batch.checked_sub(1)?;
        self.gap -= self.left - place;
        Some(place)
    }

    /// Takes the query that was chosen, and draws the gap to the next one. `after` queries of the batch follow it, which are not sampled;
    /// `random` is from 0 to 1.
    #[cold]
    pub(crate) fn take(&mut self, query: Option<&Query>, after: usize, now: Instant, random: f64) {
        if let Some(query) = query
            && let Some(name) = Name::from_wire(query.lower())
        {
            self.samples.add(name, query.qtype, self.gap as f64, now);
        }
        let elapsed = now.saturating_duration_since(self.last).as_secs_f64();
        let mean = (self.gap as f64 / elapsed.max(f64::MIN_POSITIVE) / RATE).clamp(1.0, MAX_GAP);
        // Clients often ask for A and AAAA in turns, so that equal gaps would show one of them only.
        let gap = 1 + (2.0 * (mean - 1.0) * random) as usize;
        self.left = gap.saturating_sub(1 + after);
        self.gap = after + self.left + 1;
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn the_number_of_names_is_limited_and_a_frequent_one_is_found() {
        let (samples, now) = (NameSamples::default(), Instant::now());
        for round in 0..4 * MAX_NAMES {
            samples.add(name(&format!("rare-{round}.example.")), 1, 1.0, now);
            if round % 4 == 0 {
                samples.add(name("often.example."), 28, 1.0, now);
            }
        }
        let top = samples.top_at(usize::MAX, now);
        assert_eq!(top.len(), MAX_NAMES);
        assert_eq!((top[0].name, top[0].qtype), (name("often.example."), 28));
        let all: f64 = top.iter().map(|name| name.share).sum();
        assert!((all - 1.0).abs() < 1e-9, "{all}");
    }

    #[test]
    fn counts_fade() {
        let (samples, start) = (NameSamples::default(), Instant::now());
        samples.add(name("old.example."), 1, 8.0, start);
        samples.add(name("new.example."), 1, 6.0, start + HALF_LIFE);
        let share = |top: &[SampledName], wanted: &str| {
            top.iter().find(|found| found.name == name(wanted)).map(|found| found.share)
        };
        let top = samples.top_at(9, start + HALF_LIFE);
        assert_eq!((share(&top, "new.example."), share(&top, "old.example.")), (Some(0.6), Some(0.4)));
        assert!(samples.top_at(9, start + 9 * HALF_LIFE).is_empty());
    }

    /// Passes `seconds` of queries at a rate through a sampler in batches. Returns the samples, and the queries that they stand for.
    fn run(rate: usize, batch: usize, seconds: usize) -> (usize, f64) {
        let samples = NameSamples::default();
        let start = Instant::now();
        let mut sampler = NameSampler::new(samples.clone(), start);
        let query = Query::new(1, &name("a.example."), 1);
        let (mut taken, mut random) = (0, 0.37);
        for at in 0..rate * seconds / batch {
            let now = start + Duration::from_secs_f64((at * batch + batch) as f64 / rate as f64);
            if let Some(place) = sampler.choose(batch, now) {
                random = (random * 997.0 + 0.1) % 1.0;
                sampler.take(Some(&query), batch - place - 1, now, random);
                taken += 1;
            }
        }
        (taken, samples.0.lock().unwrap().counts.values().sum())
    }

    #[test]
    fn samples_stand_for_all_queries_and_are_few() {
        for (rate, batch, most) in [(10, 1, 100), (1_000, 1, 1_000), (1_000, 4, 1_000), (320_000, 32, 6_000)]
        {
            let (taken, counted) = run(rate, batch, 10);
            let all = (10 * rate) as f64;
            assert!(taken <= most, "{rate}/s: {taken} samples");
            assert!(
                (counted - all).abs() <= (2.0 * MAX_GAP).max(0.02 * all).min(all / 2.0),
                "{rate}/s: {counted} of {all}"
            );
        }
        assert_eq!(run(10, 1, 10), (100, 100.0), "at a low rate, each query is taken");
    }

    #[test]
    fn after_a_burst_the_next_sample_comes_within_a_second() {
        let (samples, start) = (NameSamples::default(), Instant::now());
        let mut sampler = NameSampler::new(samples.clone(), start);
        let query = Query::new(1, &name("a.example."), 1);
        assert_eq!(sampler.choose(32, start), Some(0));
        sampler.take(Some(&query), 31, start, 1.0);
        assert_eq!(sampler.choose(1, start + MAX_PAUSE / 2), None);
        assert_eq!(sampler.choose(1, start + MAX_PAUSE), Some(0));
        sampler.take(Some(&query), 0, start + MAX_PAUSE, 0.0);
        let counted: f64 = samples.0.lock().unwrap().counts.values().sum();
        assert_eq!(counted, 34.0, "one, then the 31 after it and two more");
    }
}
