//! The head of a response as the client gets it: written at once for HTTP/1, as a map for HTTP/2.

use bytes::Bytes;
use http::header::DATE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, response};
use ingress_routes::plan::head_edits::{EditedName, HeadEdits, begins_with};
use ingress_wire::framing::HttpVersion;
use ingress_wire::head::Head;
use ingress_wire::head_writer::HeadWriter;
use ingress_wire::known_header::{KnownHeader, KnownSet};
use ingress_wire::request::{Method, ParsedRequest};
use ingress_wire::response::{HIDDEN, ParsedResponse};
use smallvec::SmallVec;

use crate::client::connection::ClientConnection;

/// The properties of a request, besides its route, on which the response depends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseTraits {
    pub(crate) is_head: bool,
    pub(crate) version: HttpVersion,
    /// The client allows another request on the connection.
    pub(crate) keeps_alive: bool,
}

impl ResponseTraits {
    /// Those of a refused HTTP/2 request.
    pub(crate) const HTTP2: Self = Self { is_head: false, version: HttpVersion::Http2, keeps_alive: true };

    pub(crate) fn of(request: &ParsedRequest) -> Self {
        Self {
            is_head: request.method() == Method::Head,
            version: request.version(),
            keeps_alive: request.keeps_alive(),
        }
    }
}

/// How the client finds the end of a response's body (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// It must not have one: the response to HEAD, 1xx, 204, 304.
    None,
    Length(u64),
    Chunked,
    /// The body ends with the connection, for HTTP/1.0.
    UntilClose,
}

impl BodyFraming {
    /// The framing of a response whose body has this length, if that is known.
    fn of(is_head: bool, version: HttpVersion, status: StatusCode, length: Option<u64>) -> Self {
        if is_head || status.is_informational() || matches!(status.as_u16(), 204 | 304) {
            return Self::None;
        }
        match length {
            Some(length) => Self::Length(length),
            None if version == HttpVersion::Http11 => Self::Chunked,
            None => Self::UntilClose,
        }
    }
}

/// Whether the connection stays open after the response, and the field that says so (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterResponse {
    /// The default of HTTP/1.1, which needs no field.
    Open,
    /// The client speaks HTTP/1.0 and has asked for it.
    KeepAlive,
    Close,
    /// After 101 (Switching Protocols).
    Upgrade,
}

/// The head of a response as it is passed to the client.
pub(crate) enum WrittenHead {
    Http1(Http1Head),
    Http2(Box<response::Parts>),
}

impl WrittenHead {
    /// No head: the connection of an HTTP/1 client ends without a response.
    pub(crate) fn none() -> Self {
        let (bytes, framing, after) = (Bytes::new(), BodyFraming::None, AfterResponse::Close);
        Self::Http1(Http1Head { bytes, framing, after })
    }

    /// The values of all fields of a name, in order.
    pub(crate) fn values<'h>(&'h self, name: &'h HeaderName) -> impl Iterator<Item = Bytes> + 'h {
        let (http1, http2) = match self {
            Self::Http1(head) => (Some(head.values(name)), None),
            Self::Http2(parts) => (None, Some(parts.headers.get_all(name))),
        };
        let http2 = http2.into_iter().flatten().map(|value| Bytes::copy_from_slice(value.as_bytes()));
        http1.into_iter().flatten().chain(http2)
    }
}

/// A head as it is written, and what follows from it.
pub(crate) struct Http1Head {
    pub(super) bytes: Bytes,
    pub(super) framing: BodyFraming,
    pub(super) after: AfterResponse,
}

impl Http1Head {
    fn values<'h>(&'h self, name: &'h HeaderName) -> impl Iterator<Item = Bytes> + 'h {
        let lines = self.bytes.split(|byte| *byte == b'\n').skip(1);
        lines.filter_map(|line| {
            let (found, value) = line.split_at_checked(name.as_str().len())?;
            let value = value.strip_prefix(b":")?;
            let is_match = found.eq_ignore_ascii_case(name.as_str().as_bytes());
            is_match.then(|| self.bytes.slice_ref(value.trim_ascii()))
        })
    }
}

