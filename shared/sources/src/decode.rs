//! Decodes Kubernetes' JSON and YAML into compact objects, with only the fields that are read.
//!
//! Missing fields get the defaults of the API server, so that a manifest has the same meaning as there. All other
//! fields, such as `managedFields`, are skipped while the text is parsed, and never stored.

mod scan;
mod fields;

mod endpoints;
mod imports;
mod nodes;
mod ingress_status;
mod ingresses;
mod services;
mod stores;

use std::borrow::Cow;

use cluster::{CompactString, Key, Kind, Object};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use telemetry::Problem;

use fields::{Metadata, check_label, check_subdomain};
use scan::Scanner;

/// A decoded object.
#[derive(Debug, PartialEq)]
pub struct DecodedObject {
    /// `metadata.namespace` and `metadata.name`.
    pub key: Key,
    /// `metadata.resourceVersion`; empty in manifests.
    pub version: CompactString,
    /// When the change happened that caused this version (`endpoints.kubernetes.io/last-change-trigger-time` of
    /// EndpointSlices), as stated; empty elsewhere. It is used once, so it is not part of the object.
    pub triggered: CompactString,
    /// The object; `None` when it exists but is not used: a Pod that is ending or has no address yet.
    pub object: Option<Object>,
    /// Invalid parts that do not make the rest unusable. An invalid address or port of an EndpointSlice is left out;
    /// ports without the names that the API server would require are kept.
    pub defects: Vec<InvalidField>,
}

/// A field with a value that Kubernetes would not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidField {
    /// Its path within the object, `spec.ports[0].port`; empty where it is unknown.
    pub path: String,
    /// What is wrong: `missing`, the value in quotes, or the message of the parser. Of bounded length.
    pub what: String,
    /// What is expected there; may be empty.
    pub wanted: Cow<'static, str>,
}

impl InvalidField {
    /// A field whose value is wrong, or missing where `value` is empty.
    pub fn new(path: impl Into<String>, value: impl AsRef<str>, wanted: &'static str) -> Self {
        let what = match value.as_ref() {
            "" => "missing".to_owned(),
            value => format!("{:?}", shorten(value)),
        };
        Self { path: path.into(), what, wanted: wanted.into() }
    }

    /// The message of a serde error, which may name what was expected.
    pub fn of_error(message: &str) -> Self {
        let (what, wanted) = message.split_once(", expected ").unwrap_or((message, ""));
        let (what, wanted) = (shorten(what).into_owned(), shorten(wanted).into_owned());
        Self { path: String::new(), what, wanted: wanted.into() }
    }

    /// The problem report for an object with this field.
    pub(crate) fn problem(self, kind: &str, key: impl Into<String>) -> Problem {
        let Self { path, what, wanted } = self;
        Problem {
            kind: kind.to_owned(),
            key: key.into(),
            field: path,
            what,
            wanted: wanted.into_owned(),
            severity: None,
        }
    }
}

impl std::fmt::Display for InvalidField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, what, wanted } = self;
        let colon = if path.is_empty() { "" } else { ": " };
        write!(f, "{path}{colon}{what}")?;
        if wanted.is_empty() { Ok(()) } else { write!(f, "; wanted {wanted}") }
    }
}

/// Shortens text of an object or a server to the first 200 characters, for a message that quotes it.
pub(crate) fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_QUOTED) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}… ({} bytes)", &text[..end], text.len())),
    }
}

/// Characters of a value that a message quotes.
const MAX_QUOTED: usize = 200;

/// Decodes an object of a kind. The outer error is about the text (syntax, a string instead of a number), the inner one
/// about a value of the object.
pub fn decode<'de, D: Deserializer<'de>>(
    kind: Kind,
    text: D,
) -> Result<Result<DecodedObject, InvalidField>, D::Error> {
    match kind {
        Kind::Namespace => read::<services::SlimNamespace, D>(text),
        Kind::Service => read::<services::SlimService, D>(text),
        Kind::EndpointSlice => read::<endpoints::SlimSlice<'static>, D>(text),
        Kind::Pod => read::<endpoints::SlimPod, D>(text),
        Kind::Ingress => read::<ingresses::SlimIngress, D>(text),
        Kind::IngressStatus => read::<ingress_status::SlimIngressStatus, D>(text),
        Kind::IngressClass => read::<ingresses::SlimClass, D>(text),
        Kind::Secret => read::<stores::SlimSecret, D>(text),
        Kind::ConfigMap => read::<stores::SlimConfigMap, D>(text),
        Kind::ServiceImport => read::<imports::SlimImport, D>(text),
        Kind::Node => read::<nodes::SlimNode, D>(text),
    }
}

/// Decodes an object of a kind from JSON as the API server writes it; `None` for other text and for other kinds, which [`decode`] reads.
pub(crate) fn scan(kind: Kind, text: &[u8]) -> Option<Result<DecodedObject, InvalidField>> {
    match kind {
        Kind::Service => scan_slim::<services::SlimService>(text),
        Kind::EndpointSlice => scan_slim::<endpoints::SlimSlice<'_>>(text),
        _ => None,
    }
}

/// Decodes only the key of an object and its `metadata.resourceVersion`, for deleted objects.
pub fn decode_name<'de, D: Deserializer<'de>>(kind: Kind, text: D) -> Result<(Key, CompactString), D::Error> {
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(default)]
        metadata: Metadata,
    }
    let Named { metadata } = Named::deserialize(text)?;
    Ok(metadata.key_and_version(kind))
}

/// An object reduced to the fields that are read.
trait Slim: Sized {
    const KIND: Kind;
    /// Its key and `metadata.resourceVersion`.
    fn key_and_version(&self) -> (Key, CompactString);
    /// See [`DecodedObject::triggered`].
    fn triggered(&mut self) -> CompactString {
        CompactString::default()
    }
    /// Builds the object. Invalid parts that are not essential are left out and added to `defects`.
    fn object(self, key: Key, defects: &mut Vec<InvalidField>) -> Result<Option<Object>, InvalidField>;
}

/// An object that a scanner can read.
trait Scan<'a>: Slim {
    /// Reads it; `None` if the scanner gives up.
    fn scan(text: &mut Scanner<'a>) -> Option<Self>;
}

fn read<'de, S: Slim + DeserializeOwned, D: Deserializer<'de>>(
    text: D,
) -> Result<Result<DecodedObject, InvalidField>, D::Error> {
    S::deserialize(text).map(check)
}

fn scan_slim<'a, S: Scan<'a>>(text: &'a [u8]) -> Option<Result<DecodedObject, InvalidField>> {
    let mut text = Scanner::new(text);
    let slim = S::scan(&mut text)?;
    text.is_at_end().then(|| check(slim))
}

fn check<S: Slim>(mut slim: S) -> Result<DecodedObject, InvalidField> {
    let (key, version) = slim.key_and_version();
    check_name(S::KIND, &key)?;
    let triggered = slim.triggered();
    let mut defects = Vec::new();
    let object = slim.object(key.clone(), &mut defects)?;
    Ok(DecodedObject { key, version, triggered, object, defects })
}

/// Checks the names of an object, which later become DNS labels and parts of paths.
fn check_name(kind: Kind, key: &Key) -> Result<(), InvalidField> {
    if matches!(kind, Kind::Namespace | Kind::Service | Kind::ServiceImport) {
        check_label("metadata.name", &key.name)?;
    } else {
        check_subdomain("metadata.name", &key.name)?;
    }
    if kind.namespaced() { check_label("metadata.namespace", &key.namespace) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
