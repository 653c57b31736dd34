//! Copies bytes both ways between client and endpoint after 101 (Switching Protocols).

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::io::clock::{Clock, Timer};
use crate::io::readable::Readable;
use crate::io::scratch;

/// How many bytes were copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transferred {
    pub(crate) from_client: u64,
    pub(crate) to_client: u64,
    /// When the first byte for the client was passed on.
    pub(crate) first_byte: Option<Instant>,
}

/// Copies bytes until both sides have ended, one has failed, neither has sent anything for `idle`, or `is_cut`. Polled by one task.
pub(crate) async fn relay<C, E>(
    client: (&mut C, Bytes),
    endpoint: (&mut E, Bytes),
    (clock, timer, idle): (&Clock, &Rc<Timer>, Duration),
    is_cut: impl Fn() -> bool,
) -> Transferred
where
    C: AsyncRead + AsyncWrite + Readable + Unpin,
    E: AsyncRead + AsyncWrite + Readable + Unpin,
{
    let (client, early) = client;
    let (endpoint, reply) = endpoint;
    let (mut up, mut down) = (Direction::new(early), Direction::new(reply));
    let (mut first_byte, mut armed) = (None, clock.now());
    clock.arm(timer, idle);
    std::future::poll_fn(|cx| {
        let before = up.passed + down.passed;
        let sent = up.poll(cx, client, endpoint).map(|result| result.is_ok());
        let received = down.poll(cx, endpoint, client).map(|result| result.is_ok());
        if first_byte.is_none() && down.passed > 0 {
            first_byte = Some(clock.instant());
        }
        // Until the clock has ticked, the deadline would be the same.
        if up.passed + down.passed != before && clock.now() != armed {
            armed = clock.now();
            clock.arm(timer, idle);
        }
        match (sent, received) {
            (Poll::Ready(true), Poll::Ready(true)) => Poll::Ready(()),
            (Poll::Ready(false), _) | (_, Poll::Ready(false)) => Poll::Ready(()),
            _ if timer.poll_expired(cx) || is_cut() => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
    Transferred { from_client: up.passed, to_client: down.passed, first_byte }
}

/// One direction. It holds no buffer while it waits for input, because most such streams are idle most of the time.
struct Direction {
    /// Bytes that were read and not written yet. At first, those that were received before the copying began.
    left: Bytes,
    ended: bool,
    done: bool,
    /// Everything was written and flushed, and the reader wakes the task when it has more.
    is_waiting: bool,
    passed: u64,
}

impl Direction {
    fn new(early: Bytes) -> Self {
        // An empty `Bytes` keeps the buffer that it is a part of in memory.
        let left = if early.is_empty() { Bytes::new() } else { early };
        Self { left, ended: false, done: false, is_waiting: false, passed: 0 }
    }

    fn poll<R, W>(&mut self, cx: &mut Context<'_>, reader: &mut R, writer: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Readable + Unpin,
        W: AsyncWrite + Unpin,
    {
        // Usually the other direction has woken the task.
        if self.is_waiting && !reader.may_be_readable() {
            return Poll::Pending;
        }
        self.is_waiting = false;
        loop {
            if self.done {
                return Poll::Ready(Ok(()));
            }
            if !self.left.is_empty() {
                let (taken, written) = write(cx, writer, &self.left);
                self.passed += taken as u64;
                self.left.advance(taken);
                ready!(written)?;
                self.left = Bytes::new();
            }
            if self.ended {
                ready!(Pin::new(&mut *writer).poll_shutdown(cx))?;
                self.done = true;
                continue;
            }
            let passed = scratch::poll_read(reader, cx, |cx, bytes| {
                self.ended = bytes.is_empty();
                let (taken, written) = write(cx, writer, bytes);
                self.passed += taken as u64;
                if taken < bytes.len() {
                    self.left = Bytes::copy_from_slice(&bytes[taken..]);
                }
                written
            });
            match passed {
                Poll::Pending => {
                    // A TLS stream may keep written data until it is flushed.
                    ready!(Pin::new(&mut *writer).poll_flush(cx))?;
                    self.is_waiting = true;
                    return Poll::Pending;
                }
                Poll::Ready(written) => ready!(written?)?,
            }
        }
    }
}

/// Writes until the writer accepts no more. Returns the number of bytes, and whether all were written.
fn write<W>(cx: &mut Context<'_>, writer: &mut W, bytes: &[u8]) -> (usize, Poll<io::Result<()>>)
where
    W: AsyncWrite + Unpin,
{
    let mut taken = 0;
    while taken < bytes.len() {
        match Pin::new(&mut *writer).poll_write(cx, &bytes[taken..]) {
            Poll::Ready(Ok(0)) => return (taken, Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
            Poll::Ready(Ok(length)) => taken += length,
            Poll::Ready(Err(error)) => return (taken, Poll::Ready(Err(error))),
            Poll::Pending => return (taken, Poll::Pending),
        }
    }
    (taken, Poll::Ready(Ok(())))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn bytes_pass_both_ways_until_both_sides_have_ended() {
        let clock = Clock::new(jiff::tz::TimeZone::UTC);
        let timer = clock.timer();
        let ((mut client_peer, mut client), (mut endpoint, mut endpoint_peer)) = (duplex(8), duplex(8));
        let joined = relay(
            (&mut client, Bytes::from_static(b"early ")),
            (&mut endpoint, Bytes::from_static(b"hello ")),
            (&clock, &timer, Duration::from_secs(60)),
            || false,
        );
        let both = async {
            let sending = async {
                client_peer.write_all(b"and a longer text than fits").await.unwrap();
                client_peer.shutdown().await.unwrap();
                let mut text = String::new();
                client_peer.read_to_string(&mut text).await.unwrap();
                text
            };
            let answering = async {
                let mut text = String::new();
                endpoint_peer.read_to_string(&mut text).await.unwrap();
                endpoint_peer.write_all(b"back").await.unwrap();
                endpoint_peer.shutdown().await.unwrap();
                text
            };
            tokio::join!(sending, answering)
        };
        let (passed, (seen_by_client, seen_by_endpoint)) = tokio::join!(joined, both);
        assert_eq!(seen_by_client, "hello back");
        assert_eq!(seen_by_endpoint, "early and a longer text than fits");
        assert_eq!((passed.from_client, passed.to_client), (33, 10));
        assert!(passed.first_byte.is_some());
    }
}
