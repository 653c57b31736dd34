//! Rounds: engines take turns under the same load, and the median round is what an engine costs.

use std::time::Duration;

use crate::process::Process;

/// What a load generator saw.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LoadResult {
    /// Right answers.
    pub(crate) answers: u64,
    /// Answers that were not what was asked for.
    pub(crate) wrong: u64,
    /// Questions without an answer.
    pub(crate) lost: u64,
    pub(crate) took: Duration,
}

/// CPU time per answer and answers per second of one engine under one load, over all rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    costs: Vec<f64>,
    rates: Vec<f64>,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
}

impl Samples {
    /// One round: the load runs, and the server's CPU time over it is shared among the answers.
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

    /// CPU microseconds per answer, if there were any answers.
    pub(crate) fn cost(&self) -> Option<f64> {
        quantile(&self.costs, 0.5)
    }

    /// Answers per second.
    pub(crate) fn rate(&self) -> Option<f64> {
        quantile(&self.rates, 0.5)
    }

    /// The cheapest and the dearest round.
    pub(crate) fn spread(&self) -> Option<(f64, f64)> {
        let lowest = self.costs.iter().copied().reduce(f64::min)?;
        Some((lowest, self.costs.iter().copied().fold(lowest, f64::max)))
    }
}

/// The value that this share of all values does not exceed.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}
