//! Writes a head with the changes that it gets on its way through the proxy.

use bytes::BufMut;

use crate::field_line;
use crate::framing::{ConnectionOptions, connection_tokens};
use crate::head::{Head, HeaderField, NameClass};
use crate::known_header::{KnownHeader, KnownSet};
use crate::scan;

/// Which fields of a head are left out, and which lines are added before and after the others.
///
/// Reuse it: after [`HeadWriter::clear`] it keeps its memory. Changes that do not depend on the request can be made once and added to
/// others with [`HeadWriter::merge`].
#[derive(Clone, Debug, Default)]
pub struct HeadWriter {
    removed: KnownSet,
    /// Other names in lower case, each followed by a line feed.
    removed_others: Vec<u8>,
    /// Fields whose names have other bytes are left out; `None` keeps all.
    most: Option<NameClass>,
    /// Whole lines.
    before: Vec<u8>,
    after: Vec<u8>,
}

impl HeadWriter {
    /// Forgets all changes and keeps the memory.
    pub fn clear(&mut self) {
        self.removed = KnownSet::EMPTY;
        self.most = None;
        for text in [&mut self.removed_others, &mut self.before, &mut self.after] {
            text.clear();
        }
    }

    /// Leaves these fields out.
    pub fn remove_set(&mut self, headers: KnownSet) {
        self.removed = self.removed.union(headers);
    }

    /// Leaves the fields of this name out.
    pub fn remove(&mut self, header: KnownHeader) {
        self.removed.insert(header);
    }

    /// Leaves the fields of this name out, in any letter case.
    pub fn remove_named(&mut self, name: &[u8]) {
        match KnownHeader::of(name) {
            Some(known) => self.removed.insert(known),
            None => {
                self.removed_others.extend(name.iter().map(u8::to_ascii_lowercase));
                self.removed_others.push(b'\n');
            }
        }
    }

    /// Leaves the fields out whose names have other bytes than this class, as nginx does by default with [`NameClass::Plain`].
    pub fn remove_other_names(&mut self, most: NameClass) {
        self.most = Some(self.most.map_or(most, |before| before.min(most)));
    }

    /// Leaves `Connection` and the fields that it lists out (RFC 9110 §7.6.1), except for those in `kept`.
    pub fn remove_listed(&mut self, head: &Head, options: &ConnectionOptions, kept: KnownSet) {
        self.removed.insert(KnownHeader::Connection);
        self.removed = self.removed.union(options.listed.without(kept));
        if options.lists_others {
            let others = connection_tokens(head).filter(|token| KnownHeader::of(token).is_none());
            others.for_each(|token| self.remove_named(token));
        }
    }

    /// Adds a field before those of the head. Its value is the concatenation of `value`.
    pub fn prepend(&mut self, name: &[u8], value: &[&[u8]]) {
        add_line(&mut self.before, name, value);
    }

    /// Adds whole lines before the fields of the head, such as [`HeadWriter::lines_before`] of another writer.
    pub fn prepend_lines(&mut self, lines: &[u8]) {
        self.before.extend_from_slice(lines);
    }

    /// The lines before the fields of the head.
    pub fn lines_before(&self) -> &[u8] {
        &self.before
    }

    /// Adds a field after those of the head.
    pub fn append(&mut self, name: &[u8], value: &[&[u8]]) {
        add_line(&mut self.after, name, value);
    }

    /// Replaces all fields of this name by one, after those of the head. An earlier addition is not replaced.
    pub fn set(&mut self, name: &[u8], value: &[&[u8]]) {
        self.remove_named(name);
        self.append(name, value);
    }

    /// Adds the changes of another writer.
    pub fn merge(&mut self, other: &Self) {
        self.removed = self.removed.union(other.removed);
        self.removed_others.extend_from_slice(&other.removed_others);
        self.before.extend_from_slice(&other.before);
        self.after.extend_from_slice(&other.after);
        if let Some(most) = other.most {
            self.remove_other_names(most);
        }
    }

