//! Kubernetes' JSON and YAML to compact objects: only fields that somebody reads are decoded.
//!
//! Defaults are those that the API server fills in, so that a manifest means the same here as there. `managedFields`
//! and everything else that is not named is skipped while the text is read, never stored.

mod fields;

mod endpoints;
mod imports;
mod ingresses;
mod services;
mod stores;

use cluster::{CompactString, Key, Kind, Object};
use jiff::Timestamp;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};

use fields::{Metadata, check_label, check_subdomain};

/// An object as it was decoded.
#[derive(Debug, PartialEq)]
pub struct DecodedObject {
    /// `metadata.namespace` and `metadata.name`.
    pub key: Key,
    /// `metadata.resourceVersion`; empty in manifests.
    pub version: CompactString,
    /// When the change happened that the object follows (`endpoints.kubernetes.io/last-change-trigger-time` of
    /// EndpointSlices), where it says so. It is of interest once, so it is not part of the object.
    pub triggered: Option<Timestamp>,
    /// The object; `None` when it exists but is of no use: a Pod that ends or has no address yet.
    pub object: Option<Object>,
}

/// A value that Kubernetes would not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidField {
    /// Where it stands in the object: `spec.ports[0].port`.
    pub path: String,
    /// The value; empty when there is none.
    pub value: String,
    /// What should stand there.
    pub wanted: &'static str,
}

impl InvalidField {
    fn new(path: impl Into<String>, value: impl Into<String>, wanted: &'static str) -> Self {
        Self { path: path.into(), value: value.into(), wanted }
    }
}

impl std::fmt::Display for InvalidField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, value, wanted } = self;
        if value.is_empty() {
            write!(f, "{path}: missing, should be {wanted}")
        } else {
            write!(f, "{path}: {value:?} should be {wanted}")
        }
    }
}

/// Reads an object of a kind. The outer error is the text's (syntax, a text where a number should be), the inner one
/// the object's.
pub fn decode<'de, D: Deserializer<'de>>(
    kind: Kind,
    text: D,
) -> Result<Result<DecodedObject, InvalidField>, D::Error> {
    match kind {
        Kind::Namespace => read::<services::SlimNamespace, D>(text),
        Kind::Service => read::<services::SlimService, D>(text),
        Kind::EndpointSlice => read::<endpoints::SlimSlice, D>(text),
        Kind::Pod => read::<endpoints::SlimPod, D>(text),
        Kind::Ingress => read::<ingresses::SlimIngress, D>(text),
        Kind::IngressClass => read::<ingresses::SlimClass, D>(text),
        Kind::Secret => read::<stores::SlimSecret, D>(text),
        Kind::ConfigMap => read::<stores::SlimConfigMap, D>(text),
        Kind::ServiceImport => read::<imports::SlimImport, D>(text),
    }
}

/// Reads only what an object is called and its `metadata.resourceVersion`: all that is needed of one that is gone.
pub fn decode_name<'de, D: Deserializer<'de>>(kind: Kind, text: D) -> Result<(Key, CompactString), D::Error> {
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(default)]
        metadata: Metadata,
    }
    let Named { metadata } = Named::deserialize(text)?;
    Ok(metadata.named(kind))
}

/// An object cut down to the fields that somebody reads.
trait Slim: DeserializeOwned {
    const KIND: Kind;
    /// Its key and `metadata.resourceVersion`.
    fn named(&self) -> (Key, CompactString);
    /// See [`DecodedObject::triggered`].
    fn triggered(&self) -> Option<Timestamp> {
        None
    }
    fn object(self, key: Key) -> Result<Option<Object>, InvalidField>;
}

fn read<'de, S: Slim, D: Deserializer<'de>>(
    text: D,
) -> Result<Result<DecodedObject, InvalidField>, D::Error> {
    let slim = S::deserialize(text)?;
    let (key, version) = slim.named();
    Ok(check_name(S::KIND, &key).and_then(|()| {
        let triggered = slim.triggered();
        let object = slim.object(key.clone())?;
        Ok(DecodedObject { key, version, triggered, object })
    }))
}

/// Names become DNS labels and parts of paths further in, so they are checked at the door.
fn check_name(kind: Kind, key: &Key) -> Result<(), InvalidField> {
    if matches!(kind, Kind::Namespace | Kind::Service | Kind::ServiceImport) {
        check_label("metadata.name", &key.name)?;
    } else {
        check_subdomain("metadata.name", &key.name)?;
    }
    if kind.namespaced() { check_label("metadata.namespace", &key.namespace) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
