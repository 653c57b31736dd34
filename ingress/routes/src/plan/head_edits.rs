//! Changes of the header fields of a head.

use std::borrow::Cow;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use ingress_wire::head_writer::HeadWriter;
use ingress_wire::known_header::{KnownHeader, KnownSet};
use ingress_wire::request_head::TOKEN;
use smallvec::SmallVec;

/// Changes of header fields, in order. Hot: borrows from the route and the request, and allocates nothing for a common route.
///
/// Names are compared ignoring case and written as given.
#[derive(Debug, Default, PartialEq)]
pub struct HeadEdits<'r> {
    edits: SmallVec<[HeadEdit<'r>; 8]>,
    /// The known names of all fields that are removed or replaced.
    replaced: KnownSet,
    has_prefixes: bool,
}

/// The name of a field, and which known header it is: looked up once, because several steps ask for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EditedName<'r> {
    text: &'r str,
    known: Option<KnownHeader>,
}

impl<'r> EditedName<'r> {
    /// The name with this text.
    pub fn of(text: &'r str) -> Self {
        Self { text, known: KnownHeader::of(text.as_bytes()) }
    }

    /// The name of a known header, in lower case.
    fn known(header: KnownHeader) -> EditedName<'static> {
        EditedName { text: header.name(), known: Some(header) }
    }

    /// Whether it is a token, as it must be (RFC 9110 §5.1).
    pub fn is_token(self) -> bool {
        let is_token = || self.text.bytes().all(|byte| TOKEN[usize::from(byte)]);
        self.known.is_some() || !self.text.is_empty() && is_token()
    }

    /// The name as given.
    pub fn as_str(self) -> &'r str {
        self.text
    }

    /// Whether it is one of these known headers.
    pub fn is_in(self, headers: KnownSet) -> bool {
        self.known.is_some_and(|known| headers.has(known))
    }

    fn header_name(self) -> Option<HeaderName> {
        match self.known {
            Some(known) => Some(known.header_name().clone()),
            None => HeaderName::from_bytes(self.text.as_bytes()).ok(),
        }
    }

    /// `None` if it cannot be in a head.
    fn field(self, value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
        Some((self.header_name()?, HeaderValue::from_bytes(value).ok()?))
    }

    /// Whether both are the same name, in any letter case.
    fn is(self, other: Self) -> bool {
        self.known == other.known && (self.known.is_some() || self.text.eq_ignore_ascii_case(other.text))
    }
}

impl std::fmt::Display for EditedName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text)
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadEdit<'r> {
    /// Removes all fields of the name, and adds one with this value unless the value is empty, as nginx's `proxy_set_header` does.
    Set(EditedName<'r>, Cow<'r, [u8]>),
    /// Adds a field to those of the name.
    Append(EditedName<'r>, Cow<'r, [u8]>),
    /// Removes all fields of the name.
    Remove(EditedName<'r>),
    /// Removes all fields whose name begins with this.
    RemovePrefix(&'r str),
}

impl HeadEdit<'_> {
    /// Whether it removes the fields of a name.
    fn removes(&self, name: EditedName<'_>) -> bool {
        match self {
            Self::Set(own, _) | Self::Remove(own) => own.is(name),
            Self::Append(..) => false,
            Self::RemovePrefix(prefix) => begins_with(name.text.as_bytes(), prefix),
        }
    }
}

/// Whether a name begins with `prefix`, in any letter case.
pub fn begins_with(name: &[u8], prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix.as_bytes()))
}

impl<'r> HeadEdits<'r> {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Replaces all fields of the name by one with this value; an empty value removes them.
    pub fn set(&mut self, name: &'r str, value: impl Into<Cow<'r, [u8]>>) {
        let name = self.replaced_name(name);
        self.edits.push(HeadEdit::Set(name, value.into()));
    }

    /// Adds a field.
    pub fn append(&mut self, name: &'r str, value: impl Into<Cow<'r, [u8]>>) {
        self.edits.push(HeadEdit::Append(EditedName::of(name), value.into()));
    }

    /// Removes all fields of the name.
    pub fn remove(&mut self, name: &'r str) {
        let name = self.replaced_name(name);
        self.edits.push(HeadEdit::Remove(name));
    }

    /// Removes all fields whose name begins with this, in any letter case.
    pub fn remove_prefix(&mut self, prefix: &'r str) {
        self.has_prefixes = true;
        self.edits.push(HeadEdit::RemovePrefix(prefix));
    }

    fn replaced_name(&mut self, name: &'r str) -> EditedName<'r> {
        let name = EditedName::of(name);
        if let Some(known) = name.known {
            self.replaced.insert(known);
        }
        name
    }

    /// The changes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &HeadEdit<'r>> {
        self.edits.iter()
    }

    /// The known headers whose fields are removed or replaced.
    pub fn replaced(&self) -> KnownSet {
        self.replaced
    }

