//! The door before a page that has a web configuration file.
//!
//! As with CoreDNS the file is read for each connection and each request, so that a renewed certificate or a new
//! password counts at once. Whether there is TLS at all, and how often may be asked, is decided at the start.

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
use telemetry::{AccessDecision, AccessPolicy, AdminRequest, AdminResponse, AdminStream, BoxFuture};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::tls;
use super::web::{Material, Rate, Tls, Web};

/// Passwords whose check is remembered.
const KNOWN: usize = 100;

/// See the module.
pub(super) struct WebDoor(Arc<Inside>);

struct Inside {
    file: PathBuf,
    has_tls: bool,
    /// What TLS was last made of, and what was made: sessions can be resumed for as long as that is the same.
    made: Mutex<Option<(Tls, Material, Arc<ServerConfig>)>>,
    bucket: Option<Mutex<Bucket>>,
    /// Checks of passwords, by a digest that means nothing outside of this process. A check takes long on purpose.
    known: Mutex<HashMap<[u8; 32], bool>>,
    secret: [u8; 32],
    checking: tokio::sync::Mutex<()>,
    /// The complaint that has been logged last, so that it is not with every request.
    complaint: Mutex<String>,
}

impl WebDoor {
    /// Reads the file and everything that it names.
    pub(super) fn new(file: &str) -> Result<Self, String> {
        let file = PathBuf::from(file);
        let web = Web::read(&file)?;
        let inside = Inside {
            has_tls: web.tls.is_wanted(),
            made: Mutex::default(),
            bucket: Bucket::full(web.rate).map(Mutex::new),
            known: Mutex::default(),
            secret: rand::random(),
            checking: tokio::sync::Mutex::default(),
            complaint: Mutex::default(),
            file,
        };
        if inside.has_tls {
            inside.make(&web.tls)?;
            for what in tls::unserved(&web.tls) {
                tracing::warn!(target: "plugin/prometheus", "{}: {what} is not served", inside.file.display());
            }
        }
        Ok(Self(Arc::new(inside)))
    }

    /// Reads files where that holds up nobody.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inside) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let inside = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&inside);
            inside.complain(done.as_ref().err());
            done
        });
        done.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Whether these credentials are good. One check at a time: each takes a processor for a while.
    async fn knows(&self, web: &Web, user: &str, password: Vec<u8>) -> bool {
        // Somebody unknown waits as long as somebody known, so that names cannot be guessed.
        let hash = web.users.get(user).or_else(|| web.users.values().next());
        let Some(hash) = hash.cloned() else { return false };
        let is_user = web.users.contains_key(user);
        let mut digest = Sha256::new_with_prefix(self.0.secret);
        for part in [hash.as_bytes(), password.as_slice()] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        let digest: [u8; 32] = digest.finalize().into();
        let _turn = self.0.checking.lock().await;
        let seen = lock(&self.0.known).get(&digest).copied();
        let good = match seen {
            Some(good) => good,
            None => {
                let check = move || bcrypt::verify(password, &hash).unwrap_or(false);
                let good = tokio::task::spawn_blocking(check).await.unwrap_or(false);
                let mut known = lock(&self.0.known);
                if known.len() >= KNOWN {
                    known.clear();
                }
                known.insert(digest, good);
                good
            }
        };
        good && is_user
    }
}

impl AccessPolicy for WebDoor {
    fn accept(&self, stream: TcpStream) -> BoxFuture<'_, io::Result<Box<dyn AdminStream>>> {
        Box::pin(async move {
            if !self.0.has_tls {
                return Ok(Box::new(stream) as Box<dyn AdminStream>);
            }
            let config = self.aside(|inside| inside.make(&Web::read(&inside.file)?.tls)).await;
            let acceptor = TlsAcceptor::from(config.map_err(io::Error::other)?);
            Ok(Box::new(acceptor.accept(stream).await?) as Box<dyn AdminStream>)
        })
    }

    fn authorize<'a>(&'a self, asked: &'a AdminRequest) -> BoxFuture<'a, AccessDecision> {
        Box::pin(async move {
            let read = self.aside(|inside| {
                let web = Web::read(&inside.file)?;
                Ok((web.headers()?, web))
            });
            let Ok((mut headers, web)) = read.await else {
                return instead(HeaderMap::new(), StatusCode::INTERNAL_SERVER_ERROR);
            };
            if self.0.bucket.as_ref().is_some_and(|bucket| !lock(bucket).take(Instant::now())) {
                return instead(HeaderMap::new(), StatusCode::TOO_MANY_REQUESTS);
            }
            if web.users.is_empty() {
                return AccessDecision { headers, response: None };
            }
            if let Some((user, password)) = credentials(&asked.headers)
                && self.knows(&web, &user, password).await
            {
                return AccessDecision { headers, response: None };
            }
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
            instead(headers, StatusCode::UNAUTHORIZED)
        })
    }
}

impl Inside {
    fn make(&self, wanted: &Tls) -> Result<Arc<ServerConfig>, String> {
        let say = |error: String| format!("{}: {error}", self.file.display());
        if !wanted.is_wanted() {
            return Err(say("tls_server_config is gone, and this page has TLS".into()));
        }
        let material = wanted.material(&self.file).map_err(say)?;
        let mut made = lock(&self.made);
        match &*made {
            Some((tls, of, config)) if tls == wanted && *of == material => Ok(config.clone()),
            _ => {
                let config = Arc::new(tls::server(wanted, &material).map_err(say)?);
                *made = Some((wanted.clone(), material, config.clone()));
                Ok(config)
            }
        }
    }

    fn complain(&self, error: Option<&String>) {
        let mut complaint = lock(&self.complaint);
        match error {
            None => complaint.clear(),
            Some(error) if *error == *complaint => {}
            Some(error) => {
                tracing::error!(target: "plugin/prometheus", "{error}");
                complaint.clone_from(error);
            }
        }
    }
}

/// The name and the password that a client gives (RFC 7617 §2).
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

fn instead(headers: HeaderMap, status: StatusCode) -> AccessDecision {
    let text = format!("{}\n", status.canonical_reason().unwrap_or_default());
    AccessDecision { headers, response: Some(AdminResponse::text(status, text)) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bucket of tokens, one for each request, that gets a new one every now and then.
struct Bucket {
    every: Duration,
    most: f64,
    tokens: f64,
    last: Instant,
}

impl Bucket {
    fn full(rate: Rate) -> Option<Self> {
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
