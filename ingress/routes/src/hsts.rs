//! Strict-Transport-Security (RFC 6797), which the ConfigMap turns on by default (`hsts`).

use crate::exchange::{Exchange, RequestScheme};
use crate::plan::filter::{ResponseHead, ResponseHeadFilter};
use crate::plan::head_edits::HeadEdits;

/// Sets Strict-Transport-Security on every response over https and replaces that of the upstream.
#[derive(Debug)]
pub(crate) struct Hsts;

const VALUE: &[u8] = b"max-age=31536000; includeSubDomains";

impl ResponseHeadFilter for Hsts {
    fn edit<'r>(&'r self, exchange: &'r Exchange, _: &ResponseHead<'_>, edits: &mut HeadEdits<'r>) {
        if exchange.scheme == RequestScheme::Https {
            edits.set("Strict-Transport-Security", VALUE);
        }
    }
}
