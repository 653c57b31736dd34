//! Watch events and list items to events of the cache.

use cluster::{CompactString, Event, Kind};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::ApiError;
use crate::decode::{self, DecodedObject};

/// What a line of a watch says.
#[derive(Debug, PartialEq)]
pub(super) enum WatchMessage {
    /// An object came, changed or went.
    Object(ObjectEvent),
    /// Nothing happened up to this version. `synced` ends the list at the beginning of a watch.
    Bookmark { version: CompactString, synced: bool },
    /// An object that could not be read, which has been logged; its last good version stays.
    Undecodable(CompactString),
}

/// What is to be told of an object.
#[derive(Debug, PartialEq)]
pub(super) struct ObjectEvent {
    pub(super) event: Event,
    /// `metadata.resourceVersion`.
    pub(super) version: CompactString,
    /// See [`DecodedObject::triggered`].
    pub(super) triggered: Option<Timestamp>,
}

/// A page without its items.
#[derive(Debug, PartialEq)]
pub(super) struct Page {
    /// The version of the whole list.
    pub(super) version: CompactString,
    /// How to ask for the next page; empty at the end.
    pub(super) next: String,
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
pub(super) fn read(kind: Kind, line: &[u8]) -> Result<WatchMessage, ApiError> {
    let Line { what, object } = serde_json::from_slice(line).map_err(not_json)?;
    match what {
        "ADDED" | "MODIFIED" => Ok(match applied(kind, object.get()) {
            Some(news) => WatchMessage::Object(news),
            None => WatchMessage::Undecodable(
                named(kind, object.get()).map(|(_, version)| version).unwrap_or_default(),
            ),
        }),
        "DELETED" => {
            let (key, version) = named(kind, object.get()).map_err(not_json)?;
            Ok(WatchMessage::Object(ObjectEvent {
                event: Event::Remove(kind, key),
                version,
                triggered: None,
            }))
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
        _ => Err(ApiError::Broken(format!("a watch event of type {what:?}"))),
    }
}

/// Reads an item of a list; `None` if it is of no use, or cannot be read, which is logged.
pub(super) fn read_item(kind: Kind, item: &[u8]) -> Option<ObjectEvent> {
    let news = applied(kind, std::str::from_utf8(item).ok()?)?;
    matches!(news.event, Event::Apply(_)).then_some(news)
}

/// Reads what is left of a page when its items are taken out; fails unless it was complete.
pub(super) fn read_page(envelope: Option<&[u8]>) -> Result<Page, ApiError> {
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
    let envelope =
        envelope.ok_or_else(|| ApiError::Broken("the server ended a list before its end".into()))?;
    let Envelope { metadata } = serde_json::from_slice(envelope).map_err(not_json)?;
    Ok(Page { version: metadata.version, next: metadata.next.unwrap_or_default() })
}

/// An object that is there: what the cache makes of it.
fn applied(kind: Kind, object: &str) -> Option<ObjectEvent> {
    let refused = match decode::decode(kind, &mut serde_json::Deserializer::from_str(object)) {
        Ok(Ok(DecodedObject { key, version, triggered, object })) => {
            let event = object.map_or(Event::Remove(kind, key), Event::Apply);
            return Some(ObjectEvent { event, version, triggered });
        }
        Ok(Err(wrong)) => wrong.to_string(),
        Err(error) => error.to_string(),
    };
    let key = named(kind, object).map(|(key, _)| key.to_string()).unwrap_or_default();
    tracing::warn!(%kind, key, "left as it was, cannot be read: {refused}");
    None
}

fn named(kind: Kind, object: &str) -> Result<(cluster::Key, CompactString), serde_json::Error> {
    decode::decode_name(kind, &mut serde_json::Deserializer::from_str(object))
}

fn not_json(error: serde_json::Error) -> ApiError {
    ApiError::Broken(format!("not what the API promises: {error}"))
}

#[cfg(test)]
mod tests;
