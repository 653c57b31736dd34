//! Converts lines of a watch and items of a list to events of the cache.

use cluster::{CompactString, Event, Key, Kind};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::ApiError;
use super::splitter::Part;
use crate::decode::{self, DecodedObject, InvalidField};

/// A line of a watch.
#[derive(Debug, PartialEq)]
pub(crate) enum WatchMessage {
    /// An object was added, changed or deleted.
    Object(ObjectEvent),
    /// All changes up to this version have been sent. `synced` marks the end of a streaming list.
    Bookmark { version: CompactString, synced: bool },
    /// An object exists that cannot be decoded. Its last valid version is kept.
    Undecodable(Box<Undecodable>),
}

/// A change of an object.
#[derive(Debug, PartialEq)]
pub(crate) struct ObjectEvent {
    pub(crate) event: Event,
    /// `metadata.resourceVersion`.
    pub(crate) version: CompactString,
    /// See [`DecodedObject::triggered`].
    pub(crate) triggered: CompactString,
    /// See [`DecodedObject::defects`].
    pub(crate) defects: Vec<InvalidField>,
}

/// An object that exists but cannot be decoded.
#[derive(Debug, PartialEq)]
pub(crate) struct Undecodable {
    /// Its key, where at least that could be read.
    pub(crate) key: Option<Key>,
    /// `metadata.resourceVersion`; empty where it could not be read.
    pub(crate) version: CompactString,
    /// Why it cannot be decoded.
    pub(crate) reason: InvalidField,
}

/// A page of a list without its items.
#[derive(Debug, PartialEq)]
pub(crate) struct Page {
    /// `metadata.resourceVersion`: the version of the whole list.
    pub(crate) version: CompactString,
    /// `metadata.continue`: the token of the next page; empty on the last one.
    pub(crate) next: String,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    what: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMetadata {
    resource_version: CompactString,
    #[serde(default)]
    annotations: Option<Ends>,
}

#[derive(Deserialize)]
struct Ends {
    #[serde(default, rename = "k8s.io/initial-events-end")]
    initial_events: Option<CompactString>,
}

/// Reads a line of a watch (meta/v1 WatchEvent).
pub(crate) fn read_message(kind: Kind, line: Part<'_>) -> Result<WatchMessage, ApiError> {
    let line = match line {
        Part::Whole(line) => line,
        Part::TooLong(start) => return Ok(WatchMessage::Undecodable(too_long(start))),
    };
    if let Some(event) = change_of(line).and_then(|object| applied_at_once(kind, object)) {
        return Ok(WatchMessage::Object(event));
    }
    let Line { what, object } = serde_json::from_slice(line).map_err(not_json)?;
    match what {
        "ADDED" | "MODIFIED" => {
            Ok(applied(kind, object.get()).map_or_else(WatchMessage::Undecodable, WatchMessage::Object))
        }
        "DELETED" => {
            let (key, version) = key_and_version(kind, object.get()).map_err(not_json)?;
            let (event, triggered) = (Event::Remove(kind, key), CompactString::default());
            Ok(WatchMessage::Object(ObjectEvent { event, version, triggered, defects: Vec::new() }))
        }
        "BOOKMARK" => {
            let Bookmark { metadata } = serde_json::from_str(object.get()).map_err(not_json)?;
            let ends = metadata.annotations.and_then(|annotations| annotations.initial_events);
            Ok(WatchMessage::Bookmark {
                version: metadata.resource_version,
                synced: ends.is_some_and(|end| end == "true"),
            })
        }
        "ERROR" => Err(ApiError::of_event(object.get())),
        _ => Err(ApiError::Malformed(format!("a watch event of type {:?}", decode::shorten(what)))),
    }
}

/// Reads an item of a list; `None` if the object is not used.
pub(crate) fn read_item(kind: Kind, item: Part<'_>) -> Result<Option<ObjectEvent>, Box<Undecodable>> {
    let item = match item {
        Part::Whole(item) => item,
        Part::TooLong(start) => return Err(too_long(start)),
    };
    let text = std::str::from_utf8(item).map_err(|error| {
        let reason = InvalidField::new("", error.to_string(), "JSON in UTF-8");
        Box::new(Undecodable { key: None, version: CompactString::default(), reason })
    })?;
    let event = match decode::scan(kind, item) {
        Some(Ok(decoded)) => event_of(kind, decoded),
        _ => applied(kind, text)?,
    };
    Ok(matches!(event.event, Event::Apply(_)).then_some(event))
}

/// Reads a page without its items. Fails unless the page was complete.
pub(crate) fn read_page(envelope: Option<&[u8]>) -> Result<Page, ApiError> {
    #[derive(Deserialize)]
    struct Envelope {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "resourceVersion")]
        version: CompactString,
        #[serde(default, rename = "continue")]
        next: Option<String>,
    }
    let envelope = envelope.ok_or_else(|| ApiError::Malformed("the server ended a list early".into()))?;
    let Envelope { metadata } = serde_json::from_slice(envelope).map_err(not_json)?;
    Ok(Page { version: metadata.version, next: metadata.next.unwrap_or_default() })
}

