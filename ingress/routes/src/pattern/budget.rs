//! The limit on the work that the regular expressions of a host may do for one request.

/// The steps that one request may still spend on regular expressions.
///
/// A step is about 30 ns of work on the machine that ARCHITECTURE's measurements are from: one step of the backtracking
/// engine, or 16 bytes read by the linear one. nginx limits each pattern only (`pcre2_set_match_limit`, ten million), so the
/// work for a host with many patterns is unlimited there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepBudget {
    left: u32,
    exceeded: bool,
}

/// The patterns of a request need more steps than its budget has. The response is 500, as in nginx at its match limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepLimitExceeded;

impl StepBudget {
    /// Steps that one request may spend: about 30 ms.
    pub const STEPS_PER_REQUEST: u32 = 1_000_000;

    /// Deducts the steps that the next piece of work may cost; fails if there are not enough.
    pub(super) fn charge(&mut self, steps: usize) -> Result<(), StepLimitExceeded> {
        match self.left.checked_sub(u32::try_from(steps).unwrap_or(u32::MAX)) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.exceed()),
        }
    }

    /// Deducts the steps of work that is done, whose cost was not known before. If there were not enough, the next charge
    /// fails.
    pub(super) fn spend(&mut self, steps: usize) {
        self.left = self.left.saturating_sub(u32::try_from(steps).unwrap_or(u32::MAX));
    }

    /// Records that a pattern reached its own limit.
    pub(super) fn exceed(&mut self) -> StepLimitExceeded {
        self.exceeded = true;
        StepLimitExceeded
    }

    /// The steps that were spent.
    #[cfg(test)]
    pub(super) fn spent(self) -> u32 {
        Self::STEPS_PER_REQUEST - self.left
    }

    /// Whether matching was stopped because of the limit.
    pub fn is_exceeded(self) -> bool {
        self.exceeded
    }
}

impl Default for StepBudget {
    fn default() -> Self {
        Self { left: Self::STEPS_PER_REQUEST, exceeded: false }
    }
}
