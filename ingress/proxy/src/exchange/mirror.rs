//! Sends copies of requests to the server of `mirror-target`.

use std::rc::Rc;

use bytes::Bytes;
use ingress_routes::plan::mirror::MirrorRule;
use ingress_routes::plan::subrequest::Subrequest;

use crate::exchange::proxy_request::ProxyRequest;
use crate::exchange::subrequest;
use crate::state::worker::Worker;
use crate::upstream::body_copy::BodyCopy;
use crate::upstream::mirror_limit::{CopySlot, MAX_BODY};
use crate::upstream::request_head::BodyLength;

impl ProxyRequest<'_> {
    /// Sends a copy of the request. Nothing waits for it, and its response is dropped.
    pub(super) fn mirror(&mut self, rule: &dyn MirrorRule) {
        let worker = &self.client.worker;
        let metrics = &worker.limits.mirror;
        let Some(exchange) = &self.guard.exchange else { return };
        let Some(mut copy) = rule.copy(exchange) else { return metrics.failed.inc() };
        let length = if rule.copies_body() { self.length } else { BodyLength::None };
        let length = match length {
            BodyLength::None => return self.send_at_once(copy),
            BodyLength::Known(0) => {
                copy.body = Some(Bytes::new());
                return self.send_at_once(copy);
            }
            BodyLength::Known(length) if length > MAX_BODY as u64 => return metrics.dropped.inc(),
            BodyLength::Known(length) => Some(length),
            BodyLength::Chunked => None,
        };
        let Some(slot) = worker.mirrors.slot() else { return metrics.dropped.inc() };
        let (body, complete) = BodyCopy::new(length, slot);
        self.body = self.body.take().map(|original| original.copied(body));
        let send = self.sending();
        tokio::task::spawn_local(async move {
            let Ok((body, slot)) = complete.await else { return send.dropped() };
            copy.body = Some(body);
            send.send(copy, slot).await;
        });
    }

    fn send_at_once(&self, copy: Subrequest) {
        let worker = &self.client.worker;
        let Some(slot) = worker.mirrors.slot() else { return worker.limits.mirror.dropped.inc() };
        let send = self.sending();
        tokio::task::spawn_local(async move { send.send(copy, slot).await });
    }

    fn sending(&self) -> CopySender {
        CopySender { worker: self.client.worker.clone(), upstream: self.route.upstream_name().into() }
    }
}

/// Sends a copy after its request may have ended.
struct CopySender {
    worker: Rc<Worker>,
    /// The upstream of the request, for the log.
    upstream: Box<str>,
}

impl CopySender {
    async fn send(self, copy: Subrequest, _slot: CopySlot) {
        let metrics = &self.worker.limits.mirror;
        match subrequest::fetch(&self.worker, &self.upstream, &copy).await {
            Ok(_) => metrics.sent.inc(),
            Err(_) => metrics.failed.inc(),
        }
    }

    fn dropped(self) {
        self.worker.limits.mirror.dropped.inc();
    }
}
