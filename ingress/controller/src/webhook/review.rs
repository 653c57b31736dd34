//! An AdmissionReview (admission.k8s.io/v1): the request of the API server and the response to it.

use std::borrow::Cow;
use std::sync::Arc;

use cluster::{Ingress, Kind, Object};
use ingress_routes::AdmissionVerdict;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

const API_VERSION: &str = "admission.k8s.io/v1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    kind: GroupKind,
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct GroupKind {
    group: String,
    version: String,
    kind: String,
}

#[derive(Deserialize)]
struct Reviewed<'a> {
    #[serde(borrow, default)]
    metadata: ReviewedMetadata<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReviewedMetadata<'a> {
    #[serde(borrow, default)]
    uid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    deletion_timestamp: Option<Cow<'a, str>>,
}

/// The decision, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Admitted,
    Refused,
}

/// Answers a request. `review` decides about an Ingress.
///
/// # Errors
/// When the body is not an AdmissionReview of version v1 with a request.
pub(crate) fn answer(
    body: &[u8],
    review: impl FnOnce(&Arc<Ingress>) -> AdmissionVerdict,
) -> Result<(Decision, Vec<u8>), String> {
    let parsed: Review<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if (&*parsed.api_version, &*parsed.kind) != (API_VERSION, "AdmissionReview") {
        return Err(format!(
            "{:?} {:?}: wanted an AdmissionReview of {API_VERSION}",
            parsed.api_version, parsed.kind
        ));
    }
    let request = parsed.request.ok_or("an AdmissionReview without a request")?;
    let verdict = decide(&request, review)
        .unwrap_or_else(|refusal| AdmissionVerdict { refusals: vec![refusal], warnings: Vec::new() });
    let is_allowed = verdict.refusals.is_empty();
    let mut response = json!({"uid": request.uid, "allowed": is_allowed});
    if !is_allowed {
        let message = verdict.refusals.join("; ");
        response["status"] =
            json!({"status": "Failure", "code": 400, "reason": "BadRequest", "message": message});
    }
    if !verdict.warnings.is_empty() {
        response["warnings"] = Value::from(verdict.warnings);
    }
    let answer = json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response});
    let decision = if is_allowed { Decision::Admitted } else { Decision::Refused };
    Ok((decision, answer.to_string().into_bytes()))
}

/// The verdict, or why the object cannot be judged.
fn decide(
    request: &Request<'_>,
    review: impl FnOnce(&Arc<Ingress>) -> AdmissionVerdict,
) -> Result<AdmissionVerdict, String> {
    let GroupKind { group, version, kind } = &request.kind;
    if (group.as_str(), version.as_str(), kind.as_str()) != ("networking.k8s.io", "v1", "Ingress") {
        return Err(format!("{kind} of {group}/{version}: wanted an Ingress of networking.k8s.io/v1"));
    }
    if request.operation == "DELETE" {
        return Ok(AdmissionVerdict::default());
    }
    let text = request.object.ok_or("the request has no object")?.get();
    let reviewed: Reviewed<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if reviewed.metadata.deletion_timestamp.is_some() {
        return Ok(AdmissionVerdict::default());
    }
    if let Some(uid) = reviewed.metadata.uid.filter(|uid| !uid.is_empty() && !is_uuid(uid)) {
        let shown: String = uid.chars().take(80).collect();
        return Err(format!("metadata.uid: {shown:?} should be a UUID"));
    }
    let decoded = sources::decode::decode(Kind::Ingress, &mut serde_json::Deserializer::from_str(text));
    let decoded = decoded.map_err(|error| error.to_string())?.map_err(|field| field.to_string())?;
    match decoded.object {
        Some(Object::Ingress(ingress)) => Ok(review(&ingress)),
        _ => Err("the request has no Ingress".to_owned()),
    }
}

