//! nginx's variables for parts of a request, written `$name` or `${name}` in annotation values.

use std::borrow::Cow;

use http::HeaderName;

use crate::client_certificate::CertificateVariable;
use crate::credentials::BasicCredentials;
use crate::exchange::Exchange;
use crate::geo::GeoVariable;
use crate::path::encode_component;
use crate::trace_context::TraceContext;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A supported variable.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestVariable {
    /// `$host`: without port, in lower case.
    Host,
    /// `$http_host`: as the client sent it.
    HttpHost,
    /// `$best_http_host`: the same, or as a trusted peer reports it.
    BestHost,
    /// `$uri`, `$document_uri`: the normalised path, decoded.
    Uri,
    /// `$request_uri`: path and query as the client sent them.
    RequestUri,
    /// `$escaped_request_uri`: the same, percent-encoded for a part of a query.
    EscapedRequestUri,
    /// `$args`, `$query_string`.
    Args,
    /// `$is_args`: a question mark if there is a query.
    IsArgs,
    /// `$scheme`: of the connection.
    RequestScheme,
    /// `$pass_access_scheme`: the same, or as a trusted peer reports it.
    AccessScheme,
    /// `$request_method`.
    Method,
    /// `$remote_addr`; also `$binary_remote_addr`, which is of use only where values are compared.
    RemoteAddress,
    /// `$remote_port`.
    RemotePort,
    /// `$ssl_client_verify`: SUCCESS, NONE or FAILED:reason. It has no value on hosts without `auth-tls-secret`.
    ClientVerify,
    /// `$ssl_client_s_dn`: the subject of the client's certificate.
    ClientSubject,
    /// `$ssl_client_i_dn`: its issuer.
    ClientIssuer,
    /// `$ssl_client_escaped_cert` and others.
    ClientCertificate(CertificateVariable),
    /// `$remote_user`: the user name of basic authentication, verified or not.
    RemoteUser,
    /// `$request_id`, `$req_id`: `X-Request-ID`.
    RequestId,
    /// `$msec`: when the request began, as Unix time in seconds with milliseconds.
    UnixTime,
    /// `$opentelemetry_trace_id`, with hexadecimal digits.
    TraceId,
    /// `$opentelemetry_span_id`: of the span of the request.
    SpanId,
    /// `$opentelemetry_context_traceparent`: `traceparent` for the endpoint.
    TraceParent,
    /// `$opentelemetry_context_tracestate`: `tracestate` for the endpoint.
    TraceState,
    /// `$proxy_add_x_forwarded_for`: the client's `X-Forwarded-For` and its address.
    ForwardedFor,
    /// `$geoip2_*`: what a database says about the address of the client.
    Geo(GeoVariable),
    /// `$arg_name`: the first argument of this name, as sent.
    Argument(String),
    /// `$http_name`: a request header.
    Header(HeaderName),
    /// `$cookie_name`.
    Cookie(String),
}

