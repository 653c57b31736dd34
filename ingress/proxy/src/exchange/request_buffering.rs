//! Receives the body of a request before the request is sent (`proxy-request-buffering`).

use ingress_routes::SelectedTarget;

use crate::exchange::connect::AttemptProtocol;
use crate::exchange::proxy_request::{AttemptsFailed, ProxyRequest, RequestPurpose};
use crate::upstream::error::TimeoutKind;
use crate::upstream::request_body::RECEIVED_FIRST;
use crate::upstream::request_head::BodyLength;

impl ProxyRequest<'_> {
    /// Waits for the body, so that a client that sends slowly does not occupy an endpoint. A chunked body then has a length. As in nginx,
    /// bodies of gRPC are sent as they arrive, because messages may be answered one by one. A request for an error page sends what was
    /// received, or the body as it arrives.
    pub(super) async fn receive_body(
        &mut self,
        protocol: AttemptProtocol,
        choice: &SelectedTarget<'_>,
    ) -> Result<(), AttemptsFailed> {
        let is_buffered = match self.length {
            BodyLength::None => false,
            // It could not be kept whole.
            BodyLength::Known(length) => length <= RECEIVED_FIRST as u64,
            BodyLength::Chunked => true,
        };
        let is_buffered = is_buffered
            && self.route.plan.proxy.request_buffering
            && protocol != AttemptProtocol::Http2
            && !matches!(self.purpose, RequestPurpose::ErrorPage { .. });
        if !is_buffered {
            return Ok(());
        }
        self.pool = self.client.worker.pools().get(&choice.target.pool).cloned();
        let mut timer = self.timer();
        let Some(body) = &mut self.body else { return Ok(()) };
        let mut received = body.received();
        let whole = std::future::poll_fn(|cx| {
            let result = body.poll_receive(cx);
            if result.is_ready() {
                return result;
            }
            if received != body.received() {
                received = body.received();
                timer.set_progress();
            }
            timer.poll_timeout(cx, TimeoutKind::Body)
        });
        match whole.await {
            Ok(None) => {}
            Ok(Some(length)) => self.length = BodyLength::Known(length),
            Err(error) => {
                // The page of the error is requested without it.
                self.body = None;
                return Err(AttemptsFailed::from(&error));
            }
        }
        Ok(())
    }
}
