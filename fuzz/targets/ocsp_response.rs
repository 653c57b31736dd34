//! Arbitrary bytes as the response of an OCSP responder, and as a certificate of an issuer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| net::fuzz::ocsp_response(data));
