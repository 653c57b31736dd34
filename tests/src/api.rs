//! A Kubernetes API client for tests: takes manifests, returns objects.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::http::{Connection, Response, Trust};
use crate::wait;

/// How long requests are repeated while the server answers 429 or 5xx: after an outage of etcd it needs seconds to
/// reconnect.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// The kinds that tests use: name, API path, plural, and whether the kind is namespaced.
const KINDS: &[(&str, &str, &str, bool)] = &[
    ("Canary", "/apis/flagger.app/v1beta1", "canaries", true),
    ("Certificate", "/apis/cert-manager.io/v1", "certificates", true),
    ("Challenge", "/apis/acme.cert-manager.io/v1", "challenges", true),
    ("ClusterRole", "/apis/rbac.authorization.k8s.io/v1", "clusterroles", false),
    ("ClusterRoleBinding", "/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", false),
    ("ConfigMap", "/api/v1", "configmaps", true),
    ("CustomResourceDefinition", "/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", false),
    ("DaemonSet", "/apis/apps/v1", "daemonsets", true),
    ("Deployment", "/apis/apps/v1", "deployments", true),
    ("EndpointSlice", "/apis/discovery.k8s.io/v1", "endpointslices", true),
    ("Event", "/api/v1", "events", true),
    ("Ingress", "/apis/networking.k8s.io/v1", "ingresses", true),
    ("IngressClass", "/apis/networking.k8s.io/v1", "ingressclasses", false),
    ("Issuer", "/apis/cert-manager.io/v1", "issuers", true),
    ("Lease", "/apis/coordination.k8s.io/v1", "leases", true),
    ("Namespace", "/api/v1", "namespaces", false),
    ("NetworkPolicy", "/apis/networking.k8s.io/v1", "networkpolicies", true),
    ("Node", "/api/v1", "nodes", false),
    ("Pod", "/api/v1", "pods", true),
    ("ReplicaSet", "/apis/apps/v1", "replicasets", true),
    ("Role", "/apis/rbac.authorization.k8s.io/v1", "roles", true),
    ("RoleBinding", "/apis/rbac.authorization.k8s.io/v1", "rolebindings", true),
    ("Rollout", "/apis/argoproj.io/v1alpha1", "rollouts", true),
    ("Secret", "/api/v1", "secrets", true),
    ("Service", "/api/v1", "services", true),
    ("ServiceAccount", "/api/v1", "serviceaccounts", true),
    ("ServiceImport", "/apis/multicluster.x-k8s.io/v1alpha1", "serviceimports", true),
    (
        "ValidatingWebhookConfiguration",
        "/apis/admissionregistration.k8s.io/v1",
        "validatingwebhookconfigurations",
        false,
    ),
];

/// A client of one API server, authenticated as one user.
pub struct ApiClient {
    address: SocketAddr,
    trust: Trust,
    token: String,
    /// The keep-alive connection of the last request. A restarted API server has closed it.
    idle_connection: Mutex<Option<Connection>>,
}

impl ApiClient {
    /// Creates a client. It connects with its first request.
    pub fn new(address: SocketAddr, trust: Trust, token: &str) -> ApiClient {
        ApiClient { address, trust, token: token.to_owned(), idle_connection: Mutex::new(None) }
    }

    /// A client of another server with the same credentials.
    pub fn at(&self, address: SocketAddr) -> ApiClient {
        ApiClient::new(address, self.trust.clone(), &self.token)
    }

    /// Applies every document of a YAML text (server-side apply), and its `status` where there is one.
    #[track_caller]
    pub fn apply(&self, manifest: &str) {
        for object in documents(manifest) {
            let path = path_of(&object);
            self.patch_apply(&path, &object);
            if object.get("status").is_some() {
                self.patch_apply(&format!("{path}/status"), &object);
            }
        }
    }

    /// Applies the status of one document only.
    #[track_caller]
    pub fn apply_status(&self, manifest: &str) {
        let object = documents(manifest).pop().expect("a document");
        self.patch_apply(&format!("{}/status", path_of(&object)), &object);
    }

    /// Applies one document with a field manager of its own.
    #[track_caller]
    pub fn apply_as(&self, manager: &str, manifest: &str) {
        let object = documents(manifest).pop().expect("a document");
        let target = format!("{}?fieldManager={manager}&force=true", path_of(&object));
        let body = object.to_string();
        self.send_expecting_success("PATCH", &target, "application/apply-patch+yaml", body.as_bytes());
    }

    /// Replaces an object that exists (PUT), like `kubectl replace`.
    #[track_caller]
    pub fn replace(&self, object: &Value) {
        self.send_expecting_success(
            "PUT",
            &path_of(object),
            "application/json",
            object.to_string().as_bytes(),
        );
    }

