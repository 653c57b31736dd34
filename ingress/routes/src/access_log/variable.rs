//! nginx's variables that a line of the access log may have.

use http::HeaderName;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use crate::client_certificate::CertificateVariable;
use crate::variables::RequestVariable;

/// A variable whose value is known when a request has ended.
#[derive(Clone, Debug, PartialEq)]
pub enum LogVariable {
    /// A value that is known while the request runs.
    Request(RequestVariable),
    /// `$http_name`: all fields of a name, joined as nginx does.
    Header(HeaderName),
    /// `$remote_addr`.
    RemoteAddress,
    /// `$binary_remote_addr`: 4 or 16 bytes.
    BinaryRemoteAddress,
    /// `$remote_port`.
    RemotePort,
    /// `$remote_user`: that of Basic authorization.
    RemoteUser,
    /// `$connection`: the number of the connection.
    Connection,
    /// `$connection_requests`: how many requests it has carried.
    ConnectionRequests,
    /// `$realip_remote_addr`: the peer of the connection, whatever headers say.
    PeerAddress,
    /// `$realip_remote_port`.
    PeerPort,
    /// `$pass_port`, `$pass_server_port`: the port for `X-Forwarded-Port`.
    Port,
    /// `$https`: `on` or empty.
    Https,
    /// `$http2`: `h2` over TLS, `h2c` without it, empty for HTTP/1.
    Http2,
    /// `$request`: the request line as sent.
    RequestLine,
    /// `$server_protocol`: the last word of the request line.
    Protocol,
    /// `$host`: that of the request, or `_`.
    Host,
    /// `$uri`, `$document_uri`: the decoded path, after a rewrite.
    Uri,
    /// `$args`, `$query_string`: the query, after a rewrite.
    Args,
    /// `$escaped_request_uri`: the request target with everything but letters, digits and `-._~` encoded.
    EscapedRequestUri,
    /// `$proxy_add_x_forwarded_for`: the client's `X-Forwarded-For` and its address.
    ForwardedFor,
    /// `$request_length`: bytes of the request.
    RequestLength,
    /// `$req_id`, `$request_id`: the value of `X-Request-ID`.
    RequestId,
    /// `$time_local`: `21/Nov/2026:07:44:42 +0000`.
    LocalTime,
    /// `$time_iso8601`: `2026-11-21T07:44:42+00:00`.
    IsoTime,
    /// `$msec`: Unix time in seconds with milliseconds.
    UnixTime,
    /// `$request_time`: seconds with milliseconds.
    RequestTime,
    /// `$status`.
    Status,
    /// `$bytes_sent`: bytes of the response.
    BytesSent,
    /// `$body_bytes_sent`: the same, without its head.
    BodyBytesSent,
    /// `$pid`.
    ProcessId,
    /// `$hostname`: the name of the machine, for a container that of its Pod.
    HostName,
    /// `$upstream_addr`, and the others: one value for each attempt.
    UpstreamAddress,
    /// `$upstream_status`.
    UpstreamStatus,
    /// `$upstream_response_length`.
    UpstreamLength,
    /// `$upstream_connect_time`.
    UpstreamConnectTime,
    /// `$upstream_header_time`.
    UpstreamHeaderTime,
    /// `$upstream_response_time`.
    UpstreamResponseTime,
    /// `$proxy_upstream_name`, `$proxy_host`.
    UpstreamName,
    /// `$proxy_alternative_upstream_name`: the canary that was chosen.
    CanaryName,
    /// `$namespace` of the Ingress.
    Namespace,
    /// `$ingress_name`.
    IngressName,
    /// `$service_name` of the rule.
    ServiceName,
    /// `$service_port` of the rule, as written.
    ServicePort,
    /// `$location_path`: the path of the rule.
    LocationPath,
    /// `$server_name`: the host of the rule.
    ServerName,
    /// `$ssl_*` about the connection.
    Tls(TlsVariable),
    /// `$ssl_client_*` about the certificate of the client.
    Certificate(CertificateVariable),
    /// `$proxy_protocol_*`.
    ProxyHeader(ProxyHeaderVariable),
    /// `$upstream_http_name` and `$sent_http_name`.
    ResponseField(ResponseField),
    /// A variable with the same value for every request: `$pipe` is always `.`, because pipelined requests are not marked.
    Constant(&'static str),
    /// A variable that no request has: `$upstream_cache_status`, since there is no cache.
    Absent,
}

/// A property of a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVariable {
    /// `$ssl_protocol`: `TLSv1.3`.
    Protocol,
    /// `$ssl_cipher`, by OpenSSL's name.
    Cipher,
    /// `$ssl_curve`, by OpenSSL's name.
    Curve,
    /// `$ssl_server_name`: the SNI.
    ServerName,
    /// `$ssl_session_reused`: `r` or `.`.
    SessionReused,
    /// `$ssl_client_verify`.
    ClientVerify,
}

