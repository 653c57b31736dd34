//! Arbitrary text as a snippet of a server and of a location, which then serves a request.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_routes::fuzz::snippet(&String::from_utf8_lossy(data)));
