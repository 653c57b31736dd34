//! A line of the access log in the format of `log-format-upstream`.

use std::borrow::Cow;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use cluster::PortRef;
use http::HeaderName;
use http::header::{self, COOKIE};
use ingress_routes::access_log::{ProxyHeaderVariable, ResponseField, TlsVariable};
use ingress_routes::template::CompiledPart;
use ingress_routes::variables::RequestVariable;
use ingress_routes::{
    BasicCredentials, Exchange, LineFormat, LogEscape, LogVariable, ProxiedConnection, RequestScheme, Route,
    path,
};

use crate::io::clock::Clock;
use crate::observe::access_log::{AccessRecord, Attempt};
use crate::observe::format;
use crate::observe::tls_details::TlsDetails;

static AUTHORIZATION: HeaderName = header::AUTHORIZATION;
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A request that has ended, and what its line says about time and connection.
pub(crate) struct LogLine<'a> {
    pub(crate) record: &'a AccessRecord,
    pub(crate) connection: LoggedConnection<'a>,
    /// `X-Forwarded-Port`, if a trusted peer reports it.
    pub(crate) forwarded_port: Option<&'a str>,
    pub(crate) clock: &'a Clock,
    pub(crate) elapsed: Duration,
}

/// The fields of a line about the connection.
#[derive(Clone, Copy)]
pub(crate) struct LoggedConnection<'a> {
    pub(crate) number: u64,
    pub(crate) requests: u32,
    /// The peer of the TCP connection.
    pub(crate) peer: SocketAddr,
    /// The client as far as the connection tells.
    pub(crate) client: SocketAddr,
    pub(crate) scheme: RequestScheme,
    /// The port for `X-Forwarded-Port`, unless a trusted peer reports another one.
    pub(crate) port: u16,
    pub(crate) proxied: Option<&'a ProxiedConnection>,
    pub(crate) tls: Option<&'a TlsDetails>,
    /// The certificate of the client in DER.
    pub(crate) certificate: Option<&'a [u8]>,
}

/// The name of the machine in lower case, as nginx has it.
fn host_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        name.trim_end().to_lowercase()
    })
}

impl<'a> LoggedConnection<'a> {
    fn tls_value(&self, variable: TlsVariable) -> Option<&'a str> {
        self.tls?.value(variable)
    }
}

