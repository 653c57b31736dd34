//! A read buffer shared by all connections of a thread, so that a connection waiting for input holds no buffer.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// How many bytes are read at most.
pub(crate) const SIZE: usize = 16 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into());
}

/// Reads once and passes the bytes to `consume`; an empty slice at the end of the stream.
pub(crate) fn poll_read<R, T>(
    reader: &mut R,
    cx: &mut Context<'_>,
    consume: impl FnOnce(&mut Context<'_>, &[u8]) -> T,
) -> Poll<io::Result<T>>
where
    R: AsyncRead + Unpin,
{
    poll_read_some(reader, cx, SIZE, consume)
}

/// The same, for at most `most` bytes.
pub(crate) fn poll_read_some<R, T>(
    reader: &mut R,
    cx: &mut Context<'_>,
    most: usize,
    consume: impl FnOnce(&mut Context<'_>, &[u8]) -> T,
) -> Poll<io::Result<T>>
where
    R: AsyncRead + Unpin,
{
    BUFFER.with_borrow_mut(|buffer| {
        let most = most.min(buffer.len());
        let mut buffer = ReadBuf::new(&mut buffer[..most]);
        ready!(Pin::new(reader).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(consume(cx, buffer.filled())))
    })
}
