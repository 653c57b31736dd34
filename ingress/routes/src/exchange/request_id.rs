//! The identifier of a request.

use bytes::Bytes;
use ingress_wire::known_header::KnownHeader;
use ingress_wire::request::ParsedRequest;

/// `X-Request-ID`: the client's, or 32 hexadecimal digits, or none (`generate-request-id: false`).
#[derive(Clone, Debug, Default)]
pub enum RequestId {
    /// Made for the request.
    Own([u8; 32]),
    /// As the client sent it.
    Client(Bytes),
    /// None.
    #[default]
    None,
}

/// The two hexadecimal digits of each byte. Hot: a look-up for both takes a third of the instructions of one for each.
static PAIRS: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let (mut pairs, mut byte) = ([[0; 2]; 256], 0);
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

impl RequestId {
    /// The client's, if it sent one that is not empty.
    pub fn of(request: Option<&ParsedRequest>, random: impl FnOnce() -> u128) -> Self {
        let given = request.and_then(|request| request.head().get_bytes(KnownHeader::XRequestId));
        if let Some(value) = given.filter(|value| !value.is_empty()) {
            return Self::Client(value);
        }
        let mut digits = [0; 32];
        for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(random().to_be_bytes()) {
            *pair = PAIRS[usize::from(byte)];
        }
        Self::Own(digits)
    }

    /// Its bytes; empty if there is none.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Own(digits) => digits,
            Self::Client(value) => value,
            Self::None => b"",
        }
    }

    /// Drops an identifier that the client has not sent.
    pub fn drop_own(&mut self) {
        if matches!(self, Self::Own(_)) {
            *self = Self::None;
        }
    }
}
