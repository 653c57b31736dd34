//! Arbitrary lines of htpasswd: a hash that is accepted can be checked within a bounded time.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_routes::fuzz::htpasswd(data));
