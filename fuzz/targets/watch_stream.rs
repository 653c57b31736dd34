//! Any bytes as an API server's response to a list or a watch: the same objects in whatever pieces it arrives.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sources::fuzz::watch_stream(data));
