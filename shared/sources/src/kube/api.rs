//! Requests to the API server, whose responses are read in pieces as they arrive.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use tokio::time::{Instant, timeout};

use super::access::{self, Access, AccessError, Connection};
use super::api_metrics::ApiMetrics;
use super::connection_error::connection_error;
use super::limiter::RequestLimiter;
use crate::watch_stream::ApiError;

/// How long the head of a response may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of the body of an error response that are read.
const MAX_ERROR_BODY: usize = 64 << 10;

/// Credentials are read again at most this often.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(10);

/// A client of the API server. Copies share connections, credentials, limits and metrics.
#[derive(Clone)]
pub(super) struct ApiClient {
    access: Arc<Access>,
    client: Arc<Mutex<Client>>,
    /// When the credentials were last read again.
    renewed: Arc<Mutex<Option<Instant>>>,
    pub(super) url: String,
    host: String,
    pub(super) metrics: Option<ApiMetrics>,
    pub(super) limiter: RequestLimiter,
}

/// The body of a response with status 200.
pub(super) struct ApiResponse {
    body: Body,
    /// The longest pause between two pieces.
    silence: Duration,
}

impl ApiClient {
    pub(super) async fn new(access: &Access) -> Result<Self, AccessError> {
        let Connection { client, url, host, unverified } = access::connection(access).await?;
        if unverified {
            tracing::warn!(
                "API server {url}: its certificate is not verified (insecure-skip-tls-verify in the kubeconfig); credentials and \
                 objects are not protected against interception"
            );
        }
        Ok(Self::of(access.clone(), client, url, host))
    }

    /// A client that sends its requests through `client`.
    pub(super) fn of(access: Access, client: Client, url: String, host: String) -> Self {
        let (access, client) = (Arc::new(access), Arc::new(Mutex::new(client)));
        Self {
            access,
            client,
            renewed: Arc::default(),
            url,
            host,
            metrics: None,
            limiter: RequestLimiter::default(),
        }
    }

    /// Reads the credentials again, because the server rejected the current ones. The library reads token files again once a
    /// minute, but not certificates, kubeconfigs and authorities of an endpoint.
    pub(super) async fn renew(&self) {
        let now = Instant::now();
        {
            let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
            // The reflector of each kind calls this, and a credential plugin starts a process.
            if renewed.is_some_and(|renewed| now - renewed < RENEWAL_INTERVAL) {
                return;
            }
            *renewed = Some(now);
        }
        match access::connection(&self.access).await {
            Ok(connection) => *self.client() = connection.client,
            Err(error) => {
                tracing::debug!("cannot read the credentials again, the old ones are kept: {error}")
            }
        }
    }

    fn client(&self) -> MutexGuard<'_, Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request and waits for the head of the response.
    pub(super) async fn get(&self, path: &str, silence: Duration) -> Result<ApiResponse, ApiError> {
        let request = Request::get(path)
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::USER_AGENT, concat!("portolan/", env!("CARGO_PKG_VERSION")))
            .body(Body::empty())
            .map_err(|error| ApiError::Malformed(error.to_string()))?;
        if let (Some(held), Some(metrics)) = (self.limiter.wait_for_rate().await, &self.metrics) {
            metrics.held(&self.host, held);
        }
        let _permit = self.limiter.permit().await;
        let client = self.client().clone();
        let begun = Instant::now();
        let answered = timeout(HEAD_TIMEOUT, client.send(request)).await;
        if let Some(metrics) = &self.metrics {
            let status = answered.as_ref().ok().and_then(|sent| sent.as_ref().ok()).map(|head| head.status());
            let code = status.as_ref().map_or("<error>", |status| status.as_str());
            metrics.done(code, &self.host, begun.elapsed());
        }
        let response = match answered {
            Ok(sent) => sent.map_err(|error| connection_error(&error))?,
            Err(_) => return Err(ApiError::Silent(HEAD_TIMEOUT)),
        };
        let code = response.status();
        if code.is_success() {
            return Ok(ApiResponse { body: response.into_body(), silence });
        }
        let retry_after = response.headers().get(http::header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut answer = ApiResponse { body: response.into_body(), silence: HEAD_TIMEOUT };
        let mut explanation = Vec::new();
        while explanation.len() < MAX_ERROR_BODY
            && let Ok(Some(piece)) = answer.piece().await
        {
            explanation.extend_from_slice(&piece);
        }
        Err(ApiError::of_response(code.as_u16(), retry_after.as_deref(), &explanation))
    }
}

impl ApiResponse {
    /// The next piece of the body; `None` at its end.
    pub(super) async fn piece(&mut self) -> Result<Option<bytes::Bytes>, ApiError> {
        loop {
            match timeout(self.silence, self.body.frame()).await {
                Err(_) => return Err(ApiError::Silent(self.silence)),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(connection_error(&error)),
                // Trailers are not used.
                Ok(Some(Ok(frame))) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::StreamBody;

    use super::*;

    /// The server has sent a head and keeps the connection open, but sends no data.
    #[tokio::test(start_paused = true)]
    async fn a_response_that_falls_silent_is_an_error() {
        let silent = StreamBody::new(stream::pending::<Result<http_body::Frame<bytes::Bytes>, Infallible>>());
        let service = tower::service_fn(move |_request| {
            let response = http::Response::new(silent.clone());
            async move { Ok::<_, Infallible>(response) }
        });
        let client = Client::new(service, "default");
        let api = ApiClient::of(Access::InCluster, client, String::new(), String::new());
        let mut response = api.get("/api/v1/services", Duration::from_secs(100)).await.unwrap();
        let begun = tokio::time::Instant::now();
        assert_eq!(response.piece().await, Err(ApiError::Silent(Duration::from_secs(100))));
        assert_eq!(begun.elapsed().as_secs(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_a_response_is_an_error() {
        let service =
            tower::service_fn(|_request| std::future::pending::<Result<http::Response<Body>, Infallible>>());
        let client = Client::new(service, "default");
        let api = ApiClient::of(Access::InCluster, client, String::new(), String::new());
        let error = api.get("/api/v1/services", Duration::from_secs(100)).await.err();
        assert_eq!(error, Some(ApiError::Silent(HEAD_TIMEOUT)));
    }

    /// Credentials are read again after they were rejected, but not once for each kind.
    #[tokio::test(start_paused = true)]
    async fn credentials_are_read_again_once_for_all_kinds() {
        let missing = Access::Kubeconfig { file: Some("/nowhere/kubeconfig".into()), context: None };
        let service =
            tower::service_fn(|_request| async { Ok::<_, Infallible>(http::Response::new(Body::empty())) });
        let api = ApiClient::of(missing, Client::new(service, "default"), String::new(), String::new());
        api.renew().await;
        let first = *api.renewed.lock().unwrap();
        api.clone().renew().await;
        assert_eq!(*api.renewed.lock().unwrap(), first);
        tokio::time::advance(RENEWAL_INTERVAL).await;
        api.renew().await;
        assert_ne!(*api.renewed.lock().unwrap(), first);
    }
}