/// Whether a text is a UUID of RFC 9562 §4, in the form that Kubernetes uses.
fn is_uuid(text: &str) -> bool {
    let groups = [8, 4, 4, 4, 12];
    let mut parts = text.split('-');
    let is_group = |(part, length): (&str, usize)| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    groups.into_iter().all(|length| parts.next().is_some_and(|part| is_group((part, length))))
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(operation: &str, object: &Value) -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": "AdmissionReview",
            "request": {
                "uid": "7", "operation": operation, "object": object,
                "kind": {"group": "networking.k8s.io", "version": "v1", "kind": "Ingress"},
            },
        })
    }

    fn ingress() -> Value {
        let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
        let paths = json!([{"path": "/", "pathType": "Prefix", "backend": backend}]);
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"namespace": "shop", "name": "web", "uid": "8b2b66a1-6d0f-4f0a-9d8b-0123456789ab"},
            "spec": {"rules": [{"host": "a.example", "http": {"paths": paths}}]},
        })
    }

    /// The response to a review that admits everything that it is asked about, with a warning.
    fn response(review: &Value) -> Result<Value, String> {
        let admit = |ingress: &Arc<Ingress>| AdmissionVerdict {
            refusals: Vec::new(),
            warnings: vec![format!("read {}", ingress.key)],
        };
        let (_, answer) = answer(review.to_string().as_bytes(), admit)?;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["apiVersion"], API_VERSION);
        assert_eq!(answer["response"]["uid"], "7");
        Ok(answer["response"].clone())
    }

    #[test]
    fn an_ingress_is_judged_and_the_response_has_the_warnings() {
        for operation in ["CREATE", "UPDATE"] {
            let response = response(&review(operation, &ingress())).unwrap();
            assert_eq!(response, json!({"uid": "7", "allowed": true, "warnings": ["read shop/web"]}));
        }
        let (decision, answer) = answer(review("CREATE", &ingress()).to_string().as_bytes(), |_| {
            AdmissionVerdict { refusals: vec!["a".into(), "b".into()], warnings: Vec::new() }
        })
        .unwrap();
        assert_eq!(decision, Decision::Refused);
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["response"]["status"]["message"], "a; b");
        assert_eq!(answer["response"]["status"]["code"], 400);
    }

    #[test]
    fn deletions_are_admitted_without_a_look() {
        assert_eq!(response(&review("DELETE", &Value::Null)).unwrap(), json!({"uid": "7", "allowed": true}));
        let mut ending = ingress();
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(response(&review("UPDATE", &ending)).unwrap(), json!({"uid": "7", "allowed": true}));
    }

    #[test]
    fn objects_that_cannot_be_read_are_refused() {
        let mut uid = ingress();
        uid["metadata"]["uid"] = "x\n;".into();
        let mut paths = ingress();
        paths["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = "Regex".into();
        let mut name = ingress();
        name["metadata"]["name"] = 5.into();
        for (object, wanted) in [
            (uid, "should be a UUID"),
            (paths, "Regex"),
            (name, "invalid type"),
            (Value::Null, "no object"),
            (json!([]), "missing"),
        ] {
            let response = response(&review("CREATE", &object)).unwrap();
            assert_eq!(response["allowed"], false, "{object}");
            let message = response["status"]["message"].as_str().unwrap();
            assert!(message.contains(wanted), "{message}");
        }
    }

    #[test]
    fn other_bodies_are_errors() {
        let mut old = review("CREATE", &ingress());
        old["apiVersion"] = "admission.k8s.io/v1beta1".into();
        let empty = json!({"apiVersion": API_VERSION, "kind": "AdmissionReview"});
        for body in [old, empty, json!(5), json!({})] {
            assert!(response(&body).is_err(), "{body}");
        }
        assert!(answer(b"", |_| AdmissionVerdict::default()).is_err());
        let deep = "[".repeat(1_000_000);
        assert!(answer(deep.as_bytes(), |_| AdmissionVerdict::default()).is_err());
        let mut other = review("CREATE", &ingress());
        other["request"]["kind"]["kind"] = "Secret".into();
        assert_eq!(response(&other).unwrap()["allowed"], false);
    }
}
