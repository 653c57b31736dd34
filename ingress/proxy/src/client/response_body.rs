//! The body of a response on its way to the client.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

use crate::client::body_encoder::BodyEncoder;
use crate::client::rate_limiter::RateLimiter;
use crate::client::request_guard::RequestGuard;
use crate::io::buffers::{BufferCharge, ChargedBytes};
use crate::upstream::error::UpstreamError;
use crate::upstream::request::UpstreamRequest;
use crate::upstream::stream_request::StreamRequest;

/// The next piece of a body or its trailers.
type PolledFrame = Poll<Option<Result<Frame<Bytes>, UpstreamError>>>;

/// The source of a body.
enum ResponseBodySource {
    Nothing,
    Page(Bytes),
    Endpoint(UpstreamRequest),
    /// After 101 (Switching Protocols) another protocol follows.
    Switched(Box<StreamRequest>),
}

/// The body of a response. Dropping it ends the request.
pub(crate) struct ResponseBody {
    content: ResponseBodySource,
    guard: RequestGuard,
    /// For HTTP/2: what h2 buffers of the body.
    charge: Option<Rc<BufferCharge>>,
    /// For HTTP/2: the error that ends the body, kept until everything before it has been written.
    broken: Option<Box<UpstreamError>>,
    /// `limit-rate`, for bodies of endpoints.
    limiter: Option<Box<RateLimiter>>,
    /// Compresses the endpoint's body. `None` after its end, too.
    encoder: Option<Box<BodyEncoder>>,
    /// The trailers of a compressed body, which follow its last piece.
    trailers: Option<Box<Frame<Bytes>>>,
}

/// How much of a body is compressed at most before other tasks run.
const ENCODED_AT_ONCE: usize = 256 * 1024;

impl ResponseBody {
    /// No body.
    pub(crate) fn nothing(guard: RequestGuard) -> Self {
        Self::of(ResponseBodySource::Nothing, guard)
    }

    /// No body after 101; another protocol follows on the connections of client and endpoint.
    pub(crate) fn switched(request: Box<StreamRequest>, guard: RequestGuard) -> Self {
        Self::of(ResponseBodySource::Switched(request), guard)
    }

    /// A page that the proxy made.
    pub(crate) fn page(page: Bytes, guard: RequestGuard) -> Self {
        Self::of(ResponseBodySource::Page(page), guard)
    }

    /// The body that the endpoint sends, compressed if there is an encoder.
    pub(crate) fn endpoint(
        request: UpstreamRequest,
        guard: RequestGuard,
        encoder: Option<Box<BodyEncoder>>,
    ) -> Self {
        let rate = guard.route.as_ref().and_then(|route| route.plan.response_rate);
        let limiter = rate.map(|rate| Box::new(RateLimiter::new(rate)));
        let mut body = Self::of(ResponseBodySource::Endpoint(request), guard);
        body.limiter = limiter;
        body.encoder = encoder;
        body
    }

    fn of(content: ResponseBodySource, guard: RequestGuard) -> Self {
        Self { content, guard, charge: None, broken: None, limiter: None, encoder: None, trailers: None }
    }

    /// The record of the request.
    pub(crate) fn guard(&mut self) -> &mut RequestGuard {
        &mut self.guard
    }

    /// The length of what is left, if that is known.
    pub(super) fn length(&self) -> Option<u64> {
        match &self.content {
            ResponseBodySource::Nothing | ResponseBodySource::Switched(_) => Some(0),
            ResponseBodySource::Page(page) => Some(page.len() as u64),
            ResponseBodySource::Endpoint(_) if self.encoder.is_some() => None,
            ResponseBodySource::Endpoint(request) => request.left(),
        }
    }

    /// Whether the last piece has been returned, and no trailers can follow.
    pub(super) fn is_over(&self) -> bool {
        match &self.content {
            ResponseBodySource::Nothing | ResponseBodySource::Switched(_) => true,
            ResponseBodySource::Page(page) => page.is_empty(),
            ResponseBodySource::Endpoint(request) => {
                request.is_over() && self.encoder.is_none() && self.trailers.is_none()
            }
        }
    }

