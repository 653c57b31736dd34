//! Entry points of fuzz targets: arbitrary bytes as the response of an API server to a list or a watch.

use cluster::{Event, Kind};

use crate::decode;
use crate::watch_stream::{LineSplitter, ListSplitter, Part, change_of, read_item, read_message, read_page};

/// Longer than any message about an object: a field path, two quotations of 200 characters, and words.
const LONGEST_MESSAGE: usize = 4096;

/// Decodes a response. `data` is a head line `list KIND SIZE` or `watch KIND SIZE` and a body, which is decoded as a whole
/// and in pieces of that size.
///
/// # Panics
/// When the pieces decode differently from the whole, when the scanner reads another object than serde, when objects are lost or added, when a message is too long, or when
/// decoding panics.
pub fn watch_stream(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (head, body) = (String::from_utf8_lossy(&data[..end]), data.get(end + 1..).unwrap_or_default());
    let mut words = head.split_whitespace();
    let is_list = words.next() == Some("list");
    let kind = words.next().and_then(|name| Kind::ALL.into_iter().find(|kind| kind.name() == name));
    let kind = kind.unwrap_or(Kind::Service);
    let size = words.next().and_then(|size| size.parse().ok()).unwrap_or(1_usize).clamp(1, 1 << 16);
    let decode = if is_list { list } else { watch };
    let whole = decode(kind, body, body.len().max(1));
    assert_eq!(decode(kind, body, size), whole, "in pieces of {size} and as a whole");
    let longest = whole.iter().map(String::len).max().unwrap_or_default();
    assert!(longest <= LONGEST_MESSAGE + body.len(), "a message of {longest} bytes");
}

/// The items of a list and its page, as text.
fn list(kind: Kind, body: &[u8], size: usize) -> Vec<String> {
    let (mut splitter, mut found, mut items) = (ListSplitter::default(), Vec::new(), 0);
    for piece in body.chunks(size) {
        let read = splitter.push(piece, |item| {
            items += 1;
            found.push(match read_item(kind, item) {
                Ok(Some(event)) => {
                    assert!(matches!(event.event, Event::Apply(_)), "a list only applies: {event:?}");
                    format!("{event:?}")
                }
                Ok(None) => "not used".to_owned(),
                Err(undecodable) => bounded(&undecodable.reason.to_string()),
            });
        });
        read.expect("no input of a fuzz target is too long");
    }
    if let Some(expected) = items_of(body) {
        assert_eq!(items, expected, "objects in a well-formed list");
    }
    found.push(format!("{:?}", read_page(splitter.envelope())));
    found
}

/// How many objects there are in a list as Kubernetes writes it: one array, `items`, of objects.
fn items_of(body: &[u8]) -> Option<usize> {
    let value: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    let mut arrays = value.values().filter_map(|value| value.as_array());
    let items = arrays.next()?;
    let well_formed = arrays.next().is_none()
        && items.iter().all(serde_json::Value::is_object)
        // serde_json keeps only the last value of a name that occurs twice.
        && body.windows(7).filter(|window| *window == b"\"items\"").count() <= 1;
    (well_formed && value.get("items").is_some_and(|value| value.is_array())).then_some(items.len())
}

/// The messages of a watch, as text.
fn watch(kind: Kind, body: &[u8], size: usize) -> Vec<String> {
    let (mut splitter, mut found) = (LineSplitter::default(), Vec::new());
    for piece in body.chunks(size) {
        splitter.push(piece, |line| {
            let Part::Whole(text) = line else { panic!("no input of a fuzz target is too long") };
            check_scanner(kind, text);
            found.push(match read_message(kind, line) {
                Ok(message) => format!("{message:?}"),
                Err(error) => bounded(&error.to_string()),
            });
        });
    }
    let lines = body.split(|byte| *byte == b'\n').rev().skip(1);
    assert_eq!(found.len(), lines.filter(|line| !line.trim_ascii().is_empty()).count(), "complete lines");
    found
}

/// What the scanner reads is what serde reads.
fn check_scanner(kind: Kind, line: &[u8]) {
    let Some(object) = change_of(line) else { return };
    let decoded = decode::decode(kind, &mut serde_json::Deserializer::from_slice(object));
    if let (Some(scanned), Ok(decoded)) = (decode::scan(kind, object), decoded) {
        assert_eq!(scanned, decoded);
    }
}

fn bounded(message: &str) -> String {
    assert!(message.len() <= LONGEST_MESSAGE, "a message of {} bytes", message.len());
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_corpus_passes() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/watch_stream");
        let mut seen = 0;
        for file in std::fs::read_dir(corpus).unwrap() {
            watch_stream(&std::fs::read(file.unwrap().path()).unwrap());
            seen += 1;
        }
        assert!(seen > 10, "{seen} inputs");
    }
}
