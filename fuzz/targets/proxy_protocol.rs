//! Arbitrary bytes as a PROXY protocol header.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_wire::fuzz::proxy_protocol(data));
