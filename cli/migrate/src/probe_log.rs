//! The log of a check Pod, read within limits.

use std::collections::VecDeque;
use std::io;

use futures_util::{AsyncBufRead, AsyncBufReadExt};
use tokio::sync::watch;

use crate::probe::ProbeLine;

/// The longest line that is read; the rest of a longer one is dropped. The answers of 500 Pods to 200 requests fit.
const MAX_LINE: usize = 16 << 20;

/// Lines of another program, such as an error of the container runtime, that are kept for a message: the last ones.
const KEPT_LINES: usize = 20;

/// Bytes of such a line that are kept.
const KEPT_BYTES: usize = 500;

/// Sends the last report of a probe. The counts of a watch include those before, and nothing follows a wrong answer, so that one value is
/// enough, however slowly it is read.
pub(crate) struct ProbeSender(watch::Sender<Option<ProbeLine>>);

/// Receives the reports of a probe.
pub(crate) struct ProbeReceiver(watch::Receiver<Option<ProbeLine>>);

impl ProbeSender {
    /// Makes both ends.
    pub(crate) fn new() -> (Self, ProbeReceiver) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), ProbeReceiver(receiver))
    }

    /// Replaces the report before; a wrong answer stays. False if the receiver is gone.
    pub(crate) fn report(&self, line: ProbeLine) -> bool {
        self.0.send_if_modified(|last| {
            let is_wrong = matches!(last, Some(ProbeLine::Wrong(_)));
            if !is_wrong {
                *last = Some(line);
            }
            !is_wrong
        });
        !self.0.is_closed()
    }
}

impl ProbeReceiver {
    /// Waits for something new; `None` once the probe has ended.
    pub(crate) async fn next(&mut self) -> Option<ProbeLine> {
        self.0.changed().await.ok()?;
        self.0.borrow_and_update().clone()
    }
}

/// Sends the reports of a log, until it ends or the receiver is gone. `name` is that of the Pod.
///
/// # Errors
/// When the log cannot be read or has no line of a probe.
pub(crate) async fn forward(log: impl AsyncBufRead, name: &str, sender: &ProbeSender) -> Result<(), String> {
    let mut log = std::pin::pin!(log);
    let (mut others, mut dropped, mut has_report) = (VecDeque::new(), 0, false);
    loop {
        let line = next_line(&mut log).await.map_err(|error| format!("the log of {name}: {error}"))?;
        let Some(line) = line else { break };
        if let Ok(parsed) = serde_json::from_slice(&line) {
            has_report = true;
            if !sender.report(parsed) {
                return Ok(());
            }
            continue;
        }
        if others.len() == KEPT_LINES {
            others.pop_front();
            dropped += 1;
        }
        let end = line.len().min(KEPT_BYTES);
        let cut = if end < line.len() { "…" } else { "" };
        others.push_back(format!("{}{cut}", String::from_utf8_lossy(&line[..end])));
    }
    if has_report {
        return Ok(());
    }
    let before = if dropped == 0 { String::new() } else { format!("({dropped} lines, then) ") };
    Err(format!("{name} ended without an answer: {before}{}", Vec::from(others).join("\n")))
}

/// Reads a line, at most [`MAX_LINE`] bytes of it; `None` at the end.
async fn next_line(log: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let (mut line, mut has_begun) = (Vec::new(), false);
    loop {
        let part = log.fill_buf().await?;
        if part.is_empty() {
            return Ok(has_begun.then_some(line));
        }
        has_begun = true;
        let end = part.iter().position(|byte| *byte == b'\n');
        let length = end.unwrap_or(part.len());
        line.extend_from_slice(&part[..length.min(MAX_LINE - line.len())]);
        log.consume_unpin(length + usize::from(end.is_some()));
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::io::BufReader;

    use super::*;
    use crate::probe::WrongAnswer;

    fn running(sent: u64) -> ProbeLine {
        ProbeLine::Running { sent, repeated: 0 }
    }

    fn wrong() -> ProbeLine {
        let text = String::new;
        ProbeLine::Wrong(WrongAnswer { target: text(), request: text(), expected: text(), got: "it".into() })
    }

    #[tokio::test]
    async fn a_slow_reader_gets_the_last_counts_and_never_misses_a_wrong_answer() {
        let (sender, mut lines) = ProbeSender::new();
        (1..=100_000).for_each(|sent| assert!(sender.report(running(sent))));
        assert_eq!(lines.next().await, Some(running(100_000)));
        sender.report(wrong());
        sender.report(running(100_001));
        drop(sender);
        assert_eq!(lines.next().await, Some(wrong()));
        assert_eq!(lines.next().await, None);
    }

    #[tokio::test]
    async fn a_probe_ends_when_its_receiver_is_gone() {
        let (sender, lines) = ProbeSender::new();
        drop(lines);
        assert!(!sender.report(running(1)));
    }

    #[tokio::test]
    async fn the_log_of_another_program_is_kept_in_part() {
        let (sender, _lines) = ProbeSender::new();
        let mut log: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        log += &"x".repeat(100_000);
        let error = forward(BufReader::new(log.as_bytes()), "Pod a/b", &sender).await.unwrap_err();
        assert!(
            error.starts_with("Pod a/b ended without an answer: (981 lines, then) line 981\n"),
            "{error}"
        );
        assert!(error.ends_with("x…") && error.len() < 1000, "{} bytes", error.len());
    }

    #[tokio::test]
    async fn a_line_beyond_the_limit_is_cut_and_the_next_one_is_read() {
        let (sender, mut lines) = ProbeSender::new();
        let log =
            [vec![b'x'; MAX_LINE + 5], b"\n{\"running\":{\"sent\":7,\"repeated\":0}}".to_vec()].concat();
        forward(BufReader::new(&log[..]), "it", &sender).await.unwrap();
        assert_eq!(lines.next().await, Some(running(7)));
        let mut long = BufReader::new(&log[..]);
        assert_eq!(next_line(&mut long).await.unwrap().map(|line| line.len()), Some(MAX_LINE));
    }
}
