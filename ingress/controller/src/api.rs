//! Requests to the API server, with objects as JSON. Each has a time limit.

use std::time::Duration;

use http::Request;
use kube::Client;
use serde_json::Value;

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A request that was refused or not answered.
#[derive(Debug)]
pub(crate) struct ClusterRequestError {
    /// The HTTP status; 0 without a response.
    pub(crate) status: u16,
    /// Method, path and reason.
    pub(crate) message: String,
}

impl std::fmt::Display for ClusterRequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// A client of the API server. Repeats nothing by itself.
#[derive(Clone)]
pub(crate) struct Api(pub(crate) Client);

/// The content types of bodies.
pub(crate) const JSON: &str = "application/json";
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(crate) const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";

impl Api {
    /// Reads an object; `None` if it does not exist.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Value>, ClusterRequestError> {
        match self.send("GET", path, JSON, None).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.status == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an object in the list at `path`.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> Result<Value, ClusterRequestError> {
        self.send("POST", path, JSON, Some(object)).await
    }

    /// Replaces an object; with a `resourceVersion`, only that version.
    pub(crate) async fn replace(&self, path: &str, object: &Value) -> Result<Value, ClusterRequestError> {
        self.send("PUT", path, JSON, Some(object)).await
    }

    /// Patches an object.
    pub(crate) async fn patch(
        &self,
        path: &str,
        kind: &str,
        patch: &Value,
    ) -> Result<Value, ClusterRequestError> {
        self.send("PATCH", path, kind, Some(patch)).await
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClusterRequestError> {
        let failed = |status, reason: String| ClusterRequestError {
            status,
            message: format!("{method} {path}: {reason}"),
        };
        let request = Request::builder().method(method).uri(path).header("content-type", content_type);
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(body).map_err(|error| failed(0, error.to_string()))?;
        match tokio::time::timeout(TIMEOUT, self.0.request(request)).await {
            Ok(Ok(object)) => Ok(object),
            Ok(Err(kube::Error::Api(status))) => {
                Err(failed(status.code, format!("{} {}", status.code, status.message)))
            }
            Ok(Err(error)) => Err(failed(0, telemetry::causes(&error))),
            Err(_) => Err(failed(0, format!("no response within {} s", TIMEOUT.as_secs()))),
        }
    }
}
