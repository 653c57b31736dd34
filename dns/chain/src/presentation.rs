//! Records in presentation format (RFC 1035 §5, RFC 3597), as zone files, templates and replies of `any` have them.
//!
//! hickory-proto has a parser as well, but without DNAME, the signature types, unknown types (`\# 4 0a000001`) and lines in its
//! errors, all of which zone files of CoreDNS need.

mod rdata;
mod tokens;
mod text;

use std::fmt;

use dns_wire::Name;
use dns_wire::codes::class;

use crate::codes::{Class, Type};
pub use text::record_text;
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

/// The mistakes of a zone file: one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidZone(Vec<ZoneMistake>);

/// A mistake of a zone file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ZoneMistake {
    record: InvalidRecord,
    /// The text of the line, unless it only names an included file.
    text: String,
}

/// Why a record is not taken.
#[derive(Debug)]
pub enum Refusal {
    /// The record has a mistake. The next records are read.
    Record(String),
    /// A limit is reached. Nothing more is read.
    Limit(String),
}

impl From<String> for Refusal {
    fn from(what: String) -> Self {
        Self::Record(what)
    }
}

impl InvalidZone {
    /// The mistakes, each with its line.
    pub fn mistakes(&self) -> Vec<String> {
        let shown = |ZoneMistake { record, text }: &ZoneMistake| match text.is_empty() {
            true => record.to_string(),
            false => format!("{record}: {text:?}"),
        };
        let is_cut = self.0.len() >= MAX_MISTAKES;
        self.0.iter().map(shown).chain(is_cut.then(|| "what follows was not read".to_owned())).collect()
    }

    /// The line of the first mistake.
    pub fn line(&self) -> usize {
        self.0.first().map_or(1, |mistake| mistake.record.line)
    }
}

impl fmt::Display for InvalidRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for InvalidRecord {}

impl fmt::Display for InvalidZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mistakes().join("; "))
    }
}

impl std::error::Error for InvalidZone {}

/// The TTL of a record that has none, where there is no `$TTL` and no record before it.
const DEFAULT_TTL: u32 = 3600;

/// The most records that one `$GENERATE` may make.
const MAX_GENERATED: u32 = 65_536;

/// How deeply `$INCLUDE`d files may include others.
const MAX_INCLUDE_DEPTH: usize = 7;

/// Mistakes of a zone file after which nothing more is read.
const MAX_MISTAKES: usize = 20;

/// Characters of a line that an error repeats.
const SHOWN: usize = 100;

/// The most files that a zone file may include, directly or through others.
const MAX_INCLUDES: usize = 256;

/// The first record of a text, with names relative to the root; what follows it is not read, as in Go's `dns.NewRR`. `None` if the text has
/// only blanks and comments.
pub fn record(text: &str) -> Result<Option<TextRecord>, InvalidRecord> {
    let mut reader = ZoneReader::new(Name::ROOT, None);
    for entry in entries(text) {
        let (entry, mut first) = (entry?, None);
        let mut each = |record| {
            first.get_or_insert(record);
            Ok(())
        };
        reader.entry(&entry, &mut each).map_err(|refusal| {
            let (Refusal::Record(what) | Refusal::Limit(what)) = refusal;
            InvalidRecord { line: entry.line, what }
        })?;
        if first.is_some() {
            return Ok(first);
        }
    }
    Ok(None)
}

/// Reads the text of an included file.
pub type Include<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// Takes the next record of a zone file.
pub type EachRecord<'a> = &'a mut dyn FnMut(TextRecord) -> Result<(), Refusal>;

/// Passes all records of a zone file to `each`. `include` reads the files that `$INCLUDE` names.
pub fn zone(
    text: &str,
    origin: &Name,
    include: Include<'_>,
    each: EachRecord<'_>,
) -> Result<(), InvalidZone> {
    let mut reader = ZoneReader::new(*origin, Some(include));
    reader.read(text, each);
    if reader.mistakes.is_empty() { Ok(()) } else { Err(InvalidZone(reader.mistakes)) }
}

/// The TTL of records without one.
#[derive(Clone, Copy)]
enum ImplicitTtl {
    /// There was neither `$TTL` nor a record with a TTL.
    Default,
    /// That of the last record with one (RFC 1035 §5.1).
    LastRecord(u32),
    /// `$TTL` (RFC 2308 §4).
    Directive(u32),
}

/// The state of a zone file that later lines refer to.
struct ZoneReader<'i> {
    origin: Name,
    ttl: ImplicitTtl,
    owner: Option<Name>,
    include: Option<Include<'i>>,
    depth: usize,
    /// The files included so far.
    includes: usize,
    mistakes: Vec<ZoneMistake>,
    /// Whether nothing more is read.
    is_ended: bool,
}

impl<'i> ZoneReader<'i> {
    fn new(origin: Name, include: Option<Include<'i>>) -> Self {
        let (ttl, owner, mistakes) = (ImplicitTtl::Default, None, Vec::new());
        Self { origin, ttl, owner, include, depth: 0, includes: 0, mistakes, is_ended: false }
    }

    fn read(&mut self, text: &str, each: EachRecord<'_>) {
        for entry in entries(text) {
            let (line, taken) = match entry {
                Ok(entry) => (entry.line, self.entry(&entry, each)),
                Err(InvalidRecord { line, what }) => (line, Err(what.into())),
            };
            if let Err(refusal) = taken {
                self.is_ended |= matches!(refusal, Refusal::Limit(_));
                let (Refusal::Record(what) | Refusal::Limit(what)) = refusal;
                let text = text.lines().nth(line - 1).unwrap_or_default().trim();
                let text = text.chars().take(SHOWN).collect();
                self.mistakes.push(ZoneMistake { record: InvalidRecord { line, what }, text });
            }
            self.is_ended |= self.mistakes.len() >= MAX_MISTAKES;
            if self.is_ended {
                return;
            }
        }
    }

