//! Arbitrary lines as keys of the ConfigMap: parses them, reports problems and routes a request.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_routes::fuzz::config_map_values(&String::from_utf8_lossy(data)));
