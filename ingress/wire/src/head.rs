//! The fields of a head: one flat list of names and values over one buffer, in the order and letter case received.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::known_header::{KnownHeader, KnownSet};

/// How many fields need no memory of their own. Browsers behind one proxy send about twenty.
const USUAL_FIELDS: usize = 32;
/// Memory for more fields than this is given back after the request.
const KEPT_FIELDS: usize = 128;
/// The most fields of a head, whatever its limits.
pub(crate) const MAX_FIELDS: usize = u16::MAX as usize;

/// Which bytes a header name has. nginx drops some names (`ignore_invalid_headers`, `underscores_in_headers`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum NameClass {
    /// Letters, digits and hyphens only.
    #[default]
    Plain,
    /// Also underscores.
    Underscores,
    /// Also other bytes of a token (RFC 9110 §5.6.2).
    Token,
}

/// Where a field is in the buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldSpan {
    /// The first byte of the line.
    pub(crate) name: u32,
    pub(crate) value: u32,
    pub(crate) value_end: u32,
    pub(crate) name_length: u16,
    pub(crate) known: Option<KnownHeader>,
    pub(crate) class: NameClass,
}

/// A header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderField<'a> {
    /// The known header, if it is one.
    pub known: Option<KnownHeader>,
    /// Which bytes the name has.
    pub class: NameClass,
    /// The name in the letter case received.
    pub name: &'a [u8],
    /// The value without white space around it.
    pub value: &'a [u8],
}

impl HeaderField<'_> {
    /// Whether the field has this name, in any letter case.
    pub fn is_named(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// A head: its first line, and its fields in the order received.
///
/// Reuse it for one head after another: after [`Head::clear`], the next one needs no allocation unless it has more than 32
/// fields.
#[derive(Clone, Debug)]
pub struct Head {
    bytes: Bytes,
    /// Where the empty line begins.
    end: u32,
    fields: SmallVec<[FieldSpan; USUAL_FIELDS]>,
    /// One more than the position of the first field of each known header; 0 where there is none.
    first: [u16; KnownHeader::ALL.len()],
    repeated: KnownSet,
    /// Each line ends with CRLF, so that it can be copied.
    is_canonical: bool,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            bytes: Bytes::new(),
            end: 0,
            fields: SmallVec::new(),
            first: [0; KnownHeader::ALL.len()],
            repeated: KnownSet::EMPTY,
            is_canonical: true,
        }
    }
}

