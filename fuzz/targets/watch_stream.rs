//! Arbitrary bytes as an API server's list or watch response: the decoded objects do not depend on how it is split.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sources::fuzz::watch_stream(data));
