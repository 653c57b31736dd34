//! Two streams joined after a change of protocol: bytes pass both ways until both sides are done or neither speaks.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::{Clock, Timer};

const BUFFER: usize = 16 * 1024;

/// How it ended and how much passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) from_client: u64,
    pub(crate) to_client: u64,
}

/// Passes bytes until both sides have ended, one has failed, or nothing has come for `idle`.
pub(crate) async fn splice<C, E>(
    client: (&mut C, Bytes),
    endpoint: (&mut E, Bytes),
    clock: &Clock,
    timer: &Rc<Timer>,
    idle: Duration,
) -> Passed
where
    C: AsyncRead + AsyncWrite + Unpin,
    E: AsyncRead + AsyncWrite + Unpin,
{
    let (client, early) = client;
    let (endpoint, reply) = endpoint;
    let (mut up, mut down) = (Way::new(early), Way::new(reply));
    clock.arm(timer, idle);
    std::future::poll_fn(|cx| {
        let before = up.passed + down.passed;
        let sent = up.poll(cx, client, endpoint);
        let received = down.poll(cx, endpoint, client);
        if up.passed + down.passed != before {
            clock.arm(timer, idle);
        }
        match (sent, received) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(()),
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(()),
            _ if timer.poll_expired(cx) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
    Passed { from_client: up.passed, to_client: down.passed }
}

/// One direction.
struct Way {
    buffer: Box<[u8]>,
    from: usize,
    until: usize,
    /// What was read before the streams were joined.
    early: Bytes,
    ended: bool,
    done: bool,
    passed: u64,
}

impl Way {
    fn new(early: Bytes) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { buffer, from: 0, until: 0, early, ended: false, done: false, passed: 0 }
    }

    fn poll<R, W>(&mut self, cx: &mut Context<'_>, reader: &mut R, writer: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            if self.done {
                return Poll::Ready(Ok(()));
            }
            while self.from < self.until || !self.early.is_empty() {
                let bytes =
                    if self.early.is_empty() { &self.buffer[self.from..self.until] } else { &self.early[..] };
                let length = ready!(Pin::new(&mut *writer).poll_write(cx, bytes))?;
                if length == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.passed += length as u64;
                if self.early.is_empty() {
                    self.from += length;
                } else {
                    bytes::Buf::advance(&mut self.early, length);
                }
            }
            if self.ended {
                ready!(Pin::new(&mut *writer).poll_shutdown(cx))?;
                self.done = true;
                continue;
            }
            let mut buffer = ReadBuf::new(&mut self.buffer);
            match Pin::new(&mut *reader).poll_read(cx, &mut buffer) {
                Poll::Pending => {
                    // TLS may hold back what was written until it is flushed.
                    ready!(Pin::new(&mut *writer).poll_flush(cx))?;
                    return Poll::Pending;
                }
                Poll::Ready(result) => result?,
            }
            (self.from, self.until) = (0, buffer.filled().len());
            self.ended = self.until == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn bytes_pass_both_ways_until_both_sides_have_ended() {
        let clock = Clock::new(jiff::tz::TimeZone::UTC);
        let timer = clock.timer();
        let ((mut near, mut client), (mut endpoint, mut far)) = (duplex(8), duplex(8));
        let joined = splice(
            (&mut client, Bytes::from_static(b"early ")),
            (&mut endpoint, Bytes::from_static(b"hello ")),
            &clock,
            &timer,
            Duration::from_secs(60),
        );
        let both = async {
            let sending = async {
                near.write_all(b"and a longer text than fits").await.unwrap();
                near.shutdown().await.unwrap();
                let mut text = String::new();
                near.read_to_string(&mut text).await.unwrap();
                text
            };
            let answering = async {
                let mut text = String::new();
                far.read_to_string(&mut text).await.unwrap();
                far.write_all(b"back").await.unwrap();
                far.shutdown().await.unwrap();
                text
            };
            tokio::join!(sending, answering)
        };
        let (passed, (seen_by_client, seen_by_endpoint)) = tokio::join!(joined, both);
        assert_eq!(seen_by_client, "hello back");
        assert_eq!(seen_by_endpoint, "early and a longer text than fits");
        assert_eq!(passed, Passed { from_client: 33, to_client: 10 });
    }
}