    /// The next piece, or the trailers. At most `most` bytes are read for it.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>, most: usize) -> PolledFrame {
        match &mut self.content {
            ResponseBodySource::Nothing | ResponseBodySource::Switched(_) => Poll::Ready(None),
            ResponseBodySource::Page(page) => {
                let page = std::mem::take(page);
                self.content = ResponseBodySource::Nothing;
                Poll::Ready(Some(Ok(Frame::data(page))))
            }
            ResponseBodySource::Endpoint(_) => {
                let most = match &mut self.limiter {
                    None => most,
                    Some(limiter) => std::task::ready!(limiter.poll_allowance(cx, most)),
                };
                let frame = std::task::ready!(match &self.encoder {
                    None => self.poll_endpoint(cx, most),
                    Some(_) => self.poll_encoded(cx, most),
                });
                if let Some(limiter) = &mut self.limiter
                    && let Some(Ok(frame)) = &frame
                {
                    limiter.count(frame.data_ref().map_or(0, Bytes::len));
                }
                Poll::Ready(frame)
            }
        }
    }

    /// The next piece of the endpoint's body.
    fn poll_endpoint(&mut self, cx: &mut Context<'_>, most: usize) -> PolledFrame {
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(*trailers)));
        }
        let ResponseBodySource::Endpoint(request) = &mut self.content else { return Poll::Ready(None) };
        let frame = std::task::ready!(request.poll_frame(cx, most));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(one) = self.guard.attempts.last_mut() {
                    one.received += frame.data_ref().map_or(0, |data| data.len() as u64);
                }
            }
            Some(Err(error)) if !error.is_of_client() => {
                let upstream = self.guard.upstream_name();
                let error = format_args!("the response is incomplete: {error}");
                self.guard.worker().upstream_log.failed(upstream, &request.name(), &error);
            }
            _ => {}
        }
        Poll::Ready(frame)
    }

    /// The next piece of the compressed body. Flushes when the endpoint pauses, so that events reach the client at once.
    fn poll_encoded(&mut self, cx: &mut Context<'_>, most: usize) -> PolledFrame {
        let mut encoded = 0;
        loop {
            let frame = self.poll_endpoint(cx, most);
            let (Some(mut encoder), ResponseBodySource::Endpoint(request)) =
                (self.encoder.take(), &mut self.content)
            else {
                return frame;
            };
            let (piece, trailers) = match frame {
                Poll::Pending => {
                    let flushed = encoder.flush();
                    self.encoder = Some(encoder);
                    if flushed.is_empty() {
                        return Poll::Pending;
                    }
                    request.wait_for_client();
                    return Poll::Ready(Some(Ok(Frame::data(flushed))));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => (Bytes::new(), None),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => (data, None),
                    Err(trailers) => (Bytes::new(), Some(trailers)),
                },
            };
            if request.is_over() {
                self.trailers = trailers.map(Box::new);
                return Poll::Ready(Some(Ok(Frame::data(encoder.finish(&piece)))));
            }
            let output = encoder.write(&piece);
            self.encoder = Some(encoder);
            if !output.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(output))));
            }
            encoded += piece.len();
            if encoded >= ENCODED_AT_ONCE {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Sends what the endpoint accepts of the request while the client takes nothing of the response: the endpoint may need the rest
    /// of the request first.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if let ResponseBodySource::Endpoint(request) = &mut self.content {
            request.poll_send(cx);
        }
    }

    /// Ends the request to the endpoint; its connection goes to the pool if another request may follow on it.
    pub(super) fn end_upstream(&mut self) {
        let request = match std::mem::replace(&mut self.content, ResponseBodySource::Nothing) {
            ResponseBodySource::Endpoint(request) => request,
            other => return self.content = other,
        };
        let guard = &mut self.guard;
        let now = guard.worker().clock.instant();
        if let Some(one) = guard.attempts.last_mut() {
            one.ended = Some(now.saturating_duration_since(one.started));
        }
        if !guard.is_http1() {
            guard.body_bytes = request.body().received();
        }
        let UpstreamRequest::Stream(request) = request else { return };
        if let Some(errors) = request.application_errors() {
            let errors = format_args!("the application reports: {errors}");
            guard.worker().upstream_log.failed(guard.upstream_name(), &request.name(), &errors);
        }
        if let Some(connection) = request.into_idle() {
            guard.worker().connection_pool.put(connection, guard.worker().clock.now());
        }
    }

    /// After 101, the connection to the endpoint.
    pub(super) fn take_switched(&mut self) -> Option<Box<StreamRequest>> {
        match std::mem::replace(&mut self.content, ResponseBodySource::Nothing) {
            ResponseBodySource::Switched(request) => Some(request),
            other => {
                self.content = other;
                None
            }
        }
    }

    /// For HTTP/2: what h2 buffers of the body; `None` before the first piece.
    pub(super) fn charge(&self) -> Option<&Rc<BufferCharge>> {
        self.charge.as_ref()
    }

    /// For HTTP/2: the next piece, which counts as buffered until h2 has written it, or the trailers.
    pub(super) fn poll_charged(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<ChargedBytes>, UpstreamError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(*error)));
        }
        let entry = self.guard.entry();
        let charge = self.charge.get_or_insert_with(|| BufferCharge::new(entry.buffers.clone())).clone();
        let Poll::Ready(allowed) = charge.poll_allowance(cx, usize::MAX) else {
            self.poll_upload(cx);
            return Poll::Pending;
        };
        let is_page = matches!(self.content, ResponseBodySource::Page(_));
        let frame = match std::task::ready!(self.poll_piece(cx, allowed)) {
            None => return Poll::Ready(None),
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                // h2 discards unwritten data when a stream is reset, but writes it while the body is pending.
                self.broken = Some(Box::new(error));
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        };
        if let Some(data) = frame.data_ref() {
            let length = data.len();
            self.guard.sent += length as u64;
            if !is_page {
                self.guard.entry().frames.earn(length);
            }
        }
        let charged = |data: Bytes| if is_page { data.into() } else { charge.charge(data) };
        Poll::Ready(Some(Ok(frame.map_data(charged))))
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.end_upstream();
    }
}
