//! Accepts the connections of an admin listener and answers their requests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

use crate::admin::Shared;
use crate::admin::access::{AccessDecision, ActivePolicy, AdminStream, PolicyStack};
use crate::admin::connection_table::{AdminConnection, ConnectionTable};
use crate::admin::request_state::{EventStream, ResponseStream, SentBody};
use crate::admin::routes::Routes;
use crate::admin_message::{AdminPeer, AdminRequest, AdminResponse};

/// How long a request in flight may continue when its listener closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause between failed calls of `accept` when no descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Timeouts of admin connections.
#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    /// For the TLS handshake, for a request's header, and between two requests.
    pub(super) header: Duration,
    /// For a response, from the end of the request's header until the last byte is sent.
    pub(super) response: Duration,
    /// How long a request for a large page waits for a permit.
    pub(super) large_response_wait: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let [header, response, large_response_wait] = [5, 30, 10].map(Duration::from_secs);
        Self { header, response, large_response_wait }
    }
}

/// Serves one listener.
pub(super) struct Server {
    pub(super) routes: Arc<Routes>,
    pub(super) policies: Arc<PolicyStack>,
    pub(super) connections: Arc<ConnectionTable>,
    pub(super) shared: Arc<Shared>,
}

impl Server {
    /// Accepts connections until the future is dropped.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.clone().spawn(stream, peer),
                // Most likely no descriptor is free. If no reserved one is left either, retrying at once would be a busy
                // loop.
                Err(_) if self.shared.spare.release() => {}
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn spawn(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let connection = self.connections.insert(peer.ip());
        tokio::spawn(async move {
            let active = self.policies.now();
            tokio::select! {
                () = self.serve(stream, peer, &active, &connection) => {}
                () = connection.evicted() => {}
                () = response_overdue(&connection, self.shared.timeouts.response) => {}
            }
            drop(connection);
            self.shared.spare.refill();
        });
    }

    async fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        active: &ActivePolicy,
        connection: &AdminConnection,
    ) {
        let stream: Box<dyn AdminStream> = match &active.policy {
            None => Box::new(stream),
            Some(policy) => {
                match tokio::time::timeout(self.shared.timeouts.header, policy.accept(stream)).await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(_)) | Err(_) => return,
                }
            }
        };
        let stream = ResponseStream::new(stream, connection.request().clone());
        let service = service_fn(async |request: Request<hyper::body::Incoming>| {
            connection.request().begin().await;
            let mut request = request.into_parts().0;
            request.extensions.insert(AdminPeer(peer.ip().to_canonical()));
            let decision = match &active.policy {
                Some(policy) => policy.authorize(&request).await,
                None => AccessDecision::default(),
            };
            let (response, permit) = match decision.response {
                Some(response) => (response, None),
                None => match self.events(&request) {
                    Some(Ok((events, permit))) => {
                        let body = connection.request().send_events(events, permit);
                        return Ok(with_headers(StatusCode::OK, "text/event-stream", body, decision.headers));
                    }
                    Some(Err(response)) => (response, None),
                    None => self.respond(request).await,
                },
            };
            let AdminResponse { status, content_type, body } = response;
            let body = connection.request().send(body, permit);
            Ok::<_, Infallible>(with_headers(status, content_type, body, decision.headers))
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.shared.timeouts.header)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(serving);
        // Errors need no handling: hyper has answered a malformed request with 400, or the client has disconnected.
        tokio::select! {
            _ = serving.as_mut() => {}
            () = active.superseded.cancelled() => {
                serving.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(CLOSE_TIMEOUT, serving).await;
            }
        }
    }

    /// The stream of events of a page that is one; 503 beyond the limit.
    fn events(
        &self,
        request: &AdminRequest,
    ) -> Option<Result<(EventStream, OwnedSemaphorePermit), AdminResponse>> {
        let (period, open) = self.routes.find(request.uri.path(), &self.shared.common)?.events?;
        if request.method != Method::GET {
            return Some(Err(AdminResponse::text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n")));
        }
        let Ok(permit) = self.shared.event_streams.clone().try_acquire_owned() else {
            let busy = "503 too many streams of events\n";
            return Some(Err(AdminResponse::text(StatusCode::SERVICE_UNAVAILABLE, busy)));
        };
        Some(open(request).map(|make| (EventStream::new(period, make), permit)))
    }

    /// The response of a page, with the permit to hold while a large page is sent.
    async fn respond(&self, request: AdminRequest) -> (AdminResponse, Option<OwnedSemaphorePermit>) {
        let Some(handler) = self.routes.find_for(&request, &self.shared.common) else {
            return (AdminResponse::text(StatusCode::NOT_FOUND, "404 page not found\n"), None);
        };
        if request.method != Method::GET && request.method != Method::HEAD {
            return (AdminResponse::text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n"), None);
        }
        if !handler.is_large {
            return (handler.respond(&request), None);
        }
        let permit = self.shared.large_responses.clone().acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(self.shared.timeouts.large_response_wait, permit).await
        else {
            let busy = "503 too many requests for large pages\n";
            return (AdminResponse::text(StatusCode::SERVICE_UNAVAILABLE, busy), None);
        };
        // Writing the metrics of thousands of Ingresses takes long enough to delay other tasks of the runtime.
        let response = tokio::task::spawn_blocking(move || handler.respond(&request)).await;
        let response = response.unwrap_or_else(|_| {
            AdminResponse::text(StatusCode::INTERNAL_SERVER_ERROR, "500 the page cannot be made\n")
        });
        (response, Some(permit))
    }
}

/// Waits until the last request (or the connection, if it has had no request) is older than `timeout`.
async fn response_overdue(connection: &AdminConnection, timeout: Duration) {
    loop {
        let deadline = connection.request().since() + timeout;
        tokio::time::sleep_until(deadline).await;
        if connection.request().since() + timeout == deadline {
            return;
        }
    }
}

fn with_headers(
    status: StatusCode,
    content_type: &'static str,
    body: SentBody,
    headers: http::HeaderMap,
) -> Response<SentBody> {
    let mut message = Response::new(body);
    *message.status_mut() = status;
    *message.headers_mut() = headers;
    message.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        message.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    message
}
