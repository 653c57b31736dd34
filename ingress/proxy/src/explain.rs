//! What the proxy would send, without sending it: for `portolan explain`.

use bytes::BytesMut;
use ingress_routes::plan::head_edits::HeadEdits;
use ingress_routes::{Exchange, Route, ServerSettings};
use ingress_wire::head_writer::HeadWriter;

use crate::client::request::body_length;
use crate::exchange::loop_detection::LOOP_ID;
use crate::upstream::request_head::UpstreamHead;

/// The head that an endpoint of a route would get. The rewrite phase of the request has run. `port` is that of the client's connection, and
/// `is_external` says that the endpoint is that of an ExternalName Service.
pub fn upstream_head(
    exchange: &Exchange,
    route: &Route,
    settings: &ServerSettings,
    port: u16,
    is_external: bool,
) -> Vec<u8> {
    let given = &exchange.request;
    let mut edits = HeadEdits::default();
    route.plan.edit_request_head(exchange, &mut edits);
    let (client, port) = (exchange.client_ip().to_string(), port.to_string());
    let ends = (client.as_str(), port.as_str());
    let mut head = UpstreamHead::of(exchange, route, &settings.identity, ends, body_length(given));
    head.loop_id = is_external.then_some(LOOP_ID);
    let mut out = BytesMut::new();
    head.write(given, &edits, &mut HeadWriter::default(), &mut out);
    out.to_vec()
}
