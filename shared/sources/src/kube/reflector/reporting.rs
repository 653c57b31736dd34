//! Tells readiness, metrics and the problem reports how the requests of a [`Reflector`] end.

use std::sync::Arc;

use telemetry::Problem;

use super::Reflector;
use crate::kube::SCOPE;
use crate::kube::next_request::{ListMethod, NextRequest};
use crate::watch_status::WatchStatus;
use crate::watch_stream::ApiError;

impl Reflector {
    /// Sets the status before a list is requested. While requests fail, the status stays that of the failure.
    pub(super) fn begin(&self) {
        if !self.is_failing() {
            self.report(WatchStatus::Listing);
        }
    }

    /// Records that the head of a response with status 200 has arrived.
    pub(super) fn answered(&self) {
        self.server.answered(self.scope.kind);
        self.sink.set_connected(self.scope.kind, true);
    }

    /// Records that the kind is listed and watched.
    pub(super) fn synced(&mut self) {
        if self.report(WatchStatus::Synced) {
            tracing::debug!(kind = %self.scope.kind, server = self.api.url, "synced");
        }
        self.failures = 0;
        self.problem(None);
    }

    fn is_failing(&self) -> bool {
        let status = self.sink.status(self.scope.kind);
        matches!(status, WatchStatus::Retrying(_) | WatchStatus::Forbidden { .. } | WatchStatus::Missing(_))
    }

    pub(super) fn report(&self, status: WatchStatus) -> bool {
        self.sink.report(self.scope.kind, status)
    }

    /// Reports a failed request until a later one succeeds.
    pub(super) fn failed(&mut self, error: &ApiError, next: &NextRequest) {
        let (kind, server) = (self.scope.kind, &self.api.url);
        self.failures += 1;
        self.sink.set_connected(kind, false);
        let is_outage = self.server.failed(kind, error);
        let verb = match next {
            NextRequest::List(ListMethod::Paged | ListMethod::Unpaged) => "list",
            NextRequest::List(ListMethod::Streaming) | NextRequest::Watch { .. } => "watch",
        };
        // A server that has just started forbids everything until it has read its roles. So a kind that could be read before
        // is requested once more before a missing role is reported.
        if error.is_forbidden() && (self.listed.is_none() || self.backoff.is_lasting()) {
            let resource = self.scope.resource();
            let wanted = format!(
                "a role that may list and watch {resource}{}, as those that `portolan reference rbac` prints",
                self.where_needed()
            );
            self.problem(Some(self.kind_problem(verb, error, wanted)));
            let (resource, namespace) = (resource.into(), self.scope.namespace.as_str().into());
            self.report(WatchStatus::Forbidden { verb, resource, namespace });
            return;
        }
        if *error == ApiError::Expired {
            tracing::info!(%kind, server, "listing again: {error}");
            return;
        }
        if matches!(self.sink.status(kind), WatchStatus::Missing(_)) && error.is_missing() {
            return;
        }
        let had_failed = self.is_failing();
        if self.report(WatchStatus::Retrying(Arc::from(error.to_string()))) {
            // An outage concerns all kinds, and is reported once for all of them.
            if had_failed || is_outage {
                tracing::debug!(%kind, server, "{verb} failed: {error}");
            } else {
                tracing::warn!(%kind, server, "{verb} failed, trying again: {error}");
            }
        }
        if self.failures > 1 && !is_outage {
            self.problem(Some(self.kind_problem(verb, error, String::new())));
        }
    }

    fn kind_problem(&self, verb: &str, error: &ApiError, wanted: String) -> Problem {
        let (kind, key) = (self.scope.kind.name().to_owned(), String::new());
        Problem { kind, key, field: verb.to_owned(), what: error.to_string(), wanted, severity: None }
    }

    fn where_needed(&self) -> String {
        match self.scope.namespace.as_str() {
            "" => " in the whole cluster".into(),
            namespace => format!(" in namespace {namespace}"),
        }
    }

    /// Replaces the problem report of the kind as a whole.
    pub(super) fn problem(&self, problem: Option<Problem>) {
        self.reports.replace_object(SCOPE, self.scope.kind.name(), "", problem);
    }
}
