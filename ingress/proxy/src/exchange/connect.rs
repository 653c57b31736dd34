//! The connection of an attempt: a kept one or a new one, of the endpoint's protocol.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ingress_routes::PoolKey;
use tokio::time::{Instant, timeout, timeout_at};

use crate::exchange::open::{ConnectError, open_stream};
use crate::io::buffers::BufferUse;
use crate::state::worker::Worker;
use crate::upstream::connection::{ConnectionKey, UpstreamConnection};
use crate::upstream::http2_connection::{Http2Connection, StreamSlot};
use crate::upstream::http2_pool::OpeningTurn;
use crate::upstream::http2_request::Http2Request;
use crate::upstream::request::UpstreamRequest;
use crate::upstream::request_body::RequestBody;
use crate::upstream::request_traits::RequestTraits;
use crate::upstream::stream_request::StreamRequest;
use crate::upstream::timer::UpstreamTimer;

/// The protocol of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptProtocol {
    Http1,
    Http2,
    FastCgi,
}

/// A connection for one attempt.
pub(super) enum AttemptConnection {
    /// For this request alone.
    Stream(Box<UpstreamConnection>),
    /// The same, to a FastCGI application.
    FastCgi(Box<UpstreamConnection>),
    /// A place on a connection of HTTP/2.
    Http2(StreamSlot),
}

impl AttemptConnection {
    /// A kept connection, if there is one.
    pub(super) fn kept(worker: &Worker, key: &ConnectionKey, protocol: AttemptProtocol) -> Option<Self> {
        let now = worker.clock.now();
        match protocol {
            AttemptProtocol::Http1 => worker.connection_pool.take(key, now).map(Self::Stream),
            AttemptProtocol::Http2 => {
                let rules = worker.settings().connections.upstream_keep_alive;
                worker.http2_pool.take(key, now, &rules).map(Self::Http2)
            }
            AttemptProtocol::FastCgi => None,
        }
    }

    /// Opens a connection. `pool` and `name` as in [`UpstreamConnection`].
    pub(super) async fn open(
        worker: &Worker,
        key: ConnectionKey,
        protocol: AttemptProtocol,
        (pool, name): (Option<PoolKey>, Rc<str>),
        timeout: Duration,
    ) -> Result<Self, ConnectError> {
        if protocol == AttemptProtocol::Http2 {
            return open_http2(worker, key, (pool, name), timeout).await.map(Self::Http2);
        }
        let (stream, slot) = open_stream(worker, &key, false, timeout).await?;
        let mut connection = UpstreamConnection::new(stream, key, pool, name, worker.clock.now());
        connection.slot = Some(slot);
        Ok(match protocol {
            AttemptProtocol::FastCgi => Self::FastCgi(connection),
            _ => Self::Stream(connection),
        })
    }

    /// The endpoint's address as text.
    pub(super) fn name(&self) -> &Rc<str> {
        match self {
            Self::Stream(connection) | Self::FastCgi(connection) => &connection.name,
            Self::Http2(slot) => slot.name(),
        }
    }

    /// Whether another request was sent on it before.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Self::Stream(connection) | Self::FastCgi(connection) => connection.served > 0,
            Self::Http2(slot) => slot.is_reused,
        }
    }

    /// A request on it. Nothing is sent before it is polled.
    pub(super) fn request(
        self,
        head: Bytes,
        body: RequestBody,
        traits: RequestTraits,
        timer: UpstreamTimer,
        buffers: &Rc<BufferUse>,
    ) -> UpstreamRequest {
        match self {
            Self::Stream(connection) => {
                UpstreamRequest::Stream(StreamRequest::new(connection, head, body, traits, timer))
            }
            Self::FastCgi(connection) => {
                let request = StreamRequest::new(connection, head, body, traits, timer);
                UpstreamRequest::Stream(request.with_fastcgi())
            }
            Self::Http2(slot) => {
                let request = Http2Request::new(slot, &head, body, traits, timer, buffers.clone());
                UpstreamRequest::Http2(Box::new(request))
            }
        }
    }
}

/// A place on a new connection, or on one that another request opens meanwhile.
async fn open_http2(
    worker: &Worker,
    key: ConnectionKey,
    (pool, name): (Option<PoolKey>, Rc<str>),
    within: Duration,
) -> Result<StreamSlot, ConnectError> {
    let deadline = Instant::now() + within;
    let rules = worker.settings().connections.upstream_keep_alive;
    loop {
        if let Some(slot) = worker.http2_pool.take(&key, worker.clock.now(), &rules) {
            return Ok(slot);
        }
        let _guard = match worker.http2_pool.turn(&key) {
            OpeningTurn::Own(guard) => guard,
            OpeningTurn::Other(opened) => {
                timeout_at(deadline, opened).await.map_err(|_| ConnectError::Timeout)?;
                continue;
            }
        };
        let (stream, slot) = open_stream(worker, &key, true, within).await?;
        let opening = Http2Connection::open(stream, slot, key.clone(), pool, name, &worker.clock);
        let opened = timeout(within, opening).await.map_err(|_| ConnectError::Timeout)?;
        let connection = opened.map_err(|error| ConnectError::Failed(std::io::Error::other(error)))?;
        return Ok(worker.http2_pool.add(connection));
    }
}
