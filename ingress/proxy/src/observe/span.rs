//! The span of a request, with the attributes that OpenTelemetry's nginx module sets, and a few more.

use std::time::Duration;

use ingress_wire::known_header::KnownHeader;
use smallvec::SmallVec;
use telemetry::otlp::{AttributeValue, ServerSpan};

use crate::observe::access_log::AccessRecord;
use crate::observe::log_line::{LoggedConnection, protocol};

/// The encoded span of a request that has ended; `None` if it has none, or if its trace is not recorded.
pub(crate) fn encode(
    record: &AccessRecord,
    connection: &LoggedConnection<'_>,
    elapsed: Duration,
) -> Option<Vec<u8>> {
    let (route, exchange) = (record.route.as_deref()?, record.exchange.as_ref()?);
    let rule = route.plan.tracing.as_deref()?;
    let context = exchange.trace_context().filter(|context| context.is_sampled)?;
    let flavor = protocol(record.line()).and_then(|name| std::str::from_utf8(name.get(5..)?).ok());
    let user_agent = record.header(KnownHeader::UserAgent).map(String::from_utf8_lossy);
    let (namespace, ingress) = route.ingress.as_ref().map_or(("", ""), |key| (&*key.namespace, &*key.name));
    let service = route.service.as_ref().map_or("", |(name, _)| name);
    let mut attributes = SmallVec::<[_; 20]>::new();
    for (name, value) in [
        ("http.method", exchange.method_name()),
        ("http.flavor", flavor.unwrap_or_default()),
        ("http.target", exchange.request_target()),
        ("http.route", &*route.path),
        ("http.server_name", &*route.host),
        ("http.host", exchange.authority()),
        ("http.user_agent", user_agent.as_deref().unwrap_or_default()),
        ("http.scheme", connection.scheme.as_str()),
        ("net.host.name", exchange.host()),
        ("net.peer.ip", &*record.client),
        ("ingress.namespace", namespace),
        ("ingress.name", ingress),
        ("ingress.service_name", service),
    ] {
        if !value.is_empty() {
            attributes.push((name, AttributeValue::Text(value)));
        }
    }
    for (name, value) in [
        ("http.status_code", record.status),
        ("net.host.port", connection.port),
        ("net.peer.port", exchange.client().port()),
    ] {
        // An address in a header has no port.
        if value != 0 {
            attributes.push((name, AttributeValue::Number(value.into())));
        }
    }
    let span = ServerSpan {
        trace_id: context.trace_id,
        span_id: context.span_id,
        parent: context.parent,
        state: &context.state,
        name: &rule.span_name(exchange),
        began: exchange.began,
        ended: exchange.began + elapsed,
        attributes: &attributes,
        is_error: record.status >= 500,
    };
    Some(span.encode())
}
