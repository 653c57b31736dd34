//! Closing a connection so that the client can read the last response.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::io::scratch;

/// How long a connection that is about to close may take to write and read what is left.
pub(crate) const CLOSING_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an unread body the client may still send, and for how long, before the connection is closed: many clients
/// read no response before they have sent everything. The times are nginx's (`lingering_time` and `lingering_timeout`); nginx
/// has no limit in bytes.
const LINGER_BYTES: u64 = 64 << 20;
const LINGER_TIME: Duration = Duration::from_secs(30);
const LINGER_IDLE: Duration = Duration::from_secs(5);

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
    let discard = async {
        let mut left = LINGER_BYTES;
        loop {
            let read = std::future::poll_fn(|cx| scratch::poll_read(stream, cx, |_, bytes| bytes.len()));
            let Ok(Ok(length)) = tokio::time::timeout(LINGER_IDLE, read).await else { return };
            left = left.saturating_sub(length as u64);
            if length == 0 || left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER_TIME, discard).await;
}
