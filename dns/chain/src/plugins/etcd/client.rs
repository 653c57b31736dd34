//! A client of etcd's JSON gateway (etcd, Documentation/dev-guide/api_grpc_gateway): ranges of keys and leases.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::metrics::EtcdMetrics;
use crate::http_client::{HttpClient, HttpResponse};

/// The most keys that are read for a name.
pub(super) const MAX_KEYS: usize = 2048;

/// The most bytes of a response.
const MAX_RESPONSE: usize = 1 << 20;

/// How long a server may take for a request, before another one is asked.
const ATTEMPT: Duration = Duration::from_secs(3);

/// The members of an etcd cluster. A request is sent to the one that answered last, then to the others.
pub(super) struct EtcdClient {
    members: Vec<HttpClient>,
    preferred: AtomicUsize,
    credentials: Option<(String, String)>,
    /// The token that the credentials have got. Held while one is requested.
    token: Mutex<Option<String>>,
    metrics: EtcdMetrics,
}

/// A key with its value.
pub(super) struct KeyValue {
    pub key: String,
    pub value: Vec<u8>,
    /// 0 without one.
    pub lease: i64,
}

/// A request without an answer: why, and whether a new token may help.
struct Rejection {
    why: String,
    is_unauthenticated: bool,
}

impl EtcdClient {
    pub(super) fn new(
        members: Vec<HttpClient>,
        credentials: Option<(String, String)>,
        metrics: EtcdMetrics,
    ) -> Self {
        Self { members, preferred: AtomicUsize::new(0), credentials, token: Mutex::default(), metrics }
    }

    /// The key, or the keys that begin with it, in their order.
    pub(super) async fn range(&self, key: &str, is_prefix: bool) -> Result<Vec<KeyValue>, String> {
        let mut request = json!({ "key": BASE64_STANDARD.encode(key), "limit": MAX_KEYS });
        if is_prefix {
            request["range_end"] = BASE64_STANDARD.encode(prefix_end(key.as_bytes())).into();
        }
        let answer = self.call("/v3/kv/range", &request).await?;
        let Some(Value::Array(found)) = answer.get("kvs") else { return Ok(Vec::new()) };
        let bytes = |value: &Value, name: &str| {
            let text = value.get(name).and_then(Value::as_str).unwrap_or_default();
            BASE64_STANDARD.decode(text).map_err(|error| format!("etcd: {name}: {error}"))
        };
        let read = |value: &Value| {
            let key = String::from_utf8_lossy(&bytes(value, "key")?).into_owned();
            Ok(KeyValue { key, value: bytes(value, "value")?, lease: number(value, "lease") })
        };
        found.iter().take(MAX_KEYS).map(read).collect()
    }

    /// The seconds that a lease lives; `None` if it has ended or is not known.
    pub(super) async fn lease_ttl(&self, lease: i64) -> Option<u32> {
        let answer = self.call("/v3/lease/timetolive", &json!({ "ID": lease.to_string() })).await.ok()?;
        u32::try_from(number(&answer, "TTL")).ok().filter(|ttl| *ttl > 0)
    }

    /// Sends a request with a token, if credentials are set.
    async fn call(&self, path: &str, request: &Value) -> Result<Value, String> {
        let result = self.call_with_token(path, request).await;
        self.metrics.count(result.is_ok());
        result
    }

    async fn call_with_token(&self, path: &str, request: &Value) -> Result<Value, String> {
        let token = self.authenticate(None).await?;
        let rejection = match self.send(path, request, token.as_deref()).await {
            Ok(answer) => return Ok(answer),
            Err(rejection) => rejection,
        };
        // Tokens end after five minutes and with the member that issued them.
        if !rejection.is_unauthenticated || token.is_none() {
            return Err(rejection.why);
        }
        let token = self.authenticate(token.as_deref()).await?;
        self.send(path, request, token.as_deref()).await.map_err(|rejection| rejection.why)
    }

    /// The token, which is requested if there is none or if it is the one that was refused; `None` without credentials.
    async fn authenticate(&self, refused: Option<&str>) -> Result<Option<String>, String> {
        let Some((name, password)) = &self.credentials else { return Ok(None) };
        let mut token = self.token.lock().await;
        if token.is_none() || token.as_deref() == refused {
            let request = json!({ "name": name, "password": password });
            let answer = self.send("/v3/auth/authenticate", &request, None).await;
            let answer = answer.map_err(|rejection| rejection.why)?;
            *token = answer.get("token").and_then(Value::as_str).map(str::to_owned);
        }
        Ok(token.clone())
    }

    /// Asks one member after the other until one answers.
    async fn send(&self, path: &str, request: &Value, token: Option<&str>) -> Result<Value, Rejection> {
        let body = Bytes::from(request.to_string());
        let (first, count) = (self.preferred.load(Relaxed), self.members.len());
        let mut last = None;
        for at in (first..first + count).map(|at| at % count) {
            let member = &self.members[at];
            let sent = member.post(path, token, body.clone(), MAX_RESPONSE);
            match tokio::time::timeout(ATTEMPT, sent).await {
                Ok(Ok(response)) if response.status.is_server_error() => {
                    last = Some(format!("etcd {}: {}", member.name(), message(&response)));
                }
                Ok(Ok(response)) => {
                    self.preferred.store(at, Relaxed);
                    return answer(&response).map_err(|rejection| Rejection {
                        why: format!("etcd {}: {}", member.name(), rejection.why),
                        ..rejection
                    });
                }
                Ok(Err(error)) => {
                    last = Some(format!("etcd {}: {}", member.name(), net::error_text(&error)));
                }
                Err(_elapsed) => last = Some(format!("etcd {}: i/o timeout", member.name())),
            }
        }
        let why = last.unwrap_or_else(|| "etcd: no endpoint".to_owned());
        Err(Rejection { why, is_unauthenticated: false })
    }
}

fn answer(response: &HttpResponse) -> Result<Value, Rejection> {
    if response.status != StatusCode::OK {
        let why = message(response);
        // An old token is refused with a text and code 3 or 16, depending on the version.
        let is_unauthenticated = response.status == StatusCode::UNAUTHORIZED || why.contains("auth token");
        return Err(Rejection { why, is_unauthenticated });
    }
    serde_json::from_slice(&response.body)
        .map_err(|error| Rejection { why: error.to_string(), is_unauthenticated: false })
}

/// The reason in a response that is no success.
fn message(response: &HttpResponse) -> String {
    let body: Option<Value> = serde_json::from_slice(&response.body).ok();
    let text = body.as_ref().and_then(|body| body.get("message").or(body.get("error"))?.as_str());
    let text: String = text.unwrap_or_default().chars().take(200).collect();
    if text.is_empty() { format!("HTTP status {}", response.status) } else { text }
}

/// The first key that does not begin with the prefix.
fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // All keys from the prefix on.
    vec![0]
}

/// A number of 64 bits, which the gateway writes as a text.
fn number(value: &Value, name: &str) -> i64 {
    let value = value.get(name);
    value.and_then(|value| value.as_str()?.parse().ok()).or(value.and_then(Value::as_i64)).unwrap_or(0)
}
