//! Requests that are followed: with the field `X-Portolan-Trace: arm`, `/live/trace` gives a secret for one request; `/live/trace?secret=…` is
//! empty until that request has ended, and then its report.

use http::StatusCode;
use ingress_proxy::traces::{TraceState, Traces};
use telemetry::{AdminRequest, AdminResponse};

use super::explanation::{field, fields};
use super::json;

/// A secret, or the report of the request that carried it. The field keeps pages of other sites from using secrets up: a browser asks
/// before it sends one.
pub fn respond(traces: Option<&Traces>, request: &AdminRequest) -> AdminResponse {
    let text = AdminResponse::text;
    let Some(traces) = traces else {
        return text(StatusCode::NOT_FOUND, "this process serves no Ingresses\n");
    };
    if request.headers.get("x-portolan-trace").is_some_and(|value| value == "arm") {
        return match traces.arm() {
            Some(secret) => AdminResponse::ok(format!("{secret}\n")),
            None => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many requests are followed; try again in a minute\n",
            ),
        };
    }
    let fields = fields(request.uri.query().unwrap_or_default());
    match field(&fields, "secret").map(|secret| traces.state(secret)) {
        None => text(StatusCode::BAD_REQUEST, "wanted secret=…\n"),
        Some(None) => text(StatusCode::NOT_FOUND, "the secret is not known, or has expired\n"),
        Some(Some(TraceState::Armed | TraceState::Open)) => AdminResponse::ok(""),
        Some(Some(TraceState::Ended(report))) => json(explain::trace::explain(&report).to_json()),
    }
}