/// The parts of a response head.
pub(crate) struct ResponseFields<'a, 'e> {
    pub(crate) status: StatusCode,
    /// The reason phrase; `None` for the standard's.
    pub(crate) reason: Option<&'a [u8]>,
    /// The endpoint's response; `None` for one that the proxy makes.
    pub(crate) endpoint: Option<&'a ParsedResponse>,
    /// The proxy's own fields, to which `edits` apply as to the endpoint's.
    pub(crate) own: &'a [(&'a str, &'a [u8])],
    /// The changes of filters.
    pub(crate) edits: &'a HeadEdits<'e>,
    /// The affinity cookie. As in ingress-nginx, filters do not change it.
    pub(crate) cookie: Option<&'a HeaderValue>,
    /// The endpoint's `Server` is passed on.
    pub(crate) passes_server: bool,
    /// The connection is closed after the response.
    pub(crate) closes: bool,
}

/// The fields of framing, date and connection are the proxy's.
const OWN: KnownSet = KnownSet::of(&[
    KnownHeader::Connection,
    KnownHeader::ContentLength,
    KnownHeader::Date,
    KnownHeader::TransferEncoding,
]);

/// Fields that a message of HTTP/2 must not have (RFC 9113 §8.2.2): h2 refuses to send them.
const HTTP1_ONLY: KnownSet = KnownSet::of(&[
    KnownHeader::Connection,
    KnownHeader::KeepAlive,
    KnownHeader::ProxyConnection,
    KnownHeader::Te,
    KnownHeader::TransferEncoding,
    KnownHeader::Upgrade,
]);

impl ResponseFields<'_, '_> {
    /// The head for a client. `length` is that of the body, if it is known.
    pub(crate) fn head(
        self,
        client: &ClientConnection,
        traits: ResponseTraits,
        length: Option<u64>,
    ) -> WrittenHead {
        if client.is_http1() {
            WrittenHead::Http1(self.http1(client, traits, length))
        } else {
            WrittenHead::Http2(Box::new(self.http2(client)))
        }
    }

    /// Hot: no allocation once the buffers have grown.
    fn http1(self, client: &ClientConnection, traits: ResponseTraits, length: Option<u64>) -> Http1Head {
        let ResponseTraits { is_head, version, keeps_alive } = traits;
        let framing = BodyFraming::of(is_head, version, self.status, length);
        let is_last = self.closes || !keeps_alive || framing == BodyFraming::UntilClose;
        let after = match self.status {
            StatusCode::SWITCHING_PROTOCOLS => AfterResponse::Upgrade,
            _ if is_last || client.is_last_response() => AfterResponse::Close,
            _ if version == HttpVersion::Http10 => AfterResponse::KeepAlive,
            _ => AfterResponse::Open,
        };
        let worker = &client.worker;
        let writer = &mut *worker.head_writer.borrow_mut();
        self.hide(writer, framing != BodyFraming::None);
        worker.clock.with_date_line(|line| writer.prepend_lines(line.as_bytes()));
        for (name, value) in self.own.iter().filter(|(name, _)| !self.edits.replace(name)) {
            writer.append(&title_case(name), &[value]);
        }
        self.edits.remove_from(writer);
        for prefix in self.edits.prefixes() {
            let fields = self.endpoint.into_iter().flat_map(|endpoint| endpoint.head().fields());
            fields
                .filter(|field| begins_with(field.name, prefix))
                .for_each(|field| writer.remove_named(field.name));
        }
        for (name, value) in self.edits.added().filter(|(name, _)| may_be_added(*name)) {
            writer.append(name.as_str().as_bytes(), &[value]);
        }
        if let Some(cookie) = self.cookie {
            writer.append(b"Set-Cookie", &[cookie.as_bytes()]);
        }
        match framing {
            BodyFraming::Length(length) => {
                writer.append(b"Content-Length", &[itoa::Buffer::new().format(length).as_bytes()]);
            }
            BodyFraming::Chunked => writer.append(b"Transfer-Encoding", &[b"chunked"]),
            BodyFraming::None | BodyFraming::UntilClose => {}
        }
        match after {
            AfterResponse::Open => {}
            AfterResponse::KeepAlive => writer.append(b"Connection", &[b"keep-alive"]),
            AfterResponse::Close => writer.append(b"Connection", &[b"close"]),
            AfterResponse::Upgrade => writer.append(b"Connection", &[b"upgrade"]),
        }
        let status = self.status;
        let standard = || status.canonical_reason().map(str::as_bytes);
        let reason = self.reason.or_else(standard).unwrap_or_default();
        let out = &mut *worker.response_buffer.borrow_mut();
        out.reserve(1024);
        match self.endpoint {
            Some(endpoint) => writer.write_response(status.as_u16(), reason, endpoint.head(), out),
            None => writer.write_response(status.as_u16(), reason, &Head::default(), out),
        }
        Http1Head { bytes: out.split().freeze(), framing, after }
    }

