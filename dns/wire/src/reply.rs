//! A DNS reply: header bits and records, decoded from or encoded to a packet.

mod decode;
mod encode;

pub use decode::{InvalidMessage, ResponseHeader};

use crate::codes::{class, rcode};
use crate::compress::Compressor;
use crate::layout::layout;
use crate::name::Name;
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
    names: Compressor,
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

impl Reply {
    /// Resets to NOERROR without flags and records. The buffers are kept.
    pub fn clear(&mut self) {
        self.rcode = rcode::NOERROR;
        self.authoritative = false;
        self.truncated = false;
        self.recursion_available = false;
        self.authentic_data = false;
        self.options = Span::default();
        self.records.clear();
        self.bytes.clear();
    }

    /// The bytes of memory that the records take.
    pub fn memory(&self) -> usize {
        self.records.capacity() * size_of::<Record>() + self.bytes.capacity()
    }

    /// Removes the EDNS options of an upstream.
    pub fn clear_options(&mut self) {
        self.options = Span::default();
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
        for record in other.section(Section::Answer) {
            let owner = other.owner(record, query);
            let owner = self.store_owner(Owner::Name(owner.wire()));
            let Record { rtype, class, ttl, .. } = *record;
            self.push_with_owner(Section::Answer, owner, rtype, class, ttl, |bytes| {
                other.copy_rdata(record, query, bytes);
            });
        }
    }

    /// Appends the data of a record with all its names complete.
    fn copy_rdata(&self, record: &Record, query: &Query, bytes: &mut Vec<u8>) {
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
        let stored = self.stored(at)?;
        let Some((labels, [high, low])) = stored.split_last_chunk::<2>().filter(|(_, end)| end[0] >= 0xc0)
        else {
            return Some((Name::from_wire(stored)?, at + stored.len()));
        };
        let offset = (usize::from(high & 0x3f) << 8 | usize::from(*low)).checked_sub(HEADER)?;
        let mut wire = [0; crate::name::MAX_NAME];
        let rest = query.name().get(offset..)?;
        wire.get_mut(..labels.len())?.copy_from_slice(labels);
        wire.get_mut(labels.len()..labels.len() + rest.len())?.copy_from_slice(rest);
        Some((Name::from_wire(&wire)?, at + stored.len()))
    }

    /// The stored bytes of the name at `at`: labels up to and including the root or a pointer.
    fn stored(&self, at: usize) -> Option<&[u8]> {
        let mut end = at;
        loop {
            match *self.bytes.get(end)? {
                0 => return self.bytes.get(at..=end),
                len @ ..0x40 => end += 1 + usize::from(len),
                0xc0.. => return self.bytes.get(at..end + 2),
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
