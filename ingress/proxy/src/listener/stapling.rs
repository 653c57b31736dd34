//! OCSP stapling (`enable-ocsp`) and the completion of chains (`--enable-ssl-chain-completion`): a thread fetches the responses and the
//! missing issuers of the certificates in use, and keeps the responses current. Handshakes only look the result up, so that a server that
//! does not answer costs them nothing.

mod fetch;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use cluster::Current;
use foldhash::fast::RandomState;
use ingress_routes::Certs;
use net::issuer::{is_root, next_issuer, read_issuer};
use net::ocsp::{OcspStaple, OcspSubject};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use self::fetch::Fetcher;
use self::requests::Requests;

/// How often certificates, due responses and the switch are checked.
const INTERVAL: Duration = Duration::from_secs(1);
/// The pause after the first failed attempt; it doubles up to [`MAX_RETRY`].
const RETRY: Duration = Duration::from_secs(60);
const MAX_RETRY: Duration = Duration::from_secs(3600);
/// How long a pass over the due certificates begins further requests. Then its results are served, and the next one goes on.
const PASS_LIMIT: Duration = Duration::from_secs(3);
/// How many certificates have responses.
const MAX_STAPLES: usize = 20_000;

/// A callback with the certificates without a response, and why, whenever they change.
pub type StaplingProblems = Arc<dyn Fn(Vec<String>) + Send + Sync>;

/// The responses of certificates.
pub(crate) struct Stapling {
    certs: Current<Certs>,
    /// Certificates with their responses, by the address of the certificate that they were made of.
    stapled: Current<Stapled>,
    /// `enable-ocsp`.
    staples: AtomicBool,
    completes_chains: bool,
    fetcher: Fetcher,
    is_running: Mutex<bool>,
    problems: StaplingProblems,
}

type Stapled = HashMap<usize, StapledKey, RandomState>;

#[derive(Clone)]
struct StapledKey {
    /// Keeps its address from being that of another certificate.
    _original: Arc<CertifiedKey>,
    stapled: Arc<CertifiedKey>,
}

impl Stapling {
    /// `allow_local`: responders may have loopback and link-local addresses.
    pub(crate) fn new(
        certs: Current<Certs>,
        completes_chains: bool,
        allow_local: bool,
        problems: StaplingProblems,
    ) -> Arc<Self> {
        let stapled = Current::new(Stapled::default());
        let (staples, is_running) = (AtomicBool::new(false), Mutex::new(false));
        let fetcher = Fetcher { allow_local };
        Arc::new(Self { certs, stapled, staples, completes_chains, fetcher, is_running, problems })
    }

    /// Whether certificates may be served otherwise than their Secrets have them.
    pub(crate) fn is_on(&self) -> bool {
        self.completes_chains || self.staples.load(Relaxed)
    }

    /// The certificate as it is served: with its response and its complete chain, if they are there. Hot: one lookup.
    pub(crate) fn served(&self, key: &Arc<CertifiedKey>) -> Arc<CertifiedKey> {
        let stapled = self.stapled.load();
        stapled.get(&address(key)).map_or_else(|| key.clone(), |found| found.stapled.clone())
    }

    /// Follows `enable-ocsp`. The thread runs only while it is on.
    pub(crate) fn follow(self: &Arc<Self>, staples: bool) {
        self.staples.store(staples, Relaxed);
        if !self.is_on() {
            return;
        }
        let mut is_running = self.is_running.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_running {
            let stapling = Arc::downgrade(self);
            let thread = std::thread::Builder::new().name("ocsp".to_owned()).spawn(move || run(&stapling));
            match thread {
                Ok(_) => *is_running = true,
                Err(error) => tracing::error!(%error, "OCSP responses cannot be fetched"),
            }
        }
    }

    /// Whether the thread continues. Ends it if there is nothing to do.
    fn continues(&self) -> bool {
        let mut is_running = self.is_running.lock().unwrap_or_else(PoisonError::into_inner);
        *is_running = self.is_on();
        if !*is_running {
            self.stapled.store(Arc::default());
            (self.problems)(Vec::new());
        }
        *is_running
    }
}

fn address(key: &Arc<CertifiedKey>) -> usize {
    Arc::as_ptr(key) as usize
}

