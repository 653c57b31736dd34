//! The wall clock, which may be set forward or back: the DNS server measures time with the monotonic clock.

use crate::none;
use crate::workspace::{root, short};

/// Files of the DNS server that read the wall clock, and what for.
const READERS: &[(&str, &str)] = &[
    ("dns/chain/src/authorities/verifier.rs", "the validity of certificates in its tests"),
    ("dns/chain/src/plugins/cache.rs", "dates in signatures"),
    ("dns/chain/src/plugins/etcd.rs", "a serial number"),
    ("dns/chain/src/plugins/log/format.rs", "the time of a log line"),
    ("dns/chain/src/plugins/trace/spans.rs", "the time of a span"),
];

#[test]
fn the_wall_clock_is_read_only_for_dates() {
    let mut breaches = Vec::new();
    for file in crate::workspace::rust_files().into_iter().filter(|file| file.starts_with(root().join("dns")))
    {
        let text = std::fs::read_to_string(&file).expect("a source file is readable");
        let reads =
            ["SystemTime::now()", "Timestamp::now()", "Utc::now()"].iter().any(|call| text.contains(call));
        if reads && !READERS.iter().any(|(path, _)| file == root().join(path)) {
            breaches.push(format!(
                "{}: use Instant, or name its purpose in tests/tests/house/clock.rs",
                short(&file)
            ));
        }
    }
    none("durations are measured with the monotonic clock", breaches);
}
