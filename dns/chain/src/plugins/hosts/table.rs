//! The names and addresses of a hosts file.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use config::hosts_file::{self, HostsLine};
use dns_wire::{Name, Query};
use foldhash::fast::RandomState;

use crate::names::Zones;

/// The most pairs of address and name in a file.
pub(super) const MAX_ENTRIES: usize = 1_000_000;

/// The most addresses of a name, and names of an address. More do not fit into a reply.
pub(super) const MAX_RECORDS: usize = 4096;

/// Names and addresses in both directions. Names are in wire form and lower case.
#[derive(Debug, Default)]
pub(super) struct HostTable {
    names: HashMap<Arc<[u8]>, Vec<IpAddr>, RandomState>,
    /// Addresses of the names one label below these: the entries of `*.<name>`.
    wildcards: HashMap<Arc<[u8]>, Vec<IpAddr>, RandomState>,
    reverse: HashMap<IpAddr, Vec<Arc<[u8]>>, RandomState>,
}

/// The options for reading a file into a table.
pub(super) struct HostTableOptions {
    /// Names outside are skipped.
    pub zones: Zones,
    /// Whether addresses get PTR records.
    pub reverse: bool,
}

/// Lines and names that are skipped, of which a warning says what is wrong.
const SHOWN: usize = 10;

/// Lines and names of a file that are skipped.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Skipped {
    /// How many there are.
    pub count: usize,
    /// What is wrong with the first of them.
    pub first: Vec<String>,
}

impl Skipped {
    fn add(&mut self, what: impl FnOnce() -> String) {
        if self.first.len() < SHOWN {
            self.first.push(what());
        }
        self.count += 1;
    }
}

/// A file has more than [`MAX_ENTRIES`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooManyEntries;

impl HostTable {
    /// The table of a file. Invalid lines and names are skipped, as in CoreDNS.
    pub(super) fn read(text: &str, options: &HostTableOptions) -> Result<(Self, Skipped), TooManyEntries> {
        let (mut table, mut skipped, mut entries) = (Self::default(), Skipped::default(), 0);
        for line in hosts_file::lines(text) {
            let HostsLine { number, address, names } = match line {
                Ok(line) => line,
                Err(error) => {
                    skipped.add(|| error.to_string());
                    continue;
                }
            };
            entries += names.len();
            if entries > MAX_ENTRIES {
                return Err(TooManyEntries);
            }
            for text in names {
                match text.parse::<Name>() {
                    Ok(name) => {
                        if !table.add(name.lower(), address, options) {
                            skipped.add(|| {
                                format!(
                                    "line {number}: more than {MAX_RECORDS} records of {text} or {address}"
                                )
                            });
                        }
                    }
                    // The text of the error has the whole name, which may be as long as the file.
                    Err(error) => skipped.add(|| {
                        let start: String = text.chars().take(64).collect();
                        format!("line {number}: {start:?} is not a domain name: expected {}", error.wanted)
                    }),
                }
            }
        }
        Ok((table, skipped))
    }

    /// Adds an entry. Returns whether there is room for all of its records.
    fn add(&mut self, name: Name, address: IpAddr, options: &HostTableOptions) -> bool {
        if !options.zones.names().iter().any(|zone| name.is_within(zone)) {
            return true;
        }
        let wire = name.wire();
        if let Some(parent) = wire.strip_prefix(b"\x01*") {
            return push(self.wildcards.entry(parent.into()), address);
        }
        let entry = self.names.entry(wire.into());
        let name = entry.key().clone();
        let mut fits = push(entry, address);
        if options.reverse {
            fits &= push(self.reverse.entry(address), name);
        }
        fits
    }

    /// The number of records, as CoreDNS counts them: addresses of names, and names of addresses.
    pub(super) fn len(&self) -> usize {
        let addresses = self.names.values().chain(self.wildcards.values()).map(Vec::len);
        addresses.sum::<usize>() + self.reverse.values().map(Vec::len).sum::<usize>()
    }

    /// The addresses of one family of a name. An entry of the name itself precedes a wildcard, in each family for itself.
    // Hot: 0 allocations.
    pub(super) fn addresses(&self, query: &Query, v4: bool) -> impl Iterator<Item = IpAddr> {
        let of_family = |addresses: &&[IpAddr]| addresses.iter().any(|address| address.is_ipv4() == v4);
        let exact = self.names.get(query.lower()).map(Vec::as_slice).filter(of_family);
        let found = exact.or_else(|| self.wildcard(query));
        found.unwrap_or_default().iter().copied().filter(move |address| address.is_ipv4() == v4)
    }

    /// The addresses of the wildcard that covers a name. A wildcard covers one label; a name of a single label has none.
    fn wildcard(&self, query: &Query) -> Option<&[IpAddr]> {
        if self.wildcards.is_empty() {
            return None;
        }
        let parent = query.lower().get(usize::from(*query.offsets().get(1)?)..)?;
        self.wildcards.get(parent).map(Vec::as_slice)
    }

