//! Checks by SelfSubjectAccessReview that every request of a migration is permitted, before the first change.

use serde_json::json;

use crate::api::JsonApi;
use crate::error::MigrateError;
use crate::objects::ResourceKind;

/// A permission that a migration needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Permission {
    /// `get`, `list`, `create`, `patch`, `delete`.
    pub verb: &'static str,
    /// The kind.
    pub resource: ResourceKind,
    /// `log` for the logs of Pods; else empty.
    pub subresource: &'static str,
    /// `None` for the whole cluster.
    pub namespace: Option<String>,
}

impl Permission {
    /// A permission on a kind, in a namespace or in the whole cluster.
    pub(crate) fn new(verb: &'static str, resource: ResourceKind, namespace: Option<&str>) -> Self {
        Self { verb, resource, subresource: "", namespace: namespace.map(str::to_owned) }
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource.plural())?;
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        if !self.resource.group().is_empty() {
            write!(f, ".{}", self.resource.group())?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => f.write_str(" in the whole cluster"),
        }
    }
}

/// Asks for each permission.
///
/// # Errors
/// A refusal that names every missing permission.
pub(crate) async fn check(api: &JsonApi, wanted: &[Permission]) -> Result<(), MigrateError> {
    let mut missing = Vec::new();
    for permission in wanted {
        let attributes = json!({
            "verb": permission.verb,
            "group": permission.resource.group(),
            "resource": permission.resource.plural(),
            "subresource": permission.subresource,
            "namespace": permission.namespace,
        });
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": attributes },
        });
        let answer = api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review).await?;
        if answer["status"]["allowed"].as_bool() != Some(true) {
            missing.push(format!("permission missing: {permission}"));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(MigrateError::Refused(missing)) }
}
