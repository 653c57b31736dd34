//! The head of the request to an endpoint, with ingress-nginx's `X-Forwarded-*`, `X-Real-IP` and `X-Request-ID` fields.

use std::borrow::Cow;
use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, Version};
use ingress_routes::plan::head_edits::{EditedName, HeadEdits};
use ingress_routes::{Exchange, IdentitySettings, Route};
use ingress_wire::head::{Head, NameClass};
use ingress_wire::head_writer::HeadWriter;
use ingress_wire::known_header::{KnownHeader, KnownSet};
use ingress_wire::request::ParsedRequest;
use smallvec::SmallVec;

/// How the body is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// There is none.
    None,
    Known(u64),
    Chunked,
}

/// The parts of the head other than the client's header fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpstreamHead<'a> {
    /// Path and query, as the client sent them or as a filter has rewritten them.
    pub(crate) target: &'a [u8],
    /// `Host`.
    pub(crate) host: &'a [u8],
    /// The client's host and port, for `X-Forwarded-Host`.
    pub(crate) authority: &'a [u8],
    /// `X-Request-ID`.
    pub(crate) request_id: &'a [u8],
    /// The client's address as text.
    pub(crate) client: &'a str,
    /// The peer, if `X-Forwarded-For` gets the received addresses and its own (`compute-full-forwarded-for`).
    pub(crate) full_forwarded_for: Option<IpAddr>,
    /// `forwarded-for-header`, the source of `X-Original-Forwarded-For`.
    pub(crate) forwarded_for: &'a HeaderName,
    pub(crate) port: &'a str,
    /// The scheme that the client used.
    pub(crate) scheme: &'a str,
    /// The same address, port and scheme as lines, if they are those of the connection.
    pub(crate) connection_lines: Option<&'a ConnectionLines>,
    pub(crate) body: BodyLength,
    /// The id in `CDN-Loop` (RFC 8586), for endpoints that may send the request back.
    pub(crate) loop_id: Option<&'a [u8]>,
    /// The names of the client's fields that are passed on. By default, nginx drops those with underscores or punctuation other than
    /// hyphens.
    pub(crate) names: NameClass,
    /// The client asks to switch protocols (RFC 9110 §7.8).
    pub(crate) upgrade: Option<&'a [u8]>,
    /// `proxy-http-version: 1.0`.
    pub(crate) is_http10: bool,
}

/// The client's fields that are not forwarded: those that concern this hop only, and those that the proxy writes itself.
const NOT_FORWARDED: KnownSet = KnownSet::of(&[
    KnownHeader::Connection,
    KnownHeader::ContentLength,
    KnownHeader::Expect,
    KnownHeader::Host,
    KnownHeader::KeepAlive,
    KnownHeader::Proxy,
    KnownHeader::ProxyConnection,
    KnownHeader::Te,
    KnownHeader::TransferEncoding,
    KnownHeader::Upgrade,
    KnownHeader::XForwardedFor,
    KnownHeader::XForwardedHost,
    KnownHeader::XForwardedPort,
    KnownHeader::XForwardedProto,
    KnownHeader::XForwardedScheme,
    KnownHeader::XOriginalForwardedFor,
    KnownHeader::XOriginalForwardedHost,
    // A secret of the admin side.
    KnownHeader::XPortolanFollow,
    KnownHeader::XRealIp,
    KnownHeader::XRequestId,
    KnownHeader::XScheme,
]);

/// The fields of [`ConnectionLines`].
const OF_CONNECTION: KnownSet = KnownSet::of(&[
    KnownHeader::XForwardedFor,
    KnownHeader::XForwardedPort,
    KnownHeader::XForwardedProto,
    KnownHeader::XForwardedScheme,
    KnownHeader::XRealIp,
    KnownHeader::XScheme,
]);

/// The fields that are the same in all requests of a connection, as lines.
#[derive(Debug)]
pub(crate) struct ConnectionLines {
    lines: Box<[u8]>,
    /// Where the lines about the client's address end and those about port and scheme begin.
    split: usize,
}

impl ConnectionLines {
    pub(crate) fn new(client: &str, port: &str, scheme: &str) -> Self {
        let mut writer = HeadWriter::default();
        for name in [&b"X-Real-IP"[..], b"X-Forwarded-For"] {
            writer.prepend(name, &[client.as_bytes()]);
        }
        let split = writer.lines_before().len();
        for (_, name, value) in scheme_fields(port.as_bytes(), scheme.as_bytes()) {
            writer.prepend(name, &[value]);
        }
        Self { lines: writer.lines_before().into(), split }
    }
}

