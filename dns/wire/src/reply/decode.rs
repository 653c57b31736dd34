//! Decodes a packet from an upstream.

use super::{Owner, Record, Reply, Section, Span};
use crate::codes::{class, rtype};
use crate::layout::layout;
use crate::name;
use crate::options::whole_options;
use crate::query::{AA, AD, HEADER, QR, Query, RA, TC};

/// The fields of an upstream's response that are not part of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The message ID.
    pub id: u16,
    /// Whether it is a response to exactly the question of the query, ignoring case.
    pub matches: bool,
}

/// A packet that is not a DNS message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidMessage {
    /// Offset of the field that could not be read.
    pub at: usize,
}

impl std::fmt::Display for InvalidMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not a DNS message: the field at byte {} cannot be read", self.at)
    }
}

impl std::error::Error for InvalidMessage {}

impl Reply {
    /// Replaces the reply by the response to `query` in a packet. Names are decompressed, also in the data of the types of
    /// RFC 3597 §4. The OPT record is not stored as a record: [`Reply::encode`] writes its options again, and the high bits
    /// of the response code are in `rcode`. After an error the reply is empty. A message that ends before its last record
    /// is an error; Go's library returns it without records.
    pub fn parse(&mut self, packet: &[u8], query: &Query) -> Result<ResponseHeader, InvalidMessage> {
        self.clear();
        let parsed = self.try_parse(packet, query);
        if parsed.is_err() {
            self.clear();
        }
        parsed
    }

    fn try_parse(&mut self, packet: &[u8], query: &Query) -> Result<ResponseHeader, InvalidMessage> {
        let header = packet.first_chunk::<HEADER>().ok_or(InvalidMessage { at: 0 })?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let flags = word(2);
        self.rcode = flags & 15;
        self.authoritative = flags & AA != 0;
        self.truncated = flags & TC != 0;
        self.recursion_available = flags & RA != 0;
        self.authentic_data = flags & AD != 0;
        let (mut at, mut same) = (HEADER, true);
        for _ in 0..word(4) {
            let bad = InvalidMessage { at };
            let (name, next) = name::read(packet, at).ok_or(bad)?;
            let [t0, t1, c0, c1] = *packet.get(next..).and_then(|rest| rest.first_chunk::<4>()).ok_or(bad)?;
            same &= name.wire().eq_ignore_ascii_case(query.name())
                && u16::from_be_bytes([t0, t1]) == query.qtype
                && u16::from_be_bytes([c0, c1]) == query.qclass;
            at = next + 4;
        }
        let sections = [(Section::Answer, 6), (Section::Authority, 8), (Section::Additional, 10)];
        for (section, count) in sections {
            for _ in 0..word(count) {
                at = self.parse_record(packet, at, section).ok_or(InvalidMessage { at })?;
            }
        }
        Ok(ResponseHeader { id: word(0), matches: same && word(4) == 1 && flags & QR != 0 })
    }

    /// Parses one record. Returns where the next one begins.
    fn parse_record(&mut self, packet: &[u8], at: usize, section: Section) -> Option<usize> {
        let (owner, fixed) = name::read(packet, at)?;
        let [t0, t1, c0, c1, s0, s1, s2, s3, l0, l1] = *packet.get(fixed..)?.first_chunk::<10>()?;
        let start = fixed + 10;
        let end = start + usize::from(u16::from_be_bytes([l0, l1]));
        let data = packet.get(start..end)?;
        let rtype = u16::from_be_bytes([t0, t1]);
        if rtype == rtype::OPT && section == Section::Additional {
            self.rcode = self.rcode & 15 | u16::from(s0) << 4;
            self.options = self.store(whole_options(data)?)?;
            self.has_edns = true;
            return Some(end);
        }
        // An address of another length is malformed and must not reach the client.
        let wanted = match rtype {
            rtype::A => 4,
            rtype::AAAA => 16,
            _ => data.len(),
        };
        let class = u16::from_be_bytes([c0, c1]);
        if class == class::IN && data.len() != wanted {
            return None;
        }
        let owner = match self.records.last() {
            Some(last) if self.stored(last.owner as usize) == Some(owner.wire()) => last.owner,
            _ => self.store_owner(Owner::Name(owner.wire())),
        };
        let rdata = self.parse_rdata(packet, start, end, rtype)?;
        let ttl = u32::from_be_bytes([s0, s1, s2, s3]);
        self.records.push(Record { section, rtype, class, ttl, owner, rdata });
        Some(end)
    }

    /// Stores record data with its names decompressed.
    fn parse_rdata(&mut self, packet: &[u8], start: usize, end: usize, rtype: u16) -> Option<Span> {
        let data = packet.get(start..end)?;
        let Some(layout) = layout(rtype, data) else { return self.store(data) };
        let at = self.bytes.len();
        self.bytes.extend_from_slice(data.get(..layout.before)?);
        let mut from = start + layout.before;
        for _ in 0..layout.names {
            let (name, next) = name::read(packet, from)?;
            self.bytes.extend_from_slice(name.wire());
            from = next;
        }
        // A name that extends beyond the data makes this range invalid.
        self.bytes.extend_from_slice(packet.get(from..end)?);
        Some(Span { at: at as u32, len: u16::try_from(self.bytes.len() - at).ok()? })
    }

    fn store(&mut self, bytes: &[u8]) -> Option<Span> {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Some(Span { at: at as u32, len: u16::try_from(bytes.len()).ok()? })
    }

    pub(super) fn span(&self, span: Span) -> &[u8] {
        let at = span.at as usize;
        self.bytes.get(at..at + usize::from(span.len)).unwrap_or_default()
    }
}
