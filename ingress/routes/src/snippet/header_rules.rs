//! Changes of header fields: `more_set_headers` and its family, and `add_header`.

use http::HeaderName;
use http::header::CONTENT_TYPE;

use super::text::{SnippetText, TextValues};
use crate::plan::filter::ResponseView;
use crate::plan::head_edits::HeadEdits;

static CONTENT_TYPE_HEADER: HeaderName = CONTENT_TYPE;

/// Which fields are changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FieldName {
    One(String),
    /// All that begin with this, in any letter case.
    Prefix(String),
}

/// One field of `more_set_headers` and its family.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FieldChange {
    pub(crate) name: FieldName,
    /// `None` removes the fields.
    pub(crate) value: Option<SnippetText>,
}

/// `more_set_headers`, `more_clear_headers`, `more_set_input_headers` or `more_clear_input_headers`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HeaderRule {
    /// `-s`: only responses with one of these; empty for all.
    pub(crate) statuses: Vec<u16>,
    /// `-t`: only messages with one of these content types, without parameters; empty for all.
    pub(crate) types: Vec<String>,
    /// `-a`: next to other fields of the name.
    pub(crate) appends: bool,
    /// `-r`: only in place of another field of the name.
    pub(crate) replaces_only: bool,
    pub(crate) changes: Vec<FieldChange>,
}

impl HeaderRule {
    /// Changes a response.
    pub(crate) fn edit_response<'r>(
        &'r self,
        values: &TextValues<'r>,
        response: &ResponseView<'_>,
        edits: &mut HeadEdits<'r>,
    ) {
        let content_type = || match response.content_type() {
            Some(value) => std::str::from_utf8(value).unwrap_or_default(),
            // A page of the proxy itself that is not made yet.
            None if !response.is_of_endpoint => "text/html",
            None => "",
        };
        let has_status = self.statuses.is_empty() || self.statuses.contains(&response.status.as_u16());
        if !has_status || !self.has_type(content_type) {
            return;
        }
        for FieldChange { name, value } in &self.changes {
            match (name, value) {
                (FieldName::One(name), Some(value)) if self.appends => {
                    edits.append(name, value.header(values));
                }
                (FieldName::One(name), Some(value)) => edits.set(name, value.header(values)),
                (FieldName::One(name), None) => edits.remove(name),
                (FieldName::Prefix(prefix), _) => edits.remove_prefix(prefix),
            }
        }
    }

    /// Changes what endpoints get of a request.
    pub(crate) fn edit_request<'r>(&'r self, values: &TextValues<'r>, edits: &mut HeadEdits<'r>) {
        let exchange = values.exchange;
        if !self.has_type(|| exchange.header(&CONTENT_TYPE_HEADER).unwrap_or_default()) {
            return;
        }
        let fields = || exchange.request.head().fields();
        for FieldChange { name, value } in &self.changes {
            match (name, value) {
                (FieldName::One(name), _)
                    if self.replaces_only && !fields().any(|field| field.is_named(name.as_bytes())) => {}
                (FieldName::One(name), Some(value)) => edits.set(name, value.header(values)),
                (FieldName::One(name), None) => edits.remove(name),
                (FieldName::Prefix(prefix), _) => {
                    for field in fields().filter(|field| begins_with(field.name, prefix.as_bytes())) {
                        if let Ok(name) = std::str::from_utf8(field.name) {
                            edits.remove(name);
                        }
                    }
                }
            }
        }
    }

    fn has_type<'t>(&self, content_type: impl FnOnce() -> &'t str) -> bool {
        if self.types.is_empty() {
            return true;
        }
        let found = content_type().split(';').next().unwrap_or_default().trim();
        self.types.iter().any(|known| known.eq_ignore_ascii_case(found))
    }
}

fn begins_with(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
}

/// `add_header`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AddedHeader {
    pub(crate) name: String,
    pub(crate) value: SnippetText,
    /// With every status.
    pub(crate) always: bool,
}

impl AddedHeader {
    /// Adds the field, unless its value is empty.
    pub(crate) fn edit<'r>(&'r self, values: &TextValues<'r>, status: u16, edits: &mut HeadEdits<'r>) {
        if self.always || is_success_or_redirect(status) {
            edits.append(&self.name, self.value.header(values));
        }
    }
}

/// The statuses with which `add_header` without `always`, and `expires`, have an effect.
pub(crate) fn is_success_or_redirect(status: u16) -> bool {
    matches!(status, 200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308)
}