/// The OCSP status of a certificate.
struct CertificateStatus {
    key: Arc<CertifiedKey>,
    /// For messages.
    name: String,
    /// The chain as it is served.
    chain: Vec<CertificateDer<'static>>,
    /// The URL of the issuer that the chain lacks.
    missing: Option<String>,
    subject: Result<OcspSubject, String>,
    staple: Option<OcspStaple>,
    /// Fetching the missing issuers.
    completion: Attempts,
    /// Asking the responder.
    stapling: Attempts,
}

/// The attempts to fetch something.
struct Attempts {
    /// When the next one is made.
    due: SystemTime,
    failures: u32,
    problem: Option<String>,
}

impl Attempts {
    fn new(due: SystemTime) -> Self {
        Self { due, failures: 0, problem: None }
    }

    /// The next attempt is later than the last one was. Returns whether the problem is another one.
    fn fail(&mut self, problem: String) -> bool {
        self.due = SystemTime::now() + (RETRY * (1 << self.failures.min(6))).min(MAX_RETRY);
        self.failures += 1;
        self.report(problem)
    }

    fn report(&mut self, problem: String) -> bool {
        let is_new = self.problem.as_ref() != Some(&problem);
        self.problem = Some(problem);
        is_new
    }
}

/// Fetches responses until stapling is off or the proxy has ended.
fn run(stapling: &Weak<Stapling>) {
    let mut followed: Option<Arc<Certs>> = None;
    let mut known: BTreeMap<usize, CertificateStatus> = BTreeMap::new();
    let mut requests: Option<Requests> = None;
    let (mut reported, mut stapled_before) = (Vec::new(), false);
    while let Some(stapling) = stapling.upgrade().filter(|stapling| stapling.continues()) {
        let (certs, now) = (stapling.certs.load_full(), SystemTime::now());
        let mut is_changed = false;
        if !followed.as_ref().is_some_and(|followed| Arc::ptr_eq(followed, &certs)) {
            let mut before = std::mem::take(&mut known);
            for (name, key) in certs.keys().take(MAX_STAPLES) {
                let at = address(key);
                let new = || CertificateStatus::new(name.to_string(), key, stapling.completes_chains, now);
                let status = before.remove(&at).unwrap_or_else(new);
                known.insert(at, status);
            }
            is_changed = true;
            followed = Some(certs);
        }
        let staples = stapling.staples.load(Relaxed);
        is_changed |= std::mem::replace(&mut stapled_before, staples) != staples;
        let requests = requests.get_or_insert_with(|| Requests::new(stapling.fetcher, PASS_LIMIT));
        is_changed |= refresh_due(&mut known, staples, requests, || stapling.is_on());
        is_changed |= drop_expired(&mut known, SystemTime::now());
        if is_changed {
            let stapled =
                known.iter().filter_map(|(at, status)| Some((*at, status.served(staples)?))).collect();
            stapling.stapled.store(Arc::new(stapled));
            let problems: Vec<String> = known.values().flat_map(CertificateStatus::problems).collect();
            if problems != reported {
                (stapling.problems)(problems.clone());
                reported = problems;
            }
        }
        drop(stapling);
        std::thread::sleep(INTERVAL);
    }
}

/// Refreshes the certificates that are due, the longest due first, until the time of a pass is over. Returns whether a result or problem
/// has changed.
fn refresh_due(
    known: &mut BTreeMap<usize, CertificateStatus>,
    staples: bool,
    requests: &mut Requests,
    is_on: impl Fn() -> bool,
) -> bool {
    let now = SystemTime::now();
    let mut due: Vec<_> = known.values_mut().filter(|status| status.due() <= now).collect();
    due.sort_by_key(|status| status.due());
    requests.begin_pass();
    let mut is_changed = false;
    for status in due {
        if !is_on() {
            break;
        }
        is_changed |= status.refresh(staples, requests);
        if requests.is_over() {
            break;
        }
    }
    is_changed
}

/// Drops the responses that have expired. Returns whether there were any.
fn drop_expired(known: &mut BTreeMap<usize, CertificateStatus>, now: SystemTime) -> bool {
    let mut is_changed = false;
    for status in known.values_mut() {
        if status.staple.as_ref().is_some_and(|staple| staple.until <= now) {
            status.staple = None;
            is_changed = true;
        }
    }
    is_changed
}

impl CertificateStatus {
    fn new(name: String, key: &Arc<CertifiedKey>, completes_chain: bool, now: SystemTime) -> Self {
        let chain = key.cert.clone();
        let missing = if completes_chain { next_issuer(&chain) } else { None };
        let subject = OcspSubject::new(&chain).map_err(|error| error.to_string());
        let (completion, stapling) = (Attempts::new(now), Attempts::new(now));
        Self { key: key.clone(), name, chain, missing, subject, staple: None, completion, stapling }
    }

