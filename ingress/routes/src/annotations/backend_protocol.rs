//! `backend-protocol`: the protocol of the Pods.

use std::sync::Arc;

use super::proxy_ssl::ProxySsl;
use super::{Annotation, AnnotationFamily, Rule, SettingReader, Settings, fastcgi};
use crate::plan::Plan;
use crate::plan::phase::Phase;
use crate::plan::upstream_options::{BackendProtocol, UpstreamOptions};
use crate::problem::Effect;
use crate::upstream_tls::UpstreamTls;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "protocol",
    doc: "The protocol of the Pods.",
    annotations: &[Annotation {
        name: NAME,
        values: "HTTP, HTTPS, AUTO_HTTP, GRPC, GRPCS, FCGI, in any case; default HTTP",
        doc: "AUTO_HTTP is HTTPS for requests over https and HTTP for others. With HTTPS and GRPCS, endpoints are not verified \
              without `proxy-ssl-verify`. GRPC and GRPCS send HTTP/2, also for clients that speak HTTP/1. With FCGI a request needs \
              Content-Length for its body; one in chunks that is streamed (see `proxy-request-buffering`) gets 411.",
    }],
    phases: &[Phase::UpstreamRequest],
    syntax: "backend-protocol: AUTO_HTTP",
    read,
    plan,
    ..AnnotationFamily::NONE
};

const NAME: &str = "backend-protocol";

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    // A canary uses the protocol of the rule that it belongs to.
    if settings.canary.is_some() {
        return;
    }
    let value = reader.text(NAME).map(str::to_ascii_uppercase);
    let wanted = "HTTP, AUTO_HTTP, HTTPS, GRPC, GRPCS or FCGI";
    let protocol = reader.value(NAME, wanted, Effect::DefaultUsed, |_| match value.as_deref() {
        Some("HTTP") => Some(BackendProtocol::Http),
        Some("AUTO_HTTP") => Some(BackendProtocol::AsClient),
        Some("HTTPS") => Some(BackendProtocol::Https),
        Some("GRPC") => Some(BackendProtocol::Grpc),
        Some("GRPCS") => Some(BackendProtocol::Grpcs),
        Some("FCGI") => Some(BackendProtocol::FastCgi),
        _ => None,
    });
    let protocol = protocol.unwrap_or_default();
    if protocol != BackendProtocol::Http {
        let tls = settings.values.get::<ProxySsl>().map(|ssl| ssl.0.clone());
        settings.values.set(EndpointProtocol { protocol, tls: tls.unwrap_or_else(UpstreamTls::unverified) });
    }
}

/// The protocol of an Ingress, and TLS of its endpoints.
#[derive(Debug, PartialEq)]
struct EndpointProtocol {
    protocol: BackendProtocol,
    tls: Arc<UpstreamTls>,
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let Some(EndpointProtocol { protocol, tls }) = settings.values.get() else { return };
    let is_fastcgi = *protocol == BackendProtocol::FastCgi;
    let fastcgi = is_fastcgi.then(|| fastcgi::options(settings, rule));
    plan.upstream = Some(Arc::new(UpstreamOptions { protocol: *protocol, tls: tls.clone(), fastcgi }));
}
