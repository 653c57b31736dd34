//! Strict-Transport-Security (RFC 6797), which the ConfigMap turns on by default (`hsts`).

use http::header::STRICT_TRANSPORT_SECURITY;
use http::{HeaderValue, response};

use crate::exchange::{Exchange, Scheme};
use crate::filter::Filter;

/// Says on every https answer that the host is to be asked over https only; replaces what the upstream says (§3.4).
#[derive(Debug)]
pub(crate) struct Hsts;

const VALUE: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");

impl Filter for Hsts {
    fn response(&self, exchange: &Exchange, head: &mut response::Parts) {
        if exchange.scheme == Scheme::Https {
            head.headers.insert(STRICT_TRANSPORT_SECURITY, VALUE);
        }
    }
}