/// A part of the PROXY header of a connection. It has no value without such a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeaderVariable {
    /// `$proxy_protocol_addr`: the client.
    SourceAddress,
    /// `$proxy_protocol_port`.
    SourcePort,
    /// `$proxy_protocol_server_addr`: what it connected to.
    DestinationAddress,
    /// `$proxy_protocol_server_port`.
    DestinationPort,
}

/// A field of a response's head. It is kept until the end of the request if the format of the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseField {
    /// Which head.
    pub side: ResponseSide,
    /// The name.
    pub name: HeaderName,
}

/// A head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseSide {
    /// That of the endpoint: `$upstream_http_name`.
    Upstream,
    /// That which the client gets: `$sent_http_name`.
    Sent,
}

impl LogVariable {
    /// The variable of a name without its dollar sign. The case of the name does not matter, as in nginx.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        if let Some(variable) = named(&name) {
            return Some(variable);
        }
        let field = |side, name| Some(Self::ResponseField(ResponseField { side, name: header_name(name)? }));
        if let Some(name) = name.strip_prefix("upstream_http_") {
            return field(ResponseSide::Upstream, name);
        }
        if let Some(name) = name.strip_prefix("sent_http_") {
            return field(ResponseSide::Sent, name);
        }
        if let Some(name) = name.strip_prefix("http_").filter(|name| *name != "host") {
            return header_name(name).map(Self::Header);
        }
        RequestVariable::parse(&name).map(Self::Request)
    }
}

/// The header of the last part of a variable's name.
fn header_name(name: &str) -> Option<HeaderName> {
    HeaderName::try_from(name.replace('_', "-")).ok()
}

