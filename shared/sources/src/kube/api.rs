//! Requests to the API server, their answers in pieces as they come.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use telemetry::causes;
use tokio::time::timeout;

use super::access::{self, Access, AccessError};
use super::api_metrics::ApiMetrics;
use super::error::ApiError;
use super::limiter::RequestLimiter;

/// How long the server may think before it answers.
const ANSWER: Duration = Duration::from_secs(30);

/// Of the explanation of a refusal no more is read.
const EXPLANATION: usize = 64 << 10;

/// A client, and what is counted of it.
#[derive(Clone)]
pub(super) struct ApiClient {
    access: Arc<Access>,
    client: Arc<Mutex<Client>>,
    pub(super) host: String,
    pub(super) metrics: Option<ApiMetrics>,
    pub(super) limiter: RequestLimiter,
}

/// The body of an answer with status 200.
pub(super) struct ApiResponse {
    body: Body,
    /// The longest pause between two pieces.
    silence: Duration,
}

impl ApiClient {
    pub(super) async fn new(access: &Access) -> Result<Self, AccessError> {
        let (client, host) = access::client(access).await?;
        let (access, client) = (Arc::new(access.clone()), Arc::new(Mutex::new(client)));
        Ok(Self { access, client, host, metrics: None, limiter: RequestLimiter::default() })
    }

    /// Reads the credentials again, since the server no longer takes those that we have. Tokens in files are read again
    /// once a minute anyway; certificates, kubeconfigs and authorities of an endpoint are not, and nobody should wait.
    pub(super) async fn renew(&self) {
        match access::client(&self.access).await {
            Ok((client, _)) => *self.client() = client,
            Err(error) => tracing::debug!("the old credentials stay: {error}"),
        }
    }

    fn client(&self) -> MutexGuard<'_, Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and waits for the head of the answer.
    pub(super) async fn get(&self, path: &str, silence: Duration) -> Result<ApiResponse, ApiError> {
        let request = Request::get(path)
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::USER_AGENT, concat!("portolan/", env!("CARGO_PKG_VERSION")))
            .body(Body::empty())
            .map_err(|error| ApiError::Broken(error.to_string()))?;
        if let (Some(held), Some(metrics)) = (self.limiter.hold().await, &self.metrics) {
            metrics.held(&self.host, held);
        }
        let _seat = self.limiter.seat().await;
        let client = self.client().clone();
        let begun = Instant::now();
        let answered = timeout(ANSWER, client.send(request)).await;
        if let Some(metrics) = &self.metrics {
            let status = answered.as_ref().ok().and_then(|sent| sent.as_ref().ok()).map(|head| head.status());
            let code = status.as_ref().map_or("<error>", |status| status.as_str());
            metrics.done(code, &self.host, begun.elapsed());
        }
        let response = match answered {
            Ok(sent) => sent.map_err(|error| broken(&error))?,
            Err(_) => return Err(ApiError::Silent(ANSWER)),
        };
        let code = response.status();
        if code.is_success() {
            return Ok(ApiResponse { body: response.into_body(), silence });
        }
        let retry_after = response.headers().get(http::header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut answer = ApiResponse { body: response.into_body(), silence: ANSWER };
        let mut explanation = Vec::new();
        while explanation.len() < EXPLANATION
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
                Ok(Some(Err(error))) => return Err(broken(&error)),
                // Trailers carry nothing of ours.
                Ok(Some(Ok(frame))) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(Some(piece));
                    }
                }
            }
        }
    }
}

fn broken(error: &kube::Error) -> ApiError {
    ApiError::Broken(match error {
        // Most of what can happen to a connection comes wrapped in this, whose own text adds nothing.
        kube::Error::Service(error) => causes(&**error),
        error => causes(error),
    })
}
