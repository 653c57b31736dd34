//! The body of a request on a stream of HTTP/2.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::Frame;

use crate::wire::http1_stream::BrokenBody;

/// A body that h2 receives.
pub(crate) struct Http2Body {
    stream: RecvStream,
    /// All data has been returned; trailers may follow.
    is_data_over: bool,
}

impl Http2Body {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self { stream, is_data_over: false }
    }

    /// The next piece, or the trailers. The client may send as many bytes more as are returned. A stream that the client resets is a
    /// broken body, whatever its code: the body must not look complete.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        if !self.is_data_over {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails only for more bytes than were received.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(BrokenBody))),
                None => self.is_data_over = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx));
        Poll::Ready(
            trailers.map(|trailers| trailers.map(Frame::trailers)).map_err(|_| BrokenBody).transpose(),
        )
    }
}