fn scheme_fields<'a>(port: &'a [u8], scheme: &'a [u8]) -> [(KnownHeader, &'static [u8], &'a [u8]); 4] {
    [
        (KnownHeader::XForwardedPort, b"X-Forwarded-Port", port),
        (KnownHeader::XForwardedProto, b"X-Forwarded-Proto", scheme),
        (KnownHeader::XForwardedScheme, b"X-Forwarded-Scheme", scheme),
        (KnownHeader::XScheme, b"X-Scheme", scheme),
    ]
}

impl<'a> UpstreamHead<'a> {
    /// The head of a request for the endpoints of a route. `client` is its address as text, `port` that of the client's connection.
    #[inline]
    pub(crate) fn of(
        exchange: &'a Exchange,
        route: &Route,
        identity: &'a IdentitySettings,
        (client, port): (&'a str, &'a str),
        body: BodyLength,
    ) -> Self {
        let given = &exchange.request;
        let authority = match exchange.best_authority() {
            "" => "_",
            authority => authority,
        };
        Self {
            target: exchange.target.as_ref().map_or(given.target(), |target| target.as_bytes()),
            host: authority.as_bytes(),
            authority: authority.as_bytes(),
            request_id: exchange.request_id.as_bytes(),
            client,
            full_forwarded_for: (identity.forwarded_headers && identity.full_forwarded_for)
                .then(|| exchange.connected_ip()),
            forwarded_for: &identity.forwarded_for,
            port,
            scheme: exchange.access_scheme(),
            connection_lines: None,
            body,
            loop_id: None,
            names: route.plan.heads.names,
            upgrade: given.upgrade(),
            is_http10: route.plan.proxy.http_version == Version::HTTP_10,
        }
    }

    /// Writes the head. Hot: no allocation once the buffers have grown.
    ///
    /// Headers whose value would be empty are left out, as nginx does. The client's other fields keep order, letter case and
    /// duplicates.
    ///
    /// `given` is the client's head. `edits` are the changes of filters: they apply to the client's fields and to those written here.
    pub(crate) fn write(
        &self,
        given: &ParsedRequest,
        edits: &HeadEdits<'_>,
        writer: &mut HeadWriter,
        out: &mut BytesMut,
    ) {
        let head = given.head();
        writer.clear();
        writer.remove_set(NOT_FORWARDED);
        writer.remove_other_names(self.names);
        writer.remove_listed(head, given.connection(), KnownSet::EMPTY);
        edits.remove_from(writer);
        writer.prepend(b"Host", &[edits.value_of_known(KnownHeader::Host).unwrap_or(self.host)]);
        let mut fields = OwnFields { writer, edits };
        if let Some(protocol) = self.upgrade {
            fields.put(KnownHeader::Upgrade, b"Upgrade", protocol);
            fields.put(KnownHeader::Connection, b"Connection", b"upgrade");
        }
        if !self.request_id.is_empty() {
            fields.put(KnownHeader::XRequestId, b"X-Request-ID", self.request_id);
        }
        self.put_client(head, &mut fields);
        if let Some(value) = joined(head.get_named(self.forwarded_for.as_str().as_bytes())) {
            fields.put(KnownHeader::XOriginalForwardedFor, b"X-Original-Forwarded-For", &value);
        }
        if let Some(value) = joined(head.get_all(KnownHeader::XForwardedHost)) {
            fields.put(KnownHeader::XOriginalForwardedHost, b"X-Original-Forwarded-Host", &value);
        }
        match self.body {
            BodyLength::None => {}
            BodyLength::Known(length) => {
                writer.prepend(b"Content-Length", &[itoa::Buffer::new().format(length).as_bytes()]);
            }
            BodyLength::Chunked => writer.prepend(b"Transfer-Encoding", &[b"chunked"]),
        }
        for (name, value) in edits.added().filter(|(name, _)| may_be_added(*name)) {
            writer.append(name.as_str().as_bytes(), &[value]);
        }
        if let Some(id) = self.loop_id {
            writer.append(b"CDN-Loop", &[id]);
        }
        // gRPC requires it; all other values of `TE` concern this hop only.
        if given.accepts_trailers() {
            writer.append(b"TE", &[b"trailers"]);
        }
        out.reserve(1024);
        match self.is_http10 {
            true => writer.write_http10_request(given.method_name(), self.target, head, out),
            false => writer.write_request(given.method_name(), self.target, head, out),
        }
    }

