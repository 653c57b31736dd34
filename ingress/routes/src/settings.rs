//! Effective settings: of requests to endpoints, one value for each route, and of the server as a whole.
//!
//! Both begin with [`Defaults`]. The ConfigMap replaces single values, and for a route its annotations do. That is done when the
//! view is built; a request only reads the result.
//!
//! The settings of the server have one part for each family whose values the proxy itself follows. Families know nothing of the other
//! parts. Values that only the plan of a family needs are not here but among the [`FamilyValues`] of the ConfigMap.

mod connections;
mod listen;
mod next_upstream;
mod proxy_overrides;
mod stream;
mod tls;
mod tls_versions;
mod trace_export;
mod units;

use std::sync::Arc;
use std::time::Duration;

use http::Version;

pub use self::connections::{ConnectionSettings, KeepAlive};
pub use self::listen::ListenSettings;
pub use self::next_upstream::{NextUpstream, RetryCondition};
pub use self::proxy_overrides::ProxyOverrides;
pub use self::stream::StreamSettings;
pub use self::tls::{TicketKey, TlsSettings};
pub use self::tls_versions::TlsVersions;
pub use self::trace_export::TraceExportSettings;
pub(crate) use self::units::{parse_size, parse_time};
use crate::access_log::{AccessLogSettings, LogOutputSettings};
use crate::family_values::FamilyValues;
use crate::geo::GeoSettings;
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
    /// `proxy-request-buffering`. Bodies of up to 1 MiB are received before the request is sent; without it they are streamed and not
    /// sent to another endpoint.
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

/// Settings that apply before the route of a request is known, or to all routes. Each part is read by one annotation family.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerSettings {
    /// Of the family `server`.
    pub connections: ConnectionSettings,
    /// Of the family `listeners`: addresses and workers.
    pub listen: ListenSettings,
    /// Of the family `tls`: TLS of clients' connections.
    pub tls: Arc<TlsSettings>,
    /// Of the family `access log`.
    pub access_log: AccessLogSettings,
    /// Of the family `log outputs`: where lines go.
    pub logs: LogOutputSettings,
    /// Of the family `client identity`: which peers are trusted to report the client.
    pub identity: IdentitySettings,
    /// Of the family `streams`: TCP and UDP services.
    pub stream: StreamSettings,
    /// Of the family `opentelemetry`: where spans are sent.
    pub trace_export: Arc<TraceExportSettings>,
    /// Of the family `geoip`: the databases.
    pub geo: GeoSettings,
}

impl ServerSettings {
    /// Stores each part as the value from which its family begins.
    pub(crate) fn store(&self, values: &mut FamilyValues) {
        values.set(self.connections.clone());
        values.set(self.listen.clone());
        values.set(self.tls.clone());
        values.set(self.access_log.clone());
        values.set(self.logs.clone());
        values.set(self.identity.clone());
        values.set(self.stream.clone());
        values.set(self.trace_export.clone());
        values.set(self.geo.clone());
    }

    /// Takes the parts from the values of the families.
    pub(crate) fn take(values: &mut FamilyValues) -> Self {
        Self {
            connections: values.take().unwrap_or_default(),
            listen: values.take().unwrap_or_default(),
            tls: values.take().unwrap_or_default(),
            access_log: values.take().unwrap_or_default(),
            logs: values.take().unwrap_or_default(),
            identity: values.take().unwrap_or_default(),
            stream: values.take().unwrap_or_default(),
            trace_export: values.take().unwrap_or_default(),
            // It stays among the values, because variables in annotations depend on it.
            geo: values.get().cloned().unwrap_or_default(),
        }
    }
}
