//! A DNS reply: header bits and records, decoded from or encoded to a packet.

mod decode;
mod encode;

pub use decode::{InvalidMessage, ResponseHeader};

use crate::codes::{class, rcode};
use crate::compress::Compressor;
use crate::layout::layout;
use crate::name::Name;
use crate::options;
use crate::query::{HEADER, Query};

/// A reply. One value is reused for many replies; [`Reply::clear`] keeps the buffers.
///
/// Names may be relative to the question ([`Owner::Question`], [`Owner::Parent`]). These are encoded as pointers without
/// any lookup, and repeat the client's letter case. A reply therefore belongs to one question; [`Reply::append`] copies
/// records to the reply to another.
#[derive(Default)]
pub struct Reply {
    /// Response code with its extended part (RFC 6891 §6.1.3).
    pub rcode: u16,
    /// AA (RFC 1035 §4.1.1).
    pub authoritative: bool,
    /// TC; [`Reply::encode`] sets it in the packet when records were left out.
    pub truncated: bool,
    /// RA.
    pub recursion_available: bool,
    /// AD (RFC 4035 §3.2.3).
    pub authentic_data: bool,
    records: Vec<Record>,
    bytes: Vec<u8>,
    options: Span,
    has_edns: bool,
    names: Compressor,
    /// Buffer of [`Reply::complete_names`].
    scratch: Vec<u8>,
}

/// The section of a record (RFC 1035 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Section {
    Answer,
    Authority,
    Additional,
}

/// A record. Its owner and data are stored in the reply.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Its section.
    pub section: Section,
    /// Its type.
    pub rtype: u16,
    /// Its class.
    pub class: u16,
    /// Seconds that it may be cached.
    pub ttl: u32,
    owner: u32,
    rdata: Span,
}

/// The owner name of a record.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// The name in the question.
    Question,
    /// The name in the question from this offset on, which is one of [`Query::offsets`].
    Parent(u8),
    /// The first name in the data of an earlier record, given by its index in [`Reply::records`]. The root if there is
    /// none.
    Target(usize),
    /// A complete name in wire form; or labels that end in a [pointer](Reply::parent) into the question.
    Name(&'a [u8]),
}

/// A range of `bytes`.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    at: u32,
    len: u16,
}

/// Owners from this value on are offsets into the question.
const RELATIVE: u32 = 0xffff_ff00;

impl Record {
    /// Whether its owner is [`Owner::Question`]. The owner of others may be the same name, stored in full.
    pub fn is_of_question(&self) -> bool {
        self.owner == RELATIVE
    }
}

impl Reply {
    /// Resets to NOERROR without flags and records. The buffers are kept.
    pub fn clear(&mut self) {
        self.rcode = rcode::NOERROR;
        self.authoritative = false;
        self.truncated = false;
        self.recursion_available = false;
        self.authentic_data = false;
        self.clear_options();
        self.records.clear();
        self.bytes.clear();
    }

    /// The bytes of memory that the records take.
    pub fn memory(&self) -> usize {
        self.records.capacity() * size_of::<Record>() + self.bytes.capacity()
    }

    /// Removes the EDNS options of an upstream, and its OPT record.
    pub fn clear_options(&mut self) {
        (self.options, self.has_edns) = (Span::default(), false);
    }

    /// Whether it has an OPT record of its own: that of an upstream, or one for an option that a plugin has added. The one that is sent
    /// depends on that of the query.
    pub fn has_edns(&self) -> bool {
        self.has_edns
    }

    /// Adds a record of class IN.
    #[inline]
    pub fn push(&mut self, section: Section, owner: Owner<'_>, rtype: u16, ttl: u32, rdata: &[u8]) {
        self.push_with(section, owner, rtype, ttl, |bytes| bytes.extend_from_slice(rdata));
    }

    /// Adds a record of class IN whose data `rdata` appends, at most 65535 bytes. Names in data of the types of
    /// RFC 1035 may end in a [pointer](Reply::parent) into the question.
    #[inline]
    pub fn push_with(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        rtype: u16,
        ttl: u32,
        rdata: impl FnOnce(&mut Vec<u8>),
    ) {
        let owner = self.store_owner(owner);
        self.push_with_owner(section, owner, rtype, class::IN, ttl, rdata);
    }

