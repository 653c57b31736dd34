//! Reads a zone file.

use std::cell::Cell;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use dns_wire::Name;
use dns_wire::codes::{class, rtype};

use super::zone::ZoneData;
use crate::presentation::{self, Refusal};

/// The most bytes of a file and those that it includes, and the most records of a zone: far above what a zone of a cluster has.
const MAX_BYTES: u64 = 256 << 20;
const MAX_RECORDS: usize = 4_000_000;

/// Why a zone file cannot be served.
pub(in crate::plugins) enum LoadError {
    /// It does not exist or cannot be read.
    Missing(String),
    /// It has these mistakes: one at least.
    Invalid(Vec<String>),
}

impl LoadError {
    /// The log line when a zone that is served is not replaced, as CoreDNS words it.
    pub(in crate::plugins) fn of_reload(&self, origin: &Name, path: &Path) -> String {
        match self {
            Self::Missing(why) => {
                format!("Failed to open zone \"{origin}\" in \"{}\": {why}", path.display())
            }
            Self::Invalid(_) => format!("Parsing zone \"{origin}\": {}: {self}", path.display()),
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(why) => f.write_str(why),
            Self::Invalid(mistakes) => f.write_str(&mistakes.join("; ")),
        }
    }
}

/// The zone in a file.
pub(in crate::plugins) fn load(path: &Path, origin: &Name) -> Result<ZoneData, LoadError> {
    let left = Cell::new(MAX_BYTES);
    let text = text(path, &left)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let has_includes = Cell::new(false);
    let include = |file: &str| {
        has_includes.set(true);
        self::text(&folder.join(file), &left).map_err(|error| error.to_string())
    };
    let mut zone = parse(&text, origin, &include, MAX_RECORDS)?;
    zone.has_includes = has_includes.get();
    Ok(zone)
}

/// The line of a zone file, or of one that it includes, at which a name has its first record. Read anew: zones have no lines.
pub(super) fn line_of(path: &Path, origin: &Name, name: &[u8]) -> Option<usize> {
    let left = Cell::new(MAX_BYTES);
    let text = text(path, &left).ok()?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let include = |file: &str| self::text(&folder.join(file), &left).map_err(|error| error.to_string());
    // The error at the record has its line.
    let mut stop_at = |record: presentation::TextRecord| match record.owner.lower().wire() == name {
        true => Err(Refusal::Limit(String::new())),
        false => Ok(()),
    };
    presentation::zone(&text, origin, &include, &mut stop_at).err().map(|found| found.line())
}

/// What tells whether a file has changed without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugins) struct FileStamp {
    modified: SystemTime,
    length: u64,
}

/// A file may change again within this time without a new modification time.
const COARSEST_TIME: Duration = Duration::from_secs(2);

impl FileStamp {
    /// The stamp of a file, if any later change of the file gives it another one.
    pub(in crate::plugins) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let modified = metadata.modified().ok()?;
        let is_settled = modified.elapsed().is_ok_and(|age| age > COARSEST_TIME);
        is_settled.then_some(Self { modified, length: metadata.len() })
    }
}

/// The text of a file, whose length is taken from what is left.
fn text(path: &Path, left: &Cell<u64>) -> Result<String, LoadError> {
    let metadata = std::fs::metadata(path).map_err(|error| LoadError::Missing(error.to_string()))?;
    if !metadata.is_file() {
        return Err(LoadError::Invalid(vec!["not a regular file".to_owned()]));
    }
    let Some(rest) = left.get().checked_sub(metadata.len()) else {
        return Err(LoadError::Invalid(vec![format!("more than {MAX_BYTES} bytes in all")]));
    };
    left.set(rest);
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => LoadError::Invalid(vec!["not UTF-8".to_owned()]),
        _ => LoadError::Missing(error.to_string()),
    })
}