impl LogLine<'_> {
    /// Writes the line. Hot: allocates only for `$uri` if the path is not ASCII, or was encoded and rewritten, and for what the PROXY
    /// header and the certificate of the client say.
    pub(crate) fn write(&self, format: &LineFormat, out: &mut Vec<u8>) {
        for part in format.parts() {
            match part {
                CompiledPart::Text(text) => out.extend_from_slice(text.as_bytes()),
                CompiledPart::Variable(variable) => self.value(variable, format.escape(), out),
            }
        }
    }

    /// Of the request; of the connection if the head was refused.
    fn client(&self) -> SocketAddr {
        self.record.exchange.as_ref().map_or(self.connection.client, |exchange| exchange.client())
    }

    fn route(&self) -> Option<&Route> {
        self.record.route.as_ref().map(|route| &****route)
    }

    /// Writes the value of a variable. Each is listed once.
    fn value(&self, variable: &LogVariable, escape: LogEscape, out: &mut Vec<u8>) {
        let Self { record, connection, clock, elapsed, .. } = self;
        let (exchange, route) = (record.exchange.as_ref(), self.route());
        let ingress = route.and_then(|route| route.ingress.as_ref());
        let text_value = |out: &mut Vec<u8>, text: Option<&str>| {
            format::value(out, escape, text.map(str::as_bytes));
        };
        let text = match variable {
            LogVariable::RequestLine => Some(record.line()),
            LogVariable::RemoteAddress => Some(record.client.as_bytes()),
            LogVariable::Protocol => protocol(record.line()),
            LogVariable::RequestId => Some(record.request_id.as_bytes()),
            LogVariable::Https => {
                Some(if connection.scheme == RequestScheme::Https { &b"on"[..] } else { b"" })
            }
            LogVariable::Http2 => Some(match protocol(record.line()) {
                Some(b"HTTP/2.0") if connection.scheme == RequestScheme::Https => &b"h2"[..],
                Some(b"HTTP/2.0") => b"h2c",
                _ => b"",
            }),
            LogVariable::HostName => Some(host_name().as_bytes()),
            LogVariable::Host => {
                let host = exchange.map(|exchange| exchange.host()).filter(|host| !host.is_empty());
                Some(host.unwrap_or("_").as_bytes())
            }
            LogVariable::Args => exchange.and_then(query).map(str::as_bytes),
            // The variables that ingress-nginx sets in each location are empty, and not missing, without one.
            LogVariable::UpstreamName => Some(record.upstream_name().as_bytes()),
            LogVariable::CanaryName => Some(record.canary_name().as_bytes()),
            LogVariable::Namespace => Some(ingress.map_or("", |key| &key.namespace).as_bytes()),
            LogVariable::IngressName => Some(ingress.map_or("", |key| &key.name).as_bytes()),
            LogVariable::ServiceName => {
                Some(route.and_then(|route| route.service.as_ref()).map_or("", |(name, _)| name).as_bytes())
            }
            LogVariable::ServicePort => match route.and_then(|route| route.service.as_ref()) {
                Some((_, PortRef::Number(port))) => return format::number(out, (*port).into()),
                Some((_, PortRef::Name(name))) => Some(name.as_bytes()),
                None => Some(&b""[..]),
            },
            LogVariable::LocationPath => Some(route.map_or("", |route| &route.path).as_bytes()),
            LogVariable::ServerName => Some(route.map_or("_", |route| &route.host).as_bytes()),
            LogVariable::Tls(variable) => self.tls_value(*variable).map(str::as_bytes),
            LogVariable::Request(RequestVariable::RequestScheme) => {
                Some(connection.scheme.as_str().as_bytes())
            }
            LogVariable::Certificate(variable) => {
                let certificate = connection.certificate;
                let text = certificate.and_then(|der| variable.value(der, clock.unix_now()));
                return text_value(out, text.as_deref());
            }
            LogVariable::ProxyHeader(variable) => {
                let text = connection.proxied.map(|proxied| proxy_header_value(proxied, *variable));
                return text_value(out, text.as_deref());
            }
            LogVariable::Constant(text) => Some(text.as_bytes()),
            LogVariable::Absent => None,

            LogVariable::Request(variable) => {
                return text_value(out, exchange.and_then(|exchange| variable.find(exchange)).as_deref());
            }
            LogVariable::Header(name) => return self.header(name, escape, out),
            LogVariable::ResponseField(field) => return self.response_field(field, escape, out),
            LogVariable::ForwardedFor => return self.forwarded_for(escape, out),
            LogVariable::RemoteUser => {
                let given = exchange.and_then(|exchange| exchange.header_bytes(&AUTHORIZATION).next());
                let credentials = given.and_then(BasicCredentials::decode);
                return format::value(out, escape, credentials.as_ref().map(BasicCredentials::user));
            }
            LogVariable::Uri => return format::value(out, escape, exchange.map(decoded_path).as_deref()),
            LogVariable::BinaryRemoteAddress => {
                return match self.client().ip().to_canonical() {
                    IpAddr::V4(ip) => format::value(out, escape, Some(&ip.octets())),
                    IpAddr::V6(ip) => format::value(out, escape, Some(&ip.octets())),
                };
            }
            LogVariable::EscapedRequestUri => {
                return match exchange {
                    Some(exchange) => format::encoded(out, exchange.request_target().as_bytes()),
                    None => format::value(out, escape, None),
                };
            }

            LogVariable::RemotePort => match self.client().port() {
                // An address in a header has no port.
                0 => Some(&b""[..]),
                port => return format::number(out, port.into()),
            },
            LogVariable::PeerAddress => {
                return write!(out, "{}", connection.peer.ip().to_canonical()).unwrap_or_default();
            }
            LogVariable::PeerPort => return format::number(out, connection.peer.port().into()),
            LogVariable::Connection => return format::number(out, connection.number),
            LogVariable::ConnectionRequests => return format::number(out, connection.requests.into()),
            LogVariable::Port => match self.forwarded_port {
                Some(port) => Some(port.as_bytes()),
                None => return format::number(out, connection.port.into()),
            },
            LogVariable::ProcessId => return format::number(out, std::process::id().into()),
            LogVariable::RequestLength => return format::number(out, record.head_bytes + record.body_bytes),
            LogVariable::Status => return format::number(out, record.status.into()),
            LogVariable::BytesSent => return format::number(out, record.sent_head + record.sent),
            LogVariable::BodyBytesSent => return format::number(out, record.sent),
            LogVariable::RequestTime => return format::seconds(out, *elapsed),
            LogVariable::LocalTime => return clock.write_local_time(out),
            LogVariable::IsoTime => return clock.write_iso_time(out),
            LogVariable::UnixTime => return format::seconds(out, clock.unix_now()),

            LogVariable::UpstreamAddress => {
                return self.attempts(escape, out, |out, one| out.extend_from_slice(one.name.as_bytes()));
            }
            LogVariable::UpstreamStatus => {
                return self.attempts(escape, out, |out, one| one.write_status(out));
            }
            LogVariable::UpstreamLength => {
                return self.attempts(escape, out, |out, one| format::number(out, one.received));
            }
            LogVariable::UpstreamConnectTime => {
                return self.attempts(escape, out, |out, one| time(out, one.connected));
            }
            LogVariable::UpstreamHeaderTime => {
                return self.attempts(escape, out, |out, one| time(out, one.header));
            }
            LogVariable::UpstreamResponseTime => {
                return self.attempts(escape, out, |out, one| {
                    format::seconds(out, one.ended.unwrap_or_default());
                });
            }
        };
        format::value(out, escape, text);
    }

    /// The result of the verification is that of the request's host, which may ask for another one than the connection did.
    fn tls_value(&self, variable: TlsVariable) -> Option<&str> {
        let exchange = self.record.exchange.as_ref();
        let certificate = exchange.and_then(|exchange| exchange.client_certificate.as_ref());
        let verify = certificate.map(|certificate| &*certificate.verify);
        let verify = verify.filter(|verify| variable == TlsVariable::ClientVerify && !verify.is_empty());
        verify.or_else(|| self.connection.tls_value(variable))
    }

    /// All fields of a name, joined.
    fn header(&self, name: &HeaderName, escape: LogEscape, out: &mut Vec<u8>) {
        let separator = if *name == COOKIE { "; " } else { ", " };
        match &self.record.exchange {
            Some(exchange) => joined(out, escape, exchange.header_bytes(name), separator),
            None => format::value(out, escape, None),
        }
    }

    fn response_field(&self, field: &ResponseField, escape: LogEscape, out: &mut Vec<u8>) {
        let kept = self.record.response_fields.iter();
        let values = kept.filter(|(known, _)| known == field).map(|(_, value)| &value[..]);
        joined(out, escape, values, ", ");
    }

    /// The client's `X-Forwarded-For`, and its address.
    fn forwarded_for(&self, escape: LogEscape, out: &mut Vec<u8>) {
        let exchange = self.record.exchange.as_ref();
        let given = exchange.into_iter().flat_map(|exchange| exchange.header_bytes(&X_FORWARDED_FOR));
        joined(out, escape, given.chain([self.record.client.as_bytes()]), ", ");
    }

    /// One value for each attempt.
    fn attempts(&self, escape: LogEscape, out: &mut Vec<u8>, write: impl Fn(&mut Vec<u8>, &Attempt)) {
        if self.record.attempts.is_empty() {
            return format::value(out, escape, None);
        }
        self.record.write_attempts(out, write);
    }
}

