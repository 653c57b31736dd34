//! What a head says about its message and its connection (RFC 9110 §7.6, RFC 9112 §6.3, §9.3).

use crate::head::Head;
use crate::known_header::{KnownHeader, KnownSet};

/// How the body of a message is delimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageFraming {
    /// There is no body.
    #[default]
    None,
    /// So many bytes. A request with `Content-Length: 0` has this, a response with it has no body.
    Length(u64),
    /// The chunked coding (RFC 9112 §7.1).
    Chunked,
    /// All bytes until the connection ends; responses only.
    UntilClose,
}

impl MessageFraming {
    /// Whether no byte of a body follows the head.
    pub fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// The version of a message that was received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpVersion {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2
    Http2,
}

/// The fields that concern one connection only, whatever `Connection` lists (RFC 9110 §7.6.1), and those that frame the message.
pub const HOP_BY_HOP: KnownSet = KnownSet::of(&[
    KnownHeader::Connection,
    KnownHeader::KeepAlive,
    KnownHeader::ProxyConnection,
    KnownHeader::Te,
    KnownHeader::TransferEncoding,
    KnownHeader::Upgrade,
]);

/// What `Connection` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// The connection ends after this message.
    pub close: bool,
    /// An HTTP/1.0 connection stays open.
    pub keep_alive: bool,
    /// `Upgrade` is meant.
    pub upgrade: bool,
    /// Known headers that are listed: they concern this connection only.
    pub listed: KnownSet,
    /// Other names are listed, see [`connection_tokens`].
    pub lists_others: bool,
}

impl ConnectionOptions {
    /// Reads all `Connection` fields.
    pub fn of(head: &Head) -> Self {
        let mut options = Self::default();
        if !head.has(KnownHeader::Connection) {
            return options;
        }
        for token in connection_tokens(head) {
            match token.len() {
                5 if token.eq_ignore_ascii_case(b"close") => options.close = true,
                10 if token.eq_ignore_ascii_case(b"keep-alive") => options.keep_alive = true,
                7 if token.eq_ignore_ascii_case(b"upgrade") => options.upgrade = true,
                _ => match KnownHeader::of(token) {
                    Some(known) => options.listed.insert(known),
                    None => options.lists_others = true,
                },
            }
        }
        options
    }

    /// Whether another message may follow on the connection.
    pub fn keeps_alive(&self, version: HttpVersion) -> bool {
        !self.close && (self.keep_alive || version > HttpVersion::Http10)
    }
}

/// The members of all `Connection` fields, without empty ones.
pub fn connection_tokens(head: &Head) -> impl Iterator<Item = &[u8]> {
    list_members(head, KnownHeader::Connection)
}

/// The members of the comma-separated lists in all fields of this name, without empty ones (RFC 9110 §5.6.1).
pub fn list_members(head: &Head, header: KnownHeader) -> impl Iterator<Item = &[u8]> {
    let members = head.get_all(header).flat_map(|value| value.split(|byte| *byte == b','));
    members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// A `Content-Length`: digits only, 18 at most, so that it fits a signed 64-bit number, which is nginx's limit.
pub(crate) fn content_length(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
    is_number.then(|| value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}