    fn http2(self, client: &ClientConnection) -> response::Parts {
        let mut parts = Response::new(()).into_parts().0;
        parts.status = self.status;
        let writer = &mut *client.worker.head_writer.borrow_mut();
        self.hide(writer, false);
        writer.remove_set(HTTP1_ONLY);
        if let Some(endpoint) = self.endpoint {
            parts.headers = endpoint.head().map_of(|field| !writer.removes(field));
        }
        for (name, value) in self.own {
            append(&mut parts.headers, name.as_bytes(), HeaderValue::from_bytes(value).ok());
        }
        self.edits.apply(&mut parts.headers, HTTP1_ONLY);
        if let Some(cookie) = self.cookie {
            append(&mut parts.headers, b"set-cookie", Some(cookie.clone()));
        }
        parts.headers.insert(DATE, client.worker.clock.http_date());
        parts
    }

    /// Leaves out the endpoint's fields that are not for the client.
    fn hide(&self, writer: &mut HeadWriter, is_framed: bool) {
        writer.clear();
        let passed = if self.passes_server { KnownSet::of(&[KnownHeader::Server]) } else { KnownSet::EMPTY };
        writer.remove_set(HIDDEN.without(passed));
        // A 204 response must not have one (RFC 9110 §8.6), and HTTP/2 clients refuse it.
        if is_framed || self.status == StatusCode::NO_CONTENT {
            writer.remove(KnownHeader::ContentLength);
        }
        if let Some(endpoint) = self.endpoint {
            let kept = KnownSet::of(&[KnownHeader::ContentLength]);
            writer.remove_listed(endpoint.head(), endpoint.connection(), kept);
            if endpoint.is_cgi() {
                writer.remove(KnownHeader::Status);
            }
        }
    }
}

fn append(headers: &mut HeaderMap, name: &[u8], value: Option<HeaderValue>) {
    if let (Ok(name), Some(value)) = (HeaderName::from_bytes(name), value) {
        // Fails only for an endpoint's head with very many fields: the others are left out there as well.
        let _ = headers.try_append(name, value);
    }
}

/// Whether filters may add a field of this name.
fn may_be_added(name: EditedName<'_>) -> bool {
    name.is_token() && !name.is_in(OWN)
}

/// A name with capitals, as nginx writes it: `Content-Type`, `ETag`, `WWW-Authenticate`.
fn title_case(name: &str) -> SmallVec<[u8; 32]> {
    for special in ["ETag", "WWW-Authenticate"] {
        if name.eq_ignore_ascii_case(special) {
            return SmallVec::from_slice(special.as_bytes());
        }
    }
    let mut starts_word = true;
    let with_capital = |byte: u8| {
        let starts = std::mem::replace(&mut starts_word, byte == b'-');
        if starts { byte.to_ascii_uppercase() } else { byte }
    };
    name.bytes().map(with_capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_framing_follows_rfc_9112() {
        use BodyFraming::{Chunked, Length, None as NoBody, UntilClose};
        let (http11, http10) = (HttpVersion::Http11, HttpVersion::Http10);
        for (is_head, version, status, length, framing) in [
            (false, http11, 200, Some(5), Length(5)),
            (false, http11, 200, Some(0), Length(0)),
            (false, http11, 200, None, Chunked),
            (false, http10, 200, None, UntilClose),
            (true, http11, 200, None, NoBody),
            (true, http11, 404, Some(5), NoBody),
            (false, http11, 204, Some(0), NoBody),
            (false, http11, 304, None, NoBody),
            (false, http11, 101, Some(0), NoBody),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(BodyFraming::of(is_head, version, status, length), framing, "{status}");
        }
    }

    #[test]
    fn names_of_own_fields_have_capitals() {
        for (name, written) in [
            ("content-type", "Content-Type"),
            ("Set-Cookie", "Set-Cookie"),
            ("etag", "ETag"),
            ("www-authenticate", "WWW-Authenticate"),
        ] {
            assert_eq!(&title_case(name)[..], written.as_bytes());
        }
    }

    #[test]
    fn filters_may_not_add_fields_of_framing_and_connection() {
        for (name, may_be) in [
            ("X-A", true),
            ("location", true),
            ("Content-length", false),
            ("connection", false),
            ("Transfer-Encoding", false),
            ("bad name", false),
            ("", false),
        ] {
            assert_eq!(may_be_added(EditedName::of(name)), may_be, "{name}");
        }
    }
}
