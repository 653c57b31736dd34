//! The body of a request as a client of either protocol sends it.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;

use crate::upstream::trailers;
use crate::wire::http1_stream::{BodyPiece, BrokenBody, Http1Stream};
use crate::wire::http2_body::Http2Body;

/// Where a body comes from.
pub(crate) enum RequestBodySource {
    Http1(Rc<Http1Stream>),
    Http2(Http2Body),
}

impl RequestBodySource {
    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<SourcePiece, BrokenBody>>> {
        let piece = match self {
            Self::Http1(stream) => match ready!(stream.poll_body(cx)) {
                None => None,
                Some(Ok(BodyPiece::Data(data))) => Some(Ok(SourcePiece::Data(data))),
                Some(Ok(BodyPiece::Trailers(lines))) => {
                    Some(trailers::parse(&lines).map(SourcePiece::Trailers).map_err(|_| BrokenBody))
                }
                Some(Err(error)) => Some(Err(error)),
            },
            Self::Http2(body) => match ready!(body.poll_frame(cx)) {
                None => None,
                Some(Err(error)) => Some(Err(error)),
                Some(Ok(frame)) => Some(Ok(match frame.into_data() {
                    Ok(data) => SourcePiece::Data(data),
                    Err(frame) => SourcePiece::Trailers(frame.into_trailers().unwrap_or_default()),
                })),
            },
        };
        Poll::Ready(piece)
    }
}

/// A piece of a body.
pub(super) enum SourcePiece {
    Data(Bytes),
    Trailers(HeaderMap),
}
