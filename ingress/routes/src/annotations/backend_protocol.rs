//! `backend-protocol`: the protocol of the Pods.

use http::StatusCode;

use super::{Annotation, AnnotationFamily, Rule, SettingReader, Settings};
use crate::exchange::{Exchange, RequestScheme};
use crate::plan::Plan;
use crate::plan::filter::{DirectResponse, FilterOutcome, RequestFilter};
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "protocol",
    doc: "The protocol of the Pods. Only plain HTTP is supported yet. With another protocol requests are answered 503: \
          sent in plain HTTP they would be misread, or data that should be encrypted would be sent in the clear.",
    annotations: &[Annotation {
        name: "backend-protocol",
        values: "HTTP, AUTO_HTTP, in any case; default HTTP",
        doc: "AUTO_HTTP uses the client's protocol: requests over http are served, those over https answered 503. \
              HTTPS, GRPC, GRPCS and FCGI close the routes (503).",
    }],
    phases: &[Phase::Rewrite],
    syntax: "backend-protocol: AUTO_HTTP",
    read,
    plan,
    ..AnnotationFamily::NONE
};

/// The protocol of connections to Pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendProtocol {
    /// Plain HTTP.
    #[default]
    Http,
    /// Plain HTTP, or HTTPS if the client uses it.
    AsClient,
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    const NAME: &str = "backend-protocol";
    let value = reader.text(NAME).map(str::to_ascii_uppercase);
    match value.as_deref() {
        // A canary uses the protocol of the rule that it belongs to.
        _ if settings.canary.is_some() => {}
        Some(other @ ("HTTPS" | "GRPC" | "GRPCS" | "FCGI")) => {
            let what = format!("{other} to Services is not supported yet, and they do not accept plain HTTP");
            reader.problem(NAME, what, Effect::Closed);
        }
        _ => {
            let wanted = "HTTP, AUTO_HTTP, HTTPS, GRPC, GRPCS or FCGI";
            let protocol = reader.value(NAME, wanted, Effect::DefaultUsed, |_| match value.as_deref() {
                Some("HTTP") => Some(BackendProtocol::Http),
                Some("AUTO_HTTP") => Some(BackendProtocol::AsClient),
                _ => None,
            });
            settings.backend_protocol = protocol.unwrap_or_default();
        }
    }
}

fn plan(settings: &Settings, _: &Rule<'_>, plan: &mut Plan) {
    if settings.backend_protocol != BackendProtocol::Http {
        plan.rewrite.push(Box::new(settings.backend_protocol));
    }
}

impl RequestFilter for BackendProtocol {
    fn request(&self, exchange: &mut Exchange) -> FilterOutcome {
        match (self, exchange.scheme) {
            (Self::AsClient, RequestScheme::Https) => {
                FilterOutcome::Respond(DirectResponse::status(StatusCode::SERVICE_UNAVAILABLE))
            }
            _ => FilterOutcome::Continue,
        }
    }
}
