//! The protocol of endpoints where it is not plain HTTP/1 (`backend-protocol`).

use std::sync::Arc;

use super::fastcgi::FastCgiOptions;
use crate::exchange::RequestScheme;
use crate::upstream_tls::UpstreamTls;

/// The protocol of endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendProtocol {
    /// HTTP/1 over TCP.
    #[default]
    Http,
    /// HTTP/1, over TLS for requests that came over TLS (`AUTO_HTTP`).
    AsClient,
    /// HTTP/1 over TLS.
    Https,
    /// HTTP/2 over TCP, with prior knowledge.
    Grpc,
    /// HTTP/2 over TLS.
    Grpcs,
    /// FastCGI over TCP.
    FastCgi,
}

/// How requests of a rule are sent to endpoints that do not speak plain HTTP/1.
#[derive(Debug)]
pub struct UpstreamOptions {
    /// Their protocol.
    pub protocol: BackendProtocol,
    /// TLS, where the protocol has it.
    pub tls: Arc<UpstreamTls>,
    /// What FastCGI applications get; `None` with other protocols.
    pub fastcgi: Option<FastCgiOptions>,
}

impl UpstreamOptions {
    /// TLS for a request of a client that used this scheme; `None` if endpoints get it in the clear.
    pub fn tls(&self, scheme: RequestScheme) -> Option<&Arc<UpstreamTls>> {
        let is_tls = match self.protocol {
            BackendProtocol::Http | BackendProtocol::Grpc | BackendProtocol::FastCgi => false,
            BackendProtocol::AsClient => scheme == RequestScheme::Https,
            BackendProtocol::Https | BackendProtocol::Grpcs => true,
        };
        is_tls.then_some(&self.tls)
    }

    /// Whether endpoints get HTTP/2.
    pub fn is_http2(&self) -> bool {
        matches!(self.protocol, BackendProtocol::Grpc | BackendProtocol::Grpcs)
    }
}
