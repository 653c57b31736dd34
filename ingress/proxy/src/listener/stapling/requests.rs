//! The requests of the passes over the certificates that are due: which servers are left alone, and how long a pass may take.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::RETRY;
use super::fetch::Fetcher;

/// How long a URL that has failed is left alone: before the certificates that name it are due again.
const SILENCE: Duration = RETRY.checked_div(2).expect("2 is not 0");

/// Requests, and the servers that do not answer them: each is asked once for all certificates that name it.
pub(super) struct Requests {
    fetcher: Fetcher,
    /// How long a pass begins further requests.
    limit: Duration,
    pass_ends: Instant,
    /// URLs that have failed, and until when they are left alone.
    silent: HashMap<String, Instant, RandomState>,
}

impl Requests {
    pub(super) fn new(fetcher: Fetcher, limit: Duration) -> Self {
        Self { fetcher, limit, pass_ends: Instant::now(), silent: HashMap::default() }
    }

    /// Begins a pass.
    pub(super) fn begin_pass(&mut self) {
        let now = Instant::now();
        self.pass_ends = now + self.limit;
        self.silent.retain(|_, until| *until > now);
    }

    /// Whether the time of the pass is over: what is still due waits for the next one.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.pass_ends
    }

    /// Gets the certificate of an issuer.
    ///
    /// # Errors
    /// Why there is none, as a clause.
    pub(super) fn issuer(&mut self, url: &str) -> Result<Vec<u8>, String> {
        self.ask(url, "the server does not answer", |fetcher| fetcher.get(url))
    }

    /// Asks a responder.
    ///
    /// # Errors
    /// As [`Self::issuer`].
    pub(super) fn response(&mut self, url: &str, request: &[u8]) -> Result<Vec<u8>, String> {
        let ask = |fetcher: Fetcher| fetcher.post(url, "application/ocsp-request", request);
        self.ask(url, "the responder does not answer", ask)
    }

    fn ask(
        &mut self,
        url: &str,
        silent: &str,
        ask: impl FnOnce(Fetcher) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<u8>, String> {
        if self.silent.contains_key(url) {
            return Err(silent.to_owned());
        }
        let answer = ask(self.fetcher);
        if answer.is_err() {
            self.silent.insert(url.to_owned(), Instant::now() + SILENCE);
        }
        answer
    }
}
