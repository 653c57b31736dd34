//! Requests to the API server with objects as JSON. Every request has a time limit.

use std::time::Duration;

use futures_util::AsyncBufRead;
use http::Request;
use kube::Client;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sources::kube::Access;
use tokio::time::timeout;

use crate::error::MigrateError;

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// The name under which the API server records who changed a field.
const FIELD_MANAGER: &str = "portolan-migrate";

/// A request that the API server refused or did not answer.
#[derive(Debug)]
pub struct RequestError {
    /// The HTTP status; `None` without a response.
    pub status: Option<u16>,
    message: String,
}

impl std::fmt::Display for RequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<RequestError> for MigrateError {
    fn from(error: RequestError) -> Self {
        Self::Failed(error.message)
    }
}

/// A client of the API server.
#[derive(Clone)]
pub(crate) struct JsonApi(Client);

impl JsonApi {
    /// Prepares a client. Does not connect.
    ///
    /// # Errors
    /// When the kubeconfig or the credentials cannot be used.
    pub(crate) async fn new(access: &Access) -> Result<Self, MigrateError> {
        let client = sources::kube::client(access).await;
        client.map(Self).map_err(|error| MigrateError::refused(error.to_string()))
    }

    /// Reads an object; `None` if it does not exist.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<Value>, RequestError> {
        found(self.send("GET", path, "", None).await)
    }

    /// Reads a list; `None` if the kind does not exist.
    pub(crate) async fn list(&self, path: &str) -> Result<Option<Vec<Value>>, RequestError> {
        let list = found(self.send::<Value>("GET", path, "", None).await)?;
        Ok(list.map(|mut list| match list["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        }))
    }

    /// Creates an object in the list at `path`.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> Result<Value, RequestError> {
        self.send("POST", &format!("{path}?fieldManager={FIELD_MANAGER}"), "application/json", Some(object))
            .await
    }

    /// Applies a strategic merge patch.
    pub(crate) async fn patch(&self, path: &str, patch: &Value) -> Result<Value, RequestError> {
        let path = format!("{path}?fieldManager={FIELD_MANAGER}");
        self.send("PATCH", &path, "application/strategic-merge-patch+json", Some(patch)).await
    }

    /// Deletes an object; an object that does not exist is deleted already.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), RequestError> {
        let options = json!({ "propagationPolicy": "Background" });
        found(self.send::<Value>("DELETE", path, "application/json", Some(&options)).await).map(|_status| ())
    }

    /// The last lines of a Pod's log.
    pub(crate) async fn log(&self, pod: &str, lines: u32) -> Result<String, RequestError> {
        let path = format!("{pod}/log?tailLines={lines}");
        let text = timeout(REQUEST_TIMEOUT, self.0.request_text(request("GET", &path, "", None)));
        text.await.map_err(|_| silent(&path))?.map_err(|error| failed(&path, &error))
    }

    /// The log of a Pod from its beginning, for as long as the Pod runs.
    pub(crate) async fn follow_log(&self, pod: &str) -> Result<impl AsyncBufRead + use<>, RequestError> {
        let path = format!("{pod}/log?follow=true");
        let stream = timeout(REQUEST_TIMEOUT, self.0.request_stream(request("GET", &path, "", None)));
        stream.await.map_err(|_| silent(&path))?.map_err(|error| failed(&path, &error))
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<T, RequestError> {
        let sent = timeout(REQUEST_TIMEOUT, self.0.request(request(method, path, content_type, body)));
        let path = format!("{method} {path}");
        sent.await.map_err(|_| silent(&path))?.map_err(|error| failed(&path, &error))
    }
}

fn request(method: &str, path: &str, content_type: &str, body: Option<&Value>) -> Request<Vec<u8>> {
    let mut request = Request::builder().method(method).uri(path);
    if !content_type.is_empty() {
        request = request.header("content-type", content_type);
    }
    let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    request.body(body).expect("paths are made of names that the API server accepted")
}

/// Turns 404 into `None`.
fn found<T>(result: Result<T, RequestError>) -> Result<Option<T>, RequestError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.status == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

fn silent(path: &str) -> RequestError {
    let message = format!("{path}: the API server did not respond within {} s", REQUEST_TIMEOUT.as_secs());
    RequestError { status: None, message }
}

fn failed(path: &str, error: &kube::Error) -> RequestError {
    match error {
        kube::Error::Api(status) => RequestError {
            status: Some(status.code),
            message: format!("{path}: {} {}", status.code, status.message),
        },
        kube::Error::Service(error) => {
            RequestError { status: None, message: format!("{path}: {}", telemetry::causes(&**error)) }
        }
        error => RequestError { status: None, message: format!("{path}: {}", telemetry::causes(error)) },
    }
}
