//! h2's server: the preface, then the requests of a connection.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use h2::RecvStream;
use h2::server::{Builder, Connection, Handshake, SendResponse};
use http::Request;

use crate::client::connection::ClientConnection;
use crate::client::http2::liveness::Liveness;
use crate::client::http2_stream::Http2Stream;
use crate::io::buffers::{ChargedBytes, UPLOAD_WINDOW};

/// How many bytes of a response a stream buffers. A client may stall all its streams at once.
const STREAM_BUFFER: usize = 64 * 1024;

/// How many streams with an error of the client may be reset before the connection ends.
const RESET_STREAMS: usize = 1024;

/// A request and the handle for its response.
type Accepted = (Request<RecvStream>, SendResponse<ChargedBytes>);

/// The connection as h2 serves it.
pub(super) struct ServerConnection {
    state: State,
    stream: Http2Stream,
    client: Rc<ClientConnection>,
    /// No further requests are wanted.
    is_closing: bool,
}

enum State {
    /// The client has not sent its preface.
    Handshake(Handshake<Http2Stream, ChargedBytes>),
    Open(Connection<Http2Stream, ChargedBytes>, Liveness),
}

impl ServerConnection {
    pub(super) fn new(client: &Rc<ClientConnection>, stream: &Http2Stream) -> Self {
        let worker = &client.worker;
        let handshake = Builder::new()
            .max_concurrent_streams(worker.settings().connections.http2_max_concurrent_streams)
            // h2 adds 32 bytes to each field; the handler counts as nginx does.
            .max_header_list_size(4 * worker.head_limits().head as u32)
            .max_send_buffer_size(STREAM_BUFFER)
            .initial_window_size(UPLOAD_WINDOW)
            .initial_connection_window_size(UPLOAD_WINDOW)
            .max_local_error_reset_streams(Some(RESET_STREAMS))
            .handshake(stream.clone());
        let (state, stream) = (State::Handshake(handshake), stream.clone());
        Self { state, stream, client: client.clone(), is_closing: false }
    }

    /// The next request; `None` once the connection has ended.
    pub(super) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Accepted, h2::Error>>> {
        if let State::Handshake(handshake) = &mut self.state {
            let mut connection = match ready!(Pin::new(handshake).poll(cx)) {
                Ok(connection) => connection,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            if self.is_closing {
                connection.graceful_shutdown();
            }
            // Taken once, so there is one.
            let Some(pings) = connection.ping_pong() else { return Poll::Ready(None) };
            let worker = &self.client.worker;
            let interval = worker.settings().connections.client_send_timeout;
            let liveness = Liveness::new(pings, worker.clock.clone(), interval);
            self.state = State::Open(connection, liveness);
        }
        match &mut self.state {
            State::Open(connection, _) => connection.poll_accept(cx),
            State::Handshake(_) => Poll::Pending,
        }
    }

    /// Whether the client has disappeared.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.state {
            State::Open(_, liveness) => liveness.poll_gone(cx, self.stream.last_read()),
            State::Handshake(_) => false,
        }
    }

    /// Tells the client that it may begin no further requests, as far as h2 does (see `Goaway`).
    pub(super) fn close(&mut self) {
        self.is_closing = true;
        if let State::Open(connection, _) = &mut self.state {
            connection.graceful_shutdown();
        }
    }
}
