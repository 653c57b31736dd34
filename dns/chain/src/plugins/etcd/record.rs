//! The records in etcd: JSON documents of SkyDNS (coredns, plugin/etcd/msg).

use std::collections::HashMap;
use std::net::IpAddr;

use dns_wire::Name;
use serde_json::Value;

use super::key::KeyPrefix;

/// A record: what a key and its document say.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SkyRecord {
    /// The key.
    pub key: String,
    /// An address or a name; may be empty in a record with a text.
    pub host: String,
    pub port: i64,
    pub priority: i64,
    pub weight: i64,
    pub text: String,
    /// Whether it is a mail server.
    pub mail: bool,
    /// Seconds; 0 if the document has none.
    pub ttl: u32,
    /// How many labels of the key's name are left out of the name of an address.
    pub target_strip: usize,
    /// Records with other groups are left out.
    pub group: String,
    /// The lease of the key; 0 without one.
    pub lease: i64,
}

/// The kind of a record's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostKind {
    Address(IpAddr),
    Name,
    /// There is a text instead.
    Text,
}

/// The priority of records that have none.
const PRIORITY: i64 = 10;

impl SkyRecord {
    /// Reads a document. Names of fields are compared without regard to letter case, as Go does.
    pub(super) fn read(key: String, value: &[u8], lease: i64) -> Result<Self, String> {
        let wrong = |what: String| format!("{}: {what}", shortened(&key));
        let document: Value = serde_json::from_slice(value).map_err(|error| wrong(error.to_string()))?;
        let Value::Object(fields) = document else { return Err(wrong("no JSON object".to_owned())) };
        let mut record = Self {
            key: key.clone(),
            host: String::new(),
            port: 0,
            priority: 0,
            weight: 0,
            text: String::new(),
            mail: false,
            ttl: 0,
            target_strip: 0,
            group: String::new(),
            lease,
        };
        for (name, value) in fields {
            if value.is_null() {
                continue;
            }
            let invalid =
                || wrong(format!("invalid value of {}: {}", shortened(&name), shortened(&value.to_string())));
            let text = || value.as_str().map(str::to_owned).ok_or_else(invalid);
            let number = || value.as_i64().ok_or_else(invalid);
            match name.to_ascii_lowercase().as_str() {
                "host" => record.host = text()?,
                "port" => record.port = number()?,
                "priority" => record.priority = number()?,
                "weight" => record.weight = number()?,
                "text" => record.text = text()?,
                "mail" => record.mail = value.as_bool().ok_or_else(invalid)?,
                "ttl" => record.ttl = u32::try_from(number()?).map_err(|_| invalid())?,
                "targetstrip" => record.target_strip = usize::try_from(number()?).unwrap_or(0),
                "group" => record.group = text()?,
                _ => {}
            }
        }
        if record.priority == 0 {
            record.priority = PRIORITY;
        }
        Ok(record)
    }

    pub(super) fn kind(&self) -> HostKind {
        match self.host.parse::<IpAddr>() {
            Ok(address) => HostKind::Address(address.to_canonical()),
            Err(_) if self.text.is_empty() => HostKind::Name,
            Err(_) => HostKind::Text,
        }
    }

    /// The host as a name; `None` if it is no valid one.
    pub(super) fn host_name(&self) -> Option<Name> {
        self.host.parse().ok()
    }

    /// The host as the target of a SRV, MX or NS record: without the labels that `targetstrip` takes away.
    pub(super) fn target(&self) -> Option<Name> {
        self.host_name().map(|name| self.stripped(name))
    }

    /// The name of the key as such a target, for a host that is an address.
    pub(super) fn key_target(&self, prefix: &KeyPrefix) -> Option<Name> {
        prefix.name(&self.key).map(|name| self.stripped(name))
    }

    fn stripped(&self, name: Name) -> Name {
        // As in CoreDNS at least one label stays, or all do.
        if self.target_strip == 0 || self.target_strip >= name.labels().count() {
            return name;
        }
        let skipped: usize = name.labels().take(self.target_strip).map(|label| label.len() + 1).sum();
        Name::from_wire(&name.wire()[skipped..]).unwrap_or(name)
    }

    fn own_weight(&self) -> i64 {
        if self.weight == 0 { 100 } else { self.weight }
    }

    /// The text as character strings (RFC 1035 §3.3.14).
    pub(super) fn text_rdata(&self) -> Vec<u8> {
        let mut rdata = Vec::with_capacity(self.text.len() + 1);
        for piece in self.text.as_bytes().chunks(255) {
            rdata.push(piece.len() as u8);
            rdata.extend_from_slice(piece);
        }
        rdata
    }
}

