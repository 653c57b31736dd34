//! A DNS query: its question, flags and EDNS record.

use crate::codes::{class, opcode, rcode, rtype};
use crate::name::{self, MAX_LABELS, MAX_NAME, Name};
use crate::options;
use crate::rdata::is_well_formed;

/// Bytes before the question (RFC 1035 §4.1.1).
pub(crate) const HEADER: usize = 12;

pub(crate) const QR: u16 = 0x8000;
pub(crate) const AA: u16 = 0x0400;
pub(crate) const TC: u16 = 0x0200;
pub(crate) const RD: u16 = 0x0100;
pub(crate) const RA: u16 = 0x0080;
pub(crate) const AD: u16 = 0x0020;
pub(crate) const CD: u16 = 0x0010;
const OPCODE: u16 = 0x7800;

/// The UDP size of an OPT record that is added to a query without one.
const DEFAULT_UDP_SIZE: u16 = 4096;

/// A parsed query. One value is reused for many packets.
#[derive(Clone)]
pub struct Query {
    /// The message ID.
    pub id: u16,
    /// The queried type.
    pub qtype: u16,
    /// The queried class.
    pub qclass: u16,
    /// The client's OPT record (RFC 6891).
    pub edns: Option<Edns>,
    flags: u16,
    has_question: bool,
    labels: u8,
    len: u8,
    name: [u8; MAX_NAME],
    lower: [u8; MAX_NAME],
    offsets: [u8; MAX_LABELS],
    options: Vec<u8>,
}

/// Name, type and class of a question (RFC 1035 §4.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionFields {
    /// The name, in the client's letter case.
    pub name: Name,
    /// The queried type.
    pub qtype: u16,
    /// The queried class.
    pub qclass: u16,
}

/// The fixed fields of the client's OPT record (RFC 6891 §6.1). Of its flags only DO is kept. The others are sent as zero
/// (§6.1.4); CoreDNS repeats them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The largest UDP message that the client accepts.
    pub udp_size: u16,
    /// The EDNS version. Only 0 is supported.
    pub version: u8,
    /// DO: DNSSEC records are wanted (RFC 3225).
    pub dnssec_ok: bool,
}

/// Why a packet is not passed to the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No reply is sent: the packet is shorter than a header or is a response.
    Drop,
    /// The reply has this response code; see [`Query::encode_error`].
    Reply(u16),
}

impl Default for Query {
    fn default() -> Self {
        Self {
            id: 0,
            qtype: 0,
            qclass: class::IN,
            edns: None,
            flags: 0,
            has_question: false,
            labels: 0,
            len: 1,
            name: [0; MAX_NAME],
            lower: [0; MAX_NAME],
            offsets: [0; MAX_LABELS],
            options: Vec::new(),
        }
    }
}

impl Query {
    /// A new query: recursion desired, class IN, no EDNS.
    pub fn new(id: u16, name: &Name, qtype: u16) -> Self {
        let mut query = Self { id, ..Self::default() };
        query.flags = RD;
        query.set_question(name, qtype);
        query
    }

    /// Replaces name and type of the question. Nothing else changes.
    pub fn set_question(&mut self, name: &Name, qtype: u16) {
        let parsed = self.parse_name(name.wire());
        debug_assert!(parsed.is_some(), "a Name is a complete name");
        self.qtype = qtype;
        self.has_question = true;
    }

    /// The question.
    pub fn question(&self) -> QuestionFields {
        QuestionFields { name: self.to_name(), qtype: self.qtype, qclass: self.qclass }
    }

    /// Replaces the question. Nothing else changes.
    pub fn restore(&mut self, question: &QuestionFields) {
        self.set_question(&question.name, question.qtype);
        self.qclass = question.qclass;
    }

