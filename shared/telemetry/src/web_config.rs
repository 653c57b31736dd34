//! The web configuration file of Prometheus exporters as an access policy: TLS, client certificates, users, headers and a
//! rate limit (github.com/prometheus/exporter-toolkit, docs/web-configuration.md). Not
//! supported: HTTP/2, CBC cipher suites, P-521 and TLS before 1.2.
//!
//! The file is read again for each connection and each request, so that a renewed certificate or a new password takes effect
//! at once. Whether the page uses TLS and the rate limit are fixed when the policy is created.

mod file;

mod tls;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use rustls::ServerConfig;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::admin::access::{AccessDecision, AccessPolicy, AdminStream, BoxFuture};
use crate::admin_message::{AdminRequest, AdminResponse};
use file::{PemFiles, RateLimit, TlsServerConfig, WebConfig};

/// Maximum number of cached password checks.
const MAX_KNOWN: usize = 100;

/// An access policy that follows a web configuration file.
pub struct WebConfigPolicy(Arc<PolicyState>);

struct PolicyState {
    file: PathBuf,
    has_tls: bool,
    /// The current TLS configuration and its inputs. It is reused while the inputs do not change, so that clients can resume
    /// sessions.
    tls_cache: Mutex<Option<(TlsServerConfig, PemFiles, Arc<ServerConfig>)>>,
    bucket: Option<Mutex<TokenBucket>>,
    /// Results of password checks, by a keyed digest of hash and password. bcrypt is slow by design.
    known: Mutex<HashMap<[u8; 32], bool>>,
    secret: [u8; 32],
    checking: tokio::sync::Mutex<()>,
    /// The last logged error; it is not logged again for each request.
    logged_error: Mutex<String>,
}

impl WebConfigPolicy {
    /// Reads the file and all files that it refers to.
    ///
    /// # Errors
    /// A message with the file, and the line or property if it is known.
    pub fn new(file: &str) -> Result<Self, String> {
        let file = PathBuf::from(file);
        let web = WebConfig::read(&file)?;
        let state = PolicyState {
            has_tls: web.tls.is_wanted(),
            tls_cache: Mutex::default(),
            bucket: TokenBucket::full(web.rate).map(Mutex::new),
            known: Mutex::default(),
            secret: rand::random(),
            checking: tokio::sync::Mutex::default(),
            logged_error: Mutex::default(),
            file,
        };
        if state.has_tls {
            state.tls_config(&web.tls)?;
            for what in tls::unsupported(&web.tls) {
                tracing::warn!(target: "web-config", "{}: {what} is not supported", state.file.display());
            }
        }
        Ok(Self(Arc::new(state)))
    }

    /// Runs `work`, which reads files, on a blocking thread.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&PolicyState) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let state = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&state);
            state.log_once(done.as_ref().err());
            done
        });
        done.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Whether the credentials are valid. One check runs at a time, since each uses a CPU for a noticeable time.
    async fn verify(&self, web: &WebConfig, user: &str, password: Vec<u8>) -> bool {
        // The check of an unknown user takes as long as that of a known one, so that timing does not reveal user names.
        let hash = web.users.get(user).or_else(|| web.users.values().next());
        let Some(hash) = hash.cloned() else { return false };
        let is_user = web.users.contains_key(user);
        let mut digest = Sha256::new_with_prefix(self.0.secret);
        for part in [hash.as_bytes(), password.as_slice()] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        let digest: [u8; 32] = digest.finalize().into();
        let _one_at_a_time = self.0.checking.lock().await;
        let seen = lock(&self.0.known).get(&digest).copied();
        let good = match seen {
            Some(good) => good,
            None => {
                let check = move || bcrypt::verify(password, &hash).unwrap_or(false);
                let good = tokio::task::spawn_blocking(check).await.unwrap_or(false);
                let mut known = lock(&self.0.known);
                if known.len() >= MAX_KNOWN {
                    known.clear();
                }
                known.insert(digest, good);
                good
            }
        };
        good && is_user
    }
}