    /// Whether a field of the head is left out.
    pub fn removes(&self, field: &HeaderField<'_>) -> bool {
        match field.known {
            Some(known) => self.removed.has(known),
            None => self.removes_other(field.class, field.name),
        }
    }

    fn removes_other(&self, class: NameClass, name: &[u8]) -> bool {
        let mut others = self.removed_others.split(|byte| *byte == b'\n');
        self.most.is_some_and(|most| class > most)
            || !self.removed_others.is_empty() && others.any(|other| other.eq_ignore_ascii_case(name))
    }

    /// The added fields as names and values, those before the head's first.
    pub fn added(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = [&self.before, &self.after]
            .into_iter()
            .flat_map(|text| text.split_inclusive(|byte| *byte == b'\n'));
        lines.filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], line.get(colon + 2..line.len() - 2)?))
        })
    }

    /// Writes a request: its line, and the fields of `head` with these changes. Hot: no allocation if `out` has the capacity.
    pub fn write_request<B: BufMut>(&self, method: &[u8], target: &[u8], head: &Head, out: &mut B) {
        put(out, &[method, b" ", target, b" HTTP/1.1\r\n"]);
        self.write_fields(head, out);
    }

    /// The same for an endpoint that speaks HTTP/1.0.
    pub fn write_http10_request<B: BufMut>(&self, method: &[u8], target: &[u8], head: &Head, out: &mut B) {
        put(out, &[method, b" ", target, b" HTTP/1.0\r\n"]);
        self.write_fields(head, out);
    }

    /// Writes a response: its status line, and the fields of `head` with these changes. Hot: no allocation if `out` has the capacity.
    pub fn write_response<B: BufMut>(&self, status: u16, reason: &[u8], head: &Head, out: &mut B) {
        let mut start = *b"HTTP/1.1 000 ";
        for (digit, place) in start[9..12].iter_mut().zip([100, 10, 1]) {
            *digit += (status / place % 10) as u8;
        }
        put(out, &[&start, reason, b"\r\n"]);
        self.write_fields(head, out);
    }

    /// Writes the fields and the empty line. Adjacent fields are copied together.
    fn write_fields<B: BufMut>(&self, head: &Head, out: &mut B) {
        out.put_slice(&self.before);
        if head.is_canonical() {
            let mut run = None;
            for span in head.spans() {
                let is_removed = match span.known {
                    Some(known) => self.removed.has(known),
                    None => self.removes_other(span.class, head.name(span)),
                };
                if !is_removed {
                    run.get_or_insert(span.name);
                } else if let Some(start) = run.take() {
                    out.put_slice(head.slice(start, span.name));
                }
            }
            if let Some(start) = run {
                out.put_slice(head.slice(start, head.end()));
            }
        } else {
            for field in head.fields().filter(|field| !self.removes(field)) {
                put(out, &[field.name, b": ", field.value, b"\r\n"]);
            }
        }
        out.put_slice(&self.after);
        out.put_slice(b"\r\n");
    }
}

fn put<B: BufMut>(out: &mut B, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.put_slice(part));
}

/// Appends a line. The name is a token: those of the configuration are checked where they are read. Control characters in a value
/// become spaces (RFC 9110 §5.5).
fn add_line(text: &mut Vec<u8>, name: &[u8], value: &[&[u8]]) {
    debug_assert!(
        field_line::class(name).is_some(),
        "{:?} is no header name",
        name.escape_ascii().to_string()
    );
    text.reserve(name.len() + value.iter().map(|part| part.len()).sum::<usize>() + 4);
    let start = text.len();
    text.extend_from_slice(name);
    text.extend_from_slice(b": ");
    let start_of_value = text.len();
    value.iter().for_each(|part| text.extend_from_slice(part));
    // The search includes the name, which has none, because it is faster for texts that are longer than a block.
    if scan::control(&text[start..]).is_some() {
        let is_control = |byte: &&mut u8| byte.is_ascii_control() && **byte != b'\t';
        text[start_of_value..].iter_mut().filter(is_control).for_each(|byte| *byte = b' ');
    }
    text.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
