//! Measurements of one server over all rounds, and their median.

use std::time::Duration;

use crate::process::Process;

/// The result of one run of a load generator.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LoadResult {
    /// Correct answers.
    pub(crate) answers: u64,
    /// Incorrect answers.
    pub(crate) wrong: u64,
    /// Queries or requests without an answer.
    pub(crate) lost: u64,
    pub(crate) took: Duration,
}

/// CPU time per answer and answers per second of one server under one kind of load, for each round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    costs: Vec<f64>,
    rates: Vec<f64>,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
}

impl Samples {
    /// Runs one round of load and records the server's CPU time per answer.
    pub(crate) fn measure(&mut self, server: &Process, load: impl FnOnce() -> LoadResult) {
        let before = server.cpu();
        let result = load();
        let used = server.cpu().saturating_sub(before);
        self.wrong += result.wrong;
        self.lost += result.lost;
        if result.answers > 0 {
            self.costs.push(used.as_secs_f64() * 1e6 / result.answers as f64);
            self.rates.push(result.answers as f64 / result.took.as_secs_f64());
        }
    }

    /// Median CPU microseconds per answer, if there were any answers.
    pub(crate) fn cost(&self) -> Option<f64> {
        quantile(&self.costs, 0.5)
    }

    /// Median answers per second.
    pub(crate) fn rate(&self) -> Option<f64> {
        quantile(&self.rates, 0.5)
    }

    /// The lowest and the highest CPU microseconds per answer of a round.
    pub(crate) fn spread(&self) -> Option<(f64, f64)> {
        let lowest = self.costs.iter().copied().reduce(f64::min)?;
        Some((lowest, self.costs.iter().copied().fold(lowest, f64::max)))
    }
}

/// A quantile by the nearest-rank method; `share` is between 0 and 1.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}
