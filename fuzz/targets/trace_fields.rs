//! Arbitrary `traceparent` and `tracestate` fields: what is passed on is valid and has the same trace.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ingress_routes::fuzz::trace_fields(data));
