//! Arbitrary text as a zone file: its records are written and read as the same, and queries to the zone have valid replies.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| dns_chain::fuzz::zone_file(&String::from_utf8_lossy(data)));
