//! A counter and histograms of the same events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cells::Rows;
use crate::metrics::family::{Family, Labels};
use crate::metrics::value::{Counter, Histogram, HistogramLayout};

/// The row of the counter. The sums of the histograms follow, then their buckets.
const COUNTER: usize = 0;

/// A counter and `H` histograms of the same events, with the same `N` labels. Any of them may be left out.
///
/// The numbers of a series lie together, and the counter and up to seven sums share a cache line: with many series in turn, an event
/// with seven histograms changes eight lines that no cache holds.
#[derive(Clone)]
pub struct EventFamily<const N: usize, const H: usize> {
    counter: Option<Family<Counter, N>>,
    histograms: [Option<(Family<Histogram, N>, Arc<HistogramLayout>)>; H],
    /// Of a series.
    rows: usize,
    /// The series in use. All threads share them.
    series: Arc<Mutex<HashMap<Labels<N>, EventSeries>>>,
}

/// The numbers of one series of an [`EventFamily`].
#[derive(Clone)]
pub struct EventSeries(Arc<Rows>);

impl<const N: usize, const H: usize> EventFamily<N, H> {
    /// Groups families that have no series yet.
    pub fn new(counter: Option<Family<Counter, N>>, histograms: [Option<Family<Histogram, N>>; H]) -> Self {
        let (mut number, mut rows) = (0, 1 + H);
        let histograms = histograms.map(|family| {
            number += 1;
            let bounds = family.as_ref()?.shape().clone();
            let layout = HistogramLayout { buckets: rows, sum: COUNTER + number, bounds };
            rows += layout.bounds.len() + 1;
            Some((family?, Arc::new(layout)))
        });
        Self { counter, histograms, rows, series: Arc::default() }
    }

    /// The series with these label values. Takes a lock: keep the result.
    pub fn of(&self, labels: &Labels<N>) -> EventSeries {
        let mut known = self.series();
        if let Some(series) = known.get(labels) {
            return series.clone();
        }
        let rows = Arc::new(Rows::new(self.rows));
        let mut is_exported = true;
        if let Some(family) = &self.counter {
            is_exported &= family.insert(labels, Counter::in_rows(&rows, COUNTER)).1;
        }
        for (family, layout) in self.histograms.iter().flatten() {
            is_exported &= family.insert(labels, Histogram::in_rows(&rows, layout)).1;
        }
        let series = EventSeries(rows);
        // One that is not exported is tried again when it is next asked for.
        if is_exported {
            known.insert(labels.clone(), series.clone());
        }
        series
    }

    /// Counts an event with the values of its histograms. Hot: no lock and no allocation.
    #[inline]
    pub fn count(&self, series: &EventSeries, values: [Option<f64>; H]) {
        let rows = series.0.of_thread();
        if self.counter.is_some() {
            rows.add(COUNTER, 1);
        }
        for (histogram, value) in self.histograms.iter().zip(values) {
            if let (Some((_, layout)), Some(value)) = (histogram, value) {
                layout.observe(&rows, value);
            }
        }
    }

    /// Removes a series, such as that of a deleted Ingress. Who has kept it still counts, but that is not exported.
    pub fn remove(&self, labels: &Labels<N>) {
        let mut known = self.series();
        known.remove(labels);
        self.counter.iter().for_each(|family| family.remove(labels));
        self.histograms.iter().flatten().for_each(|(family, _)| family.remove(labels));
    }

    fn series(&self) -> MutexGuard<'_, HashMap<Labels<N>, EventSeries>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Registry;

    use super::*;

    /// The value of a sample, or its sum, its count and its buckets.
    type Values = (f64, u64, Vec<(f64, u64)>);

    fn labels(host: &str) -> Labels<1> {
        Arc::new([host.to_owned()])
    }

    #[test]
    fn an_event_changes_the_metrics_of_its_series_only() {
        let registry = Registry::new();
        let counter = registry.counters("requests", "Requests.", ["host"]);
        let times = registry.histograms("seconds", "Times.", ["host"], &[0.5, 1.0]);
        let sizes = registry.histograms("bytes", "Sizes.", ["host"], &[10.0]);
        let events = EventFamily::new(Some(counter), [Some(times), None, Some(sizes)]);
        let (one, other) = (events.of(&labels("one")), events.of(&labels("other")));
        events.count(&one, [Some(0.75), Some(1.0), Some(20.0)]);
        events.count(&events.of(&labels("one")), [Some(2.0), None, None]);
        events.count(&other, [None; 3]);
        let read = |name: &str| -> Vec<Values> {
            let samples = registry.read(name);
            samples.into_iter().map(|sample| (sample.value, sample.count, sample.buckets)).collect()
        };
        assert_eq!(read("requests"), [(2.0, 0, vec![]), (1.0, 0, vec![])]);
        let empty = (0.0, 0, vec![(0.5, 0), (1.0, 0)]);
        assert_eq!(read("seconds"), [(2.75, 2, vec![(0.5, 0), (1.0, 1)]), empty]);
        assert_eq!(read("bytes"), [(20.0, 1, vec![(10.0, 0)]), (0.0, 0, vec![(10.0, 0)])]);

        events.remove(&labels("one"));
        events.count(&one, [None; 3]);
        assert_eq!(read("requests"), [(1.0, 0, vec![])], "a removed series is not exported");
        events.of(&labels("one"));
        assert_eq!(read("requests"), [(0.0, 0, vec![]), (1.0, 0, vec![])]);
    }
}
