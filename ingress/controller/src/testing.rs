//! A fake API server: objects by path, and the requests that were made.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use serde_json::{Value, json};

use crate::api::Api;

#[derive(Clone, Default)]
pub(crate) struct FakeApi(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    requests: Vec<String>,
    forbidden: Option<&'static str>,
    cut_off: Option<String>,
    /// Requests to replace that still get a conflict.
    conflicts: usize,
}

impl FakeApi {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A client, which must be made within a runtime.
    pub(crate) fn client(&self) -> Api {
        let state = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let state = state.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let path = head.uri.path_and_query().unwrap().to_string();
                let (status, object) = state.answer(head.method.as_str(), &path, &body).await;
                let response = Response::builder().status(status).header("content-type", "application/json");
                Ok::<_, Infallible>(response.body(Full::new(Bytes::from(object.to_string()))).unwrap())
            }
        });
        Api(kube::Client::new(service, "default"))
    }

    /// Stores an object.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.lock().store(path, object);
    }

    pub(crate) fn remove(&self, path: &str) {
        self.lock().objects.remove(path);
    }

    pub(crate) fn object(&self, path: &str) -> Option<Value> {
        self.lock().objects.get(path).cloned()
    }

    /// The objects below a path.
    pub(crate) fn objects(&self, below: &str) -> Vec<Value> {
        self.lock()
            .objects
            .iter()
            .filter(|(path, _)| path.contains(below))
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Method and path of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    /// Refuses requests for a resource.
    pub(crate) fn forbid(&self, resource: &'static str) {
        self.lock().forbidden = Some(resource);
    }

    /// Answers no request that has this text in its body any more.
    pub(crate) fn cut_off(&self, text: &str) {
        self.lock().cut_off = Some(format!("\"{text}\""));
    }

    /// Refuses the next requests to replace an object.
    pub(crate) fn conflicts(&self, count: usize) {
        self.lock().conflicts = count;
    }

    async fn answer(&self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        let text = String::from_utf8_lossy(body);
        let is_cut_off = self.lock().cut_off.as_ref().is_some_and(|cut| text.contains(cut));
        if is_cut_off {
            std::future::pending::<()>().await;
        }
        self.lock().handle(method, path, serde_json::from_slice(body).unwrap_or_default())
    }
}

impl State {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn handle(&mut self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.requests.push(format!("{method} {path}"));
        let refused = |code: u16, reason: &str| {
            (
                code,
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": reason, "reason": reason}),
            )
        };
        if self.forbidden.is_some_and(|resource| path.contains(resource)) {
            return refused(403, "Forbidden");
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let stored = path.strip_suffix("/status").unwrap_or(path);
        match method {
            "GET" if query.contains("labelSelector") => {
                let prefix = format!("{path}/");
                let items: Vec<_> = self
                    .objects
                    .iter()
                    .filter(|(path, _)| path.starts_with(&prefix))
                    .map(|(_, object)| object.clone())
                    .collect();
                (200, json!({"items": items}))
            }
            "GET" => self
                .objects
                .get(path)
                .map_or_else(|| refused(404, "NotFound"), |object| (200, object.clone())),
            "POST" => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap_or_default());
                if self.objects.contains_key(&path) {
                    return refused(409, "AlreadyExists");
                }
                (201, self.store(&path, body))
            }
            "PUT" | "PATCH" => {
                let Some(known) = self.objects.get(stored).cloned() else { return refused(404, "NotFound") };
                if method == "PATCH" {
                    let mut patched = known;
                    for (name, value) in body.as_object().cloned().unwrap_or_default() {
                        patched[name] = value;
                    }
                    return (200, self.store(stored, patched));
                }
                if self.conflicts > 0
                    || body["metadata"]["resourceVersion"] != known["metadata"]["resourceVersion"]
                {
                    self.conflicts = self.conflicts.saturating_sub(1);
                    return refused(409, "Conflict");
                }
                (200, self.store(stored, body))
            }
            _ => refused(405, "MethodNotAllowed"),
        }
    }
}
