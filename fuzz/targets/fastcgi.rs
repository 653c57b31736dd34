//! Arbitrary bytes as FastCGI records.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_wire::fuzz::fastcgi(data));
