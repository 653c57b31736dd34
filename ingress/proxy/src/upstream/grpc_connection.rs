//! An HTTP/2 connection to a collector, for gRPC calls with one message in each direction.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{SendRequest, handshake};
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// The longest response in bytes. It is not read otherwise.
const MAX_RESPONSE: usize = 64 << 10;

/// Why a call has failed.
#[derive(Debug)]
pub(crate) enum CallError {
    /// There is no connection, or it has ended.
    Connection(String),
    /// The server has refused the call.
    Refused(String),
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connection(why) | Self::Refused(why) => f.write_str(why),
        }
    }
}

impl From<h2::Error> for CallError {
    fn from(error: h2::Error) -> Self {
        Self::Connection(error.to_string())
    }
}

/// A connection without TLS. It is closed when it is dropped.
pub(crate) struct GrpcConnection {
    sender: SendRequest<Bytes>,
    task: AbortHandle,
    /// `:authority`.
    authority: String,
}

impl GrpcConnection {
    /// Connects to the first address that accepts.
    pub(crate) async fn open(authority: String, addresses: &[SocketAddr]) -> Result<Self, CallError> {
        let stream = TcpStream::connect(addresses).await;
        let stream = stream.map_err(|error| CallError::Connection(format!("cannot connect: {error}")))?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = handshake(stream).await?;
        let task = tokio::spawn(async move {
            // The call that is open reports the error.
            let _ = connection.await;
        });
        Ok(Self { sender, task: task.abort_handle(), authority })
    }

    /// Sends a message to a method and waits until the server has taken it.
    pub(crate) async fn call(&self, path: &str, message: Bytes) -> Result<(), CallError> {
        let request = Request::post(format!("http://{}{path}", self.authority))
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .header(USER_AGENT, concat!("portolan/", env!("CARGO_PKG_VERSION")))
            .body(());
        let request = request.map_err(|error| CallError::Refused(error.to_string()))?;
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut body) = sender.send_request(request, false)?;
        // Not compressed, and the length of the message.
        let mut prefix = BytesMut::with_capacity(5);
        prefix.put_u8(0);
        prefix.put_u32(message.len() as u32);
        body.send_data(prefix.freeze(), false)?;
        body.send_data(message, true)?;
        let (head, mut body) = response.await?.into_parts();
        if head.status != StatusCode::OK {
            return Err(CallError::Refused(format!("HTTP status {}", head.status)));
        }
        let mut received = 0;
        while let Some(piece) = body.data().await {
            let length = piece?.len();
            received += length;
            if received > MAX_RESPONSE {
                return Err(CallError::Refused("the response is too long".to_owned()));
            }
            body.flow_control().release_capacity(length)?;
        }
        match body.trailers().await? {
            Some(trailers) => status_of(&trailers),
            // A refusal without a message has the status in its head.
            None => status_of(&head.headers),
        }
    }
}

impl Drop for GrpcConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `grpc-status` and `grpc-message`.
fn status_of(fields: &HeaderMap) -> Result<(), CallError> {
    let field = |name| fields.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match field("grpc-status") {
        "0" => Ok(()),
        "" => Err(CallError::Refused("the response has no gRPC status".to_owned())),
        status => Err(CallError::Refused(format!("gRPC status {status}: {}", field("grpc-message")))),
    }
}
