//! Cuts JSON objects out of a body as it comes, so that never more than one of them is in memory.

use super::error::ApiError;

/// More than etcd stores of one object, even with its JSON written out.
const MOST: usize = 16 << 20;

/// Cuts the items out of a list, whatever the list is called and however it is spaced.
///
/// Lists of Kubernetes have one array at their top level, `items`, and its elements are objects.
#[derive(Debug, Default)]
pub(super) struct ListSplitter {
    depth: usize,
    in_text: bool,
    escaped: bool,
    in_items: bool,
    /// The beginning of an item that has not ended.
    item: Vec<u8>,
    /// The list without its items.
    envelope: Vec<u8>,
}

impl ListSplitter {
    /// Reads on and gives each item that is complete.
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), ApiError> {
        let mut from = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if self.in_text {
                self.text(*byte);
                continue;
            }
            match byte {
                b'"' => self.in_text = true,
                b'[' if self.depth == 1 => {
                    self.envelope.extend_from_slice(&bytes[from..=at]);
                    (self.depth, self.in_items) = (2, true);
                }
                b'{' | b'[' => {
                    if self.in_items && self.depth == 2 {
                        from = at;
                    }
                    self.depth += 1;
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.in_items && self.depth == 2 {
                        self.item.extend_from_slice(&bytes[from..=at]);
                        each(&self.item);
                        self.item.clear();
                    } else if self.in_items && self.depth == 1 {
                        (self.in_items, from) = (false, at);
                    }
                }
                _ => {}
            }
        }
        let rest = if self.in_items && self.depth == 2 { &[] } else { &bytes[from..] };
        let kept = if self.in_items { &mut self.item } else { &mut self.envelope };
        kept.extend_from_slice(rest);
        bounded(kept)
    }

    /// The list without its items, once it is complete.
    pub(super) fn envelope(&self) -> Option<&[u8]> {
        (self.depth == 0 && !self.envelope.is_empty()).then_some(&self.envelope)
    }

    fn text(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.in_text = false,
            _ => {}
        }
    }
}

/// Cuts a watch into its lines, each of which is an event.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    line: Vec<u8>,
}

impl LineSplitter {
    /// Reads on and gives each line that is complete. A last line without an end is a broken one.
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), ApiError> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&rest[..end]);
            if !self.line.trim_ascii().is_empty() {
                each(&self.line);
            }
            self.line.clear();
            rest = &rest[end + 1..];
        }
        self.line.extend_from_slice(rest);
        bounded(&mut self.line)
    }
}

/// Fails on what is too long, and gives back what one large object took once it is through.
fn bounded(kept: &mut Vec<u8>) -> Result<(), ApiError> {
    if kept.len() > MOST {
        return Err(ApiError::Broken(format!("an object of more than {MOST} bytes")));
    }
    if kept.is_empty() {
        kept.shrink_to(1 << 16);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
