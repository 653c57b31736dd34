//! Arbitrary bytes as the head of a CGI response.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_wire::fuzz::cgi_head(data));
