//! Records in presentation format (RFC 1035 §5, RFC 3597), as zone files, templates and replies of `any` have them.
//!
//! hickory-proto has a parser as well, but without DNAME, the signature types, unknown types (`\# 4 0a000001`) and lines in its
//! errors, all of which zone files of CoreDNS need.

mod rdata;
mod tokens;

use std::fmt;

use dns_wire::Name;
use dns_wire::codes::class;

use crate::codes::{Class, Type};
use tokens::{ZoneLine, ZoneToken, entries};

/// A record that was read from text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextRecord {
    /// The owner.
    pub owner: Name,
    /// The type.
    pub rtype: u16,
    /// The class.
    pub class: u16,
    /// Seconds that it may be cached.
    pub ttl: u32,
    /// The data in wire form, with complete names.
    pub rdata: Vec<u8>,
}

/// Why a text has no records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRecord {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for InvalidRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for InvalidRecord {}

/// The TTL of a record that has none, where there is no `$TTL` and no record before it.
const DEFAULT_TTL: u32 = 3600;

/// The most records that one `$GENERATE` may make.
const MAX_GENERATED: u32 = 65_536;

/// How deeply `$INCLUDE`d files may include others.
const MAX_INCLUDES: usize = 7;

/// The one record of a text, with names relative to the root. `None` if the text has only blanks and comments.
pub fn record(text: &str) -> Result<Option<TextRecord>, InvalidRecord> {
    let mut records = Vec::new();
    let mut reader = ZoneReader { origin: Name::ROOT, ttl: None, owner: None, include: None, depth: 0 };
    reader.read(text, &mut |record| records.push(record))?;
    match records.len() {
        0 | 1 => Ok(records.pop()),
        _ => Err(InvalidRecord { line: 1, what: "more than one record".to_owned() }),
    }
}

/// Reads the text of an included file.
pub type Include<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// Passes all records of a zone file to `each`. `include` reads the files that `$INCLUDE` names.
pub fn zone(
    text: &str,
    origin: &Name,
    include: Include<'_>,
    each: &mut dyn FnMut(TextRecord),
) -> Result<(), InvalidRecord> {
    let mut reader = ZoneReader { origin: *origin, ttl: None, owner: None, include: Some(include), depth: 0 };
    reader.read(text, each)
}

/// The state of a zone file that later lines refer to.
struct ZoneReader<'i> {
    origin: Name,
    /// `$TTL`, or the TTL of the last record.
    ttl: Option<u32>,
    owner: Option<Name>,
    include: Option<Include<'i>>,
    depth: usize,
}