impl Head {
    /// The head as received, with its last empty line.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// All fields in the order received.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = HeaderField<'_>> + Clone {
        self.fields.iter().map(|span| self.field(span))
    }

    /// Whether there is at least one field of this name.
    #[inline]
    pub fn has(&self, header: KnownHeader) -> bool {
        self.first[header as usize] != 0
    }

    /// Whether there are several fields of this name.
    #[inline]
    pub fn is_repeated(&self, header: KnownHeader) -> bool {
        self.repeated.has(header)
    }

    /// The value of the first field of this name.
    #[inline]
    pub fn get(&self, header: KnownHeader) -> Option<&[u8]> {
        self.first_span(header).map(|span| self.value(span))
    }

    /// The same, as a part of the buffer.
    pub fn get_bytes(&self, header: KnownHeader) -> Option<Bytes> {
        self.get(header).map(|value| self.bytes.slice_ref(value))
    }

    /// The values of all fields of this name.
    pub fn get_all<'h>(&'h self, header: KnownHeader) -> impl Iterator<Item = &'h [u8]> + use<'h> {
        let spans = self.spans_from(header).iter().filter(move |span| span.known == Some(header));
        spans.map(|span| self.value(span))
    }

    /// The values of all fields of any name, in any letter case. A known name is looked up, others are searched for.
    pub fn get_named<'h, 'n>(&'h self, name: &'n [u8]) -> impl Iterator<Item = &'h [u8]> + use<'h, 'n> {
        let known = KnownHeader::of(name);
        let spans = known.map_or(self.spans(), |known| self.spans_from(known)).iter();
        let is_named = move |span: &&FieldSpan| {
            span.known == known && (known.is_some() || self.name(span).eq_ignore_ascii_case(name))
        };
        spans.filter(is_named).map(|span| self.value(span))
    }

    /// The first field of this name alone, or with all that follow if there is another one.
    fn spans_from(&self, header: KnownHeader) -> &[FieldSpan] {
        let next = usize::from(self.first[header as usize]);
        let Some(first) = next.checked_sub(1) else { return &[] };
        let end = if self.is_repeated(header) { self.fields.len() } else { next };
        self.fields.get(first..end).unwrap_or_default()
    }

    /// The fields as a map, whose values are parts of the buffer.
    pub fn header_map(&self) -> HeaderMap {
        self.map_of(|_| true)
    }

    /// The same without those that the predicate refuses.
    pub fn map_of(&self, is_kept: impl Fn(&HeaderField<'_>) -> bool) -> HeaderMap {
        // A map for too many fields panics; it grows by itself.
        let mut headers = HeaderMap::with_capacity(self.fields.len().min(KEPT_FIELDS));
        for field in self.fields().filter(is_kept) {
            let name = match field.known {
                Some(known) => known.header_name().clone(),
                None => match HeaderName::from_bytes(field.name) {
                    Ok(name) => name,
                    Err(_) => continue,
                },
            };
            if let Ok(value) = HeaderValue::from_maybe_shared(self.bytes.slice_ref(field.value)) {
                // Fails only for more than 24,576 different names: the rest is left out.
                let _ = headers.try_append(name, value);
            }
        }
        headers
    }

    /// Forgets the head and releases its bytes; memory for the next head is kept.
    pub fn clear(&mut self) {
        self.bytes = Bytes::new();
        self.end = 0;
        self.fields.clear();
        if self.fields.capacity() > KEPT_FIELDS {
            self.fields = SmallVec::new();
        }
        self.first = [0; KnownHeader::ALL.len()];
        self.repeated = KnownSet::EMPTY;
        self.is_canonical = true;
    }

    #[inline]
    pub(crate) fn push(&mut self, span: FieldSpan) {
        if let Some(known) = span.known {
            let first = &mut self.first[known as usize];
            if *first == 0 {
                // There are fewer fields than a `u16` can count.
                *first = self.fields.len() as u16 + 1;
            } else {
                self.repeated.insert(known);
            }
        }
        self.fields.push(span);
    }

    /// The first value of a head whose bytes are still in the input.
    #[inline]
    pub(crate) fn value_in<'a>(&self, header: KnownHeader, input: &'a [u8]) -> Option<&'a [u8]> {
        let span = self.first_span(header)?;
        input.get(span.value as usize..span.value_end as usize)
    }

    /// Records that a line does not end with CRLF.
    pub(crate) fn set_irregular(&mut self) {
        self.is_canonical = false;
    }

    pub(crate) fn is_canonical(&self) -> bool {
        self.is_canonical
    }

    /// Sets the bytes of the fields that were pushed. The empty line begins at `end`.
    pub(crate) fn set_bytes(&mut self, bytes: Bytes, end: usize) {
        self.bytes = bytes;
        self.end = end as u32;
    }

    /// The bytes of a range; none while the head is incomplete.
    #[inline]
    pub(crate) fn slice(&self, start: u32, end: u32) -> &[u8] {
        self.bytes.get(start as usize..end as usize).unwrap_or_default()
    }

    pub(crate) fn spans(&self) -> &[FieldSpan] {
        &self.fields
    }

    /// The end of the last field's line.
    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    #[inline]
    pub(crate) fn field(&self, span: &FieldSpan) -> HeaderField<'_> {
        HeaderField { known: span.known, class: span.class, name: self.name(span), value: self.value(span) }
    }

    #[inline]
    fn first_span(&self, header: KnownHeader) -> Option<&FieldSpan> {
        self.fields.get(usize::from(self.first[header as usize]).checked_sub(1)?)
    }

    #[inline]
    pub(crate) fn name(&self, span: &FieldSpan) -> &[u8] {
        self.slice(span.name, span.name + u32::from(span.name_length))
    }

    #[inline]
    pub(crate) fn value(&self, span: &FieldSpan) -> &[u8] {
        self.slice(span.value, span.value_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_many_fields_is_given_back() {
        for (count, kept) in [(KEPT_FIELDS, true), (KEPT_FIELDS + 1, false), (10_000, false)] {
            let mut head = Head::default();
            for name in 0..count as u32 {
                head.push(FieldSpan {
                    name,
                    value: name,
                    value_end: name,
                    name_length: 0,
                    known: None,
                    class: NameClass::Plain,
                });
            }
            head.clear();
            assert_eq!(head.fields.capacity() > USUAL_FIELDS, kept, "{count}");
        }
    }
}
