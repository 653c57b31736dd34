//! Arbitrary bytes as a chunked body, compared with httparse.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_wire::fuzz::chunked_body(data));
