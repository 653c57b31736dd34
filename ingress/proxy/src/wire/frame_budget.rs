//! A limit on HTTP/2 frames that carry nothing (RFC 9113 §10.5): PING, SETTINGS, PRIORITY, RST_STREAM, CONTINUATION,
//! WINDOW_UPDATE and empty DATA cost the server work and the client nine bytes each.
//!
//! h2 offers no hook on frames, so the budget reads their headers out of the bytes on the way to h2. nginx has the
//! same kind of limit ("http2 flood detected"): it compares bytes of overhead with bytes of payload.

use std::cell::Cell;

/// How many such frames a connection may send in a burst.
const BURST: u32 = 10_000;
/// How many more it may send each second. A gRPC client sends a PING every few seconds for days.
const PER_SECOND: u64 = 100;
/// How many such frames a connection may send more for each piece of a response: a client answers a piece with up to two
/// WINDOW_UPDATE frames and perhaps a PING.
const PER_PIECE: u32 = 4;
/// A large piece is sent in several frames: one more frame is allowed for each of so many bytes.
const BYTES_PER_FRAME: usize = 256;

/// The connection preface (RFC 9113 §3.4), which precedes the first frame.
const PREFACE: u32 = 24;
/// A frame's header (RFC 9113 §4.1): length, type, flags, stream.
const HEADER: usize = 9;

const DATA: u8 = 0;
const END_STREAM: u8 = 0x1;
const PADDED: u8 = 0x8;
/// The most that can be padding: its length, and 255 bytes.
const MAX_PADDING: u32 = 256;

/// The client has sent too many frames that carry nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flood;

/// How many more frames a connection may send because of its responses.
#[derive(Debug, Default)]
pub(crate) struct FrameCredit(Cell<u32>);

/// Counts the frames of one connection as their bytes pass by.
#[derive(Debug)]
pub(crate) struct FrameBudget {
    /// Bytes until the next frame header: of the preface, or of a frame's payload.
    skip: u32,
    /// The payload is that of a DATA frame.
    is_data: bool,
    header: [u8; HEADER],
    /// How many bytes of the header have been read.
    filled: usize,
    /// How many such frames the connection may still send.
    left: u32,
    /// When time last added to `left`, in milliseconds of the worker's clock.
    refilled: u64,
}

impl FrameCredit {
    /// Adds the frames that a piece of a response allows.
    pub(crate) fn earn(&self, length: usize) {
        let frames = u32::try_from(length / BYTES_PER_FRAME).unwrap_or(BURST).min(BURST);
        self.0.set((self.0.get() + PER_PIECE + frames).min(BURST));
    }
}

impl FrameBudget {
    /// The budget of a new connection.
    pub(crate) fn new(now: u64) -> Self {
        Self { skip: PREFACE, is_data: false, header: [0; HEADER], filled: 0, left: BURST, refilled: now }
    }

    /// Counts the frames whose headers end in these bytes, and returns how many of the bytes are payload of DATA frames. Hot:
    /// no allocation, a few steps per frame.
    pub(crate) fn read(&mut self, mut bytes: &[u8], now: u64, credit: &FrameCredit) -> Result<usize, Flood> {
        let mut data = 0;
        loop {
            let skipped = (self.skip as usize).min(bytes.len());
            self.skip -= skipped as u32;
            if self.is_data {
                data += skipped;
            }
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return Ok(data);
            }
            let taken = (HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEADER {
                self.filled = 0;
                self.frame(now, credit)?;
            }
        }
    }

