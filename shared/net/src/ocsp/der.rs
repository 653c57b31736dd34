//! The little of DER (X.690) that OCSP needs.

/// Tags of values.
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;

/// The tag of a constructed context-specific value.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// A value.
#[derive(Clone, Copy, Debug)]
pub(super) struct DerValue<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// With its tag and length.
    pub(super) whole: &'a [u8],
}

impl<'a> DerValue<'a> {
    /// The content, if the value has this tag.
    pub(super) fn of(self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }
}

/// Reads the values in a content one after another.
#[derive(Clone, Copy, Debug)]
pub(super) struct DerReader<'a>(pub(super) &'a [u8]);

impl<'a> DerReader<'a> {
    /// The next value; `None` at the end, and if it is malformed.
    pub(super) fn next(&mut self) -> Option<DerValue<'a>> {
        let (tag, first) = (*self.0.first()?, *self.0.get(1)?);
        let (length, start) = match first {
            ..=0x7f => (usize::from(first), 2),
            0x81..=0x83 => {
                let bytes = usize::from(first & 0x7f);
                let length = self.0.get(2..2 + bytes)?;
                (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), 2 + bytes)
            }
            _ => return None,
        };
        let whole = self.0.get(..start + length)?;
        self.0 = &self.0[whole.len()..];
        Some(DerValue { tag, content: &whole[start..], whole })
    }

    /// The content of the next value, which must have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()?.of(tag)
    }

    /// The content of the next value if it has this tag, else nothing is read.
    pub(super) fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        (self.0.first() == Some(&tag)).then(|| self.take(tag)).flatten()
    }
}

/// A value of these parts.
pub(super) fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut value = vec![tag];
    match length {
        ..=0x7f => value.push(length as u8),
        0x80..=0xff => value.extend([0x81, length as u8]),
        _ => value.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    parts.iter().for_each(|part| value.extend_from_slice(part));
    value
}
