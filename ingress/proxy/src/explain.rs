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
    let authority = match exchange.best_authority() {
        "" => "_",
        authority => authority,
    };
    let (client, port) = (exchange.client_ip().to_string(), port.to_string());
    let identity = &settings.identity;
    let head = UpstreamHead {
        target: exchange.target.as_ref().map_or(given.target(), |target| target.as_bytes()),
        host: authority.as_bytes(),
        authority: authority.as_bytes(),
        request_id: exchange.request_id.as_bytes(),
        client: &client,
        full_forwarded_for: (identity.forwarded_headers && identity.full_forwarded_for)
            .then(|| exchange.connected_ip()),
        forwarded_for: &identity.forwarded_for,
        port: &port,
        scheme: exchange.access_scheme(),
        connection_lines: None,
        body: body_length(given),
        loop_id: is_external.then_some(LOOP_ID),
        names: route.plan.heads.names,
        upgrade: given.upgrade(),
        is_http10: route.plan.proxy.http_version == http::Version::HTTP_10,
    };
    let mut out = BytesMut::new();
    head.write(given, &edits, &mut HeadWriter::default(), &mut out);
    out.to_vec()
}
