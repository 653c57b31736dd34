//! Changes of the header fields of a head.

use std::borrow::Cow;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use ingress_wire::known_header::{KnownHeader, KnownSet};
use smallvec::SmallVec;

/// Changes of header fields, in order. Hot: borrows from the route and the request, and allocates nothing for a common route.
///
/// Names are compared ignoring case and written as given.
#[derive(Debug, Default, PartialEq)]
pub struct HeadEdits<'r> {
    edits: SmallVec<[HeadEdit<'r>; 8]>,
    /// The known names of all fields that are removed or replaced.
    replaced: KnownSet,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadEdit<'r> {
    /// Removes all fields of the name, and adds one with this value unless the value is empty, as nginx's `proxy_set_header` does.
    Set(&'r str, Cow<'r, [u8]>),
    /// Adds a field to those of the name.
    Append(&'r str, Cow<'r, [u8]>),
    /// Removes all fields of the name.
    Remove(&'r str),
    /// Removes all fields whose name begins with this.
    RemovePrefix(&'r str),
}

impl HeadEdit<'_> {
    /// The name of the field, or its beginning.
    pub fn name(&self) -> &str {
        match self {
            Self::Set(name, _) | Self::Append(name, _) | Self::Remove(name) | Self::RemovePrefix(name) => {
                name
            }
        }
    }

    /// Whether it concerns fields of a name.
    pub fn has_name(&self, name: &[u8]) -> bool {
        let own = self.name().as_bytes();
        match self {
            Self::RemovePrefix(_) => {
                name.get(..own.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(own))
            }
            _ => own.eq_ignore_ascii_case(name),
        }
    }
}

impl<'r> HeadEdits<'r> {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Replaces all fields of the name by one with this value; an empty value removes them.
    pub fn set(&mut self, name: &'r str, value: impl Into<Cow<'r, [u8]>>) {
        self.note_replaced(name);
        self.edits.push(HeadEdit::Set(name, value.into()));
    }

    /// Adds a field.
    pub fn append(&mut self, name: &'r str, value: impl Into<Cow<'r, [u8]>>) {
        self.edits.push(HeadEdit::Append(name, value.into()));
    }

    /// Removes all fields of the name.
    pub fn remove(&mut self, name: &'r str) {
        self.note_replaced(name);
        self.edits.push(HeadEdit::Remove(name));
    }

    /// Removes all fields whose name begins with this, in any letter case.
    pub fn remove_prefix(&mut self, prefix: &'r str) {
        self.edits.push(HeadEdit::RemovePrefix(prefix));
    }

    fn note_replaced(&mut self, name: &str) {
        if let Some(known) = KnownHeader::of(name.as_bytes()) {
            self.replaced.insert(known);
        }
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
    pub fn replaced_names(&self) -> impl Iterator<Item = &'r str> {
        self.edits.iter().filter_map(|edit| match edit {
            HeadEdit::Set(name, _) | HeadEdit::Remove(name) => Some(*name),
            HeadEdit::Append(..) | HeadEdit::RemovePrefix(_) => None,
        })
    }

    /// Whether the fields of a name are removed or replaced.
    pub fn replace(&self, name: &[u8]) -> bool {
        let is_replaced = |edit: &HeadEdit<'_>| !matches!(edit, HeadEdit::Append(..)) && edit.has_name(name);
        match KnownHeader::of(name) {
            Some(known) if self.replaced.has(known) => true,
            Some(_) => self.prefixes().any(|_| true) && self.edits.iter().any(is_replaced),
            None => self.edits.iter().any(is_replaced),
        }
    }

    /// The beginnings of names whose fields are removed.
    pub fn prefixes(&self) -> impl Iterator<Item = &HeadEdit<'r>> {
        self.edits.iter().filter(|edit| matches!(edit, HeadEdit::RemovePrefix(_)))
    }

    /// The fields that are added in the end: name and value, in order.
    pub fn added(&self) -> impl Iterator<Item = (&'r str, &[u8])> {
        self.edits.iter().enumerate().filter_map(|(at, edit)| {
            let (HeadEdit::Set(name, value) | HeadEdit::Append(name, value)) = edit else { return None };
            let later = &self.edits[at + 1..];
            let is_undone = later
                .iter()
                .any(|edit| !matches!(edit, HeadEdit::Append(..)) && edit.has_name(name.as_bytes()));
            (!value.is_empty() && !is_undone).then_some((*name, &**value))
        })
    }

    /// The last value that a field is given.
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.added()
            .filter(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
            .last()
            .map(|(_, value)| value)
    }

    /// Applies the changes to parsed fields. A name or value that cannot be in a head changes nothing.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for edit in &self.edits {
            if let HeadEdit::RemovePrefix(_) = edit {
                let names = headers.keys().filter(|name| edit.has_name(name.as_str().as_bytes()));
                for name in names.cloned().collect::<Vec<_>>() {
                    headers.remove(name);
                }
                continue;
            }
            let Ok(name) = HeaderName::from_bytes(edit.name().as_bytes()) else { continue };
            match edit {
                HeadEdit::Set(_, value) if !value.is_empty() => {
                    if let Ok(value) = HeaderValue::from_bytes(value) {
                        headers.insert(name, value);
                    }
                }
                HeadEdit::Set(..) | HeadEdit::Remove(_) | HeadEdit::RemovePrefix(_) => {
                    headers.remove(name);
                }
                HeadEdit::Append(_, value) => {
                    if let Ok(value) = HeaderValue::from_bytes(value) {
                        headers.append(name, value);
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
        let added: Vec<_> = edits.added().map(|(name, _)| name).collect();
        assert_eq!(added, ["X-A", "x-a", "bad name", "X-D"]);
        assert!(edits.replace(b"x-b") && !edits.replace(b"x-d"));
        assert_eq!(edits.replaced_names().collect::<Vec<_>>(), ["X-A", "X-B", "x-c"]);
        assert_eq!((edits.value(b"x-A"), edits.value(b"x-c")), (Some(&b"5"[..]), None));
        edits.remove_prefix("x-hidden-");
        headers.append("X-Hidden-A", HeaderValue::from_static("1"));
        headers.append("x-hidden", HeaderValue::from_static("2"));
        assert!(edits.replace(b"X-hidden-b") && !edits.replace(b"x-hidden"));
        edits.apply(&mut headers);
        assert_eq!(headers.remove("x-hidden").unwrap(), "2");
        let fields: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(fields, [("x-a", &b"4"[..]), ("x-a", b"5")]);
    }
}
