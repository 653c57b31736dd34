//! Error pages: responses of a default backend in place of errors (`custom-http-errors`).

use bytes::Bytes;
use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use ingress_routes::DirectResponse;
use ingress_wire::known_header::KnownHeader;

use crate::client::request::ClientResponse;
use crate::exchange::direct_response::page;
use crate::exchange::proxy_request::{EndpointResponse, ProxyRequest, RequestPurpose, status_from};
use crate::io::boxed::boxed;
use crate::upstream::request_body::RequestBody;
use crate::upstream::request_head::BodyLength;

impl ProxyRequest<'_> {
    /// Whether the response of an endpoint with this status is replaced.
    pub(super) fn is_replaced(&self, response: &EndpointResponse) -> bool {
        let pages = self.route.plan.error_pages.as_ref();
        pages.is_some_and(|pages| pages.replace_of_endpoint(status_from(&response.head)))
    }

    /// Sends a response that the proxy makes itself, unless a default backend makes it.
    pub(super) async fn respond(mut self, response: &DirectResponse) -> ClientResponse {
        let status = response.status;
        if !self.route.plan.error_pages.as_ref().is_some_and(|pages| pages.replace(status)) {
            return page(self.client, self.guard, response);
        }
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            self.body = None;
        }
        let mut challenge = response.fields.iter().filter(|(name, _)| *name == WWW_AUTHENTICATE);
        let challenge = challenge.next().map(|(_, value)| Bytes::copy_from_slice(value.as_bytes()));
        boxed(|| self.error_page(status, challenge)).await
    }

    /// Replaces the response of an endpoint.
    pub(super) async fn replace(mut self, response: EndpointResponse) -> ClientResponse {
        let EndpointResponse { request, head, .. } = response;
        let worker = &self.client.worker;
        let status = status_from(&head);
        let challenge = head.head().get_bytes(KnownHeader::WwwAuthenticate);
        worker.memory.recycle_response(head);
        let mut request = Some(request);
        let (body, connection) = std::future::poll_fn(|cx| {
            let request = request.take().expect("it is ready at once");
            std::task::Poll::Ready(request.discard(cx))
        })
        .await;
        self.body = body.restart();
        if let Some(connection) = connection {
            worker.connection_pool.put(connection, worker.clock.now());
        }
        if let Some(attempt) = self.guard.attempts.last_mut() {
            let elapsed = worker.clock.instant().saturating_duration_since(attempt.started);
            attempt.ended = Some(elapsed);
        }
        self.error_page(status, challenge).await
    }

    /// Lets a default backend respond instead of an error. As in nginx without `recursive_error_pages`, an error of the default
    /// backend itself is not replaced.
    async fn error_page(mut self, status: StatusCode, challenge: Option<Bytes>) -> ClientResponse {
        let worker = &self.client.worker;
        let pages = self.route.plan.error_pages.as_ref();
        let Some(target) = pages.and_then(|pages| pages.target(&worker.views.pools.load())) else {
            // As in ingress-nginx, whose built-in default backend answers every request so.
            return page(self.client, self.guard, &DirectResponse::status(StatusCode::NOT_FOUND));
        };
        if self.body.is_none() {
            // Too much of it was sent to the endpoint to keep, or it is too large.
            self.body = Some(RequestBody::none());
            self.length = if self.length == BodyLength::None { self.length } else { BodyLength::Known(0) };
        }
        self.purpose = RequestPurpose::ErrorPage { status, challenge };
        self.pool = None;
        self.first_attempt = self.guard.attempts.len();
        self.guard.default_backend = Some(target.name.clone());
        let choice = target.select(self.guard.exchange.as_ref().expect("set before the first attempt"));
        match self.attempts(&choice).await {
            Ok(response) => self.answer(response),
            Err(failed) => page(self.client, self.guard, &DirectResponse::status(failed.status)),
        }
    }
}