    /// The names of the fields that are removed or replaced, in order.
    pub fn replaced_names(&self) -> impl Iterator<Item = EditedName<'r>> {
        self.edits.iter().filter_map(|edit| match edit {
            HeadEdit::Set(name, _) | HeadEdit::Remove(name) => Some(*name),
            HeadEdit::Append(..) | HeadEdit::RemovePrefix(_) => None,
        })
    }

    /// Whether the fields of a name are removed or replaced.
    pub fn replace(&self, name: &str) -> bool {
        let name = EditedName::of(name);
        match name.known {
            Some(known) => self.replace_known(known),
            None => self.removes(name),
        }
    }

    /// The same for a known header. Hot.
    #[inline]
    pub fn replace_known(&self, header: KnownHeader) -> bool {
        self.replaced.has(header) || self.has_prefixes && self.removes(EditedName::known(header))
    }

    fn removes(&self, name: EditedName<'_>) -> bool {
        self.edits.iter().any(|edit| edit.removes(name))
    }

    /// Leaves the fields out that are removed or replaced, except for those of [`HeadEdits::prefixes`].
    pub fn remove_from(&self, writer: &mut HeadWriter) {
        writer.remove_set(self.replaced);
        let others = self.replaced_names().filter(|name| name.known.is_none());
        others.for_each(|name| writer.remove_named(name.text.as_bytes()));
    }

    /// The beginnings of names whose fields are removed.
    pub fn prefixes(&self) -> impl Iterator<Item = &'r str> {
        self.edits.iter().filter_map(|edit| match edit {
            HeadEdit::RemovePrefix(prefix) => Some(*prefix),
            HeadEdit::Set(..) | HeadEdit::Append(..) | HeadEdit::Remove(_) => None,
        })
    }

    /// The fields that are added in the end: name and value, in order.
    pub fn added(&self) -> impl Iterator<Item = (EditedName<'r>, &[u8])> {
        self.edits.iter().enumerate().filter_map(|(at, edit)| {
            let (HeadEdit::Set(name, value) | HeadEdit::Append(name, value)) = edit else { return None };
            let is_undone = || self.edits[at + 1..].iter().any(|later| later.removes(*name));
            (!value.is_empty() && !is_undone()).then_some((*name, &**value))
        })
    }

    /// The last value that a field is given.
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.last_value(EditedName::of(name))
    }

    /// The same for a known header. Hot.
    pub fn value_of_known(&self, header: KnownHeader) -> Option<&[u8]> {
        self.last_value(EditedName::known(header))
    }

    fn last_value(&self, name: EditedName<'_>) -> Option<&[u8]> {
        self.edits.iter().rev().find_map(|edit| match edit {
            HeadEdit::Set(own, value) | HeadEdit::Append(own, value) if own.is(name) && !value.is_empty() => {
                Some(Some(&**value))
            }
            edit => edit.removes(name).then_some(None),
        })?
    }

    /// Applies the changes to parsed fields, except those of the given names. A name or value that cannot be in a head changes nothing.
    pub fn apply(&self, headers: &mut HeaderMap, except: KnownSet) {
        for edit in &self.edits {
            match edit {
                HeadEdit::Set(name, _) | HeadEdit::Append(name, _) | HeadEdit::Remove(name)
                    if name.is_in(except) => {}
                HeadEdit::Set(name, value) if !value.is_empty() => {
                    if let Some((name, value)) = name.field(value) {
                        headers.insert(name, value);
                    }
                }
                HeadEdit::Append(name, value) => {
                    if let Some((name, value)) = name.field(value) {
                        headers.append(name, value);
                    }
                }
                HeadEdit::Set(name, _) | HeadEdit::Remove(name) => {
                    name.header_name().map(|name| headers.remove(name));
                }
                HeadEdit::RemovePrefix(prefix) => {
                    let names = headers.keys().filter(|name| begins_with(name.as_str().as_bytes(), prefix));
                    for name in names.cloned().collect::<Vec<_>>() {
                        headers.remove(name);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_applied_in_order() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        headers.append("x-b", HeaderValue::from_static("3"));
        let mut edits = HeadEdits::default();
        edits.set("X-A", &b"4"[..]);
        edits.append("x-a", b"5".to_vec());
        edits.set("X-B", &b""[..]);
        edits.append("X-C", &b"6"[..]);
        edits.append("bad name", &b"7"[..]);
        edits.append("X-D", &b"a\nb"[..]);
        edits.remove("x-c");
        let added: Vec<_> = edits.added().map(|(name, _)| name.as_str()).collect();
        assert_eq!(added, ["X-A", "x-a", "bad name", "X-D"]);
        assert!(edits.replace("x-b") && !edits.replace("x-d"));
        let replaced: Vec<_> = edits.replaced_names().map(EditedName::as_str).collect();
        assert_eq!(replaced, ["X-A", "X-B", "x-c"]);
        assert_eq!((edits.value("x-A"), edits.value("x-c")), (Some(&b"5"[..]), None));
        edits.remove_prefix("x-hidden-");
        headers.append("X-Hidden-A", HeaderValue::from_static("1"));
        headers.append("x-hidden", HeaderValue::from_static("2"));
        assert!(edits.replace("X-hidden-b") && !edits.replace("x-hidden"));
        edits.append("Keep-Alive", &b"8"[..]);
        edits.apply(&mut headers, KnownSet::of(&[KnownHeader::KeepAlive]));
        assert_eq!(headers.remove("x-hidden").unwrap(), "2");
        let fields: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [("x-a", &b"4"[..]), ("x-a", b"5")]);
    }
}
