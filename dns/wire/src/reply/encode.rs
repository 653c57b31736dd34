//! Encodes a reply as a packet.

use super::{RELATIVE, Record, Reply, Section, Span};
use crate::codes::rcode;
use crate::compress::{Compressor, Packet};
use crate::layout::layout;
use crate::query::{AA, AD, Edns, HEADER, QR, Query, RA, TC, write_header};

impl Reply {
    /// Writes the reply to `query` as a packet of at most `limit` bytes (and at most `out`). Returns its length; 0 if
    /// not even the question fits, which takes at most 282 bytes.
    ///
    /// The first record that does not fit and all after it are left out, and TC is set, as in CoreDNS. If the client sent an
    /// OPT record, the reply always has one (RFC 6891 §7), without its options if they do not fit. Names are compressed as by
    /// Go's DNS library; the data of SRV records is not compressed (RFC 2782).
    pub fn encode(&mut self, query: &Query, limit: usize, out: &mut [u8]) -> usize {
        // Hot: no allocation.
        self.try_encode(query, limit, out).unwrap_or(0)
    }

    fn try_encode(&mut self, query: &Query, limit: usize, out: &mut [u8]) -> Option<usize> {
        let limit = limit.min(out.len()).min(usize::from(u16::MAX));
        let question = HEADER + query.name().len() + 4;
        // The options of an upstream may be hundreds of bytes of padding (RFC 7830), so they are left out if they do not fit.
        let fit = question + Edns::LEN + usize::from(self.options.len) <= limit;
        let options = if fit { self.options } else { Span::default() };
        let reserved = query.edns.map_or(0, |_| Edns::LEN + usize::from(options.len));
        let room = limit.checked_sub(reserved)?;
        let (out, mut at) = (out.get_mut(..room + reserved)?, 0);
        if query.has_question() {
            at = query.write_question(out.get_mut(..room)?)?;
        }
        at = at.max(HEADER);
        let packet = Packet { bytes: &self.bytes, query, out: out.get_mut(..room)? };
        let mut writer = Writer { packet, names: &mut self.names, at };
        writer.names.clear();
        let mut counts = [u16::from(query.has_question()), 0, 0, 0];
        let mut truncated = self.truncated;
        'sections: for section in [Section::Answer, Section::Authority, Section::Additional] {
            for record in self.records.iter().filter(|record| record.section == section) {
                let start = writer.at;
                if writer.record(record).is_none() {
                    writer.at = start;
                    truncated = true;
                    break 'sections;
                }
                counts[section as usize + 1] += 1;
            }
        }
        at = writer.at;
        if let Some(edns) = query.edns {
            let reply_edns = Edns { version: 0, ..edns };
            at = reply_edns.write(self.rcode >> 4, self.span(options), out, at)?;
            counts[3] += 1;
        }
        write_header(query.id, self.flags(query, truncated), counts, out)?;
        Some(at)
    }

    fn flags(&self, query: &Query, truncated: bool) -> u16 {
        let bit = |set: bool, bit: u16| if set { bit } else { 0 };
        // An extended code needs EDNS. Without it the lower bits would mean another code.
        let code = if query.edns.is_none() && self.rcode > 15 { rcode::SERVFAIL } else { self.rcode };
        QR | query.reply_flags()
            | bit(self.authoritative, AA)
            | bit(truncated, TC)
            | bit(self.recursion_available, RA)
            | bit(self.authentic_data, AD)
            | code & 15
    }
}

/// Writes a packet. Every step returns `None` if there is no more room.
struct Writer<'a> {
    packet: Packet<'a>,
    names: &'a mut Compressor,
    at: usize,
}

impl Writer<'_> {
    fn record(&mut self, record: &Record) -> Option<()> {
        if record.owner >= RELATIVE {
            self.put(&Reply::parent(record.owner as u8))?;
        } else {
            self.name(record.owner as usize, true)?;
        }
        let [t0, t1] = record.rtype.to_be_bytes();
        let [c0, c1] = record.class.to_be_bytes();
        let [s0, s1, s2, s3] = record.ttl.to_be_bytes();
        let [l0, l1] = record.rdata.len.to_be_bytes();
        self.put(&[t0, t1, c0, c1, s0, s1, s2, s3, l0, l1])?;
        let start = self.at;
        let data = record.rdata.at as usize;
        let end = data + usize::from(record.rdata.len);
        let bytes = self.packet.bytes;
        let stored = bytes.get(data..end)?;
        let Some(layout) = layout(record.rtype, stored) else { return self.put(stored) };
        self.put(stored.get(..layout.before)?)?;
        let mut from = data + layout.before;
        for _ in 0..layout.names {
            from = self.name(from, layout.compress)?;
        }
        self.put(bytes.get(from..end)?)?;
        let len = u16::try_from(self.at - start).ok()?;
        self.packet.out.get_mut(start - 2..start)?.copy_from_slice(&len.to_be_bytes());
        Some(())
    }

    /// Writes the name stored at `from`. Returns where its stored bytes end.
    fn name(&mut self, from: usize, compress: bool) -> Option<usize> {
        let mut end = from;
        loop {
            match *self.packet.bytes.get(end)? {
                0 => break,
                len @ ..0x40 => end += 1 + usize::from(len),
                // The stored name ends in a pointer into the question, whose position in the packet is fixed.
                _ => {
                    self.put(self.packet.bytes.get(from..end + 2)?)?;
                    return Some(end + 2);
                }
            }
        }
        self.at = self.names.write(&mut self.packet, (from, end + 1), compress, self.at)?;
        Some(end + 1)
    }

    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at + bytes.len();
        self.packet.out.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }
}