/// The object in an event that adds or changes it, if the line is written as the API server writes it.
pub(crate) fn change_of(line: &[u8]) -> Option<&[u8]> {
    let rest = line.trim_ascii().strip_prefix(br#"{"type":""#)?;
    let rest = rest.strip_prefix(b"ADDED").or_else(|| rest.strip_prefix(b"MODIFIED"))?;
    rest.strip_prefix(br#"","object":"#)?.strip_suffix(b"}")
}

/// The event of a valid object, which is read only once; `None` for anything else. Most lines are such objects, and a list of a large
/// cluster has hundreds of megabytes of them.
fn applied_at_once(kind: Kind, object: &[u8]) -> Option<ObjectEvent> {
    if let Some(scanned) = decode::scan(kind, object) {
        return scanned.ok().map(|decoded| event_of(kind, decoded));
    }
    let mut text = serde_json::Deserializer::from_slice(object);
    let decoded = decode::decode(kind, &mut text).ok()?.ok()?;
    text.end().ok()?;
    Some(event_of(kind, decoded))
}

fn event_of(kind: Kind, decoded: DecodedObject) -> ObjectEvent {
    let DecodedObject { key, version, triggered, object, defects } = decoded;
    let event = object.map_or(Event::Remove(kind, key), Event::Apply);
    ObjectEvent { event, version, triggered, defects }
}

/// The event of an object that exists.
fn applied(kind: Kind, object: &str) -> Result<ObjectEvent, Box<Undecodable>> {
    let reason = match decode::decode(kind, &mut serde_json::Deserializer::from_str(object)) {
        Ok(Ok(decoded)) => return Ok(event_of(kind, decoded)),
        Ok(Err(invalid)) => invalid,
        Err(error) => {
            // The position within the line is removed, because the line is not shown.
            let message = error.to_string();
            InvalidField::of_error(message.rsplit_once(" at line ").map_or(&*message, |(message, _)| message))
        }
    };
    let (key, version) = key_and_version(kind, object).ok().unzip();
    Err(Box::new(Undecodable { key, version: version.unwrap_or_default(), reason }))
}

fn too_long(start: &[u8]) -> Box<Undecodable> {
    let start = String::from_utf8_lossy(start);
    let reason = InvalidField::new("", start, "an object of at most 16 MiB");
    Box::new(Undecodable { key: None, version: CompactString::default(), reason })
}

fn key_and_version(kind: Kind, object: &str) -> Result<(Key, CompactString), serde_json::Error> {
    decode::decode_name(kind, &mut serde_json::Deserializer::from_str(object))
}

fn not_json(error: serde_json::Error) -> ApiError {
    ApiError::Malformed(format!("not a valid API response: {}", decode::shorten(&error.to_string())))
}

#[cfg(test)]
mod tests;