    /// When something has to be fetched.
    fn due(&self) -> SystemTime {
        match self.missing {
            Some(_) => self.completion.due.min(self.stapling.due),
            None => self.stapling.due,
        }
    }

    fn problems(&self) -> impl Iterator<Item = String> {
        self.completion.problem.iter().chain(&self.stapling.problem).cloned()
    }

    /// Fetches what is due. Returns whether the result or a problem has changed.
    fn refresh(&mut self, staples: bool, requests: &mut Requests) -> bool {
        let now = SystemTime::now();
        let mut is_changed = false;
        if self.completion.due <= now {
            while let Some(url) = self.missing.take() {
                if is_changed && requests.is_over() {
                    self.missing = Some(url);
                    return true;
                }
                if let Err(error) = self.fetch_issuer(&url, requests) {
                    let problem = format!("{}: the chain lacks an issuer: {url}: {error}", self.name);
                    self.missing = Some(url);
                    is_changed |= self.completion.fail(problem);
                    break;
                }
                is_changed = true;
                self.completion = Attempts::new(now);
                if self.subject.is_err() {
                    self.subject = OcspSubject::new(&self.chain).map_err(|error| error.to_string());
                    self.stapling.due = now;
                }
            }
        }
        if !staples {
            // `enable-ocsp` may be switched on.
            self.stapling.due = SystemTime::now() + INTERVAL;
            return is_changed | self.stapling.problem.take().is_some();
        }
        if self.stapling.due > now {
            return is_changed;
        }
        if self.subject.is_err() && self.missing.is_some() {
            // The responder may be asked when the issuer is there.
            self.stapling.due = self.completion.due;
            return is_changed | self.stapling.problem.take().is_some();
        }
        self.fetch_response(requests) || is_changed
    }

    /// Adds the certificate behind a URL to the chain, if it is the issuer of its last one. A root completes the chain and is not added.
    fn fetch_issuer(&mut self, url: &str, requests: &mut Requests) -> Result<(), String> {
        let fetched = requests.issuer(url)?;
        let last = self.chain.last().ok_or("the chain is empty")?;
        let issuer = read_issuer(&fetched, last).ok_or("the answer is not the certificate of the issuer")?;
        if !is_root(&issuer) {
            self.chain.push(issuer);
            self.missing = next_issuer(&self.chain);
        }
        Ok(())
    }

    /// Asks the responder.
    fn fetch_response(&mut self, requests: &mut Requests) -> bool {
        let subject = match &self.subject {
            Ok(subject) => subject,
            Err(error) => {
                let problem = format!("{}: no OCSP response is stapled: {error}", self.name);
                self.stapling.due = SystemTime::now() + MAX_RETRY;
                return self.stapling.report(problem);
            }
        };
        let fetched = requests.response(&subject.responder, &subject.request());
        let now = SystemTime::now();
        let checked =
            fetched.and_then(|response| subject.check(&response, now).map_err(|error| error.to_string()));
        match checked {
            Ok(staple) => {
                // Before half of its time is over, and at least once a minute apart.
                let half = staple.until.duration_since(staple.from).unwrap_or_default() / 2;
                let due = (staple.from + half).max(now + RETRY);
                let is_new = self.staple.as_ref() != Some(&staple) || self.stapling.problem.is_some();
                (self.staple, self.stapling) = (Some(staple), Attempts::new(due));
                is_new
            }
            Err(error) => {
                let until = match self.staple {
                    Some(_) => "the last OCSP response is stapled until it expires",
                    None => "no OCSP response is stapled",
                };
                let problem = format!("{}: {until}: {}: {error}", self.name, subject.responder);
                self.stapling.fail(problem)
            }
        }
    }

    /// The certificate as it is served, if that is otherwise than its Secret has it.
    fn served(&self, staples: bool) -> Option<StapledKey> {
        let response = self.staple.as_ref().filter(|_| staples).map(|staple| staple.response.clone());
        if response.is_none() && self.chain.len() == self.key.cert.len() {
            return None;
        }
        let mut stapled = CertifiedKey::clone(&self.key);
        (stapled.cert, stapled.ocsp) = (self.chain.clone(), response);
        Some(StapledKey { _original: self.key.clone(), stapled: Arc::new(stapled) })
    }
}
