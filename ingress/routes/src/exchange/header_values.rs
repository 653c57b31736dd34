//! Header fields and cookies of a request, as filters read them.

use std::borrow::Cow;

use ingress_wire::head::Head;
use ingress_wire::known_header::KnownHeader;
use percent_encoding::{CONTROLS, percent_encode};

use super::{Exchange, text};

impl Exchange {
    /// Value of a request header, the first where there are several, if it is text.
    pub fn header(&self, name: &http::HeaderName) -> Option<&str> {
        let (name, head) = (name.as_str().as_bytes(), self.request.head());
        let value = match KnownHeader::of(name) {
            Some(known) => head.get(known),
            None => head.fields().find(|field| field.is_named(name)).map(|field| field.value),
        };
        visible(value?)
    }

    /// Values of all request headers of a name, in order; `None` for one that is not text.
    pub fn header_values<'a>(&'a self, name: &'a http::HeaderName) -> impl Iterator<Item = Option<&'a str>> {
        self.request.head().get_named(name.as_str().as_bytes()).map(visible)
    }

    /// Values of all request headers of a name as the client sent them, in order.
    pub fn header_bytes<'a>(&'a self, name: &'a http::HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.request.head().get_named(name.as_str().as_bytes())
    }

    /// The value of a request header as nginx's `$http_name`: several fields are one list (RFC 9110 §5.3), and cookies are joined as
    /// HTTP/2 splits them (RFC 9113 §8.2.3). Bytes that are not visible ASCII are percent-encoded, so that different values stay
    /// different: the value may be a key. Allocates only for several fields or such bytes.
    pub fn joined_header(&self, name: &http::HeaderName) -> Option<Cow<'_, str>> {
        let mut values = self.request.head().get_named(name.as_str().as_bytes());
        let first = readable(values.next()?);
        let separator = if name == http::header::COOKIE { "; " } else { ", " };
        Some(values.fold(first, |mut all, value| {
            let text = all.to_mut();
            text.push_str(separator);
            text.push_str(&readable(value));
            all
        }))
    }

    /// The value of a cookie as nginx's `$cookie_name`, which ignores the case of the name. Bytes are encoded as in
    /// [`Exchange::joined_header`].
    pub(crate) fn cookie_text(&self, name: &str) -> Option<Cow<'_, str>> {
        let found =
            cookie_pairs(self.request.head()).find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| readable(value))
    }

    /// Value of a cookie, the first where there are several.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        cookies(self.request.head()).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The same, ignoring the case of the name.
    pub(crate) fn cookie_ignoring_case(&self, name: &str) -> Option<&str> {
        let found = cookies(self.request.head()).find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }
}

/// Names and values of all cookies of a request (RFC 6265 §5.4). HTTP/2 may split them over several headers. A cookie
/// that is not UTF-8 does not hide the others of its header.
fn cookies(head: &Head) -> impl Iterator<Item = (&str, &str)> {
    let utf8 = |text| std::str::from_utf8(text).ok();
    cookie_pairs(head).filter_map(move |(name, value)| Some((utf8(name)?, utf8(value)?)))
}

fn cookie_pairs(head: &Head) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = head.get_all(KnownHeader::Cookie).flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let equals = memchr::memchr(b'=', pair)?;
        Some((&pair[..equals], &pair[equals + 1..]))
    })
}

/// A value as text, with bytes that are not visible ASCII percent-encoded.
fn readable(value: &[u8]) -> Cow<'_, str> {
    visible(value).map_or_else(|| percent_encode(value, CONTROLS).to_string().into(), Cow::Borrowed)
}

/// A header value, if it is visible ASCII and white space.
fn visible(value: &[u8]) -> Option<&str> {
    let is_visible = |byte: &u8| matches!(*byte, b' '..=b'~' | b'\t');
    value.iter().all(is_visible).then(|| text(value))
}