impl AccessPolicy for WebConfigPolicy {
    fn accept(&self, stream: TcpStream) -> BoxFuture<'_, io::Result<Box<dyn AdminStream>>> {
        Box::pin(async move {
            if !self.0.has_tls {
                return Ok(Box::new(stream) as Box<dyn AdminStream>);
            }
            let config = self.read(|state| state.tls_config(&WebConfig::read(&state.file)?.tls)).await;
            let acceptor = TlsAcceptor::from(config.map_err(io::Error::other)?);
            Ok(Box::new(acceptor.accept(stream).await?) as Box<dyn AdminStream>)
        })
    }

    fn authorize<'a>(&'a self, request: &'a AdminRequest) -> BoxFuture<'a, AccessDecision> {
        Box::pin(async move {
            let read = self.read(|state| {
                let web = WebConfig::read(&state.file)?;
                Ok((web.headers()?, web))
            });
            let Ok((mut headers, web)) = read.await else {
                return reject(HeaderMap::new(), StatusCode::INTERNAL_SERVER_ERROR);
            };
            if self.0.bucket.as_ref().is_some_and(|bucket| !lock(bucket).take(Instant::now())) {
                return reject(HeaderMap::new(), StatusCode::TOO_MANY_REQUESTS);
            }
            if web.users.is_empty() {
                return AccessDecision { headers, response: None };
            }
            if let Some((user, password)) = credentials(&request.headers)
                && self.verify(&web, &user, password).await
            {
                return AccessDecision { headers, response: None };
            }
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
            reject(headers, StatusCode::UNAUTHORIZED)
        })
    }
}

impl PolicyState {
    fn tls_config(&self, wanted: &TlsServerConfig) -> Result<Arc<ServerConfig>, String> {
        let with_file = |error: String| format!("{}: {error}", self.file.display());
        if !wanted.is_wanted() {
            return Err(with_file(
                "tls_server_config was removed, but this listener was started with TLS".into(),
            ));
        }
        let pem = wanted.pem_files(&self.file).map_err(with_file)?;
        let mut cached = lock(&self.tls_cache);
        match &*cached {
            Some((tls, of, config)) if tls == wanted && *of == pem => Ok(config.clone()),
            _ => {
                let config = Arc::new(tls::server(wanted, &pem).map_err(with_file)?);
                *cached = Some((wanted.clone(), pem, config.clone()));
                Ok(config)
            }
        }
    }

    fn log_once(&self, error: Option<&String>) {
        let mut logged = lock(&self.logged_error);
        match error {
            None => logged.clear(),
            Some(error) if *error == *logged => {}
            Some(error) => {
                tracing::error!(target: "web-config", "{error}");
                logged.clone_from(error);
            }
        }
    }
}

/// The user name and password of a request (RFC 7617 §2).
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, rest) = value.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let pair = BASE64_STANDARD.decode(rest).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some((String::from_utf8(pair[..colon].to_vec()).ok()?, pair[colon + 1..].to_vec()))
}

fn reject(headers: HeaderMap, status: StatusCode) -> AccessDecision {
    let text = format!("{}\n", status.canonical_reason().unwrap_or_default());
    AccessDecision { headers, response: Some(AdminResponse::text(status, text)) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A token bucket: each request takes a token; one token is added per interval.
struct TokenBucket {
    every: Duration,
    most: f64,
    tokens: f64,
    last: Instant,
}

impl TokenBucket {
    fn full(rate: RateLimit) -> Option<Self> {
        let most = rate.burst.max(0) as f64;
        let (every, last) = (rate.interval, Instant::now());
        (!every.is_zero()).then_some(Self { every, most, tokens: most, last })
    }

    fn take(&mut self, now: Instant) -> bool {
        let new = now.saturating_duration_since(self.last).as_secs_f64() / self.every.as_secs_f64();
        self.tokens = (self.tokens + new).min(self.most);
        self.last = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests;
