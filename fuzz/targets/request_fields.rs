//! Arbitrary bytes as the head of a request to routes that read its fields: cookies, credentials, addresses, origins.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_routes::fuzz::request_fields(data));
