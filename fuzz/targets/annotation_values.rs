//! Arbitrary lines as annotations of an Ingress: parses them, reports problems and routes a request.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_routes::fuzz::annotation_values(&String::from_utf8_lossy(data)));