    /// Address, host, port and scheme of the client. Hot: the lines of the connection are copied unless a filter changes one of them.
    #[inline]
    fn put_client(&self, head: &Head, fields: &mut OwnFields<'_, '_>) {
        let lines = self.connection_lines.filter(|_| {
            self.full_forwarded_for.is_none() && !fields.edits.replaced().intersects(OF_CONNECTION)
        });
        if let Some(ConnectionLines { lines, split }) = lines {
            fields.writer.prepend_lines(&lines[..*split]);
            fields.put(KnownHeader::XForwardedHost, b"X-Forwarded-Host", self.authority);
            fields.writer.prepend_lines(&lines[*split..]);
            return;
        }
        fields.put(KnownHeader::XRealIp, b"X-Real-IP", self.client.as_bytes());
        let addresses = match self.full_forwarded_for {
            None => Cow::Borrowed(self.client.as_bytes()),
            Some(peer) => Cow::Owned(forwarded_for(head, peer)),
        };
        fields.put(KnownHeader::XForwardedFor, b"X-Forwarded-For", &addresses);
        fields.put(KnownHeader::XForwardedHost, b"X-Forwarded-Host", self.authority);
        for (known, name, value) in scheme_fields(self.port.as_bytes(), self.scheme.as_bytes()) {
            fields.put(known, name, value);
        }
    }
}

/// The fields that the proxy writes itself, unless a filter replaces them.
struct OwnFields<'w, 'e> {
    writer: &'w mut HeadWriter,
    edits: &'w HeadEdits<'e>,
}

impl OwnFields<'_, '_> {
    #[inline]
    fn put(&mut self, known: KnownHeader, name: &[u8], value: &[u8]) {
        if !self.edits.replace_known(known) {
            self.writer.prepend(name, &[value]);
        }
    }
}

/// The values of a field; `None` if all are empty. Several fields are one list (RFC 9110 §5.3), and the client's address may be in any of
/// them.
fn joined<'h>(values: impl Iterator<Item = &'h [u8]>) -> Option<Cow<'h, [u8]>> {
    let mut values = values.filter(|value| !value.is_empty());
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
    let values: SmallVec<[&[u8]; 4]> = [first, second].into_iter().chain(values).collect();
    Some(Cow::Owned(values.join(&b", "[..])))
}

/// The addresses that were received, and the peer.
fn forwarded_for(head: &Head, peer: IpAddr) -> Vec<u8> {
    let received = head.get_all(KnownHeader::XForwardedFor).filter(|value| !value.is_empty());
    let peer = peer.to_string();
    let values: SmallVec<[&[u8]; 4]> = received.chain([peer.as_bytes()]).collect();
    values.join(&b", "[..])
}

/// Whether filters may add a field of this name here: `Host` has been written, and the framing of the body is not theirs.
fn may_be_added(name: EditedName<'_>) -> bool {
    const OWN: KnownSet =
        KnownSet::of(&[KnownHeader::ContentLength, KnownHeader::Host, KnownHeader::TransferEncoding]);
    name.is_token() && !name.is_in(OWN)
}

/// Whether the proxy writes the field of this name itself, or no field of it is forwarded.
pub(crate) fn is_own(name: EditedName<'_>) -> bool {
    name.is_in(NOT_FORWARDED)
}

/// Whether a trailer is forwarded. The rules are those of the client's fields, because some servers merge trailers into them (RFC 9110
/// §6.5.1).
pub(crate) fn passes(name: &[u8]) -> bool {
    // Only the proxy sends fields about certificates of clients (`auth-tls-*`).
    const CLIENT_CERTIFICATE: &[u8] = b"ssl-client-";
    let is_claim = name
        .get(..CLIENT_CERTIFICATE.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(CLIENT_CERTIFICATE));
    !is_claim
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && KnownHeader::of(name).is_none_or(|known| !NOT_FORWARDED.has(known))
}

/// Takes the head out of the buffer. The buffer reuses the memory once the head has been sent.
pub(crate) fn take(buffer: &mut BytesMut) -> Bytes {
    buffer.split().freeze()
}

#[cfg(test)]
mod tests;