    /// Whether a name has an address of either family.
    // Hot: 0 allocations.
    pub(super) fn contains(&self, query: &Query) -> bool {
        self.names.contains_key(query.lower()) || self.wildcard(query).is_some()
    }

    /// The names of an address, in wire form.
    // Hot: 0 allocations.
    pub(super) fn names_of(&self, address: IpAddr) -> &[Arc<[u8]>] {
        self.reverse.get(&address).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Adds a value unless the entry is full. Most entries have one value, so the first one is stored without spare room.
fn push<K, V>(entry: std::collections::hash_map::Entry<'_, K, Vec<V>>, value: V) -> bool {
    let values = entry.or_insert_with(|| Vec::with_capacity(1));
    if values.len() >= MAX_RECORDS {
        return false;
    }
    values.push(value);
    true
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use dns_wire::codes::rtype;

    use super::*;

    fn options(zones: &[&str]) -> HostTableOptions {
        HostTableOptions { zones: Zones::new(zones.iter().copied()), reverse: true }
    }

    fn addresses(table: &HostTable, name: &str, v4: bool) -> Vec<String> {
        let query = Query::new(0, &name.parse().unwrap(), rtype::A);
        table.addresses(&query, v4).map(|address| address.to_string()).collect()
    }

    #[test]
    fn names_outside_the_zones_are_skipped() {
        let text = "10.0.0.1 a.example.org b.example.net Example.ORG notexample.org";
        let (table, skipped) = HostTable::read(text, &options(&["example.org."])).unwrap();
        assert_eq!((table.len(), skipped), (4, Skipped::default()));
        for (name, found) in
            [("a.example.org", 1), ("b.example.net", 0), ("example.org", 1), ("notexample.org", 0)]
        {
            assert_eq!(addresses(&table, name, true).len(), found, "{name}");
        }
        assert_eq!(table.names_of([10, 0, 0, 1].into()).len(), 2);
    }

    #[test]
    fn an_exact_name_hides_a_wildcard_in_its_own_family() {
        let text = "10.0.0.1 *.example.org\nfd00::1 *.example.org\n10.0.0.2 a.example.org\n10.0.0.3 *";
        let (table, _) = HostTable::read(text, &options(&["."])).unwrap();
        for (name, v4, wanted) in [
            ("a.example.org", true, &["10.0.0.2"][..]),
            ("a.example.org", false, &["fd00::1"]),
            ("b.example.org", true, &["10.0.0.1"]),
            ("*.example.org", true, &["10.0.0.1"]),
            ("example.org", true, &[]),
            ("a.b.example.org", true, &[]),
            ("org", true, &[]),
        ] {
            assert_eq!(addresses(&table, name, v4), wanted, "{name}");
        }
        assert!(table.names_of([10, 0, 0, 1].into()).is_empty(), "a wildcard has no PTR record");
    }

    #[test]
    fn lines_and_names_that_are_not_valid_are_counted() {
        let label = "a".repeat(64);
        let text = format!("10.0.0.1 ok a..b {label}\nnonsense\n10.0.0.2 fine");
        let (table, skipped) = HostTable::read(&text, &options(&["."])).unwrap();
        assert_eq!((table.len(), skipped.count), (4, 3));
        let [empty_label, long_label, no_address] = skipped.first.as_slice() else {
            panic!("{:?}", skipped.first)
        };
        assert_eq!(empty_label, "line 1: \"a..b\" is not a domain name: expected labels of 1 to 63 bytes");
        assert!(long_label.starts_with("line 1: \"aaaa"), "{long_label}");
        assert!(no_address.starts_with("line 2: \"nonsense\""), "{no_address}");
        let (_, skipped) = HostTable::read(&"nonsense\n".repeat(100), &options(&["."])).unwrap();
        assert_eq!((skipped.count, skipped.first.len()), (100, SHOWN));
    }

    #[test]
    fn the_records_of_a_name_and_of_an_address_are_bounded() {
        let (mut text, more) = (String::new(), 10);
        for index in 0..MAX_RECORDS + more {
            writeln!(text, "10.{}.{}.1 many", index / 256, index % 256).unwrap();
            writeln!(text, "0.0.0.0 name{index}").unwrap();
        }
        let (table, skipped) = HostTable::read(&text, &options(&["."])).unwrap();
        assert_eq!(addresses(&table, "many", true).len(), MAX_RECORDS);
        assert_eq!(table.names_of([0, 0, 0, 0].into()).len(), MAX_RECORDS);
        assert_eq!(skipped.count, 2 * more);
        let last = format!("name{}", MAX_RECORDS + more - 1);
        assert_eq!(addresses(&table, &last, true), ["0.0.0.0"], "only the PTR record is left out");
    }

    #[test]
    fn a_file_with_too_many_entries_is_refused() {
        let text = format!("::1{}", " a".repeat(MAX_ENTRIES));
        assert!(HostTable::read(&text, &options(&["example.org."])).is_ok());
        assert_eq!(HostTable::read(&(text + " a"), &options(&["example.org."])).err(), Some(TooManyEntries));
    }
}
