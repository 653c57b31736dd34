//! Any bytes as the head of an endpoint's response.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_proxy::fuzz::response_head(data));