pub(super) fn parse(
    text: &str,
    origin: &Name,
    include: presentation::Include<'_>,
    most: usize,
) -> Result<ZoneData, LoadError> {
    let (mut zone, mut count, mut outside) = (ZoneData::new(origin.lower()), 0, 0);
    let read = presentation::zone(text, origin, include, &mut |record| {
        count += 1;
        if count > most {
            return Err(Refusal::Limit(format!("more than {most} records")));
        }
        let owner = record.owner.lower();
        if !owner.is_within(origin) {
            // Glue of other zones is of no use here; CoreDNS's zone ignores it as well.
            outside += 1;
            return Ok(());
        }
        if record.class != class::IN {
            return Err(format!("a record of {owner} is not of class IN").into());
        }
        if record.rtype == rtype::SOA {
            if owner != zone.origin {
                return Err(format!("the SOA record belongs to {owner}, not to {origin}").into());
            }
            // The serial is the first number behind the two names (RFC 1035 §3.3.13).
            let numbers = record.rdata.len().saturating_sub(20);
            let serial = record.rdata.get(numbers..numbers + 4).and_then(|serial| serial.try_into().ok());
            zone.serial = serial.map_or(0, u32::from_be_bytes);
        }
        Ok(zone.insert(&owner, record.rtype, record.ttl, &record.rdata)?)
    });
    read.map_err(|error| LoadError::Invalid(error.mistakes()))?;
    zone.complete().map_err(|error| LoadError::Invalid(vec![error]))?;
    if !zone.has_soa() {
        let what = if outside > 0 {
            format!("no SOA record of {origin}, and {outside} records of other names")
        } else {
            format!("no SOA record of {origin}")
        };
        return Err(LoadError::Invalid(vec![what]));
    }
    Ok(zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_needs_its_own_soa_and_mistakes_have_a_line() {
        let origin: Name = "example.org.".parse().unwrap();
        for (text, wanted) in [
            ("", "no SOA record of example.org."),
            ("a 60 A 10.0.0.1\n", "no SOA record"),
            ("x SOA n h 1 2 3 4 5\n", "belongs to x.example.org."),
            ("@ SOA n h 1 2 3 4 5\na A 10.0.0\n", "line 2: data of A"),
            ("@ CH SOA n h 1 2 3 4 5\n", "not of class IN"),
            ("@ SOA n h 1 2 3 4 5\n$GENERATE 1-2 a$ A 10.0.0.$\n", "more than 2 records"),
        ] {
            let error = parse(text, &origin, &|_| Err(String::new()), 2).err().map(|error| error.to_string());
            assert!(error.as_ref().is_some_and(|error| error.contains(wanted)), "{text}: {error:?}");
        }
        // Nothing behind the last record that fits is read.
        let error = parse(
            "@ SOA n h 1 2 3 4 5\n$GENERATE 1-9 a$ A 10.0.0.$\nb A x\n",
            &origin,
            &|_| Err(String::new()),
            5,
        );
        let error = error.err().map(|error| error.to_string());
        let wanted = r#"line 2: more than 5 records: "$GENERATE 1-9 a$ A 10.0.0.$""#;
        assert_eq!(error.as_deref(), Some(wanted));
        let zone = parse("@ SOA n h 7 2 3 4 5\na.b A 10.0.0.1\n", &origin, &|_| Err(String::new()), 2);
        let zone = zone.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((zone.serial, zone.len()), (7, 2));
        assert!(zone.node(b"\x01b\x07example\x03org\0").is_some(), "a name above others exists");
    }

    /// Reading a name with very many records takes time in proportion to their number, whatever their order.
    #[test]
    fn records_of_a_name_and_its_types_are_limited_and_repeated_ones_count_once() {
        let origin: Name = "example.org.".parse().unwrap();
        let parsed = |text: &str| {
            let text = format!("@ SOA n h 1 2 3 4 5\n{text}");
            let zone = parse(&text, &origin, &|_| Err(String::new()), MAX_RECORDS);
            zone.map(|zone| zone.len()).map_err(|error| error.to_string())
        };
        let addresses = |count: u32| -> String {
            (0..count).map(|at| format!("a A {}\n", std::net::Ipv4Addr::from(at))).collect()
        };
        assert_eq!(parsed(&addresses(4096).repeat(20)), Ok(1 + 4096));
        let error = parsed(&addresses(50_000)).unwrap_err();
        assert_eq!(error, "a.example.org. has more than 4096 records of type A");
        let types = |count: u32| -> String {
            (0..count).map(|at| format!("a TYPE{} \\# 1 00\n", 1000 + at)).collect()
        };
        assert_eq!(parsed(&types(256)), Ok(1 + 256));
        let error = parsed(&types(257)).unwrap_err();
        let wanted = r#"line 258: a.example.org. has records of more than 256 types: "a TYPE1256 \\# 1 00""#;
        assert_eq!(error, wanted);
    }
}