    /// Applies a single document and returns the response, for documents that the server should reject.
    pub fn try_apply(&self, manifest: &str) -> Response {
        let object = documents(manifest).pop().expect("a document");
        let target = format!("{}?fieldManager=tests&force=true", path_of(&object));
        let sent = self.send("PATCH", &target, "application/apply-patch+yaml", object.to_string().as_bytes());
        sent.expect("the API server responds")
    }

    /// Applies a JSON merge patch (RFC 7386), given as YAML, to an object.
    #[track_caller]
    pub fn merge(&self, kind: &str, namespace: &str, name: &str, patch: &str) {
        let patch = documents(patch).pop().expect("a patch").to_string();
        self.send_expecting_success(
            "PATCH",
            &path(kind, namespace, name),
            "application/merge-patch+json",
            patch.as_bytes(),
        );
    }

    /// Applies a JSON merge patch to the status of an object.
    #[track_caller]
    pub fn merge_status(&self, kind: &str, namespace: &str, name: &str, patch: &str) {
        let patch = documents(patch).pop().expect("a patch").to_string();
        let target = format!("{}/status", path(kind, namespace, name));
        self.send_expecting_success("PATCH", &target, "application/merge-patch+json", patch.as_bytes());
    }

    /// Deletes an object with a grace period of zero.
    #[track_caller]
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) {
        self.send_expecting_success(
            "DELETE",
            &format!("{}?gracePeriodSeconds=0", path(kind, namespace, name)),
            "",
            b"",
        );
    }

    /// Reads an object. Returns `None` if it does not exist.
    #[track_caller]
    pub fn read(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let response = self.send_with_retries("GET", &path(kind, namespace, name), "", b"").1;
        match response.status {
            404 => None,
            _ => Some(parse_success("GET", name, &response)),
        }
    }

    /// Lists the objects of a kind in a namespace.
    #[track_caller]
    pub fn list(&self, kind: &str, namespace: &str) -> Vec<Value> {
        let mut list =
            self.send_expecting_success("GET", path(kind, namespace, "").trim_end_matches('/'), "", b"");
        match list["items"].take() {
            Value::Array(items) => items,
            other => panic!("a list without items: {other}"),
        }
    }

    /// Creates `objects` over `connections` connections in parallel.
    #[track_caller]
    pub fn create_all(&self, objects: &[Value], connections: usize) {
        self.for_each_parallel(objects, connections, |api, object| {
            let path = path_of(object);
            let (collection, _) = path.rsplit_once('/').expect("every path has a slash");
            api.send_expecting_success("POST", collection, "application/json", object.to_string().as_bytes());
        });
    }

    /// Deletes all objects of a kind in a namespace over `connections` connections in parallel.
    #[track_caller]
    pub fn delete_all(&self, kind: &str, namespace: &str, connections: usize) {
        let objects = self.list(kind, namespace);
        let names: Vec<&str> =
            objects.iter().filter_map(|object| object["metadata"]["name"].as_str()).collect();
        self.for_each_parallel(&names, connections, |api, name| api.delete(kind, namespace, name));
    }

    fn for_each_parallel<T: Sync>(
        &self,
        items: &[T],
        connections: usize,
        action: impl Fn(&ApiClient, &T) + Sync,
    ) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..connections {
                scope.spawn(|| {
                    let api = self.at(self.address);
                    while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                        action(&api, item);
                    }
                });
            }
        });
    }

    /// Requests a token for a service account (TokenRequest), bound to the Secret `bound` in the same namespace.
    #[track_caller]
    pub fn token(&self, namespace: &str, account: &str, bound: &str) -> String {
        let bound = self.read("Secret", namespace, bound).expect("the Secret exists");
        let request = serde_json::json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": { "expirationSeconds": 3600, "boundObjectRef": {
                "apiVersion": "v1", "kind": "Secret",
                "name": bound["metadata"]["name"], "uid": bound["metadata"]["uid"],
            }},
        });
        let path = format!("{}/token", path("ServiceAccount", namespace, account));
        let answer =
            self.send_expecting_success("POST", &path, "application/json", request.to_string().as_bytes());
        answer["status"]["token"].as_str().expect("a TokenRequest answers with a token").to_owned()
    }

    /// The current resource version of a kind in all namespaces, from which a watch can start.
    #[track_caller]
    pub fn resource_version(&self, kind: &str) -> String {
        let (_, prefix, plural, _) = entry(kind);
        let list = self.send_expecting_success("GET", &format!("{prefix}/{plural}?limit=1"), "", b"");
        list["metadata"]["resourceVersion"].as_str().expect("lists have a resource version").to_owned()
    }

    /// Watches a kind from `version` on for one second. Returns the response with its events as text.
    pub fn watch(&self, kind: &str, version: &str) -> io::Result<Response> {
        let (_, prefix, plural, _) = entry(kind);
        self.get(&format!("{prefix}/{plural}?watch=1&timeoutSeconds=1&resourceVersion={version}"))
    }

    /// GETs a path.
    pub fn get(&self, target: &str) -> io::Result<Response> {
        self.send("GET", target, "", b"")
    }

    /// POSTs an object to a path and returns the response, whatever its status.
    #[track_caller]
    pub fn post(&self, target: &str, object: &Value) -> Response {
        let sent = self.send("POST", target, "application/json", object.to_string().as_bytes());
        sent.expect("the API server responds")
    }

    #[track_caller]
    fn patch_apply(&self, path: &str, object: &Value) {
        let target = format!("{path}?fieldManager=tests&force=true");
        self.send_expecting_success(
            "PATCH",
            &target,
            "application/apply-patch+yaml",
            object.to_string().as_bytes(),
        );
    }

    /// Sends a request and panics if it fails. A repeated DELETE may answer 404 and a repeated POST 409: the first attempt
    /// may have taken effect.
    #[track_caller]
    fn send_expecting_success(&self, method: &str, target: &str, content_type: &str, body: &[u8]) -> Value {
        let (retried, response) = self.send_with_retries(method, target, content_type, body);
        match (method, response.status) {
            ("DELETE", 404) | ("POST", 409) if retried => Value::Null,
            _ => parse_success(method, target, &response),
        }
    }

    /// Sends a request and repeats it while the server answers 429 or 5xx. The flag tells whether it was repeated.
    #[track_caller]
    fn send_with_retries(
        &self,
        method: &str,
        target: &str,
        content_type: &str,
        body: &[u8],
    ) -> (bool, Response) {
        let mut retried = false;
        let response = wait::until(&format!("{method} {target}"), RETRY_TIMEOUT, || {
            let response = self.send(method, target, content_type, body).expect("the API server responds");
            match response.status {
                429 | 500.. => {
                    retried = true;
                    Err(format!("{} {}", response.status, response.text()))
                }
                _ => Ok(response),
            }
        });
        (retried, response)
    }

    /// Sends a request over the keep-alive connection or, if that fails, over a new one.
    fn send(&self, method: &str, target: &str, content_type: &str, body: &[u8]) -> io::Result<Response> {
        let mut idle_connection =
            self.idle_connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(mut connection) = idle_connection.take()
            && let Ok(response) = self.exchange(&mut connection, method, target, content_type, body)
        {
            *idle_connection = Some(connection);
            return Ok(response);
        }
        let mut connection = Connection::tls(self.address, &self.address.ip().to_string(), &self.trust)?;
        let response = self.exchange(&mut connection, method, target, content_type, body)?;
        *idle_connection = Some(connection);
        Ok(response)
    }

    fn exchange(
        &self,
        connection: &mut Connection,
        method: &str,
        target: &str,
        content_type: &str,
        body: &[u8],
    ) -> io::Result<Response> {
        let (host, bearer) = (self.address.to_string(), format!("Bearer {}", self.token));
        let mut headers = vec![("host", host.as_str()), ("authorization", bearer.as_str())];
        if !content_type.is_empty() {
            headers.push(("content-type", content_type));
        }
        connection.send(method, target, &headers, body)
    }
}

