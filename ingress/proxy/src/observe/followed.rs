//! What an operator sees of a request that was followed.

use std::time::Duration;

use crate::observe::access_log::AccessRecord;
use crate::traces::{TracedAttempt, TracedRequest};

impl AccessRecord {
    /// What happened, from the record of a request that has ended.
    pub(crate) fn followed_report(&self, elapsed: Duration) -> TracedRequest {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let attempts = self.attempts.iter().map(|attempt| TracedAttempt {
            endpoint: attempt.name.to_string(),
            began: attempt.started.saturating_duration_since(self.started),
            connected: attempt.connected,
            header: attempt.header,
            ended: attempt.ended,
            status: attempt.status.as_u16(),
        });
        let route = self.route.as_ref().map(|route| {
            let ingress = route.ingress.as_ref().map(ToString::to_string);
            (route.host.to_string(), format!("{:?} {}", route.kind, route.path), ingress)
        });
        TracedRequest {
            line: text(self.line()),
            client: self.client.to_string(),
            request_id: text(self.request_id.as_bytes()),
            route,
            target: self
                .exchange
                .as_ref()
                .and_then(|exchange| exchange.target.as_ref())
                .map(ToString::to_string),
            upstream: self.upstream_name().to_owned(),
            canary: Some(self.canary_name()).filter(|name| !name.is_empty()).map(str::to_owned),
            attempts: attempts.collect(),
            status: self.status,
            sent: self.sent,
            elapsed,
        }
    }
}