    fn entry(&mut self, entry: &ZoneLine<'_>, each: EachRecord<'_>) -> Result<(), Refusal> {
        match entry.tokens.first().map(|token| token.text) {
            Some("$ORIGIN") => self.origin = self.directive_name(entry)?,
            Some("$TTL") => {
                let [_, ttl] = entry.tokens.as_slice() else {
                    return Err("$TTL takes one value".to_owned().into());
                };
                self.ttl = ImplicitTtl::Directive(ttl.ttl()?);
            }
            Some("$INCLUDE") => self.include(entry, each)?,
            Some("$GENERATE") => self.generate(entry, each)?,
            Some(_) => each(self.record(entry)?)?,
            None => {}
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

    fn include(&mut self, entry: &ZoneLine<'_>, each: EachRecord<'_>) -> Result<(), Refusal> {
        let (file, origin) = match entry.tokens.as_slice() {
            [_, file] => (file, self.origin),
            [_, file, origin] => (file, origin.name(&self.origin)?),
            _ => return Err("$INCLUDE takes a file and an origin".to_owned().into()),
        };
        let include = self.include.ok_or_else(|| "$INCLUDE is not possible here".to_owned())?;
        if self.depth >= MAX_INCLUDE_DEPTH {
            return Err(Refusal::Limit(format!(
                "files include each other more than {MAX_INCLUDE_DEPTH} times"
            )));
        }
        if self.includes >= MAX_INCLUDES {
            return Err(Refusal::Limit(format!("more than {MAX_INCLUDES} files are included")));
        }
        let text = include(file.text).map_err(|why| format!("{}: {why}", file.text))?;
        let (ttl, owner, include, mistakes) = (self.ttl, self.owner, self.include, Vec::new());
        let (depth, includes) = (self.depth + 1, self.includes + 1);
        let mut reader =
            ZoneReader { origin, ttl, owner, include, depth, includes, mistakes, is_ended: false };
        reader.read(&text, each);
        self.includes = reader.includes;
        self.is_ended |= reader.is_ended;
        for ZoneMistake { record, text } in reader.mistakes {
            let what = match text.is_empty() {
                true => format!("{}: {record}", file.text),
                false => format!("{}: {record}: {text:?}", file.text),
            };
            self.mistakes
                .push(ZoneMistake { record: InvalidRecord { line: entry.line, what }, text: String::new() });
        }
        Ok(())
    }

    /// `$GENERATE START-STOP[/STEP] OWNER … RDATA`: a record for each number, which replaces `$` (BIND 9 manual).
    fn generate(&mut self, entry: &ZoneLine<'_>, each: EachRecord<'_>) -> Result<(), Refusal> {
        let [_, range, rest @ ..] = entry.tokens.as_slice() else {
            return Err("$GENERATE takes a range and a record".to_owned().into());
        };
        let (range, step) = range.text.split_once('/').unwrap_or((range.text, "1"));
        let bounds = range.split_once('-').and_then(|(from, to)| {
            Some((from.parse::<u32>().ok()?, to.parse::<u32>().ok()?, step.parse::<u32>().ok()?))
        });
        let Some((from, to, step)) =
            bounds.filter(|(from, to, step)| from <= to && *step > 0 && (to - from) / step < MAX_GENERATED)
        else {
            return Err(format!("range {range:?} of $GENERATE: not START-STOP[/STEP]").into());
        };
        for number in (from..=to).step_by(step as usize) {
            let words: Option<Vec<String>> =
                rest.iter().map(|token| tokens::numbered(token.text, number)).collect();
            let words = words.ok_or_else(|| "modifier of $GENERATE".to_owned())?;
            let tokens = words.iter().zip(rest).map(|(word, token)| ZoneToken { text: word, ..*token });
            let entry = ZoneLine { line: entry.line, indented: false, tokens: tokens.collect() };
            each(self.record(&entry)?)?;
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
            // ANY is a class as well; no record has the type.
            if let Some(known) = Class::named(token.text).filter(|_| class.is_none()) {
                class = Some(known.0);
            } else if let Some(known) = Type::named(token.text) {
                break known.0;
            } else if let Some(known) = token.ttl().ok().filter(|_| ttl.is_none()) {
                ttl = Some(known);
            } else {
                return Err(format!("{:?} is not a type, a class or a TTL", token.text));
            }
        };
        if is_meta_type(rtype) {
            return Err(format!("{} is not a type of records in a zone", Type(rtype)));
        }
        let ttl = match (ttl, self.ttl) {
            (Some(ttl), ImplicitTtl::Directive(_)) => ttl,
            (Some(ttl), _) => {
                self.ttl = ImplicitTtl::LastRecord(ttl);
                ttl
            }
            (None, ImplicitTtl::LastRecord(ttl) | ImplicitTtl::Directive(ttl)) => ttl,
            (None, ImplicitTtl::Default) => DEFAULT_TTL,
        };
        let rdata = rdata::read(rtype, rest, &self.origin)
            .map_err(|what| format!("data of {}: {what}", Type(rtype)))?;
        Ok(TextRecord { owner, rtype, class: class.unwrap_or(class::IN), ttl, rdata })
    }
}

/// Whether a type is OPT, or one of queries and transactions (RFC 6895 §3.1).
fn is_meta_type(rtype: u16) -> bool {
    matches!(rtype, 41 | 128..=255)
}

#[cfg(test)]
mod tests;