/// The beginning of a text of etcd, for an error.
fn shortened(text: &str) -> String {
    const MOST: usize = 100;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Leaves the records of one group: that of the shortest key which has one. Without agreement all stay.
pub(super) fn grouped(records: Vec<SkyRecord>) -> Vec<SkyRecord> {
    let depth = |record: &SkyRecord| record.key.matches('/').count();
    let Some(first) = records.first() else { return records };
    let (mut group, mut least) = (first.group.clone(), depth(first));
    for record in &records {
        if depth(record) < least {
            if record.group.is_empty() {
                break;
            }
            (group, least) = (record.group.clone(), depth(record));
        }
    }
    let disagrees =
        |record: &&SkyRecord| depth(record) == least && !record.group.is_empty() && record.group != group;
    if group.is_empty() || records.iter().any(|record| disagrees(&record)) {
        return records;
    }
    records.into_iter().filter(|record| record.group.is_empty() || record.group == group).collect()
}

/// The sums of the weights of all records of a priority.
pub(super) struct PriorityWeights(HashMap<i64, i64>);

impl PriorityWeights {
    pub(super) fn of(records: &[SkyRecord]) -> Self {
        let mut sums = HashMap::new();
        for record in records {
            let sum = sums.entry(record.priority).or_insert(0_i64);
            *sum = sum.saturating_add(record.own_weight());
        }
        Self(sums)
    }

    /// The weight of a record among those of its priority: its share of 100, at least 1. In floating point as in CoreDNS, since
    /// rounding differs otherwise.
    pub(super) fn share(&self, record: &SkyRecord) -> u16 {
        let sum = self.0.get(&record.priority).copied().unwrap_or(1);
        let share = 100.0 / sum as f64 * record.own_weight() as f64;
        (share.floor() as u16).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, json: &str) -> SkyRecord {
        SkyRecord::read(key.to_owned(), json.as_bytes(), 0).unwrap()
    }

    #[test]
    fn documents_are_read_as_go_reads_them() {
        let all = r#"{"HOST":"10.0.0.1","port":8080,"Priority":5,"weight":7,"text":null,"mail":true,"ttl":60,"targetstrip":1,"group":"g","other":[1]}"#;
        let read = record("/skydns/test/a", all);
        assert_eq!((read.host.as_str(), read.port, read.priority, read.weight), ("10.0.0.1", 8080, 5, 7));
        assert_eq!((read.mail, read.ttl, read.target_strip, read.group.as_str()), (true, 60, 1, "g"));
        assert_eq!(record("/k", r#"{"host":"a"}"#).priority, 10);
        for wrong in [
            "",
            "[]",
            r#"{"host":1}"#,
            r#"{"port":"80"}"#,
            r#"{"ttl":-1}"#,
            r#"{"port":1.5}"#,
            r#"{"mail":"no"}"#,
        ] {
            let error = SkyRecord::read("/k".to_owned(), wrong.as_bytes(), 0).unwrap_err();
            assert!(error.starts_with("/k: "), "{wrong}: {error}");
        }
        let long = format!(r#"{{"host":["{}"]}}"#, "ü".repeat(100_000));
        let error = SkyRecord::read("k".repeat(100_000), long.as_bytes(), 0).unwrap_err();
        assert!(error.len() < 500, "{} bytes", error.len());
    }

    #[test]
    fn the_kind_of_a_host_is_address_name_or_text() {
        for (json, kind) in [
            (r#"{"host":"::ffff:10.0.0.1"}"#, HostKind::Address([10, 0, 0, 1].into())),
            (r#"{"host":"::1"}"#, HostKind::Address("::1".parse().unwrap())),
            (r#"{"host":"a.test"}"#, HostKind::Name),
            (r#"{"host":"a.test","text":"t"}"#, HostKind::Text),
            (r#"{"text":"t"}"#, HostKind::Text),
            (r#"{"host":"10.0.0.1","text":"t"}"#, HostKind::Address([10, 0, 0, 1].into())),
        ] {
            assert_eq!(record("/k", json).kind(), kind, "{json}");
        }
        let long = record("/k", &format!(r#"{{"text":"{}"}}"#, "x".repeat(300)));
        assert_eq!((long.text_rdata().len(), long.text_rdata()[0], long.text_rdata()[256]), (302, 255, 45));
    }

    #[test]
    fn the_group_of_the_shortest_key_stays() {
        let keys = |rows: &[(&str, &str)]| {
            let rows =
                rows.iter().map(|(key, group)| record(key, &format!(r#"{{"host":"h","group":"{group}"}}"#)));
            grouped(rows.collect()).into_iter().map(|record| record.key).collect::<Vec<_>>()
        };
        // coredns, plugin/etcd/group_test.go
        assert_eq!(keys(&[("/s/d/a", "g1"), ("/s/d/b", "g1"), ("/s/d/c/a", "g2")]), ["/s/d/a", "/s/d/b"]);
        assert_eq!(keys(&[("/s/d/a", "g1"), ("/s/d/b", "g2"), ("/s/d/c/a", "")]).len(), 3);
        assert_eq!(keys(&[("/s/d/a/x", "g1"), ("/s/d/b", "g2"), ("/s/d/c", "")]), ["/s/d/b", "/s/d/c"]);
        assert_eq!(keys(&[("/s/d/a", ""), ("/s/d/b/c", "g2")]).len(), 2);
        assert!(keys(&[]).is_empty());
    }

    #[test]
    fn weights_are_shares_of_the_records_with_the_same_priority() {
        let weights = |rows: &[(i64, i64)]| {
            let json = |(priority, weight): &(i64, i64)| {
                format!(r#"{{"host":"h","priority":{priority},"weight":{weight}}}"#)
            };
            let all: Vec<SkyRecord> = rows.iter().map(|row| record("/k", &json(row))).collect();
            {
                let weights = PriorityWeights::of(&all);
                all.iter().map(|record| weights.share(record)).collect::<Vec<_>>()
            }
        };
        assert_eq!(weights(&[(1, 0), (1, 0), (1, 0)]), [33, 33, 33]);
        assert_eq!(weights(&[(1, 75), (1, 25), (2, 0)]), [75, 25, 100]);
        assert_eq!(weights(&[(1, 1), (1, 1000)]), [1, 99]);
    }
}