    /// Parses a packet. It is accepted or rejected as by Go's DNS library in CoreDNS: a response is dropped; an operation
    /// other than QUERY and NOTIFY is NOTIMP; not exactly one question, more than one answer or authority record, more than
    /// two additional records and a malformed record are FORMERR. Two OPT records are FORMERR, too: that library accepts
    /// them, but RFC 6891 §6.1.1 forbids them. The EDNS version is not checked. After an `Err` only
    /// [`Query::encode_error`] may be called.
    pub fn parse(&mut self, packet: &[u8]) -> Result<(), Rejection> {
        // Hot: no allocation, but for EDNS options larger than any before.
        self.has_question = false;
        self.edns = None;
        self.options.clear();
        let Some((header, body)) = packet.split_first_chunk::<HEADER>() else {
            return Err(Rejection::Drop);
        };
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        (self.id, self.flags) = (word(0), word(2));
        if self.flags & QR != 0 {
            return Err(Rejection::Drop);
        }
        if !matches!(self.opcode(), opcode::QUERY | opcode::NOTIFY) {
            return Err(Rejection::Reply(rcode::NOTIMP));
        }
        let [questions, answers, authorities, additionals] = [word(4), word(6), word(8), word(10)];
        if questions != 1 || answers > 1 || authorities > 1 || additionals > 2 {
            return Err(Rejection::Reply(rcode::FORMERR));
        }
        if body.is_empty() {
            // The question is missing. Go's library accepts that, and CoreDNS then answers SERVFAIL.
            return Err(Rejection::Reply(rcode::SERVFAIL));
        }
        let at = self.parse_question(body).ok_or(Rejection::Reply(rcode::FORMERR))?;
        self.has_question = true;
        self.parse_records(packet, HEADER + at, answers + authorities, additionals)
            .ok_or(Rejection::Reply(rcode::FORMERR))
    }

    /// The name in wire form, in the client's letter case.
    pub fn name(&self) -> &[u8] {
        &self.name[..usize::from(self.len)]
    }

    /// The name in wire form, in lower case.
    pub fn lower(&self) -> &[u8] {
        &self.lower[..usize::from(self.len)]
    }

    /// Offsets of the labels in the name, from left to right, without the root.
    pub fn offsets(&self) -> &[u8] {
        &self.offsets[..usize::from(self.labels)]
    }

    /// A copy of the name.
    pub fn to_name(&self) -> Name {
        Name::from_checked(self.len, self.name)
    }

    /// The operation (RFC 1035 §4.1.1): QUERY or NOTIFY.
    pub fn opcode(&self) -> u8 {
        ((self.flags & OPCODE) >> 11) as u8
    }

    /// RD: the client wants recursion.
    pub fn recursion_desired(&self) -> bool {
        self.flags & RD != 0
    }

    /// Sets or clears RD. A reply repeats it.
    pub fn set_recursion_desired(&mut self, set: bool) {
        self.flags = if set { self.flags | RD } else { self.flags & !RD };
    }

    /// CD: the client checks signatures itself (RFC 4035 §3.2.2).
    pub fn checking_disabled(&self) -> bool {
        self.flags & CD != 0
    }

    /// AD in a query: the client understands the bit (RFC 6840 §5.7).
    pub fn authentic_data(&self) -> bool {
        self.flags & AD != 0
    }

    /// DO: DNSSEC records are wanted.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// The options of the OPT record, in wire form (RFC 6891 §6.1.2).
    pub fn options(&self) -> &[u8] {
        &self.options
    }

    /// The data of the first EDNS option with this code.
    pub fn option(&self, code: u16) -> Option<&[u8]> {
        options::each(&self.options).find(|(known, _)| *known == code).map(|(_, data)| data)
    }

    /// Adds an EDNS option, and an OPT record if there is none yet. Returns whether it is within the 64 KiB of the record.
    pub fn push_option(&mut self, code: u16, data: &[u8]) -> bool {
        let fits = self.options.len() + options::HEADER + data.len() <= usize::from(u16::MAX);
        if fits {
            self.add_edns();
            options::push(&mut self.options, code, data);
        }
        fits
    }

    /// Adds an OPT record. Returns false if there is one already.
    pub fn add_edns(&mut self) -> bool {
        let is_new = self.edns.is_none();
        self.edns.get_or_insert(Edns { udp_size: DEFAULT_UDP_SIZE, version: 0, dnssec_ok: false });
        is_new
    }

    /// Removes the OPT record with its options.
    pub fn remove_edns(&mut self) {
        self.edns = None;
        self.options.clear();
    }

    /// The EDNS options: their codes and data.
    pub fn each_option(&self) -> impl Iterator<Item = (u16, &[u8])> {
        options::each(&self.options)
    }

