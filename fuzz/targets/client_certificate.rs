//! Arbitrary bytes as the certificate of a client: reads its names and variables, and verifies it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_routes::fuzz::client_certificate(data));
