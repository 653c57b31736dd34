//! Arbitrary bytes as the head of an endpoint's HTTP/1 response.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_proxy::fuzz::response_head(data));
