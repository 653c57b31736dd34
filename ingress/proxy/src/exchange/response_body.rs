//! The body of a response on its way to the client.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Response, Version, response};
use http_body::{Body, Frame, SizeHint};
use hyper::ext::ReasonPhrase;

use crate::client::request_guard::RequestGuard;
use crate::io::buffers::{BufferCharge, ChargedBytes};
use crate::upstream::error::UpstreamError;
use crate::upstream::request::UpstreamRequest;

/// The source of a body.
enum BodySource {
    Nothing,
    Page(Bytes),
    Endpoint(Box<UpstreamRequest>, Rc<BufferCharge>),
}

/// The body of a response.
pub(crate) struct ResponseBody {
    content: BodySource,
    /// `None` after 101: the request ends with the switched protocol.
    guard: Option<RequestGuard>,
    /// The error that ends the body, kept until everything before it has been written.
    broken: Option<UpstreamError>,
    /// The body is sent in chunks (RFC 9112 §7.1).
    chunked: bool,
}

impl ResponseBody {
    /// No body.
    pub(crate) fn nothing(guard: RequestGuard) -> Self {
        Self::of(BodySource::Nothing, Some(guard))
    }

    /// No body after 101; another protocol follows.
    pub(crate) fn switched() -> Self {
        Self::of(BodySource::Nothing, None)
    }

    /// A page that the proxy made.
    pub(crate) fn page(page: Bytes, guard: RequestGuard) -> Self {
        Self::of(BodySource::Page(page), Some(guard))
    }

    /// The body that the endpoint sends.
    pub(crate) fn endpoint(request: Box<UpstreamRequest>, guard: RequestGuard) -> Self {
        let charge = BufferCharge::new(guard.entry().buffers.clone());
        Self::of(BodySource::Endpoint(request, charge), Some(guard))
    }

    fn of(content: BodySource, guard: Option<RequestGuard>) -> Self {
        Self { content, guard, broken: None, chunked: false }
    }

    /// The response with this head and body. Computes the size of the head, including the fields that hyper adds, because
    /// hyper does not report it.
    pub(crate) fn under(mut self, parts: response::Parts) -> Response<Self> {
        let length = self.size_hint().exact();
        let Some(guard) = self.guard.as_mut().filter(|guard| guard.is_http1()) else {
            return Response::from_parts(parts, self);
        };
        let bodiless = matches!(parts.status.as_u16(), 101 | 204 | 304);
        let version = guard.exchange.as_ref().map_or(Version::HTTP_11, |exchange| exchange.request.version);
        let head = guard.exchange.as_ref().is_some_and(|exchange| exchange.request.method == Method::HEAD);
        self.chunked = length.is_none() && version == Version::HTTP_11;
        let reason = parts.extensions.get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
        let reason = reason.map_or_else(|| parts.status.canonical_reason().map_or(0, str::len), <[u8]>::len);
        let mut bytes =
            "HTTP/1.1 200 \r\n\r\n".len() + reason + "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n".len();
        for (name, value) in &parts.headers {
            bytes += name.as_str().len() + value.len() + ": \r\n".len();
        }
        if self.chunked && !bodiless {
            bytes += "Transfer-Encoding: chunked\r\n".len();
        } else if let Some(length) = length
            && !(bodiless || head || parts.headers.contains_key(CONTENT_LENGTH))
        {
            bytes += "Content-Length: \r\n".len() + length.checked_ilog10().unwrap_or_default() as usize + 1;
        }
        guard.sent_head = bytes as u64;
        Response::from_parts(parts, self)
    }

    /// Ends the request to the endpoint; its connection goes to the pool if another request may follow on it.
    fn end_request(&mut self) {
        let BodySource::Endpoint(request, _) = std::mem::replace(&mut self.content, BodySource::Nothing)
        else {
            return;
        };
        let Some(guard) = &mut self.guard else { return };
        if let Some(one) = guard.attempts.last_mut() {
            one.ended = Some(one.started.elapsed());
        }
        if !guard.is_http1() {
            guard.body_bytes = request.body.received();
        }
        if let Some(connection) = request.into_idle() {
            guard.worker().connection_pool.put(connection, guard.worker().clock.now());
        }
    }
}

impl Body for ResponseBody {
    type Data = ChargedBytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<ChargedBytes>, UpstreamError>>> {
        let this = &mut *self;
        match &mut this.content {
            BodySource::Nothing => Poll::Ready(None),
            BodySource::Page(page) => {
                let page = std::mem::take(page);
                this.content = BodySource::Nothing;
                if let Some(guard) = &mut this.guard {
                    guard.sent += page.len() as u64;
                }
                Poll::Ready(Some(Ok(Frame::data(page.into()))))
            }
            BodySource::Endpoint(request, charge) => {
                if let Some(error) = this.broken.take() {
                    return Poll::Ready(Some(Err(error)));
                }
                let Poll::Ready(allowed) = charge.poll_allowance(cx, usize::MAX) else {
                    // The endpoint may need the rest of the request before the client reads more of the response.
                    request.poll_send(cx);
                    return Poll::Pending;
                };
                let frame = std::task::ready!(request.poll_frame(cx, allowed));
                if let Some(Ok(frame)) = &frame
                    && let (Some(data), Some(guard)) = (frame.data_ref(), &mut this.guard)
                {
                    let length = data.len() as u64;
                    guard.sent += length;
                    guard.entry().frames.earn(data.len());
                    if this.chunked {
                        guard.sent += u64::from(length.checked_ilog2().unwrap_or_default() / 4 + 1) + 4;
                    }
                    if let Some(one) = guard.attempts.last_mut() {
                        one.received += length;
                    }
                }
                if frame.is_none()
                    && this.chunked
                    && let Some(guard) = &mut this.guard
                {
                    guard.sent += "0\r\n\r\n".len() as u64;
                }
                if let Some(Err(error)) = frame {
                    if let Some(guard) = &this.guard
                        && !error.is_of_client()
                    {
                        let upstream = guard.route.as_ref().map_or("", |route| route.upstream_name());
                        let error = format_args!("the response is incomplete: {error}");
                        guard.worker().upstream_log.failed(upstream, &request.name(), &error);
                    }
                    // hyper discards unwritten data when a body fails, but writes it while the body is pending.
                    this.broken = Some(error);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|data| charge.charge(data)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            BodySource::Nothing => true,
            BodySource::Page(page) => page.is_empty(),
            BodySource::Endpoint(request, _) => request.is_over() && self.broken.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            BodySource::Nothing => SizeHint::with_exact(0),
            BodySource::Page(page) => SizeHint::with_exact(page.len() as u64),
            BodySource::Endpoint(request, _) => {
                request.left().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.end_request();
    }
}
