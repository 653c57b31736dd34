//! Responses that the proxy makes itself: error pages, redirects, the health check.

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use ingress_routes::DirectResponse;
use ingress_routes::plan::compression::CodingRule;
use ingress_routes::plan::filter::ResponseView;
use ingress_routes::plan::head_edits::HeadEdits;
use smallvec::SmallVec;

use crate::client::body_encoder::BodyEncoder;
use crate::client::connection::ClientConnection;
use crate::client::pages;
use crate::client::request::ClientResponse;
use crate::client::request_guard::RequestGuard;
use crate::client::response_body::ResponseBody;
use crate::client::response_head::{ResponseFields, WrittenHead};

/// A response made by the proxy itself. Response filters apply to it as to any other.
pub(crate) fn page(
    client: &ClientConnection,
    mut guard: RequestGuard,
    response: &DirectResponse,
) -> ClientResponse {
    let status = response.status;
    let (mut body, content_type) = match (&response.body, status.as_u16()) {
        (Some((body, content_type)), _) => (body.clone(), content_type.as_bytes()),
        (None, 200 | 204 | 304) => (Bytes::new(), &b""[..]),
        (None, _) => (pages::body(status), pages::CONTENT_TYPE),
    };
    guard.status = status.as_u16();
    if guard.status == pages::NO_RESPONSE && client.is_http1() {
        return ClientResponse::new(client, WrittenHead::none(), ResponseBody::nothing(guard));
    }
    if let Some(timer) = &*client.stream_timer.borrow() {
        let worker = &client.worker;
        worker.clock.wait_for_client(timer, worker.settings().connections.client_send_timeout);
    }
    let is_head = guard.traits.is_head;
    let mut length = itoa::Buffer::new();
    let length = if is_head && !body.is_empty() { length.format(body.len()) } else { "" };
    let fields = response.fields.iter().filter(|(name, _)| content_type.is_empty() || *name != CONTENT_TYPE);
    let fields = fields.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let of_body = [("content-type", content_type), ("content-length", length.as_bytes())];
    let of_body = of_body.into_iter().filter(|(_, value)| !value.is_empty());
    let own: SmallVec<[(&str, &[u8]); 4]> = fields.chain(of_body).collect();
    let head = {
        let mut edits = HeadEdits::default();
        if let (Some(route), Some(exchange)) = (&guard.route, &guard.exchange) {
            let view = ResponseView::with_body(status, content_type, body.len() as u64);
            route.plan.edit_response_head(exchange, &view, &mut edits);
            let start = |rule: &CodingRule| BodyEncoder::start(rule, &client.worker.shared.encoders);
            let compression = route.plan.compression.as_ref().filter(|_| !body.is_empty());
            if let Some(encoder) = compression.and_then(|it| it.apply(exchange, &view, &mut edits, start)) {
                body = encoder.finish(&body);
            }
        }
        let fields = ResponseFields {
            status,
            reason: pages::reason(status).map(str::as_bytes),
            endpoint: None,
            own: &own,
            edits: &edits,
            cookie: None,
            passes_server: false,
            closes: status == StatusCode::BAD_REQUEST,
        };
        fields.head(client, guard.traits, Some(body.len() as u64))
    };
    let body = if is_head { ResponseBody::nothing(guard) } else { ResponseBody::page(body, guard) };
    ClientResponse::new(client, head, body)
}
