//! A client's request and the handler that responds to it.

use std::rc::Rc;

use http::{Response, request};
use http_body::Body;
use ingress_wire::request_head::{RequestFraming, RequestHead};

use crate::client::connection::ClientConnection;
use crate::client::response_body::ResponseBody;
use crate::upstream::request_body::BodySource;
use crate::upstream::request_head::BodyLength;

/// A client's request.
pub(crate) struct ClientRequest {
    pub(crate) parts: request::Parts,
    /// The head as received, which has been checked; `None` for HTTP/2.
    pub(crate) head: Option<RequestHead>,
    pub(crate) body: BodySource,
}

impl ClientRequest {
    /// How the length of the body is known.
    pub(crate) fn length(&self) -> BodyLength {
        match (&self.head, &self.body) {
            (Some(head), _) => match head.framing {
                RequestFraming::Chunked => BodyLength::Chunked,
                // An explicit `Content-Length: 0` is forwarded.
                RequestFraming::Length(0) if !head.has_length => BodyLength::None,
                RequestFraming::Length(length) => BodyLength::Known(length),
            },
            (None, BodySource::Http2(body)) if !body.is_end_stream() => {
                body.size_hint().exact().map_or(BodyLength::Chunked, BodyLength::Known)
            }
            (None, _) => BodyLength::None,
        }
    }
}

/// Responds to every request of a connection. Errors become error pages.
pub(crate) trait RequestHandler: Copy + 'static {
    fn handle(
        self,
        client: &Rc<ClientConnection>,
        request: ClientRequest,
    ) -> impl Future<Output = Response<ResponseBody>>;
}