    /// Adds a record of any class. Names in `rdata` are complete.
    pub fn push_class(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        (rtype, class): (u16, u16),
        ttl: u32,
        rdata: &[u8],
    ) {
        let owner = self.store_owner(owner);
        self.push_with_owner(section, owner, rtype, class, ttl, |bytes| bytes.extend_from_slice(rdata));
    }

    /// The EDNS options of the reply: their codes and data.
    pub fn options(&self) -> impl Iterator<Item = (u16, &[u8])> {
        options::each(self.span(self.options))
    }

    /// Adds an EDNS option. It is sent if the client sent an OPT record and if it fits.
    pub fn push_option(&mut self, code: u16, data: &[u8]) {
        let at = self.bytes.len();
        let before = self.options.at as usize..self.options.at as usize + usize::from(self.options.len);
        if before.len() + options::HEADER + data.len() > usize::from(u16::MAX) {
            return;
        }
        self.bytes.extend_from_within(before);
        options::push(&mut self.bytes, code, data);
        self.has_edns = true;
        self.options = Span { at: at as u32, len: (self.bytes.len() - at) as u16 };
    }

    /// Removes the EDNS options with a code.
    pub fn remove_options(&mut self, code: u16) {
        let mut options = self.span(self.options).to_vec();
        if options::remove(&mut options, code) {
            self.options = Span { at: self.bytes.len() as u32, len: options.len() as u16 };
            self.bytes.extend_from_slice(&options);
        }
    }

    fn store_owner(&mut self, owner: Owner<'_>) -> u32 {
        match owner {
            Owner::Question => RELATIVE,
            Owner::Parent(offset) => RELATIVE | u32::from(offset),
            Owner::Target(record) => match self.records.get(record).and_then(|record| self.target_at(record))
            {
                Some(at) => at,
                None => self.store_owner(Owner::Name(&[0])),
            },
            Owner::Name(name) => {
                let at = self.bytes.len() as u32;
                self.bytes.extend_from_slice(name);
                at
            }
        }
    }

    fn push_with_owner(
        &mut self,
        section: Section,
        owner: u32,
        rtype: u16,
        class: u16,
        ttl: u32,
        rdata: impl FnOnce(&mut Vec<u8>),
    ) {
        let at = self.bytes.len();
        rdata(&mut self.bytes);
        let len = u16::try_from(self.bytes.len() - at).unwrap_or(u16::MAX);
        self.records.push(Record { section, rtype, class, ttl, owner, rdata: Span { at: at as u32, len } });
    }

    /// The two bytes that end a name with the question's labels from this offset on, one of [`Query::offsets`].
    pub fn parent(offset: u8) -> [u8; 2] {
        (0xc000 | (HEADER as u16 + u16::from(offset))).to_be_bytes()
    }

    /// All records.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// All records, to be changed, sorted or removed. The order within a section is the order in the packet.
    pub fn records_mut(&mut self) -> &mut Vec<Record> {
        &mut self.records
    }

