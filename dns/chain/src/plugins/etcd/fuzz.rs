//! Any text as documents in etcd.

use dns_wire::Name;

use super::key::KeyPrefix;
use super::record::{HostKind, PriorityWeights, SkyRecord, grouped};

/// Lines of a key, a tab, and the document of that key; those of one name.
///
/// # Panics
/// When an error does not name its key, when a weight is 0, or when a record has a target that is not a name.
pub fn etcd_record(text: &str) {
    let prefix = KeyPrefix::new("/skydns");
    let mut records = Vec::new();
    for (key, document) in text.lines().filter_map(|line| line.split_once('\t')) {
        match SkyRecord::read(key.to_owned(), document.as_bytes(), 0) {
            Ok(record) => records.push(record),
            Err(error) => assert!(error.len() < 2048, "the message is bounded"),
        }
        let Some(name) = prefix.name(key) else { continue };
        // Only keys that the name leads to are read.
        if let Some(query) = prefix.query(&name) {
            query.matches(key);
        }
    }
    let before = records.len();
    let records = grouped(records);
    assert!(records.len() <= before, "a record more than were read");
    let weights = PriorityWeights::of(&records);
    for record in &records {
        assert!(weights.share(record) > 0, "{record:?}");
        let targets = [record.target(), record.key_target(&prefix)];
        targets
            .iter()
            .flatten()
            .for_each(|name| assert_eq!(Name::from_wire(name.wire()).as_ref(), Some(name)));
        match record.kind() {
            HostKind::Text => assert!(!record.text.is_empty()),
            HostKind::Address(address) => assert_eq!(address, address.to_canonical()),
            HostKind::Name => {}
        }
        let strings = record.text_rdata();
        assert!(strings.len() >= record.text.len(), "{record:?}");
    }
}
