//! A read buffer shared by all connections of a thread, so that a connection that waits for input holds no memory for it.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// How much is read at most.
pub(crate) const SIZE: usize = 16 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SIZE].into());
}

/// Reads once and passes the bytes to `show`; an empty slice at the end of the stream.
pub(crate) fn poll_read<R, T>(
    reader: &mut R,
    cx: &mut Context<'_>,
    show: impl FnOnce(&mut Context<'_>, &[u8]) -> T,
) -> Poll<io::Result<T>>
where
    R: AsyncRead + Unpin,
{
    poll_read_some(reader, cx, SIZE, show)
}

/// The same, of at most so many bytes.
pub(crate) fn poll_read_some<R, T>(
    reader: &mut R,
    cx: &mut Context<'_>,
    most: usize,
    show: impl FnOnce(&mut Context<'_>, &[u8]) -> T,
) -> Poll<io::Result<T>>
where
    R: AsyncRead + Unpin,
{
    BUFFER.with_borrow_mut(|buffer| {
        let most = most.min(buffer.len());
        let mut buffer = ReadBuf::new(&mut buffer[..most]);
        ready!(Pin::new(reader).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(show(cx, buffer.filled())))
    })
}
