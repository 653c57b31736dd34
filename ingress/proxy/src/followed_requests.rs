//! Requests that an operator follows: one-time secrets, and what happened to the requests that carried one.
//!
//! The admin side arms a secret, a request carries it in the field `X-Portolan-Trace`, and the admin side reads the report once the request
//! has ended. The field is never passed on, whatever its value.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs;

/// How many secrets there may be at a time.
const MAX_TRACES: usize = 16;

/// How long a secret can be used, and its report be read.
pub const TRACE_LIFETIME: Duration = Duration::from_secs(60);

/// Bytes of a secret.
const SECRET_LENGTH: usize = 16;

/// The requests that are followed. Copies share them.
#[derive(Clone, Debug, Default)]
pub struct Traces(Arc<TraceTable>);

#[derive(Debug, Default)]
struct TraceTable {
    /// Secrets that no request has carried yet. Read for every request.
    armed: AtomicUsize,
    entries: Mutex<Vec<TraceEntry>>,
}

#[derive(Debug)]
struct TraceEntry {
    secret: String,
    armed: Instant,
    state: TraceState,
}

/// How far a followed request is.
#[derive(Clone, Debug, PartialEq)]
pub enum TraceState {
    /// No request has carried the secret.
    Armed,
    /// A request has, and has not ended.
    Open,
    /// It has ended.
    Ended(Box<TracedRequest>),
}

/// What happened to a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TracedRequest {
    /// `GET / HTTP/1.1`, as the client wrote it.
    pub line: String,
    /// The address of the client.
    pub client: String,
    /// `$request_id`.
    pub request_id: String,
    /// Host and path of the rule, and its Ingress, if there is one.
    pub route: Option<(String, String, Option<String>)>,
    /// Path and query for endpoints, if filters have changed them.
    pub target: Option<String>,
    /// `$proxy_upstream_name`.
    pub upstream: String,
    /// The canary's upstream, if it was chosen.
    pub canary: Option<String>,
    /// The attempts at endpoints, in order.
    pub attempts: Vec<TracedAttempt>,
    /// The status that was logged.
    pub status: u16,
    /// Bytes of the response's body.
    pub sent: u64,
    /// From the first byte of the head to the last of the response.
    pub elapsed: Duration,
}

/// One attempt at an endpoint. Times are since the attempt began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TracedAttempt {
    /// The address.
    pub endpoint: String,
    /// When it began, after the request.
    pub began: Duration,
    /// Until the connection was there; `None` if it never was.
    pub connected: Option<Duration>,
    /// Until the head of the response was there.
    pub header: Option<Duration>,
    /// Until the end.
    pub ended: Option<Duration>,
    /// Its status; 502 or 504 if it failed.
    pub status: u16,
}

/// Held by the request that has carried a secret.
#[derive(Debug)]
pub(crate) struct TraceTicket {
    traces: Traces,
    secret: String,
}

impl Traces {
    /// A new secret for one request. `None` if there are too many, or no randomness.
    pub fn arm(&self) -> Option<String> {
        let mut bytes = [0; SECRET_LENGTH];
        aws_lc_rs::default_provider().secure_random.fill(&mut bytes).ok()?;
        let mut secret = String::with_capacity(2 * SECRET_LENGTH);
        for byte in bytes {
            // Writing into a String cannot fail.
            let _ = write!(secret, "{byte:02x}");
        }
        self.arm_with(secret, Instant::now())
    }

    fn arm_with(&self, secret: String, now: Instant) -> Option<String> {
        let mut entries = self.current(now);
        if entries.len() >= MAX_TRACES {
            return None;
        }
        entries.push(TraceEntry { secret: secret.clone(), armed: now, state: TraceState::Armed });
        self.count(&entries);
        Some(secret)
    }

    /// How far the request with a secret is. The report of one that has ended is given once. `None` for an unknown secret.
    pub fn state(&self, secret: &str) -> Option<TraceState> {
        self.state_at(secret, Instant::now())
    }

    fn state_at(&self, secret: &str, now: Instant) -> Option<TraceState> {
        let mut entries = self.current(now);
        let at = entries.iter().position(|entry| entry.is_of(secret.as_bytes()))?;
        match &entries[at].state {
            TraceState::Ended(_) => Some(entries.swap_remove(at).state),
            waiting => Some(waiting.clone()),
        }
    }

    /// Whether a request may carry a secret. Hot: one load.
    pub(crate) fn is_armed(&self) -> bool {
        self.0.armed.load(Relaxed) > 0
    }

    /// Follows the request that carries this text, if it is a secret that no other request has carried.
    pub(crate) fn follow(&self, given: &[u8]) -> Option<TraceTicket> {
        let mut entries = self.current(Instant::now());
        let entry =
            entries.iter_mut().find(|entry| entry.is_of(given) && entry.state == TraceState::Armed)?;
        entry.state = TraceState::Open;
        let secret = entry.secret.clone();
        self.count(&entries);
        Some(TraceTicket { traces: self.clone(), secret })
    }

    /// The entries, without those that have expired.
    fn current(&self, now: Instant) -> MutexGuard<'_, Vec<TraceEntry>> {
        let mut entries = self.0.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| now.saturating_duration_since(entry.armed) < TRACE_LIFETIME);
        self.count(&entries);
        entries
    }

    fn count(&self, entries: &[TraceEntry]) {
        let armed = entries.iter().filter(|entry| entry.state == TraceState::Armed).count();
        self.0.armed.store(armed, Relaxed);
    }
}

impl TraceEntry {
    /// Whether a text is the secret. Takes the same time for every text of its length.
    fn is_of(&self, given: &[u8]) -> bool {
        let secret = self.secret.as_bytes();
        secret.len() == given.len()
            && secret.iter().zip(given).fold(0, |differing, (one, other)| differing | (one ^ other)) == 0
    }
}

impl TraceTicket {
    /// Stores what happened.
    pub(crate) fn end(self, request: TracedRequest) {
        let mut entries = self.traces.current(Instant::now());
        if let Some(entry) = entries.iter_mut().find(|entry| entry.secret == self.secret) {
            entry.state = TraceState::Ended(Box::new(request));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_for_one_request_and_one_reader() {
        let traces = Traces::default();
        assert!(!traces.is_armed() && traces.follow(b"").is_none());
        let secret = traces.arm().unwrap();
        assert!(secret.len() == 32 && traces.arm() != Some(secret.clone()));
        assert_eq!(traces.state(&secret), Some(TraceState::Armed));
        assert!(traces.follow(b"00000000000000000000000000000000").is_none());
        let ticket = traces.follow(secret.as_bytes()).unwrap();
        assert!(traces.follow(secret.as_bytes()).is_none(), "only the first request is followed");
        assert_eq!(traces.state(&secret), Some(TraceState::Open));
        ticket.end(TracedRequest { status: 204, ..TracedRequest::default() });
        let Some(TraceState::Ended(report)) = traces.state(&secret) else { panic!("it has ended") };
        assert_eq!((report.status, traces.state(&secret)), (204, None));
    }

    #[test]
    fn the_number_and_the_life_of_secrets_are_bounded() {
        let (traces, start) = (Traces::default(), Instant::now());
        let arm = |at: usize, now| traces.arm_with(format!("{at:032}"), now);
        assert!((0..MAX_TRACES).all(|at| arm(at, start).is_some()) && arm(99, start).is_none());
        assert!(traces.is_armed());
        let later = start + TRACE_LIFETIME;
        assert_eq!(traces.state_at(&format!("{:032}", 0), later), None);
        assert!(!traces.is_armed(), "those that have expired cost nothing");
        assert!(arm(99, later).is_some());
    }
}
