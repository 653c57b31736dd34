//! Arbitrary bytes as a TLS ClientHello.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_wire::fuzz::client_hello(data));