    /// The records of a section.
    pub fn section(&self, section: Section) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.section == section)
    }

    /// The owner of a record; `query` is the query that the reply answers.
    pub fn owner(&self, record: &Record, query: &Query) -> Name {
        if record.owner >= RELATIVE {
            let offset = (record.owner & 0xff) as usize;
            return query.name().get(offset..).and_then(Name::from_wire).unwrap_or(Name::ROOT);
        }
        self.full_name(record.owner as usize, query).map_or(Name::ROOT, |(name, _)| name)
    }

    /// The data of a record in wire form. Names in it may end in a [pointer](Reply::parent) into the question:
    /// [`Reply::target`] reads them.
    pub fn rdata(&self, record: &Record) -> &[u8] {
        let at = record.rdata.at as usize;
        self.bytes.get(at..at + usize::from(record.rdata.len)).unwrap_or_default()
    }

    /// The first name in the data of a record: target of a CNAME, PTR, NS, MX or SRV, MNAME of a SOA.
    pub fn target(&self, record: &Record, query: &Query) -> Option<Name> {
        self.full_name(self.target_at(record)? as usize, query).map(|(name, _)| name)
    }

    fn target_at(&self, record: &Record) -> Option<u32> {
        let layout = layout(record.rtype, self.rdata(record))?;
        Some(record.rdata.at + layout.before as u32)
    }

    /// Adds the answers of another reply, which answers `query`, to the answers of this one.
    pub fn append(&mut self, other: &Self, query: &Query) {
        self.append_section(Section::Answer, other, query);
    }

    /// Adds the records of a section of another reply, which answers `query`, to that section of this one.
    pub fn append_section(&mut self, section: Section, other: &Self, query: &Query) {
        for record in other.section(section) {
            let owner = other.owner(record, query);
            let owner = self.store_owner(Owner::Name(owner.wire()));
            let Record { rtype, class, ttl, .. } = *record;
            self.push_with_owner(section, owner, rtype, class, ttl, |bytes| {
                other.copy_rdata(record, query, bytes);
            });
        }
    }

    /// Makes all names complete that are relative to the question of `query`, so that the reply may be given to another
    /// question.
    // Hot: no allocation once the buffers have grown.
    pub fn complete_names(&mut self, query: &Query) {
        self.complete(query, false);
    }

    /// As [`Reply::complete_names`], but what the question owns belongs to the other question. Its name is not written, neither
    /// here nor in the packet.
    // Hot: no allocation once the buffers have grown.
    pub fn complete_names_below(&mut self, query: &Query) {
        self.complete(query, true);
    }

    fn complete(&mut self, query: &Query, keeps_owner: bool) {
        let mut known: Option<(u32, u32)> = None;
        for at in 0..self.records.len() {
            let Record { owner, rtype, rdata, .. } = self.records[at];
            if keeps_owner && owner == RELATIVE {
                // A pointer to the question, whichever that is.
            } else if owner >= RELATIVE {
                let stored = known.filter(|(relative, _)| *relative == owner).map(|(_, stored)| stored);
                self.records[at].owner = stored.unwrap_or_else(|| {
                    let at = self.bytes.len() as u32;
                    let offset = (owner & 0xff) as usize;
                    self.bytes.extend_from_slice(query.name().get(offset..).unwrap_or(&[0]));
                    at
                });
                known = Some((owner, self.records[at].owner));
            } else if self.stored_end(owner as usize).is_some_and(|(_, relative)| relative)
                && let Some((name, _)) = self.full_name(owner as usize, query)
            {
                self.records[at].owner = self.bytes.len() as u32;
                self.bytes.extend_from_slice(name.wire());
            }
            if self.has_relative_data(rtype, rdata) {
                let record = self.records[at];
                let start = self.bytes.len();
                let mut data = std::mem::take(&mut self.scratch);
                data.clear();
                self.copy_rdata(&record, query, &mut data);
                self.bytes.extend_from_slice(&data);
                self.scratch = data;
                let len = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
                self.records[at].rdata = Span { at: start as u32, len };
            }
        }
    }

    /// Whether the data contains a name that ends in a pointer into the question.
    fn has_relative_data(&self, rtype: u16, rdata: Span) -> bool {
        let Some(layout) = layout(rtype, self.span(rdata)) else { return false };
        let mut at = rdata.at as usize + layout.before;
        for _ in 0..layout.names {
            match self.stored_end(at) {
                Some((end, false)) => at = end,
                Some((_, true)) => return true,
                None => return false,
            }
        }
        false
    }

    /// Replaces the owner of a record, given by its index in [`Reply::records`].
    pub fn set_owner(&mut self, record: usize, owner: &Name) {
        self.records[record].owner = self.store_owner(Owner::Name(owner.wire()));
    }

    /// Replaces the data of a record, given by its index in [`Reply::records`].
    pub fn set_rdata(&mut self, record: usize, rdata: &[u8]) {
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(rdata);
        self.records[record].rdata = Span { at, len: u16::try_from(rdata.len()).unwrap_or(u16::MAX) };
    }

    /// The names in the data of a record with the offsets in its complete data at which they begin and end.
    pub fn names_in(&self, record: &Record, query: &Query) -> Vec<(Name, std::ops::Range<usize>)> {
        let mut data = Vec::new();
        self.copy_rdata(record, query, &mut data);
        let Some(layout) = layout(record.rtype, &data) else { return Vec::new() };
        let (mut names, mut at) = (Vec::new(), layout.before);
        for _ in 0..layout.names {
            let Some(name) = data.get(at..).and_then(Name::from_wire) else { break };
            let end = at + name.wire().len();
            names.push((name, at..end));
            at = end;
        }
        names
    }

    /// Appends the canonical data of a record: its names complete and in lower case (RFC 4034 §6.2).
    pub fn canonical_rdata(&self, record: &Record, query: &Query, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        self.copy_rdata(record, query, bytes);
        for (_, range) in self.names_in(record, query) {
            bytes[start..][range].make_ascii_lowercase();
        }
    }

    /// Appends the data of a record with all its names complete.
    pub fn copy_rdata(&self, record: &Record, query: &Query, bytes: &mut Vec<u8>) {
        let data = self.rdata(record);
        let Some(layout) = layout(record.rtype, data) else { return bytes.extend_from_slice(data) };
        bytes.extend_from_slice(data.get(..layout.before).unwrap_or_default());
        let mut at = record.rdata.at as usize + layout.before;
        for _ in 0..layout.names {
            let Some((name, next)) = self.full_name(at, query) else { return };
            bytes.extend_from_slice(name.wire());
            at = next;
        }
        let end = record.rdata.at as usize + data.len();
        bytes.extend_from_slice(self.bytes.get(at..end).unwrap_or_default());
    }

    /// The complete name stored at `at`, and where its stored bytes end.
    fn full_name(&self, at: usize, query: &Query) -> Option<(Name, usize)> {
        let (end, relative) = self.stored_end(at)?;
        let stored = self.bytes.get(at..end)?;
        if !relative {
            return Some((Name::from_wire(stored)?, end));
        }
        let (labels, [high, low]) = stored.split_last_chunk::<2>()?;
        let offset = (usize::from(high & 0x3f) << 8 | usize::from(*low)).checked_sub(HEADER)?;
        let mut wire = [0; crate::name::MAX_NAME];
        let rest = query.name().get(offset..)?;
        wire.get_mut(..labels.len())?.copy_from_slice(labels);
        wire.get_mut(labels.len()..labels.len() + rest.len())?.copy_from_slice(rest);
        Some((Name::from_wire(&wire)?, end))
    }

    /// The stored bytes of the name at `at`: labels up to and including the root or a pointer.
    fn stored(&self, at: usize) -> Option<&[u8]> {
        self.bytes.get(at..self.stored_end(at)?.0)
    }

    /// Where the stored bytes of the name at `at` end, and whether they end in a pointer into the question.
    fn stored_end(&self, at: usize) -> Option<(usize, bool)> {
        let mut end = at;
        loop {
            match *self.bytes.get(end)? {
                0 => return Some((end + 1, false)),
                len @ ..0x40 => end += 1 + usize::from(len),
                0xc0.. => return Some((end + 2, true)),
                _ => return None,
            }
        }
    }
}

impl Clone for Reply {
    fn clone(&self) -> Self {
        let mut clone = Self::default();
        clone.clone_from(self);
        clone
    }

    /// Reuses the buffers, for a cache that copies the same reply many times.
    fn clone_from(&mut self, source: &Self) {
        // Hot: no allocation once the buffers have grown.
        self.rcode = source.rcode;
        self.authoritative = source.authoritative;
        self.truncated = source.truncated;
        self.recursion_available = source.recursion_available;
        self.authentic_data = source.authentic_data;
        self.options = source.options;
        self.records.clone_from(&source.records);
        self.bytes.clone_from(&source.bytes);
    }
}

#[cfg(test)]
mod tests;
