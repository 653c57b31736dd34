//! Arbitrary text as a question and the directives of a server block, which then answers it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| dns_chain::fuzz::plugin_rules(&String::from_utf8_lossy(data)));
