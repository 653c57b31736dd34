//! Responses that the proxy makes itself: error pages, redirects, the health check.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode, response};
use hyper::ext::ReasonPhrase;
use ingress_routes::plan::filter::ResponseView;
use ingress_routes::plan::head_edits::HeadEdits;
use ingress_routes::{DirectResponse, Exchange, Route};

use crate::client::connection::ClientConnection;
use crate::client::pages;
use crate::client::request_guard::RequestGuard;
use crate::client::response_body::ResponseBody;

/// A response made by the proxy itself. Response filters apply to it as to any other.
pub(crate) fn page(
    client: &ClientConnection,
    mut guard: RequestGuard,
    response: &DirectResponse,
) -> Response<ResponseBody> {
    let mut parts = response.head();
    if let Some(reason) = pages::reason(response.status) {
        parts.extensions.insert(ReasonPhrase::from_static(reason.as_bytes()));
    }
    let body = match (&response.body, response.status.as_u16()) {
        (Some((body, content_type)), _) => {
            parts.headers.insert(CONTENT_TYPE, content_type.clone());
            body.clone()
        }
        (None, 200 | 204 | 304) => Bytes::new(),
        (None, _) => {
            pages::describe(&mut parts.headers);
            pages::body(response.status)
        }
    };
    guard.status = response.status.as_u16();
    if let (Some(route), Some(exchange)) = (&guard.route, &guard.exchange) {
        edit_response(route, exchange, &mut parts, false);
    }
    if client.is_http1() && response.status == StatusCode::BAD_REQUEST {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(timer) = &*client.stream_timer.borrow() {
        let worker = &client.worker;
        worker.clock.wait_for_client(timer, worker.settings().client_send_timeout);
    }
    let is_head = guard.exchange.as_ref().is_some_and(|exchange| exchange.request.method == Method::HEAD);
    if is_head && !body.is_empty() {
        parts.headers.insert(http::header::CONTENT_LENGTH, body.len().into());
        return Response::from_parts(parts, ResponseBody::nothing(guard));
    }
    Response::from_parts(parts, ResponseBody::page(body, guard))
}

/// Applies the filters of the route to the head of a response.
pub(crate) fn edit_response(
    route: &Route,
    exchange: &Exchange,
    parts: &mut response::Parts,
    is_of_endpoint: bool,
) {
    let mut edits = HeadEdits::default();
    let head = match is_of_endpoint {
        true => ResponseView::of_endpoint(parts.status, &parts.headers),
        false => ResponseView::new(parts.status, &parts.headers),
    };
    route.plan.edit_response_head(exchange, &head, &mut edits);
    edits.apply(&mut parts.headers);
}