/// Parses the documents of a YAML text. Only `true` and `false` are booleans: a name may be `n`.
pub fn documents(manifest: &str) -> Vec<Value> {
    serde_saphyr::from_multiple_with_options(manifest, serde_saphyr::options! { strict_booleans: true })
        .unwrap_or_else(|error| panic!("{error}\nin {manifest}"))
}

fn entry(kind: &str) -> (&'static str, &'static str, &'static str, bool) {
    *KINDS.iter().find(|entry| entry.0 == kind).unwrap_or_else(|| panic!("{kind} is not in KINDS"))
}

fn path(kind: &str, namespace: &str, name: &str) -> String {
    match entry(kind) {
        (_, prefix, plural, true) => format!("{prefix}/namespaces/{namespace}/{plural}/{name}"),
        (_, prefix, plural, false) => format!("{prefix}/{plural}/{name}"),
    }
}

fn path_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let kind = text(&object["kind"]).unwrap_or_else(|| panic!("no kind: {object}"));
    let name = text(&object["metadata"]["name"]).unwrap_or_else(|| panic!("no name: {object}"));
    let namespace = text(&object["metadata"]["namespace"]).unwrap_or_else(|| "default".to_owned());
    path(&kind, &namespace, &name)
}

#[track_caller]
fn parse_success(method: &str, target: &str, response: &Response) -> Value {
    let text = response.text();
    assert!(response.status < 300, "{method} {target}: {} {text}", response.status);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {target}: {error}: {text}"))
}
