//! Arbitrary bytes as changes to a head, which is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_wire::fuzz::head_writer(data));
