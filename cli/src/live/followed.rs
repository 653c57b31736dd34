//! Requests that are followed: with the field `X-Portolan-Follow: arm`, `/live/follow` gives a secret for one request; `/live/follow?secret=…` is
//! empty until that request has ended, and then its report.

use cluster::{Ingress, Key};
use http::StatusCode;
use ingress_proxy::followed_requests::{FollowState, RequestReport};
use telemetry::{AdminRequest, AdminResponse};

use super::explanation::{field, fields};
use super::{LiveIngress, json};

/// A secret, or the report of the request that carried it. The field keeps pages of other sites from using secrets up: a browser asks
/// before it sends one.
pub fn respond(ingress: Option<&LiveIngress>, request: &AdminRequest) -> AdminResponse {
    let text = AdminResponse::text;
    let Some(ingress) = ingress else {
        return text(StatusCode::NOT_FOUND, "this process serves no Ingresses\n");
    };
    let followed = &ingress.followed;
    if request.headers.get("x-portolan-follow").is_some_and(|value| value == "arm") {
        return match followed.arm() {
            Some(secret) => AdminResponse::ok(format!("{secret}\n")),
            None => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many requests are followed; try again in a minute\n",
            ),
        };
    }
    let fields = fields(request.uri.query().unwrap_or_default());
    match field(&fields, "secret").map(|secret| followed.state(secret)) {
        None => text(StatusCode::BAD_REQUEST, "wanted secret=…\n"),
        Some(None) => text(StatusCode::NOT_FOUND, "the secret is not known, or has expired\n"),
        Some(Some(FollowState::Armed | FollowState::Open)) => AdminResponse::ok(""),
        Some(Some(FollowState::Ended(report))) => json(explained(ingress, &report)),
    }
}

/// The report with the annotations of the Ingress whose rule the request had.
fn explained(live: &LiveIngress, report: &RequestReport) -> String {
    let key = report.route.as_ref().and_then(|(_, _, ingress)| ingress.as_deref()?.split_once('/'));
    let found = key.and_then(|(namespace, name)| {
        let key = Key { namespace: namespace.into(), name: name.into() };
        live.cluster.read(|snapshot| snapshot.get::<Ingress>(&key).cloned())
    });
    explain::followed::explain(report, found.as_deref(), &live.options.annotations_prefix).to_json()
}
