//! Splits a file into its documents: YAML separated by `---` lines, or consecutive JSON values.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::IgnoredAny;
use serde_saphyr::{MessageFormatter, Options, UserMessageFormatter};

use super::node::DocumentNode;

/// The deepest nesting of a document; with [`STACK`] a bound for recursion.
const DEPTH: usize = 64;

/// The YAML parser takes about 50 KiB of stack per level in a debug build, too much for threads of a runtime.
const STACK: usize = 16 << 20;

/// The number of values in a JSON file, which [`serde_json`] does not bound. The YAML parser has a limit of 250,000 per
/// document, and bounds the expansion of aliases.
const MAX_JSON_VALUES: usize = 1_000_000;

/// A document that could not be read.
#[derive(Debug)]
pub(crate) struct DocumentError {
    pub(crate) line: u32,
    pub(crate) message: String,
}

thread_local! {
    /// Whether this thread has enough stack for the deepest document.
    static IS_LARGE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `read` on a thread with enough stack for the deepest document. To start a thread costs as much as to decode a file, so that a
/// caller with many files runs all of it on one: within it, this starts no other. Fails when no thread can be started, or when `read`
/// panics.
pub fn with_large_stack<T: Send>(read: impl FnOnce() -> T + Send) -> Result<T, String> {
    let failed = |_| "the YAML parser failed".to_owned();
    if IS_LARGE.get() {
        return catch_unwind(AssertUnwindSafe(read)).map_err(failed);
    }
    let read = || {
        IS_LARGE.set(true);
        read()
    };
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().stack_size(STACK);
        match reader.spawn_scoped(scope, read) {
            Ok(reader) => reader.join().map_err(failed),
            Err(error) => Err(format!("cannot start a thread to parse it: {error}")),
        }
    })
}

/// Passes each document of a file to `each`. Each is parsed on its own: an invalid one does not affect others.
pub(crate) fn for_each_document(
    name: &str,
    text: &str,
    mut each: impl FnMut(Result<DocumentNode, DocumentError>),
) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('{') {
        // A YAML document may begin with a brace as well.
        if name.ends_with(".json") || is_json(text) {
            return json(text, each);
        }
    }
    yaml_parts(text)
        .into_iter()
        .filter_map(|(lines_before, part)| yaml(lines_before, part))
        .for_each(&mut each);
}

/// Splits a YAML stream into documents (YAML 1.2.2 §9.2), each with the number of lines before it. Document markers are at
/// the start of a line, and such a line cannot occur within a document, not even in a block scalar, so that no parsing is
/// needed.
fn yaml_parts(text: &str) -> Vec<(u32, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line) = (0, 0);
    let mut at = 0;
    for (number, line) in (0..).zip(text.split_inclusive('\n')) {
        if is_marker(line, "---") {
            parts.push((start_line, &text[start..at]));
            (start, start_line) = (at, number);
        } else if is_marker(line, "...") {
            parts.push((start_line, &text[start..at]));
            (start, start_line) = (at + line.len(), number + 1);
        }
        at += line.len();
    }
    parts.push((start_line, &text[start..]));
    parts
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Parses one document; `None` if it consists only of comments and directives.
fn yaml(lines_before: u32, text: &str) -> Option<Result<DocumentNode, DocumentError>> {
    let empty = |line: &str| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        line.is_empty() || line.starts_with(['#', '%'])
    };
    if text.lines().all(empty) {
        return None;
    }
    let read = serde_saphyr::from_str_with_options::<DocumentNode>(text, options());
    Some(match read {
        Ok(mut node) => {
            node.shift(lines_before);
            Ok(node)
        }
        Err(error) => {
            let line = error.location().map_or(1, |at| u32::try_from(at.line()).unwrap_or(u32::MAX));
            let message = UserMessageFormatter.format_message(error.without_snippet()).into_owned();
            Err(DocumentError { line: lines_before.saturating_add(line), message })
        }
    })
}

fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! { max_depth: DEPTH },
    }
}

fn is_json(text: &str) -> bool {
    serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>().all(|value| value.is_ok())
}

/// Passes each value of a JSON stream to `each`, up to the first that is broken.
fn json(text: &str, mut each: impl FnMut(Result<DocumentNode, DocumentError>)) {
    if json_values(text) > MAX_JSON_VALUES {
        return each(Err(DocumentError { line: 1, message: format!("more than {MAX_JSON_VALUES} values") }));
    }
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<DocumentNode>();
    let mut start = 0;
    while let Some(read) = stream.next() {
        let end = stream.byte_offset();
        match read {
            Ok(node) => each(Ok(with_lines(text, start, end, node))),
            Err(error) => {
                let line = u32::try_from(error.line()).unwrap_or(u32::MAX);
                return each(Err(DocumentError { line, message: error.to_string() }));
            }
        }
        start = end;
    }
}

/// Roughly the number of values: before each there is a comma, a colon or a bracket outside of strings.
fn json_values(text: &str) -> usize {
    let (mut count, mut in_string, mut escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b',' | b':' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// Adds line numbers, which serde_json does not provide. The YAML parser does, and it parses nearly all JSON, once tabs
/// are replaced. Where it fails, every line is the first one.
fn with_lines(text: &str, start: usize, end: usize, plain: DocumentNode) -> DocumentNode {
    let lines_before = u32::try_from(text[..start].matches('\n').count()).unwrap_or(u32::MAX);
    let document = text[start..end].replace('\t', " ");
    let mut node = match serde_saphyr::from_str_with_options::<DocumentNode>(&document, options()) {
        Ok(node) => node,
        Err(_) => plain,
    };
    node.shift(lines_before);
    node
}