    /// Removes the EDNS options with this code. Returns whether there were any.
    pub fn remove_options(&mut self, code: u16) -> bool {
        options::remove(&mut self.options, code)
    }

    /// The largest reply over UDP: the client's EDNS size, and at least 512 bytes
    /// (RFC 6891 §6.2.3).
    pub fn udp_limit(&self) -> usize {
        self.edns.map_or(512, |edns| usize::from(edns.udp_size).max(512))
    }

    /// Encodes the query with another ID for an upstream, with the client's EDNS record. Returns the
    /// length, 0 if `out` is too small.
    pub fn encode(&self, id: u16, out: &mut [u8]) -> usize {
        let flags = self.flags & (OPCODE | RD | AD | CD);
        let length = self.write(id, flags, self.edns.map(|edns| (edns, 0)), &self.options, out);
        length.unwrap_or(0)
    }

    /// Encodes an error reply to a packet that [`Query::parse`] rejected. Returns the length, 0 if `out` is too small.
    ///
    /// It repeats the same fields as CoreDNS: all flags but AA and Z, the operation only with NOTIMP, and the question if
    /// there was one. Only BADVERS has an OPT record (RFC 6891 §6.1.3).
    pub fn encode_error(&self, code: u16, out: &mut [u8]) -> usize {
        let kept = match code {
            rcode::FORMERR => TC | RD | RA | AD | CD,
            rcode::NOTIMP => OPCODE | TC | RD | RA | AD | CD,
            _ => OPCODE | RD | CD,
        };
        let edns = (code > 15).then_some((Edns { udp_size: 0, version: 0, dnssec_ok: false }, code >> 4));
        let flags = QR | self.flags & kept | code & 15;
        self.write(self.id, flags, edns, &[], out).unwrap_or(0)
    }

    fn write(
        &self,
        id: u16,
        flags: u16,
        edns: Option<(Edns, u16)>,
        options: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        let counts = [u16::from(self.has_question), 0, 0, u16::from(edns.is_some())];
        write_header(id, flags, counts, out)?;
        let mut at = HEADER;
        if self.has_question {
            at = self.write_question(out)?;
        }
        if let Some((edns, extended)) = edns {
            at = edns.write(extended, options, out, at)?;
        }
        Some(at)
    }

    /// Whether the packet had a question.
    pub(crate) fn has_question(&self) -> bool {
        self.has_question
    }

    /// Writes the question after the header. Returns where the records begin.
    pub(crate) fn write_question(&self, out: &mut [u8]) -> Option<usize> {
        let end = HEADER + usize::from(self.len);
        out.get_mut(HEADER..end)?.copy_from_slice(self.name());
        out.get_mut(end..end + 2)?.copy_from_slice(&self.qtype.to_be_bytes());
        out.get_mut(end + 2..end + 4)?.copy_from_slice(&self.qclass.to_be_bytes());
        Some(end + 4)
    }

    /// The flags that a reply repeats: the operation, and for QUERY also RD and CD.
    pub(crate) fn reply_flags(&self) -> u16 {
        match self.opcode() {
            opcode::QUERY => self.flags & (OPCODE | RD | CD),
            _ => self.flags & OPCODE,
        }
    }

    /// Parses the question and returns its length. Pointers are rejected: they could only point into the header. As in
    /// Go's library the packet may end after the name or after the type; missing fields are 0.
    fn parse_question(&mut self, body: &[u8]) -> Option<usize> {
        let at = self.parse_name(body)?;
        let word = |at: usize| body.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        (self.qtype, self.qclass) = (0, 0);
        for (at, field) in [(at, &mut self.qtype), (at + 2, &mut self.qclass)] {
            if at == body.len() {
                return Some(at);
            }
            *field = word(at)?;
        }
        Some(at + 4)
    }

    /// Copies the name at the start of `wire` with its label offsets and its lower-case form. Returns its length.
    fn parse_name(&mut self, wire: &[u8]) -> Option<usize> {
        let (mut at, mut labels) = (0, 0);
        loop {
            let len = usize::from(*wire.get(at)?);
            if len == 0 {
                break;
            }
            if len > name::MAX_LABEL {
                return None;
            }
            *self.offsets.get_mut(labels)? = at as u8;
            labels += 1;
            at += 1 + len;
        }
        let end = at + 1;
        self.name.get_mut(..end)?.copy_from_slice(wire.get(..end)?);
        // Lengths are below 64 and so never letters.
        copy_lower(&wire[..end], &mut self.lower[..end]);
        self.len = end as u8;
        self.labels = labels as u8;
        Some(end)
    }