impl RequestVariable {
    /// The variable of a name without its dollar sign.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "host" => Self::Host,
            "http_host" => Self::HttpHost,
            "best_http_host" => Self::BestHost,
            "uri" | "document_uri" => Self::Uri,
            "request_uri" => Self::RequestUri,
            "escaped_request_uri" => Self::EscapedRequestUri,
            "args" | "query_string" => Self::Args,
            "is_args" => Self::IsArgs,
            "scheme" => Self::RequestScheme,
            "pass_access_scheme" => Self::AccessScheme,
            "request_method" => Self::Method,
            "remote_addr" | "binary_remote_addr" => Self::RemoteAddress,
            "remote_port" => Self::RemotePort,
            "remote_user" => Self::RemoteUser,
            "request_id" | "req_id" => Self::RequestId,
            "msec" => Self::UnixTime,
            "opentelemetry_trace_id" => Self::TraceId,
            "opentelemetry_span_id" => Self::SpanId,
            "opentelemetry_context_traceparent" => Self::TraceParent,
            "opentelemetry_context_tracestate" => Self::TraceState,
            "proxy_add_x_forwarded_for" => Self::ForwardedFor,
            "ssl_client_verify" => Self::ClientVerify,
            "ssl_client_s_dn" => Self::ClientSubject,
            "ssl_client_i_dn" => Self::ClientIssuer,
            _ => {
                if let Some(variable) = CertificateVariable::parse(name) {
                    return Some(Self::ClientCertificate(variable));
                }
                if let Some(variable) = GeoVariable::parse(name) {
                    return Some(Self::Geo(variable));
                }
                let (kind, name) = name.split_once('_').filter(|(_, name)| !name.is_empty())?;
                match kind {
                    "arg" => Self::Argument(name.into()),
                    "cookie" => Self::Cookie(name.into()),
                    "http" => Self::Header(HeaderName::try_from(name.replace('_', "-")).ok()?),
                    _ => return None,
                }
            }
        })
    }

    /// Its value in a request; empty where the request has none.
    pub(crate) fn value<'e>(&self, exchange: &'e Exchange) -> Cow<'e, str> {
        self.find(exchange).unwrap_or_default()
    }

    /// Its value in a request; `None` where nginx says that it was not found. Hot: allocates only for what the request has not as text.
    pub fn find<'e>(&self, exchange: &'e Exchange) -> Option<Cow<'e, str>> {
        let text = match self {
            Self::Host => Some(exchange.host()),
            Self::HttpHost => Some(exchange.authority()).filter(|host| !host.is_empty()),
            Self::BestHost => Some(exchange.best_authority()).filter(|host| !host.is_empty()),
            Self::Uri => Some(exchange.path()),
            Self::RequestUri => Some(exchange.request_target()),
            Self::Args => exchange.query(),
            Self::IsArgs => {
                Some(if exchange.query().is_some_and(|query| !query.is_empty()) { "?" } else { "" })
            }
            Self::RequestScheme => Some(exchange.scheme.as_str()),
            Self::AccessScheme => Some(exchange.access_scheme()),
            Self::Method => Some(exchange.method_name()),
            Self::RemoteAddress => return Some(exchange.client_ip().to_string().into()),
            // An address in a header has no port.
            Self::RemotePort => match exchange.client().port() {
                0 => Some(""),
                port => return Some(port.to_string().into()),
            },
            Self::RemoteUser => {
                let credentials = BasicCredentials::of(exchange)?;
                return Some(String::from_utf8_lossy(credentials.user()).into_owned().into());
            }
            Self::RequestId => {
                std::str::from_utf8(exchange.request_id.as_bytes()).ok().filter(|id| !id.is_empty())
            }
            Self::TraceId => exchange.trace_context().map(TraceContext::trace_digits),
            Self::SpanId => exchange.trace_context().map(TraceContext::span_digits),
            Self::TraceParent => exchange.trace_context().map(TraceContext::traceparent),
            Self::TraceState => {
                exchange.trace_context().map(|context| &*context.state).filter(|state| !state.is_empty())
            }
            Self::UnixTime => {
                let (seconds, millis) = (exchange.began.as_secs(), exchange.began.subsec_millis());
                return Some(format!("{seconds}.{millis:03}").into());
            }
            Self::ForwardedFor => {
                let (received, client) = (exchange.header_values(&FORWARDED_FOR), exchange.client_ip());
                let received = received.flatten().map(|value| format!("{value}, ")).collect::<String>();
                return Some(format!("{received}{client}").into());
            }
            Self::EscapedRequestUri => return Some(encode_component(exchange.request_target()).into()),
            Self::Argument(name) => argument(exchange.query().unwrap_or_default(), name),
            Self::ClientVerify => {
                exchange.client_certificate.as_ref().map(|certificate| &*certificate.verify)
            }
            Self::ClientSubject => {
                exchange.client_certificate.as_ref().map(|certificate| &*certificate.subject)
            }
            Self::ClientIssuer => {
                exchange.client_certificate.as_ref().map(|certificate| &*certificate.issuer)
            }
            Self::ClientCertificate(variable) => {
                return exchange.client_certificate.as_ref()?.variable(*variable, exchange.began);
            }
            Self::Geo(variable) => return exchange.geo.as_ref()?.value(*variable, exchange.client_ip()),
            Self::Header(name) => return exchange.joined_header(name),
            Self::Cookie(name) => return exchange.cookie_text(name),
        };
        text.map(Cow::Borrowed)
    }
}

