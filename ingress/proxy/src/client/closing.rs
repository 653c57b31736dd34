//! Closing a connection so that the client can read the last response.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::io::scratch;

/// How long a connection that is about to close may take to write and read what is left.
pub(crate) const CLOSING_TIMEOUT: Duration = Duration::from_secs(5);
/// How much unread input is discarded before the connection is closed.
const LINGER: usize = 1 << 20;

/// Writes a last response, closes the sending side and discards what the client still sends.
pub(crate) async fn write_last<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, response: &[u8]) {
    if stream.write_all(response).await.is_ok() {
        let _ = stream.shutdown().await;
        linger(stream).await;
    }
}

/// Reads and discards what the client still sends: closing a socket with unread input resets the connection, and the
/// client may lose the response.
pub(crate) async fn linger<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut left = LINGER;
    while left > 0 {
        let read = std::future::poll_fn(|cx| scratch::poll_read(stream, cx, |_, bytes| bytes.len())).await;
        match read {
            Ok(0) | Err(_) => return,
            Ok(length) => left = left.saturating_sub(length),
        }
    }
}
