//! A connection to the server of subrequests: one request at a time, whole responses.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Waker};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use ingress_routes::KeepAlive;
use ingress_routes::plan::subrequest::SubrequestResponse;
use ingress_wire::chunked::{ChunkEvent, ChunkedDecoder};
use ingress_wire::framing::MessageFraming;
use ingress_wire::head_writer::HeadWriter;
use ingress_wire::known_header::{KnownHeader, KnownSet};
use ingress_wire::response::{HIDDEN, MAX_RESPONSE_HEAD, ParsedResponse};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::upstream::error::UpstreamError;
use crate::upstream::limit::UpstreamSlot;

/// How much of a response's body is kept. Of a longer body only the beginning is.
const MAX_BODY: usize = 64 * 1024;
/// How many interim responses (1xx) are skipped.
const MAX_INTERIM: usize = 16;

/// Why a subrequest has no response.
#[derive(Debug)]
pub(crate) enum SubrequestError {
    Url(&'static str),
    Failed(String),
    /// The connection was closed before the first byte of the response. A kept connection may have been closed at any time before.
    Closed,
    Timeout,
}

impl std::fmt::Display for SubrequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(what) => f.write_str(what),
            Self::Failed(what) => f.write_str(what),
            Self::Closed => f.write_str("the connection was closed before the response"),
            Self::Timeout => f.write_str("the response took too long"),
        }
    }
}

impl From<io::Error> for SubrequestError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Plain TCP, or TLS over it.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> ByteStream for T {}

/// The other side of a connection. Connections to equal servers can replace each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerIdentity {
    pub(crate) address: SocketAddr,
    /// The name that TLS was begun with; `None` for plain TCP.
    pub(crate) tls_name: Option<Box<str>>,
}

/// A connection to a server of subrequests.
pub(crate) struct SubrequestConnection {
    pub(crate) server: ServerIdentity,
    stream: Box<dyn ByteStream>,
    /// Its slot in the limit of connections; `None` in tests.
    pub(crate) slot: Option<UpstreamSlot>,
    /// When it was opened and when it became idle, in milliseconds of the clock.
    pub(crate) opened: u64,
    pub(crate) idle_since: u64,
    /// How many requests it has served.
    pub(crate) served: u32,
    /// The rules of the request that it served last.
    pub(crate) rules: KeepAlive,
    /// Another request may follow.
    pub(crate) is_reusable: bool,
}

impl SubrequestConnection {
    pub(crate) fn new(
        server: ServerIdentity,
        stream: Box<dyn ByteStream>,
        slot: Option<UpstreamSlot>,
        now: u64,
    ) -> Self {
        let rules = KeepAlive::default();
        Self { server, stream, slot, opened: now, idle_since: now, served: 0, rules, is_reusable: false }
    }

    /// Whether the server has neither sent anything nor closed the connection while it was idle. What TLS itself sends, such as session
    /// tickets, is read here and does not count.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Sends a head and a body, and reads the response. To a HEAD request (`is_head`), that has no body.
    pub(crate) async fn send(
        &mut self,
        head: &[u8],
        body: &[u8],
        is_head: bool,
    ) -> Result<SubrequestResponse, SubrequestError> {
        self.is_reusable = false;
        self.served += 1;
        let sent = self.write(head, body).await;
        let (mut buffer, mut response) = (BytesMut::new(), ParsedResponse::default());
        let received = self.read_head(&mut buffer, is_head, &mut response).await;
        // If the server has answered and closed the connection, writing may have failed.
        received.map_err(|error| match sent {
            Err(_) => SubrequestError::Closed,
            Ok(()) => error,
        })?;
        let (body, is_whole) = self.read_body(buffer, response.framing()).await?;
        self.is_reusable = is_whole && response.keeps_alive();
        let status = StatusCode::from_u16(response.status())
            .map_err(|_| SubrequestError::Failed("the endpoint sent no such status".to_owned()))?;
        Ok(SubrequestResponse { status, headers: fields(&response), body })
    }

