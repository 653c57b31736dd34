//! Why Portolan answers otherwise than nginx.

use crate::beside_nginx::Reason;

pub(super) const REASONS: &[Reason] = &[
    (
        "400",
        "RST_STREAM PROTOCOL_ERROR",
        "malformed (RFC 9113 §8.1.1): the stream is reset without an answer",
    ),
    ("RST_STREAM PROTOCOL_ERROR", "GOAWAY PROTOCOL_ERROR", CONNECTION),
    ("400", "GOAWAY PROTOCOL_ERROR", CONNECTION),
    ("200", "RST_STREAM PROTOCOL_ERROR", OF_CONNECTIONS),
    ("GOAWAY ENHANCE_YOUR_CALM", "400", "the connection and its other requests stay"),
    ("GOAWAY PROTOCOL_ERROR", "200: body `hello`", TRAILERS),
];

pub(super) const NOTES: &[(&str, &str)] = &[
    ("name `x\\xe9`", "names are ASCII"),
    ("value `a\\x01b`", "control characters are refused"),
    ("value `a\\x7fb`", "control characters are refused"),
    ("`proxy-connection: keep-alive`", OF_CONNECTIONS),
    ("`upgrade: websocket`", OF_CONNECTIONS),
    ("`upgrade: h2c`", OF_CONNECTIONS),
    ("`transfer-encoding: identity`", OF_CONNECTIONS),
    ("`te: trailers`", "gRPC endpoints need it"),
    ("`:path` after a field", PSEUDO),
    ("`:authority` after a field", PSEUDO),
    ("`:path: /a#b`", "a fragment is no part of a target, as in HTTP/1"),
    (
        "`:path: /\\xe9`",
        "a target that is no UTF-8 cannot be decoded: the connection ends, and its other requests with it",
    ),
    ("CONNECT without `:scheme` and `:path`", "the answer that CONNECT gets in HTTP/1"),
    ("CONNECT with `:path`", "malformed (RFC 9113 §8.5)"),
    ("`transfer-encoding: chunked`, DATA in chunks", OF_CONNECTIONS),
    ("trailers with `transfer-encoding`", OF_CONNECTIONS),
];

const CONNECTION: &str = "the field cannot be decoded: the connection ends, and its other requests with it";
const OF_CONNECTIONS: &str = "fields of a connection are malformed in HTTP/2 (RFC 9113 §8.2.2)";
const PSEUDO: &str = "pseudo-header fields come first (RFC 9113 §8.3)";
const TRAILERS: &str =
    "trailers are allowed; those that frame or route a message, and pseudo-header fields, are removed";
