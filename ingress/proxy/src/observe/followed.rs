//! The report about a request that an operator follows.

use std::time::Duration;

use http::StatusCode;
use ingress_routes::plan::filter::ResponseView;
use ingress_routes::plan::head_edits::{HeadEdit, HeadEdits};

use crate::followed_requests::{AttemptReport, RequestReport};
use crate::observe::access_log::AccessRecord;

impl AccessRecord {
    /// What happened, from the record of a request that has ended.
    pub(crate) fn followed_report(&self, elapsed: Duration) -> RequestReport {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let attempts = self.attempts.iter().map(|attempt| AttemptReport {
            endpoint: attempt.name.to_string(),
            began: attempt.started.saturating_duration_since(self.started),
            connected: attempt.connected,
            header: attempt.header,
            ended: attempt.ended,
            status: attempt.status.map(|status| status.as_u16()),
        });
        let route = self.route.as_ref().map(|route| {
            let ingress = route.ingress.as_ref().map(ToString::to_string);
            (route.host.to_string(), format!("{:?} {}", route.kind, route.path), ingress)
        });
        let (request_changes, response_changes) = self.head_changes();
        RequestReport {
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
            answered_in: self.answered_in,
            request_changes,
            response_changes,
            attempts: attempts.collect(),
            status: self.status,
            sent: self.sent,
            elapsed,
        }
    }

    /// The changes that the filters of the route made in the heads of request and response. The filters run again for it.
    fn head_changes(&self) -> (Vec<String>, Vec<String>) {
        let (Some(route), Some(exchange)) = (&self.route, &self.exchange) else { return Default::default() };
        let lines = |edits: &HeadEdits<'_>| edits.iter().map(change).collect();
        let mut for_endpoint = HeadEdits::default();
        if !self.attempts.is_empty() {
            route.plan.edit_request_head(exchange, &mut for_endpoint);
        }
        let mut for_client = HeadEdits::default();
        if let Ok(status) = StatusCode::from_u16(self.status) {
            route.plan.edit_response_head(exchange, &ResponseView::new(status), &mut for_client);
        }
        (lines(&for_endpoint), lines(&for_client))
    }
}

fn change(edit: &HeadEdit<'_>) -> String {
    match edit {
        HeadEdit::Set(name, value) if value.is_empty() => format!("removes {name}"),
        HeadEdit::Set(name, value) => format!("sets {name}: {}", String::from_utf8_lossy(value)),
        HeadEdit::Append(name, value) => format!("adds {name}: {}", String::from_utf8_lossy(value)),
        HeadEdit::Remove(name) => format!("removes {name}"),
        HeadEdit::RemovePrefix(name) => format!("removes all fields whose name begins with {name}"),
    }
}
