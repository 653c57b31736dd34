//! Arbitrary bytes as the head of an HTTP/1 response, compared with httparse.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_wire::fuzz::response_head(data));