    /// Checks the records after the question and parses the OPT record. As in Go's library the packet may end after any
    /// record, even if the counts announce more.
    fn parse_records(&mut self, packet: &[u8], mut at: usize, others: u16, additionals: u16) -> Option<()> {
        for i in 0..others + additionals {
            if at == packet.len() {
                break;
            }
            let fixed = if packet[at] == 0 { at + 1 } else { name::read(packet, at)?.1 };
            let [t0, t1, c0, c1, _, version, z0, _, l0, l1] = *packet.get(fixed..)?.first_chunk::<10>()?;
            let start = fixed + 10;
            let data = packet.get(start..start + usize::from(u16::from_be_bytes([l0, l1])))?;
            let rtype = u16::from_be_bytes([t0, t1]);
            if !is_well_formed(&packet[..start + data.len()], start, rtype) {
                return None;
            }
            if i >= others && rtype == rtype::OPT {
                if self.edns.is_some() {
                    return None;
                }
                self.options.extend_from_slice(data);
                let udp_size = u16::from_be_bytes([c0, c1]);
                self.edns = Some(Edns { udp_size, version, dnssec_ok: z0 & 0x80 != 0 });
            }
            at = start + data.len();
        }
        Some(())
    }
}

/// Copies bytes of equal number in lower case, eight at a time: names are too short for the vector instructions of
/// `make_ascii_lowercase`, which takes ten instructions a byte.
// Hot: 0 allocations.
fn copy_lower(from: &[u8], to: &mut [u8]) {
    let Some(last) = from.last_chunk::<8>() else {
        to.copy_from_slice(from);
        return to.make_ascii_lowercase();
    };
    for (from, to) in from.as_chunks::<8>().0.iter().zip(to.as_chunks_mut::<8>().0) {
        *to = lower_word(*from);
    }
    // Overlaps the chunk before.
    if let Some(to) = to.last_chunk_mut::<8>() {
        *to = lower_word(*last);
    }
}

fn lower_word(bytes: [u8; 8]) -> [u8; 8] {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let word = u64::from_ne_bytes(bytes);
    let low = word & !HIGH;
    // The high bit of each byte from `A` on, and of each byte after `Z`.
    let from_a = low + ONES * (0x80 - b'A' as u64);
    let after_z = low + ONES * (0x7f - b'Z' as u64);
    let upper = (from_a ^ after_z) & !word & HIGH;
    (word | upper >> 2).to_ne_bytes()
}

pub(crate) fn write_header(id: u16, flags: u16, counts: [u16; 4], out: &mut [u8]) -> Option<()> {
    let header = out.first_chunk_mut::<HEADER>()?;
    let words = [id, flags, counts[0], counts[1], counts[2], counts[3]];
    for (word, place) in words.iter().zip(header.chunks_exact_mut(2)) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    Some(())
}

impl Edns {
    /// Bytes of an OPT record without options: root, type, size, flags, length.
    pub(crate) const LEN: usize = 11;

    /// Writes the OPT record. `extended` holds the high bits of the response code. Returns where it ends.
    pub(crate) fn write(self, extended: u16, options: &[u8], out: &mut [u8], at: usize) -> Option<usize> {
        let fixed = out.get_mut(at..)?.first_chunk_mut::<{ Self::LEN }>()?;
        let [s0, s1] = self.udp_size.to_be_bytes();
        let [l0, l1] = u16::try_from(options.len()).ok()?.to_be_bytes();
        let flags = if self.dnssec_ok { 0x80 } else { 0 };
        *fixed = [0, 0, rtype::OPT as u8, s0, s1, extended as u8, self.version, flags, 0, l0, l1];
        let start = at + Self::LEN;
        out.get_mut(start..start + options.len())?.copy_from_slice(options);
        Some(start + options.len())
    }
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, qtype, qclass, edns, .. } = self;
        write!(f, "Query {{ {id} {} type {qtype} class {qclass} {edns:?} }}", self.to_name())
    }
}

#[cfg(test)]
mod tests;
