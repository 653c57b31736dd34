//! A client's request, the response to it, and the handler between them.

use std::rc::Rc;

use bytes::Bytes;
use ingress_routes::access_log::ResponseSide;
use ingress_wire::framing::MessageFraming;
use ingress_wire::request::ParsedRequest;
use ingress_wire::request_head::HeadError;

use crate::client::connection::ClientConnection;
use crate::client::response_body::ResponseBody;
use crate::client::response_head::WrittenHead;
use crate::upstream::request_body::RequestBodySource;
use crate::upstream::request_head::BodyLength;

/// A client's request.
pub(crate) struct ClientRequest {
    /// The head, or why one of HTTP/2 is refused, and its request line for the log.
    pub(crate) head: Result<Box<ParsedRequest>, (HeadError, Bytes)>,
    pub(crate) body: RequestBodySource,
}

/// How the length of a request's body is known.
pub(crate) fn body_length(head: &ParsedRequest) -> BodyLength {
    match head.framing() {
        MessageFraming::Chunked => BodyLength::Chunked,
        // An explicit `Content-Length: 0` is forwarded.
        MessageFraming::Length(length) => BodyLength::Known(length),
        MessageFraming::None | MessageFraming::UntilClose => BodyLength::None,
    }
}

/// The response to a request.
pub(crate) struct ClientResponse {
    pub(crate) head: WrittenHead,
    pub(crate) body: ResponseBody,
}

impl ClientResponse {
    /// A response. Keeps the fields of its head that the format of the log has.
    pub(crate) fn new(client: &ClientConnection, head: WrittenHead, mut body: ResponseBody) -> Self {
        if let Some(format) = &client.worker.settings().access_log.format {
            body.guard().keep_fields(format, ResponseSide::Sent, |name| head.values(name));
        }
        Self { head, body }
    }
}

/// Responds to every request of a connection. Errors become error pages.
pub(crate) trait RequestHandler: Copy + 'static {
    fn handle(
        self,
        client: &Rc<ClientConnection>,
        request: ClientRequest,
    ) -> impl Future<Output = ClientResponse>;
}
