//! Steps about what the controller writes to the cluster, and what its webhook refuses.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::known_keys;
use super::super::text_checks::eventually;
use super::{CaseRun, PROXY, WEBHOOK_PORT};
use crate::http::{Connection, Trust};

/// The namespace and the Lease of the controller.
pub(super) const NAMESPACE: &str = "ingress-nginx";
pub(super) const LEASE: &str = "ingress-controller-leader";

/// How long an Event may take: the lease of a controller that was killed has to expire first.
const EVENT: Duration = Duration::from_secs(60);

/// How long a step waits that expects no Event.
const NO_EVENT: Duration = Duration::from_secs(3);

impl CaseRun<'_> {
    /// Asks the webhook about an object.
    pub(super) fn admission(&self, value: &Value, expect: &Value) -> Result<(), String> {
        known_keys(value, &["operation", "object", "old_object"])?;
        known_keys(expect, &["allowed", "warnings_min", "message_contains"])?;
        let mut object = value["object"].clone();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = "5f3b1c52-7c39-4b5e-9d2a-0c6f0f6c1a11".into();
        }
        let kind = json!({"group": "networking.k8s.io", "version": "v1", "kind": "Ingress"});
        let request = json!({
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "operation": value["operation"],
            "namespace": object["metadata"]["namespace"], "name": object["metadata"]["name"],
            "object": object, "oldObject": value["old_object"],
        });
        let review =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        eventually(self.settle, || {
            let response = ask(&review).map_err(|error| format!("the webhook: {error}"))?;
            let warnings = response["warnings"].as_array().map_or(0, Vec::len);
            let message = response["status"]["message"].as_str().unwrap_or_default();
            let is_wanted = response["uid"] == review["request"]["uid"]
                && response["allowed"] == expect["allowed"]
                && warnings as u64 >= expect["warnings_min"].as_u64().unwrap_or_default()
                && message.contains(expect["message_contains"].as_str().unwrap_or_default());
            if is_wanted { Ok(()) } else { Err(format!("{response}")) }
        })
    }

    /// Checks the addresses in the status of an object.
    pub(super) fn status(&self, value: &Value, expect: &Value) -> Result<(), String> {
        known_keys(value, &["kind", "namespace", "name"])?;
        known_keys(expect, &["load_balancer", "within_s"])?;
        let limit = expect["within_s"].as_u64().map_or(self.settle, Duration::from_secs);
        let text = |name: &str| value[name].as_str().unwrap_or_default();
        let wanted = expect["load_balancer"].as_array().cloned().unwrap_or_default();
        eventually(limit, || {
            let object = self.stage.plane.api.read(text("kind"), text("namespace"), text("name"));
            let object = object.ok_or("the object does not exist")?;
            let found = object["status"]["loadBalancer"]["ingress"].as_array().cloned().unwrap_or_default();
            if found == wanted { Ok(()) } else { Err(format!("{found:?} instead of {wanted:?}")) }
        })
    }

    /// Replaces the addresses in the status of an Ingress.
    pub(super) fn patch_status(&self, value: &Value) -> Result<(), String> {
        known_keys(value, &["namespace", "name", "load_balancer"])?;
        let namespace = value["namespace"].as_str().unwrap_or("test");
        let name = value["name"].as_str().ok_or("patch_status without a name")?;
        let patch = json!({"status": {"loadBalancer": {"ingress": value["load_balancer"]}}});
        self.stage.plane.api.merge_status("Ingress", namespace, name, &patch.to_string());
        Ok(())
    }

    /// Counts the Events about an object.
    pub(super) fn events(&self, value: &Value, expect: &Value) -> Result<(), String> {
        known_keys(value, &["namespace", "involved", "reason", "type"])?;
        known_keys(expect, &["min", "max"])?;
        let api = &self.stage.plane.api;
        let text = |name: &str| value[name].as_str().unwrap_or_default();
        // An earlier case may have had an object of this name.
        let object = api.read("Ingress", text("namespace"), text("involved"));
        let uid = object.map(|object| object["metadata"]["uid"].clone()).unwrap_or_default();
        let count = || {
            let events = api.list("Event", text("namespace"));
            let is_meant = |event: &&Value| {
                event["involvedObject"]["uid"] == uid
                    && (text("reason").is_empty() || event["reason"] == text("reason"))
                    && (text("type").is_empty() || event["type"] == text("type"))
            };
            events.iter().filter(is_meant).count() as u64
        };
        if let Some(min) = expect["min"].as_u64() {
            eventually(EVENT, || match count() {
                found if found >= min => Ok(()),
                found => Err(format!("{found} Events instead of {min}")),
            })?;
        }
        let Some(max) = expect["max"].as_u64() else { return Ok(()) };
        if max == 0 {
            sleep(NO_EVENT);
        }
        let found = count();
        if found <= max { Ok(()) } else { Err(format!("{found} Events, at most {max} wanted")) }
    }

    /// Makes the API server unreachable for a time.
    pub(super) fn api_server(&self, value: &Value) -> Result<(), String> {
        known_keys(value, &["down_s"])?;
        let seconds = value["down_s"].as_u64().ok_or("api_server without down_s")?;
        self.stage.plane.server.pause();
        sleep(Duration::from_secs(seconds));
        self.stage.plane.server.resume();
        Ok(())
    }

    /// Removes the Lease of an earlier case, whose controller was killed.
    pub(super) fn remove_lease(&self) {
        if self.stage.plane.api.read("Lease", NAMESPACE, LEASE).is_some() {
            self.stage.plane.api.delete("Lease", NAMESPACE, LEASE);
        }
    }
}

/// The `response` of the webhook to a review.
fn ask(review: &Value) -> Result<Value, String> {
    let problem = |error: std::io::Error| error.to_string();
    let address = SocketAddr::new(PROXY.ip, WEBHOOK_PORT);
    let mut connection = Connection::tls(address, "webhook", &Trust::AnyCertificate).map_err(problem)?;
    let headers = [("host", "webhook"), ("content-type", "application/json")];
    let body = review.to_string();
    let response =
        connection.send("POST", "/networking/v1/ingresses", &headers, body.as_bytes()).map_err(problem)?;
    if response.status != 200 {
        return Err(format!("{}: {}", response.status, response.text()));
    }
    let mut answer: Value = serde_json::from_str(&response.text()).map_err(|error| error.to_string())?;
    Ok(answer["response"].take())
}
