//! An arbitrary packet as a query: it is dropped, rejected with a valid reply, or parsed and encoded again without loss.
#![no_main]

use std::cell::RefCell;

use dns_wire::{Query, Rejection, Reply};
use libfuzzer_sys::fuzz_target;

thread_local! {
    /// Reused for every packet, as in the server, to detect state that is left from the previous packet.
    static QUERY: RefCell<Query> = RefCell::default();
}

fuzz_target!(|packet: &[u8]| {
    QUERY.with_borrow_mut(|query| {
        let mut out = [0; 4096];
        match query.parse(packet) {
            Err(Rejection::Drop) => {}
            Err(Rejection::Reply(code)) => {
                let length = query.encode_error(code, &mut out);
                assert!((12..=512).contains(&length), "a rejection of {length} bytes");
                assert_eq!(out[..2], packet[..2], "the rejection has another ID");
                assert!(out[2] & 0x80 != 0, "the rejection is not a response");
            }
            Ok(()) => {
                let length = query.encode(query.id, &mut out);
                let mut again = Query::default();
                assert_eq!(again.parse(&out[..length]), Ok(()), "the encoded query cannot be parsed");
                assert_eq!(again.name(), query.name());
                assert_eq!(
                    (again.id, again.qtype, again.qclass, again.edns),
                    (query.id, query.qtype, query.qclass, query.edns)
                );
                assert_eq!(again.options(), query.options());
                assert!(query.lower() == query.name().to_ascii_lowercase());
                let limit = query.udp_limit();
                let length = Reply::default().encode(query, limit, &mut out);
                assert!(length >= 12 && length <= limit, "an empty reply of {length} bytes");
            }
        }
    });
});