    fn frame(&mut self, now: u64, credit: &FrameCredit) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.skip = u32::from_be_bytes([0, high, middle, low]);
        self.is_data = kind == DATA;
        if self.is_data {
            // A frame that holds only padding counts as empty. One that ends its stream is never counted.
            let empty = self.skip == 0 || (flags & PADDED != 0 && self.skip <= MAX_PADDING);
            if !empty || flags & END_STREAM != 0 {
                return Ok(());
            }
        }
        if self.left == 0 {
            self.refill(now, credit);
        }
        self.left = self.left.checked_sub(1).ok_or(Flood)?;
        Ok(())
    }

    fn refill(&mut self, now: u64, credit: &FrameCredit) {
        let by_time = now.saturating_sub(self.refilled) * PER_SECOND / 1000;
        if by_time > 0 {
            self.refilled = now;
        }
        let by_time = u32::try_from(by_time).unwrap_or(BURST).min(BURST);
        self.left = (by_time + credit.0.take()).min(BURST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.resize(HEADER + payload, 0);
        bytes
    }

    /// A budget that has read the preface.
    fn budget() -> FrameBudget {
        let mut budget = FrameBudget::new(0);
        assert_eq!(budget.read(PREFACE, 0, &FrameCredit::default()), Ok(0));
        budget
    }

    /// How many such frames a connection may send, at most `most`.
    fn allowed(frame: &[u8], most: u32) -> u32 {
        let (mut budget, credit) = (budget(), FrameCredit::default());
        (0..most).find(|_| budget.read(frame, 0, &credit).is_err()).unwrap_or(most)
    }

    #[test]
    fn frames_that_carry_nothing_are_a_flood_after_a_bounded_number() {
        for (what, kind, flags, payload) in [
            ("PRIORITY", 2, 0, 5),
            ("RST_STREAM", 3, 0, 4),
            ("SETTINGS", 4, 0, 0),
            ("PING", 6, 0, 8),
            ("WINDOW_UPDATE", 8, 0, 4),
            ("CONTINUATION", 9, 0, 0),
            ("an unknown type", 77, 0, 0),
            ("empty DATA", 0, 0, 0),
            ("DATA of padding", 0, PADDED, 1),
            ("DATA of padding", 0, PADDED, MAX_PADDING as usize),
        ] {
            assert_eq!(allowed(&frame(kind, flags, payload), 1 << 20), BURST, "{what}");
        }
    }

    #[test]
    fn data_is_no_flood() {
        assert_eq!(allowed(&frame(DATA, 0, 1), 1 << 15), 1 << 15);
        assert_eq!(allowed(&frame(DATA, END_STREAM, 0), 1 << 15), 1 << 15);
        assert_eq!(allowed(&frame(DATA, PADDED, 1024), 1 << 15), 1 << 15);
    }

    #[test]
    fn frames_and_data_are_counted_however_the_bytes_are_cut() {
        let mut bytes = PREFACE.to_vec();
        for at in 0..50 {
            bytes.extend(frame(6, 0, 8));
            bytes.extend(frame(DATA, 0, at * 7));
        }
        for step in 1..40 {
            let (mut budget, credit) = (FrameBudget::new(0), FrameCredit::default());
            let data: usize = bytes.chunks(step).map(|piece| budget.read(piece, 0, &credit).unwrap()).sum();
            assert_eq!(data, (0..50).sum::<usize>() * 7, "{step} bytes at a time");
            // The first DATA frame is empty.
            assert_eq!(budget.left, BURST - 51, "{step} bytes at a time");
        }
    }

    #[test]
    fn time_and_responses_allow_more_frames() {
        let (mut budget, credit) = (budget(), FrameCredit::default());
        let ping = frame(6, 0, 8);
        budget.left = 0;
        assert_eq!(budget.read(&ping, 1000, &credit), Ok(0));
        assert_eq!(u64::from(budget.left), PER_SECOND - 1);
        budget.left = 0;
        credit.earn(1024);
        assert_eq!(budget.read(&ping, 1000, &credit), Ok(0));
        assert_eq!(budget.left, PER_PIECE + 4 - 1);
        budget.left = 0;
        credit.earn(usize::MAX);
        assert_eq!(budget.read(&ping, 1000, &credit), Ok(0));
        assert_eq!(budget.left, BURST - 1);
    }
}
