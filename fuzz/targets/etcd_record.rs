//! Arbitrary text as keys and documents of SkyDNS in etcd.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| dns_chain::fuzz::etcd_record(&String::from_utf8_lossy(data)));
