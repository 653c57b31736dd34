//! Requests that an operator follows: one-time secrets, and what happened to the requests that carried one.
//!
//! The admin side arms a secret, a request carries it in the field `X-Portolan-Follow`, and the admin side reads the report once the request
//! has ended. The field is never passed on, whatever its value.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ingress_routes::plan::phase::Phase;
use rustls::crypto::aws_lc_rs;

/// How many secrets there may be at a time.
const MAX_FOLLOWED: usize = 16;

/// How long a secret can be used, and its report be read.
pub const SECRET_LIFETIME: Duration = Duration::from_secs(60);

/// Bytes of a secret.
const SECRET_LENGTH: usize = 16;

/// The requests that are followed. Copies share them.
#[derive(Clone, Debug, Default)]
pub struct FollowedRequests(Arc<FollowedTable>);

#[derive(Debug, Default)]
struct FollowedTable {
    /// Secrets that no request has carried yet. Read for every request.
    armed: AtomicUsize,
    entries: Mutex<Vec<FollowedEntry>>,
}

#[derive(Debug)]
struct FollowedEntry {
    secret: String,
    armed: Instant,
    state: FollowState,
}

/// How far a followed request is.
#[derive(Clone, Debug, PartialEq)]
pub enum FollowState {
    /// No request has carried the secret.
    Armed,
    /// A request has, and has not ended.
    Open,
    /// It has ended.
    Ended(Box<RequestReport>),
}

/// What happened to a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestReport {
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
    /// The phase whose rule made the response, if one did.
    pub answered_in: Option<Phase>,
    /// The changes of the head that endpoints got, one a line.
    pub request_changes: Vec<String>,
    /// The changes of the head that the client got, one a line. Those that depend on fields of the endpoint's response are not among them.
    pub response_changes: Vec<String>,
    /// The attempts at endpoints, in order.
    pub attempts: Vec<AttemptReport>,
    /// The status that was logged.
    pub status: u16,
    /// Bytes of the response's body.
    pub sent: u64,
    /// From the first byte of the head to the last of the response.
    pub elapsed: Duration,
}

/// One attempt at an endpoint. Times are since the attempt began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AttemptReport {
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
    /// Its status; 502 or 504 if it failed, `None` if the client ended it.
    pub status: Option<u16>,
}

/// Held by the request that has carried a secret.
#[derive(Debug)]
pub(crate) struct FollowTicket {
    followed: FollowedRequests,
    secret: String,
}

impl FollowedRequests {
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
        if entries.len() >= MAX_FOLLOWED {
            return None;
        }
        entries.push(FollowedEntry { secret: secret.clone(), armed: now, state: FollowState::Armed });
        self.count(&entries);
        Some(secret)
    }

    /// How far the request with a secret is. The report of one that has ended is given once. `None` for an unknown secret.
    pub fn state(&self, secret: &str) -> Option<FollowState> {
        self.state_at(secret, Instant::now())
    }

    fn state_at(&self, secret: &str, now: Instant) -> Option<FollowState> {
        let mut entries = self.current(now);
        let at = entries.iter().position(|entry| entry.is_of(secret.as_bytes()))?;
        match &entries[at].state {
            FollowState::Ended(_) => Some(entries.swap_remove(at).state),
            waiting => Some(waiting.clone()),
        }
    }

    /// Whether a request may carry a secret. Hot: one load.
    pub(crate) fn is_armed(&self) -> bool {
        self.0.armed.load(Relaxed) > 0
    }

    /// Follows the request that carries this text, if it is a secret that no other request has carried.
    pub(crate) fn follow(&self, given: &[u8]) -> Option<FollowTicket> {
        let mut entries = self.current(Instant::now());
        let entry =
            entries.iter_mut().find(|entry| entry.is_of(given) && entry.state == FollowState::Armed)?;
        entry.state = FollowState::Open;
        let secret = entry.secret.clone();
        self.count(&entries);
        Some(FollowTicket { followed: self.clone(), secret })
    }

    /// The entries, without those that have expired.
    fn current(&self, now: Instant) -> MutexGuard<'_, Vec<FollowedEntry>> {
        let mut entries = self.0.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| now.saturating_duration_since(entry.armed) < SECRET_LIFETIME);
        self.count(&entries);
        entries
    }

    fn count(&self, entries: &[FollowedEntry]) {
        let armed = entries.iter().filter(|entry| entry.state == FollowState::Armed).count();
        self.0.armed.store(armed, Relaxed);
    }
}

impl FollowedEntry {
    /// Whether a text is the secret. Takes the same time for every text of its length.
    fn is_of(&self, given: &[u8]) -> bool {
        let secret = self.secret.as_bytes();
        secret.len() == given.len()
            && secret.iter().zip(given).fold(0, |differing, (one, other)| differing | (one ^ other)) == 0
    }
}

impl FollowTicket {
    /// Stores what happened.
    pub(crate) fn end(self, request: RequestReport) {
        let mut entries = self.followed.current(Instant::now());
        if let Some(entry) = entries.iter_mut().find(|entry| entry.secret == self.secret) {
            entry.state = FollowState::Ended(Box::new(request));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_for_one_request_and_one_reader() {
        let followed = FollowedRequests::default();
        assert!(!followed.is_armed() && followed.follow(b"").is_none());
        let secret = followed.arm().unwrap();
        assert!(secret.len() == 32 && followed.arm() != Some(secret.clone()));
        assert_eq!(followed.state(&secret), Some(FollowState::Armed));
        assert!(followed.follow(b"00000000000000000000000000000000").is_none());
        let ticket = followed.follow(secret.as_bytes()).unwrap();
        assert!(followed.follow(secret.as_bytes()).is_none(), "only the first request is followed");
        assert_eq!(followed.state(&secret), Some(FollowState::Open));
        ticket.end(RequestReport { status: 204, ..RequestReport::default() });
        let Some(FollowState::Ended(report)) = followed.state(&secret) else { panic!("it has ended") };
        assert_eq!((report.status, followed.state(&secret)), (204, None));
    }

    #[test]
    fn the_number_and_the_life_of_secrets_are_bounded() {
        let (followed, start) = (FollowedRequests::default(), Instant::now());
        let arm = |at: usize, now| followed.arm_with(format!("{at:032}"), now);
        assert!((0..MAX_FOLLOWED).all(|at| arm(at, start).is_some()) && arm(99, start).is_none());
        assert!(followed.is_armed());
        let later = start + SECRET_LIFETIME;
        assert_eq!(followed.state_at(&format!("{:032}", 0), later), None);
        assert!(!followed.is_armed(), "those that have expired cost nothing");
        assert!(arm(99, later).is_some());
    }
}
