//! Arbitrary lines as paths of Ingress rules and a request target: normalises, matches and rewrites it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_routes::fuzz::path_matching(&String::from_utf8_lossy(data)));
