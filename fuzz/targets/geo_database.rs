//! Arbitrary files of GeoIP databases: a file that is accepted can be looked up in.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_routes::fuzz::geo_database(data));