impl ZoneReader<'_> {
    fn read(&mut self, text: &str, each: &mut dyn FnMut(TextRecord)) -> Result<(), InvalidRecord> {
        for entry in entries(text) {
            let entry = entry?;
            let failed = |what| InvalidRecord { line: entry.line, what };
            match entry.tokens.first().map(|token| token.text) {
                Some("$ORIGIN") => self.origin = self.directive_name(&entry).map_err(failed)?,
                Some("$TTL") => {
                    let [_, ttl] = entry.tokens.as_slice() else {
                        return Err(failed("$TTL takes one value".to_owned()));
                    };
                    self.ttl = Some(ttl.ttl().map_err(failed)?);
                }
                Some("$INCLUDE") => self.include(&entry, each)?,
                Some("$GENERATE") => self.generate(&entry, each)?,
                Some(_) => each(self.record(&entry).map_err(failed)?),
                None => {}
            }
        }
        Ok(())
    }

    fn directive_name(&self, entry: &ZoneLine<'_>) -> Result<Name, String> {
        match entry.tokens.as_slice() {
            [_, name] => name.name(&self.origin),
            [directive, ..] => Err(format!("{} takes one name", directive.text)),
            [] => Err(String::new()),
        }
    }

    fn include(
        &mut self,
        entry: &ZoneLine<'_>,
        each: &mut dyn FnMut(TextRecord),
    ) -> Result<(), InvalidRecord> {
        let failed = |what| InvalidRecord { line: entry.line, what };
        let (file, origin) = match entry.tokens.as_slice() {
            [_, file] => (file, self.origin),
            [_, file, origin] => (file, origin.name(&self.origin).map_err(failed)?),
            _ => return Err(failed("$INCLUDE takes a file and an origin".to_owned())),
        };
        let include = self.include.ok_or_else(|| failed("$INCLUDE is not possible here".to_owned()))?;
        if self.depth >= MAX_INCLUDES {
            return Err(failed(format!("files include each other more than {MAX_INCLUDES} times")));
        }
        let text = include(file.text).map_err(|why| failed(format!("{}: {why}", file.text)))?;
        let depth = self.depth + 1;
        let mut reader =
            ZoneReader { origin, ttl: self.ttl, owner: self.owner, include: self.include, depth };
        reader.read(&text, each).map_err(|error| failed(format!("{}: {error}", file.text)))
    }

    /// `$GENERATE START-STOP[/STEP] OWNER … RDATA`: a record for each number, which replaces `$` (BIND 9 manual).
    fn generate(
        &mut self,
        entry: &ZoneLine<'_>,
        each: &mut dyn FnMut(TextRecord),
    ) -> Result<(), InvalidRecord> {
        let failed = |what: String| InvalidRecord { line: entry.line, what };
        let [_, range, rest @ ..] = entry.tokens.as_slice() else {
            return Err(failed("$GENERATE takes a range and a record".to_owned()));
        };
        let (range, step) = range.text.split_once('/').unwrap_or((range.text, "1"));
        let bounds = range.split_once('-').and_then(|(from, to)| {
            Some((from.parse::<u32>().ok()?, to.parse::<u32>().ok()?, step.parse::<u32>().ok()?))
        });
        let Some((from, to, step)) =
            bounds.filter(|(from, to, step)| from <= to && *step > 0 && (to - from) / step < MAX_GENERATED)
        else {
            return Err(failed(format!("range {range:?} of $GENERATE: not START-STOP[/STEP]")));
        };
        for number in (from..=to).step_by(step as usize) {
            let words: Option<Vec<String>> =
                rest.iter().map(|token| tokens::numbered(token.text, number)).collect();
            let words = words.ok_or_else(|| failed("modifier of $GENERATE".to_owned()))?;
            let tokens = words.iter().zip(rest).map(|(word, token)| ZoneToken { text: word, ..*token });
            let entry = ZoneLine { line: entry.line, indented: false, tokens: tokens.collect() };
            each(self.record(&entry).map_err(failed)?);
        }
        Ok(())
    }

    fn record(&mut self, entry: &ZoneLine<'_>) -> Result<TextRecord, String> {
        let mut rest = entry.tokens.as_slice();
        let owner = match (entry.indented, self.owner) {
            (true, Some(owner)) => owner,
            (true, None) => return Err("no record before this one has an owner".to_owned()),
            (false, _) => {
                let (first, after) = rest.split_first().ok_or("no owner")?;
                rest = after;
                first.name(&self.origin)?
            }
        };
        self.owner = Some(owner);
        let (mut ttl, mut class) = (None, None);
        let rtype = loop {
            let Some((token, after)) = rest.split_first() else {
                return Err("the record has no type and data".to_owned());
            };
            rest = after;
            if let Some(known) = Type::named(token.text) {
                break known.0;
            } else if let Some(known) = Class::named(token.text).filter(|_| class.is_none()) {
                class = Some(known.0);
            } else if let Some(known) = token.ttl().ok().filter(|_| ttl.is_none()) {
                ttl = Some(known);
            } else {
                return Err(format!("{:?} is not a type, a class or a TTL", token.text));
            }
        };
        let ttl = ttl.or(self.ttl).unwrap_or(DEFAULT_TTL);
        self.ttl.get_or_insert(ttl);
        let rdata = rdata::read(rtype, rest, &self.origin)
            .map_err(|what| format!("data of {}: {what}", Type(rtype)))?;
        Ok(TextRecord { owner, rtype, class: class.unwrap_or(class::IN), ttl, rdata })
    }
}

#[cfg(test)]
mod tests;