    async fn write(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        self.stream.write_all(head).await?;
        self.stream.write_all(body).await?;
        self.stream.flush().await
    }

    /// Reads more; 0 at the end.
    async fn fill(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.stream.read_buf(buffer).await
    }

    async fn read_head(
        &mut self,
        buffer: &mut BytesMut,
        is_head: bool,
        response: &mut ParsedResponse,
    ) -> Result<(), SubrequestError> {
        let (mut interim, mut is_begun) = (0, false);
        while interim <= MAX_INTERIM {
            let parsed = response.parse(buffer, is_head, MAX_RESPONSE_HEAD);
            match parsed.map_err(|error| {
                SubrequestError::Failed(UpstreamError::Invalid(error.reason()).to_string())
            })? {
                true if response.status() >= 200 => return Ok(()),
                true => interim += 1,
                false => {
                    match self.fill(buffer).await {
                        Ok(0) | Err(_) if !is_begun => return Err(SubrequestError::Closed),
                        Ok(0) => {
                            let what = "the connection was closed within the head of the response";
                            return Err(SubrequestError::Failed(what.to_owned()));
                        }
                        filled => filled?,
                    };
                    is_begun = true;
                }
            }
        }
        Err(SubrequestError::Failed("too many interim responses".to_owned()))
    }

    /// The beginning of the body, up to [`MAX_BODY`], and whether nothing of it is left to read.
    async fn read_body(
        &mut self,
        mut buffer: BytesMut,
        framing: MessageFraming,
    ) -> Result<(Bytes, bool), SubrequestError> {
        let (length, is_whole) = match framing {
            MessageFraming::None => (0, true),
            MessageFraming::Length(length) => {
                let kept = usize::try_from(length).unwrap_or(MAX_BODY).min(MAX_BODY);
                (kept, kept as u64 == length)
            }
            MessageFraming::UntilClose => (MAX_BODY, false),
            MessageFraming::Chunked => return self.read_chunks(buffer).await,
        };
        while buffer.len() < length {
            if self.fill(&mut buffer).await? == 0 {
                if framing == MessageFraming::UntilClose {
                    break;
                }
                return Err(closed_within_body());
            }
        }
        let is_whole = is_whole && buffer.len() == length;
        buffer.truncate(length);
        Ok((buffer.freeze(), is_whole))
    }

    async fn read_chunks(&mut self, mut buffer: BytesMut) -> Result<(Bytes, bool), SubrequestError> {
        let (mut body, mut chunked) = (BytesMut::new(), ChunkedDecoder::default());
        let mut is_whole = false;
        while body.len() < MAX_BODY {
            let event = chunked.advance(&buffer);
            let (passed, event) =
                event.map_err(|_| SubrequestError::Failed("malformed chunks".to_owned()))?;
            buffer.advance(passed);
            match event {
                ChunkEvent::Data(length) => body.put(buffer.split_to(length)),
                ChunkEvent::End => {
                    is_whole = buffer.is_empty();
                    break;
                }
                ChunkEvent::More => {
                    if self.fill(&mut buffer).await? == 0 {
                        return Err(closed_within_body());
                    }
                }
            }
        }
        body.truncate(MAX_BODY);
        Ok((body.freeze(), is_whole))
    }
}

fn closed_within_body() -> SubrequestError {
    SubrequestError::Failed("the connection was closed within the body".to_owned())
}

/// The fields without those that concern the connection only or are instructions to nginx other than those for its cache.
fn fields(response: &ParsedResponse) -> HeaderMap {
    let mut writer = HeadWriter::default();
    // Caching depends on `X-Accel-Expires`.
    writer.remove_set(HIDDEN.without(KnownSet::of(&[KnownHeader::XAccelExpires])));
    writer.remove_listed(response.head(), response.connection(), KnownSet::of(&[KnownHeader::ContentLength]));
    response.head().map_of(|field| !writer.removes(field))
}

#[cfg(test)]
pub(super) mod tests;
