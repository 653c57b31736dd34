//! Reads a zone file.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use dns_wire::Name;
use dns_wire::codes::{class, rtype};

use super::zone::ZoneData;
use crate::presentation;

/// The largest file, and the most records of a zone: far above what a zone of a cluster has.
const MAX_BYTES: u64 = 256 << 20;
const MAX_RECORDS: usize = 4_000_000;

/// Why a zone file cannot be served.
pub(in crate::plugins) enum LoadError {
    /// It does not exist or cannot be read.
    Missing(String),
    /// It has a mistake.
    Invalid(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(why) | Self::Invalid(why) => f.write_str(why),
        }
    }
}

/// The zone in a file.
pub(in crate::plugins) fn load(path: &Path, origin: &Name) -> Result<ZoneData, LoadError> {
    let text = text(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let include = |file: &str| self::text(&folder.join(file)).map_err(|error| error.to_string());
    parse(&text, origin, &include, MAX_RECORDS)
}

fn text(path: &Path) -> Result<String, LoadError> {
    let metadata = std::fs::metadata(path).map_err(|error| LoadError::Missing(error.to_string()))?;
    if !metadata.is_file() {
        return Err(LoadError::Invalid("not a regular file".to_owned()));
    }
    if metadata.len() > MAX_BYTES {
        return Err(LoadError::Invalid(format!("more than {MAX_BYTES} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => LoadError::Invalid("not UTF-8".to_owned()),
        _ => LoadError::Missing(error.to_string()),
    })
}

fn parse(
    text: &str,
    origin: &Name,
    include: presentation::Include<'_>,
    most: usize,
) -> Result<ZoneData, LoadError> {
    let (mut zone, mut count, mut wrong) = (ZoneData::new(origin.lower()), 0, None);
    let mut outside = 0;
    let read = presentation::zone(text, origin, include, &mut |record| {
        count += 1;
        let owner = record.owner.lower();
        if !owner.is_within(origin) {
            // Glue of other zones is of no use here; CoreDNS's zone ignores it as well.
            outside += 1;
        } else if record.class != class::IN {
            wrong.get_or_insert(format!("a record of {owner} is not of class IN"));
        } else if record.rtype == rtype::SOA && owner != zone.origin {
            wrong.get_or_insert(format!("the SOA record belongs to {owner}, not to {origin}"));
        } else if count > most {
            wrong.get_or_insert(format!("more than {most} records"));
        } else {
            if record.rtype == rtype::SOA {
                // The serial is the first number behind the two names (RFC 1035 §3.3.13).
                let numbers = record.rdata.len().saturating_sub(20);
                let serial = record.rdata.get(numbers..numbers + 4).and_then(|serial| serial.try_into().ok());
                zone.serial = serial.map_or(0, u32::from_be_bytes);
            }
            zone.insert(&owner, record.rtype, record.ttl, &record.rdata);
        }
    });
    read.map_err(|error| LoadError::Invalid(error.to_string()))?;
    if let Some(wrong) = wrong {
        return Err(LoadError::Invalid(wrong));
    }
    if !zone.has_soa() {
        let what = if outside > 0 {
            format!("no SOA record of {origin}, and {outside} records of other names")
        } else {
            format!("no SOA record of {origin}")
        };
        return Err(LoadError::Invalid(what));
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
        let zone = parse("@ SOA n h 7 2 3 4 5\na.b A 10.0.0.1\n", &origin, &|_| Err(String::new()), 2);
        let zone = zone.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((zone.serial, zone.len()), (7, 2));
        assert!(zone.node(b"\x01b\x07example\x03org\0").is_some(), "a name above others exists");
    }
}
