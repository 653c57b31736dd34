//! The beginning of a FastCGI request: nginx's usual parameters, those of the configuration, and header fields as `HTTP_…` (RFC 3875
//! §4.1).

use std::borrow::Cow;

use bytes::Bytes;
use ingress_routes::Exchange;
use ingress_routes::path;
use ingress_routes::plan::fastcgi::{DOCUMENT_ROOT, FastCgiOptions};
use ingress_wire::fastcgi::request;
use ingress_wire::framing::HttpVersion;
use ingress_wire::known_header::KnownHeader;

use crate::upstream::request_head::BodyLength;

/// Names and values.
type Params<'a> = Vec<(Cow<'a, [u8]>, Cow<'a, [u8]>)>;

/// The parts of the parameters other than header fields.
pub(crate) struct FastCgiHead<'a> {
    pub(crate) exchange: &'a Exchange,
    pub(crate) options: &'a FastCgiOptions,
    /// The host of the rule.
    pub(crate) server_name: &'a str,
    pub(crate) server_port: u16,
    /// The client's address as text, and its port.
    pub(crate) client: &'a str,
    pub(crate) client_port: u16,
    /// The scheme of the client's connection.
    pub(crate) scheme: &'a str,
    pub(crate) body: BodyLength,
}

impl FastCgiHead<'_> {
    /// The records before the body, and after them the end of a body that is empty. `head` is the text that endpoints of HTTP get.
    pub(crate) fn records(&self, head: &[u8]) -> Bytes {
        let mut params = self.standard();
        let script = self.options.script_name(self.exchange);
        for (name, value) in &self.options.params {
            let value = value.value(self.exchange, &script).into_bytes();
            match params.iter_mut().find(|(known, _)| *known == name.as_bytes()) {
                Some((_, known)) => *known = value.into(),
                None => params.push((name.as_bytes().into(), value.into())),
            }
        }
        append_fields(head, &mut params);
        let mut records = Vec::with_capacity(2048);
        let pairs = params.iter().map(|(name, value)| (&**name, &**value));
        request::begin(false, pairs, &mut records);
        if matches!(self.body, BodyLength::None | BodyLength::Known(0)) {
            request::end(&mut records);
        }
        records.into()
    }

    /// nginx's file `fastcgi_params`.
    fn standard(&self) -> Params<'_> {
        let Self { exchange, options, .. } = self;
        let given = &exchange.request;
        let target = exchange.target.as_deref().map_or(given.target(), str::as_bytes);
        let query = target.iter().position(|byte| *byte == b'?').map_or(&b""[..], |at| &target[at + 1..]);
        let length = match self.body {
            BodyLength::Known(length) => length.to_string(),
            BodyLength::None | BodyLength::Chunked => String::new(),
        };
        let protocol = match given.version() {
            HttpVersion::Http10 => "HTTP/1.0",
            HttpVersion::Http11 => "HTTP/1.1",
            HttpVersion::Http2 => "HTTP/2.0",
        };
        let text = |text: &str| Cow::Owned(path::bytes(text).into_owned());
        let mut params: Params<'_> = Vec::with_capacity(48);
        let mut add = |name: &'static str, value: Cow<'_, [u8]>| {
            params.push((name.as_bytes().into(), value.into_owned().into()));
        };
        add("QUERY_STRING", query.into());
        add("REQUEST_METHOD", given.method_name().into());
        add("CONTENT_TYPE", given.head().get(KnownHeader::ContentType).unwrap_or_default().into());
        add("CONTENT_LENGTH", length.into_bytes().into());
        add("SCRIPT_NAME", text(&options.script_name(exchange)));
        add("REQUEST_URI", given.target().into());
        add("DOCUMENT_URI", text(&FastCgiOptions::document_uri(exchange)));
        add("DOCUMENT_ROOT", DOCUMENT_ROOT.as_bytes().into());
        add("SERVER_PROTOCOL", protocol.as_bytes().into());
        add("REQUEST_SCHEME", self.scheme.as_bytes().into());
        if self.scheme == "https" {
            add("HTTPS", b"on".into());
        }
        add("GATEWAY_INTERFACE", b"CGI/1.1".into());
        add("SERVER_SOFTWARE", b"portolan".into());
        add("REMOTE_ADDR", self.client.as_bytes().into());
        add("REMOTE_PORT", self.client_port.to_string().into_bytes().into());
        add("SERVER_PORT", self.server_port.to_string().into_bytes().into());
        add("SERVER_NAME", self.server_name.as_bytes().into());
        add("REDIRECT_STATUS", b"200".into());
        params
    }
}

/// Appends the fields of a head. Fields of the same name become one, and a field does not add to a parameter of the configuration: a
/// client must not be able to change `HTTP_…` of `fastcgi-params-configmap`. Both as in nginx.
fn append_fields(head: &[u8], params: &mut Params<'_>) {
    let first = params.len();
    let lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    for line in lines.skip(1).take_while(|line| !line.is_empty()) {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (field, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // It describes the body of an HTTP/1 message.
        if field.eq_ignore_ascii_case(b"transfer-encoding") {
            continue;
        }
        let upper = field.iter().map(|byte| if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() });
        let name: Vec<u8> = b"HTTP_".iter().copied().chain(upper).collect();
        if params[..first].iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
            continue;
        }
        match params[first..].iter_mut().find(|(known, _)| **known == name) {
            Some((_, known)) => {
                let separator = if name == b"HTTP_COOKIE" { &b"; "[..] } else { b", " };
                *known = [known, separator, value].concat().into();
            }
            None => params.push((name.into(), value.to_vec().into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_parameters() {
        let mut params = Vec::new();
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-a: 1\r\nx-A: 2\r\nCookie: a=1\r\nCookie: b=2\r\n\
                     Transfer-Encoding: chunked\r\n\r\n";
        append_fields(head, &mut params);
        let found: Vec<_> = params.iter().map(|(name, value)| [name, &b"="[..], value].concat()).collect();
        let wanted = [&b"HTTP_HOST=a"[..], b"HTTP_X_A=1, 2", b"HTTP_COOKIE=a=1; b=2"];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_field_does_not_change_a_configured_parameter() {
        let configured = [("HTTP_X_REAL_USER", "fixed"), ("HTTP_x_role", ""), ("SERVER_NAME", "a")];
        let configured = configured.map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()));
        let mut params = Params::from(configured);
        let head = b"GET / HTTP/1.1\r\nX-Real-User: forged\r\nx_real_user: forged\r\nX-Role: admin\r\n\
                     Server-Name: b\r\n\r\n";
        append_fields(head, &mut params);
        let found: Vec<_> = params.iter().map(|(name, value)| [name, &b"="[..], value].concat()).collect();
        let wanted =
            [&b"HTTP_X_REAL_USER=fixed"[..], b"HTTP_x_role=", b"SERVER_NAME=a", b"HTTP_SERVER_NAME=b"];
        assert_eq!(found, wanted);
    }
}
