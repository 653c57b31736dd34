//! Rounds: engines take turns under the same load, and the median round is what an engine costs.

use std::time::Duration;

use crate::process::Process;

/// What a load generator saw.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
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
    micros: Vec<f64>,
    rates: Vec<f64>,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
}

impl Samples {
    /// One round: the load runs, and the server's CPU time over it is shared among the answers.
    pub(crate) fn measure(&mut self, server: &Process, load: impl FnOnce() -> Tally) {
        let before = server.cpu();
        let tally = load();
        let used = server.cpu().saturating_sub(before);
        self.wrong += tally.wrong;
        self.lost += tally.lost;
        if tally.answers > 0 {
            self.micros.push(used.as_secs_f64() * 1e6 / tally.answers as f64);
            self.rates.push(tally.answers as f64 / tally.took.as_secs_f64());
        }
    }

    /// CPU microseconds per answer, if there were any answers.
    pub(crate) fn micros(&self) -> Option<f64> {
        quantile(&self.micros, 0.5)
    }

    /// Answers per second.
    pub(crate) fn rate(&self) -> Option<f64> {
        quantile(&self.rates, 0.5)
    }

    /// The cheapest and the dearest round.
    pub(crate) fn spread(&self) -> Option<(f64, f64)> {
        let least = self.micros.iter().copied().reduce(f64::min)?;
        Some((least, self.micros.iter().copied().fold(least, f64::max)))
    }
}

/// The value that this share of all values does not exceed.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}
