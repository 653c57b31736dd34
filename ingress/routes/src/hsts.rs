//! Strict-Transport-Security (RFC 6797), which the ConfigMap turns on by default (`hsts`).

use http::header::STRICT_TRANSPORT_SECURITY;
use http::{HeaderValue, response};

use crate::exchange::{Exchange, RequestScheme};
use crate::filter::Filter;

/// Sets Strict-Transport-Security on every response over https and replaces that of the upstream.
#[derive(Debug)]
pub(crate) struct Hsts;

const VALUE: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");

impl Filter for Hsts {
    fn response(&self, exchange: &Exchange, head: &mut response::Parts) {
        if exchange.scheme == RequestScheme::Https {
            head.headers.insert(STRICT_TRANSPORT_SECURITY, VALUE);
        }
    }
}