fn argument<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::RequestId;
    use crate::exchange::tests::get;

    /// Variables are keys of caches and limits: a value that is not text, or a second field, must not make it empty.
    #[test]
    fn no_value_of_a_client_is_lost() {
        let exchange = crate::exchange::tests::with_bytes(&[
            ("authorization", b""),
            ("authorization", b"Bearer x"),
            ("cookie", b"a=\xc3\xa9; b=\xff"),
            ("cookie", b"c=3"),
            ("x-key", b"caf\xe9"),
        ]);
        for (name, value) in [
            ("http_authorization", ", Bearer x"),
            ("http_cookie", "a=%C3%A9; b=%FF; c=3"),
            ("http_x_key", "caf%E9"),
            ("cookie_a", "%C3%A9"),
            ("cookie_b", "%FF"),
            ("cookie_C", "3"),
        ] {
            let variable = RequestVariable::parse(name).expect(name);
            assert_eq!(variable.value(&exchange), value, "{name}");
        }
    }

    #[test]
    fn variables_have_the_values_of_nginx() {
        let headers = [
            ("x-user", "ann"),
            ("cookie", "Session=s1; other=2"),
            ("authorization", "Basic YW5uOnNlY3JldA=="),
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-for", "198.51.100.2"),
        ];
        let mut exchange = get("https://Shop.example:8443/a//b%20c?x=1&Y=2%20&x=3", &headers);
        exchange.began = std::time::Duration::from_millis(1_700_000_000_007);
        exchange.request_id = RequestId::of(None, || 7);
        for (name, value) in [
            ("msec", "1700000000.007"),
            ("request_id", "00000000000000000000000000000007"),
            ("req_id", "00000000000000000000000000000007"),
            ("proxy_add_x_forwarded_for", "198.51.100.1, 198.51.100.2, 192.0.2.7"),
            ("binary_remote_addr", "192.0.2.7"),
            ("host", "shop.example"),
            ("http_host", "Shop.example:8443"),
            ("best_http_host", "Shop.example:8443"),
            ("uri", "/a/b c"),
            ("document_uri", "/a/b c"),
            ("request_uri", "/a//b%20c?x=1&Y=2%20&x=3"),
            ("escaped_request_uri", "%2Fa%2F%2Fb%2520c%3Fx%3D1%26Y%3D2%2520%26x%3D3"),
            ("remote_user", "ann"),
            ("args", "x=1&Y=2%20&x=3"),
            ("query_string", "x=1&Y=2%20&x=3"),
            ("is_args", "?"),
            ("scheme", "https"),
            ("pass_access_scheme", "https"),
            ("request_method", "GET"),
            ("remote_addr", "192.0.2.7"),
            ("remote_port", "4711"),
            ("arg_x", "1"),
            ("arg_y", "2%20"),
            ("arg_z", ""),
            ("http_x_user", "ann"),
            ("http_none", ""),
            ("cookie_session", "s1"),
            ("cookie_none", ""),
            ("ssl_client_verify", ""),
            ("ssl_client_escaped_cert", ""),
            ("ssl_client_serial", ""),
        ] {
            let variable = RequestVariable::parse(name).expect(name);
            assert_eq!(variable.value(&exchange), value, "{name}");
        }
        for unknown in
            ["", "x", "arg_", "http_", "cookie_", "server_port", "request_ids", "ssl_client_x", "1"]
        {
            assert_eq!(RequestVariable::parse(unknown), None, "{unknown}");
        }
    }
}
