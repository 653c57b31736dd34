//! Reports what the controller cannot do.

use telemetry::{Problem, Reports, Severity};

use crate::api::ClusterRequestError;

/// The scope of the reports.
const SCOPE: &str = "controller";

/// Reports of one subject, such as the Lease. It has one problem at most.
#[derive(Clone)]
pub(crate) struct ProblemReport {
    reports: Reports,
    kind: &'static str,
    key: String,
}

impl ProblemReport {
    pub(crate) fn new(reports: &Reports, kind: &'static str, key: impl Into<String>) -> Self {
        Self { reports: reports.clone(), kind, key: key.into() }
    }

    /// Reports a failed request with its consequence. A role that does not allow it is named with what it needs. An API server that cannot be
    /// reached, or fails, is reported by the source of the cluster.
    pub(crate) fn failed(&self, error: &ClusterRequestError, consequence: &str) {
        if matches!(error.status, 0 | 429 | 500..) {
            tracing::debug!("{error}; {consequence}");
            return;
        }
        let hint = if error.status == 403 { " (see `portolan reference rbac`)" } else { "" };
        self.problem(format!("{error}{hint}; {consequence}"));
    }

    pub(crate) fn problem(&self, what: String) {
        let problem = Problem {
            kind: self.kind.to_owned(),
            key: self.key.clone(),
            what,
            severity: Some(Severity::Differs),
            ..Problem::default()
        };
        self.reports.replace_object(SCOPE, self.kind, &self.key, [problem]);
    }

    pub(crate) fn solved(&self) {
        self.reports.replace_object(SCOPE, self.kind, &self.key, None);
    }
}
