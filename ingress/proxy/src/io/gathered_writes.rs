//! Gathers small writes of an HTTP/2 connection into large ones.
//!
//! `h2` writes and flushes each DATA frame by itself. When many streams get responses at a time, each would be a TLS record and a
//! system call of its own, which cost more than everything else that is done for a small response. Here they are gathered until the
//! connection's task has polled all that was ready.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::io::buffers::{BufferUse, Buffered};

/// How many bytes are gathered at most: two TLS records.
const MAX_GATHERED: usize = 32 * 1024;

thread_local! {
    /// The buffer of this thread. A connection has it while its task is polled, or longer if its peer does not read.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that were written and not sent.
#[derive(Debug)]
pub(crate) struct GatheredWrites {
    bytes: Vec<u8>,
    /// How many of them have been sent.
    sent: usize,
    /// The buffer, while its bytes wait for the peer.
    buffered: Buffered,
}

impl GatheredWrites {
    /// Without bytes, and without a buffer. What has to wait counts as buffered for a client's connection.
    pub(crate) fn new(buffers: Rc<BufferUse>) -> Self {
        Self { bytes: Vec::new(), sent: 0, buffered: Buffered::new(buffers) }
    }

    /// How many bytes wait to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Whether everything has to be sent before more can be written.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= self.most()
    }

    /// Takes all bytes of the slices that there is room for, and returns how many. Hot: no allocation while peers read.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> usize {
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE.take();
            self.bytes.reserve_exact(MAX_GATHERED);
        }
        let (before, most) = (self.bytes.len(), self.most());
        for slice in slices {
            let room = most.saturating_sub(self.bytes.len());
            self.bytes.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        self.bytes.len() - before
    }

    fn most(&self) -> usize {
        MAX_GATHERED.min(self.buffered.allowance())
    }

    /// Sends everything and gives the buffer back; pending if the peer does not read.
    pub(crate) fn poll_send<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            match Pin::new(&mut *writer).poll_write(cx, &self.bytes[self.sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.sent += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.buffered.hold(self.bytes.capacity());
                    return Poll::Pending;
                }
            }
        }
        self.buffered.release_to(0);
        self.sent = 0;
        self.bytes.clear();
        if self.bytes.capacity() > 0 {
            SPARE.set(std::mem::take(&mut self.bytes));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, ReadBuf};

    use super::*;
    use crate::io::buffers::BufferBudget;

    fn buffers() -> Rc<BufferUse> {
        BufferUse::new(BufferBudget::new(64 << 20, 1, Default::default()))
    }

    #[test]
    fn small_writes_are_sent_together_and_the_buffer_is_given_back() {
        let cx = &mut Context::from_waker(Waker::noop());
        let (mut here, mut there) = tokio::io::duplex(MAX_GATHERED);
        let buffers = buffers();
        let mut writes = GatheredWrites::new(buffers.clone());
        for byte in b'a'..=b'c' {
            assert_eq!(writes.write(&[IoSlice::new(&[byte]), IoSlice::new(b"-")]), 2);
        }
        let mut space = [0; 16];
        let mut read = ReadBuf::new(&mut space);
        assert!(tokio::io::AsyncRead::poll_read(Pin::new(&mut there), cx, &mut read).is_pending());
        assert!(writes.poll_send(&mut here, cx).is_ready());
        assert!(tokio::io::AsyncRead::poll_read(Pin::new(&mut there), cx, &mut read).is_ready());
        assert_eq!(read.filled(), b"a-b-c-");
        assert_eq!((writes.bytes.capacity(), buffers.bytes()), (0, 0));
        assert_eq!(SPARE.take().capacity(), MAX_GATHERED);
    }

    #[tokio::test]
    async fn nothing_is_lost_when_the_peer_reads_slowly_and_what_waits_is_counted() {
        const LENGTH: usize = 5 * MAX_GATHERED + 7;
        let (mut here, mut there) = tokio::io::duplex(1000);
        let buffers = buffers();
        let mut writes = GatheredWrites::new(buffers.clone());
        let sent: Vec<u8> = (0..LENGTH).map(|at| (at / 3) as u8).collect();
        let mut most = 0;
        let sending = async {
            let mut left = &sent[..];
            while !left.is_empty() {
                let (first, second) = left.split_at(left.len().min(11));
                left = &left[writes.write(&[IoSlice::new(first), IoSlice::new(second)])..];
                if !writes.is_full() {
                    continue;
                }
                let send = |cx: &mut Context<'_>| {
                    let sent = writes.poll_send(&mut here, cx);
                    most = most.max(buffers.bytes());
                    sent
                };
                std::future::poll_fn(send).await.unwrap();
            }
            std::future::poll_fn(|cx| writes.poll_send(&mut here, cx)).await.unwrap();
        };
        let mut received = vec![0; LENGTH];
        let (_, read) = tokio::join!(sending, there.read_exact(&mut received));
        read.unwrap();
        assert!(received == sent);
        assert_eq!((most, buffers.bytes()), (MAX_GATHERED, 0));
    }

    #[test]
    fn little_is_gathered_while_buffers_are_short() {
        let buffers = buffers();
        let mut writes = GatheredWrites::new(buffers.clone());
        let mut large = Buffered::new(buffers);
        large.hold(33 << 20);
        assert_eq!(writes.write(&[IoSlice::new(&[0; MAX_GATHERED])]), 4096);
        assert!(writes.is_full());
        drop(large);
        assert_eq!(writes.write(&[IoSlice::new(&[0; MAX_GATHERED])]), MAX_GATHERED - 4096);
    }
}
