//! The record of a request that has ended: its counters, its span and its line in the access log.

use std::time::Duration;

use http::StatusCode;

use super::Worker;
use crate::observe::access_log::{AccessRecord, Attempt};
use crate::observe::log_line::{LogLine, LoggedConnection};
use crate::observe::span;

impl Worker {
    /// Writes a line about a request in the access log.
    fn log(&self, record: &AccessRecord, connection: LoggedConnection<'_>, elapsed: Duration) {
        let settings = self.settings();
        let Some(lines) = self.lines.as_ref().filter(|_| record.is_logged(&settings.access_log)) else {
            return;
        };
        lines.write_line(|out| match &settings.access_log.format {
            None => record.write(out, |out| self.clock.write_local_time(out), elapsed),
            Some(format) => {
                let forwarded_port =
                    record.exchange.as_ref().and_then(|exchange| self.forwarded_port(exchange));
                let clock = &self.clock;
                LogLine { record, connection, forwarded_port, clock, elapsed }.write(format, out);
            }
        });
    }

    /// Logs the requests to authentication servers that a request has caused, each as a request with its own status, time and server.
    pub(crate) fn log_subrequests(
        &self,
        record: &mut AccessRecord,
        connection: LoggedConnection<'_>,
        subrequests: Vec<Attempt>,
    ) {
        let (logged, started) = (record.status, record.started);
        for attempt in subrequests {
            let elapsed = attempt.ended.unwrap_or_default();
            // A subrequest that was logged has ended with a status.
            let status = attempt.status.unwrap_or(StatusCode::BAD_GATEWAY);
            (record.status, record.started) = (status.as_u16(), attempt.started);
            let attempts = std::mem::replace(&mut record.attempts, smallvec::smallvec![attempt]);
            self.log(record, connection, elapsed);
            record.attempts = attempts;
        }
        (record.status, record.started) = (logged, started);
    }

    /// Queues the span of a request for the collector.
    #[cold]
    fn trace(&self, record: &AccessRecord, connection: &LoggedConnection<'_>, elapsed: Duration) {
        let settings = &self.settings().trace_export;
        if settings.host.is_some()
            && let Some(span) = span::encode(record, connection, elapsed)
        {
            self.shared.spans.push(span, settings);
        }
    }

    /// Logs and counts a request that has ended.
    pub(crate) fn finish(&self, record: &mut AccessRecord, connection: LoggedConnection<'_>) {
        let elapsed = self.clock.instant().saturating_duration_since(record.started);
        self.measure(record);
        if let Some(followed) = record.followed.take() {
            followed.end(record.followed_report(elapsed));
        }
        if !record.silent {
            self.connections.requests.inc();
            if let Some(of) = record.of() {
                self.series.count(&of, &record.sample(elapsed));
            }
            if record.is_traced() {
                self.trace(record, &connection, elapsed);
            }
            self.log(record, connection, elapsed);
        }
        if let Some(exchange) = record.exchange.take() {
            self.memory.recycle_request(exchange.request);
        }
    }
}