/// The variables that are not made of a prefix and the name of a header, cookie or argument. Those of [`RequestVariable`] that are
/// not here have the same value at the end of a request.
#[rustfmt::skip]
fn named(name: &str) -> Option<LogVariable> {
    Some(match name {
        "args" | "query_string" => LogVariable::Args,
        "binary_remote_addr" => LogVariable::BinaryRemoteAddress,
        "body_bytes_sent" => LogVariable::BodyBytesSent,
        "bytes_sent" => LogVariable::BytesSent,
        "connection" => LogVariable::Connection,
        "connection_requests" => LogVariable::ConnectionRequests,
        "content_length" => LogVariable::Header(CONTENT_LENGTH),
        "content_type" => LogVariable::Header(CONTENT_TYPE),
        "document_uri" | "uri" => LogVariable::Uri,
        "escaped_request_uri" => LogVariable::EscapedRequestUri,
        "host" => LogVariable::Host,
        "hostname" => LogVariable::HostName,
        "http2" => LogVariable::Http2,
        "https" => LogVariable::Https,
        "ingress_name" => LogVariable::IngressName,
        "location_path" => LogVariable::LocationPath,
        "msec" => LogVariable::UnixTime,
        "namespace" => LogVariable::Namespace,
        "pass_port" | "pass_server_port" => LogVariable::Port,
        "pid" => LogVariable::ProcessId,
        "pipe" => LogVariable::Constant("."),
        "proxy_add_x_forwarded_for" => LogVariable::ForwardedFor,
        "proxy_alternative_upstream_name" => LogVariable::CanaryName,
        "proxy_host" | "proxy_upstream_name" => LogVariable::UpstreamName,
        "proxy_protocol_addr" => LogVariable::ProxyHeader(ProxyHeaderVariable::SourceAddress),
        "proxy_protocol_port" => LogVariable::ProxyHeader(ProxyHeaderVariable::SourcePort),
        "proxy_protocol_server_addr" => LogVariable::ProxyHeader(ProxyHeaderVariable::DestinationAddress),
        "proxy_protocol_server_port" => LogVariable::ProxyHeader(ProxyHeaderVariable::DestinationPort),
        "realip_remote_addr" => LogVariable::PeerAddress,
        "realip_remote_port" => LogVariable::PeerPort,
        "remote_addr" => LogVariable::RemoteAddress,
        "remote_port" => LogVariable::RemotePort,
        "remote_user" => LogVariable::RemoteUser,
        "req_id" | "request_id" => LogVariable::RequestId,
        "request" => LogVariable::RequestLine,
        "request_length" => LogVariable::RequestLength,
        "request_time" => LogVariable::RequestTime,
        "server_name" => LogVariable::ServerName,
        "server_protocol" => LogVariable::Protocol,
        "service_name" => LogVariable::ServiceName,
        "service_port" => LogVariable::ServicePort,
        "ssl_cipher" => LogVariable::Tls(TlsVariable::Cipher),
        "ssl_client_cert" => LogVariable::Certificate(CertificateVariable::IndentedPem),
        "ssl_client_escaped_cert" => LogVariable::Certificate(CertificateVariable::EscapedPem),
        "ssl_client_fingerprint" => LogVariable::Certificate(CertificateVariable::Fingerprint),
        "ssl_client_i_dn" => LogVariable::Request(RequestVariable::ClientIssuer),
        "ssl_client_raw_cert" => LogVariable::Certificate(CertificateVariable::Pem),
        "ssl_client_s_dn" => LogVariable::Request(RequestVariable::ClientSubject),
        "ssl_client_serial" => LogVariable::Certificate(CertificateVariable::Serial),
        "ssl_client_v_end" => LogVariable::Certificate(CertificateVariable::NotAfter),
        "ssl_client_v_remain" => LogVariable::Certificate(CertificateVariable::DaysLeft),
        "ssl_client_v_start" => LogVariable::Certificate(CertificateVariable::NotBefore),
        "ssl_client_verify" => LogVariable::Tls(TlsVariable::ClientVerify),
        "ssl_curve" => LogVariable::Tls(TlsVariable::Curve),
        "ssl_protocol" => LogVariable::Tls(TlsVariable::Protocol),
        "ssl_server_name" => LogVariable::Tls(TlsVariable::ServerName),
        "ssl_session_reused" => LogVariable::Tls(TlsVariable::SessionReused),
        "status" => LogVariable::Status,
        "time_iso8601" => LogVariable::IsoTime,
        "time_local" => LogVariable::LocalTime,
        "upstream_addr" => LogVariable::UpstreamAddress,
        "upstream_response_length" => LogVariable::UpstreamLength,
        "upstream_cache_status" => LogVariable::Absent,
        "upstream_connect_time" => LogVariable::UpstreamConnectTime,
        "upstream_header_time" => LogVariable::UpstreamHeaderTime,
        "upstream_response_time" => LogVariable::UpstreamResponseTime,
        "upstream_status" => LogVariable::UpstreamStatus,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_variables() {
        let header = |name: &'static str| LogVariable::Header(HeaderName::from_static(name));
        let field = |side, name: &'static str| {
            LogVariable::ResponseField(ResponseField { side, name: HeaderName::from_static(name) })
        };
        for (name, variable) in [
            ("status", LogVariable::Status),
            ("Remote_Addr", LogVariable::RemoteAddress),
            ("http_x_forwarded_for", header("x-forwarded-for")),
            ("http_header3", header("header3")),
            ("http_host", LogVariable::Request(RequestVariable::HttpHost)),
            ("best_http_host", LogVariable::Request(RequestVariable::BestHost)),
            ("scheme", LogVariable::Request(RequestVariable::RequestScheme)),
            ("cookie_Session", LogVariable::Request(RequestVariable::Cookie("session".into()))),
            ("geoip2_City", LogVariable::Request(RequestVariable::parse("geoip2_city").expect("a variable"))),
            ("arg_q", LogVariable::Request(RequestVariable::Argument("q".into()))),
            ("upstream_http_x_app", field(ResponseSide::Upstream, "x-app")),
            ("sent_http_content_type", field(ResponseSide::Sent, "content-type")),
            ("upstream_http_date", field(ResponseSide::Upstream, "date")),
        ] {
            assert_eq!(LogVariable::parse(name), Some(variable), "{name}");
        }
        for unknown in ["", "1", "http_", "upstream_http_", "the_real_ip", "geoip2_town", "request_body"] {
            assert_eq!(LogVariable::parse(unknown), None, "{unknown}");
        }
    }
}