/// The query of a request, after a rewrite.
fn query(exchange: &Exchange) -> Option<&str> {
    match exchange.target.as_deref() {
        Some(target) => Some(target.split_once('?')?.1),
        None => exchange.query(),
    }
}

/// The path of a request, after a rewrite.
fn decoded_path(exchange: &Exchange) -> Cow<'_, [u8]> {
    match &exchange.target {
        Some(target) => path::decoded(target.split('?').next().unwrap_or_default()),
        None => path::bytes(exchange.path()),
    }
}

fn proxy_header_value(proxied: &ProxiedConnection, variable: ProxyHeaderVariable) -> String {
    match variable {
        ProxyHeaderVariable::SourceAddress => proxied.source.ip().to_string(),
        ProxyHeaderVariable::SourcePort => proxied.source.port().to_string(),
        ProxyHeaderVariable::DestinationAddress => proxied.destination.ip().to_string(),
        ProxyHeaderVariable::DestinationPort => proxied.destination.port().to_string(),
    }
}

/// The version of a request line.
pub(super) fn protocol(line: &[u8]) -> Option<&[u8]> {
    line.rsplit(|byte| *byte == b' ').next().filter(|word| word.starts_with(b"HTTP/"))
}

/// A time of an attempt that may not have come so far.
fn time(out: &mut Vec<u8>, time: Option<Duration>) {
    match time {
        Some(time) => format::seconds(out, time),
        None => out.push(b'-'),
    }
}

fn joined<'v>(out: &mut Vec<u8>, escape: LogEscape, values: impl Iterator<Item = &'v [u8]>, separator: &str) {
    let mut is_first = true;
    for value in values {
        if !std::mem::take(&mut is_first) {
            out.extend_from_slice(separator.as_bytes());
        }
        format::value(out, escape, Some(value));
    }
    if is_first {
        format::value(out, escape, None);
    }
}

#[cfg(test)]
mod tests;
