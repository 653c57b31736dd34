//! Effective settings: of requests to endpoints, one value for each route, and of the server as a whole.
//!
//! Both begin with [`Defaults`]. The ConfigMap replaces single values, and for a route its annotations do. That is done when the
//! view is built; a request only reads the result.

pub(crate) mod ciphers;
mod next_upstream;
mod tls;
mod units;

use std::sync::Arc;
use std::time::Duration;

use http::Version;

pub use self::next_upstream::{NextUpstream, RetryCondition};
pub use self::tls::{TicketKey, TlsSettings};
pub(crate) use self::units::{parse_size, parse_time};
use crate::access_log::{LineFormat, SkippedUrls};
use crate::identity_settings::IdentitySettings;

/// The settings where neither the ConfigMap nor an annotation has others: ingress-nginx's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    /// Of requests to endpoints.
    pub proxy: Arc<ProxySettings>,
    /// Of the server.
    pub server: Arc<ServerSettings>,
}

/// How requests of a route are sent to endpoints; named as annotations and keys of the ConfigMap.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxySettings {
    /// `proxy-connect-timeout`: how long an endpoint has to accept a connection.
    pub connect_timeout: Duration,
    /// `proxy-send-timeout`: how long an endpoint may read nothing of a request.
    pub send_timeout: Duration,
    /// `proxy-read-timeout`: how long an endpoint may send nothing.
    pub read_timeout: Duration,
    /// `proxy-body-size`: the longest body of a request in bytes; 0 for no limit.
    pub body_size: u64,
    /// `client-body-buffer-size`: how many bytes of a body are kept for another attempt, within limits of the proxy.
    pub body_buffer: u64,
    /// `proxy-buffer-size`: the longest head of a response in bytes, within a limit of the proxy.
    pub head_size: u64,
    /// `proxy-request-buffering`. Bodies are streamed in any case; without it they are not sent to another endpoint.
    pub request_buffering: bool,
    /// `proxy-next-upstream`: after which failures another endpoint is tried.
    pub next_upstream: NextUpstream,
    /// `proxy-next-upstream-tries`: how many attempts a request has; 0 for one at each endpoint.
    pub next_upstream_tries: u32,
    /// `proxy-next-upstream-timeout`: no attempt begins later than this after the first one; zero for no limit.
    pub next_upstream_timeout: Duration,
    /// `proxy-http-version`: 1.0 or 1.1.
    pub http_version: Version,
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            send_timeout: Duration::from_secs(60),
            read_timeout: Duration::from_secs(60),
            body_size: 1 << 20,
            body_buffer: 8 << 10,
            head_size: 4 << 10,
            request_buffering: true,
            next_upstream: NextUpstream::default(),
            next_upstream_tries: 3,
            next_upstream_timeout: Duration::ZERO,
            http_version: Version::HTTP_11,
        }
    }
}

/// Settings that apply before the route of a request is known, or to all routes; named as keys of the ConfigMap.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSettings {
    /// TLS of clients' connections.
    pub tls: Arc<TlsSettings>,
    /// `use-http2`: HTTP/2 by ALPN and, on the HTTP port, with prior knowledge.
    pub http2: bool,
    /// `http2-max-concurrent-streams`.
    pub http2_max_concurrent_streams: u32,
    /// `keep-alive`: how long a client's connection may be idle.
    pub keep_alive: Duration,
    /// `keep-alive-requests`: how many requests it may carry.
    pub keep_alive_requests: u32,
    /// `client-header-timeout`: how long receiving a request's head may take.
    pub client_header_timeout: Duration,
    /// `client-body-timeout`: the longest pause between two pieces of a request's body.
    pub client_body_timeout: Duration,
    /// nginx's `send_timeout`, for which there is no key: the longest pause between two reads of a client from its response.
    pub client_send_timeout: Duration,
    /// `large-client-header-buffers`: the longest line and the longest head of a request in bytes.
    pub head_limits: (usize, usize),
    /// Connections to endpoints: `upstream-keepalive-*`.
    pub upstream_keep_alive: KeepAlive,
    /// `max-worker-connections`: connections of clients that a worker may have, and connections to endpoints, each. Fewer
    /// where the limit of open files allows fewer.
    pub max_worker_connections: usize,
    /// Requests are logged, unless `disable-access-log` or `disable-http-access-log`.
    pub access_log: bool,
    /// `enable-access-log-for-default-backend`: requests that no Ingress covers are logged, too.
    pub log_default_backend: bool,
    /// `log-format-upstream` and how values are escaped; `None` for the format of ingress-nginx.
    pub log_format: Option<Arc<LineFormat>>,
    /// `skip-access-log-urls`: requests to these have no line.
    pub skipped_urls: Arc<SkippedUrls>,
    /// `worker-shutdown-timeout`: how long open requests may go on after the proxy was stopped.
    pub worker_shutdown_timeout: Duration,
    /// Whom the proxy believes about clients.
    pub identity: IdentitySettings,
}

impl Default for ServerSettings {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            tls: Arc::default(),
            http2: true,
            http2_max_concurrent_streams: 128,
            keep_alive: Duration::from_secs(75),
            keep_alive_requests: 1000,
            client_header_timeout: minute,
            client_body_timeout: minute,
            client_send_timeout: minute,
            head_limits: (8 << 10, 32 << 10),
            upstream_keep_alive: KeepAlive::default(),
            max_worker_connections: 16_384,
            access_log: true,
            log_default_backend: false,
            log_format: None,
            skipped_urls: Arc::default(),
            worker_shutdown_timeout: Duration::from_secs(240),
            identity: IdentitySettings::default(),
        }
    }
}

/// Limits of kept connections to endpoints, named as keys of the ConfigMap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KeepAlive {
    /// `upstream-keepalive-connections`: how many idle connections a worker keeps; 0 for none.
    pub connections: usize,
    /// `upstream-keepalive-timeout`: how long a connection may be idle.
    pub timeout: Duration,
    /// `upstream-keepalive-time`: how old a connection may become.
    pub time: Duration,
    /// `upstream-keepalive-requests`: how many requests a connection may serve.
    pub requests: u32,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            connections: 320,
            timeout: Duration::from_secs(60),
            time: Duration::from_secs(3600),
            requests: 10_000,
        }
    }
}
