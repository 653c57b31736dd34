//! Whether the API server can be reached, reported once for all kinds that are read from it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cluster::Kind;
use jiff::Zoned;
use telemetry::{Problem, Reports};
use tokio::time::Instant;

use super::SCOPE;
use super::access::Remedy;
use crate::decode::shorten;
use crate::watch_stream::{ApiError, ConnectionProblem};

/// How often an outage is logged while it lasts.
const LOG_PERIOD: Duration = Duration::from_secs(60);

/// Consecutive failures of one kind that count as an outage. A single one may be the ordinary end of a connection, such as
/// the restart of one of several API servers.
pub(super) const FAILURES: u32 = 2;

/// The state of one API server. Copies share it.
#[derive(Clone)]
pub(super) struct ServerState(Arc<Inner>);

struct Inner {
    url: String,
    remedy: Remedy,
    reports: Reports,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Kinds whose last request failed, with the number of failures in a row.
    failing: BTreeMap<Kind, u32>,
    /// Whether a kind has been listed, so that there is a last known state.
    has_data: bool,
    outage: Option<Outage>,
}

struct Outage {
    cause: Cause,
    /// The error as quoted in reports.
    error: String,
    since: Zoned,
    begun: Instant,
    failures: u64,
    /// When it was last logged; `None` before it was reported.
    logged: Option<Instant>,
}

/// The cause of an outage. Later ones are more specific, and replace earlier ones in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// The server answers 429 or 5xx.
    Failing,
    /// There is no connection.
    Unreachable,
    /// The server's certificate is rejected.
    ServerCertificate,
    /// The server rejects the token or client certificate, or there is none.
    Credentials,
}

impl ServerState {
    pub(super) fn new(url: String, remedy: Remedy, reports: Reports) -> Self {
        Self(Arc::new(Inner { url, remedy, reports, state: Mutex::default() }))
    }

    /// Records that a request for a kind has been answered.
    pub(super) fn answered(&self, kind: Kind) {
        self.settle(kind);
    }

    /// Records that a kind has been listed.
    pub(super) fn listed(&self) {
        self.lock().has_data = true;
    }

    /// Removes the state of a kind that is no longer read.
    pub(super) fn forget(&self, kind: Kind) {
        self.settle(kind);
    }

    /// Records that a request for a kind has failed. Returns whether the cause is an outage of the server, which is reported
    /// here, and not a problem of this kind.
    pub(super) fn failed(&self, kind: Kind, error: &ApiError) -> bool {
        let Some(cause) = Cause::of(error) else {
            self.settle(kind);
            return false;
        };
        let now = Instant::now();
        let mut state = self.lock();
        let failures = state.failing.entry(kind).or_default();
        *failures += 1;
        let certain = *failures >= FAILURES;
        let has_data = state.has_data;
        let outage = state.outage.get_or_insert_with(|| Outage {
            cause,
            error: quoted(error),
            since: Zoned::now(),
            begun: now,
            failures: 0,
            logged: None,
        });
        outage.failures += 1;
        let is_due = outage.logged.is_none_or(|logged| now - logged >= LOG_PERIOD);
        if cause > outage.cause || outage.logged.is_none() || (is_due && cause != outage.cause) {
            if certain {
                (outage.cause, outage.error) = (cause, quoted(error));
                outage.logged = Some(now);
                let problem = self.0.problem(outage, has_data);
                drop(state);
                self.0.report(Some(problem));
            }
        } else if is_due && cause.is_repeated() {
            outage.logged = Some(now);
            let minutes = (now - outage.begun).as_secs() / 60;
            let failures = outage.failures;
            drop(state);
            let url = &self.0.url;
            tracing::warn!(
                "API server {url}: {} for {minutes} min, {failures} requests have failed ({})",
                cause.words(),
                quoted(error)
            );
        }
        true
    }

    /// Records that the kind no longer fails. The outage ends when no kind fails.
    fn settle(&self, kind: Kind) {
        let mut state = self.lock();
        if state.failing.remove(&kind).is_some() && state.failing.is_empty() {
            let outage = state.outage.take();
            drop(state);
            if outage.is_some_and(|outage| outage.logged.is_some()) {
                self.0.report(None);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn problem(&self, outage: &Outage, has_data: bool) -> Problem {
        let Outage { cause, error, since, .. } = outage;
        let served = if has_data { "serving the last known state" } else { "nothing has been read yet" };
        let since = since.strftime("%H:%M:%S");
        Problem {
            kind: "API server".into(),
            key: self.url.clone(),
            field: String::new(),
            what: format!("{} since {since} ({error}); {served}", cause.words()),
            wanted: match cause {
                Cause::Failing | Cause::Unreachable => String::new(),
                Cause::ServerCertificate => self.remedy.server_certificate.clone(),
                Cause::Credentials => self.remedy.credentials.clone(),
            },
            severity: None,
        }
    }

    fn report(&self, problem: Option<Problem>) {
        self.reports.replace_object(SCOPE, "API server", &self.url, problem);
    }
}

impl Cause {
    fn of(error: &ApiError) -> Option<Self> {
        match error {
            ApiError::Silent(_) => Some(Self::Unreachable),
            ApiError::Connection { problem, .. } => Some(match problem {
                ConnectionProblem::Unreachable => Self::Unreachable,
                ConnectionProblem::ServerCertificate => Self::ServerCertificate,
                ConnectionProblem::ClientCertificate | ConnectionProblem::Credentials => Self::Credentials,
            }),
            ApiError::Refused { code: 401, .. } => Some(Self::Credentials),
            ApiError::Refused { code: 429 | 500.., .. } => Some(Self::Failing),
            ApiError::Refused { .. } | ApiError::Stopped | ApiError::Expired | ApiError::Malformed(_) => None,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Failing => "answers with errors",
            Self::Unreachable => "unreachable",
            Self::ServerCertificate => "its certificate is not accepted",
            Self::Credentials => "our credentials are refused",
        }
    }

    /// Whether it is logged periodically. A cause that has to be fixed by hand is logged once.
    fn is_repeated(self) -> bool {
        matches!(self, Self::Failing | Self::Unreachable)
    }
}

fn quoted(error: &ApiError) -> String {
    shorten(&error.to_string()).into_owned()
}

#[cfg(test)]
mod tests;
