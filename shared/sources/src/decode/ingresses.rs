//! Ingresses and IngressClasses (networking.k8s.io/v1).

use std::sync::Arc;

use cluster::{
    Backend, CompactString, Ingress, IngressClass, IngressPath, IngressRule, IngressTls, Key, Kind, Object,
    PathType, PortRef, ServiceBackend,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::fields::{Metadata, PortNumber, StringMap, nullable};
use super::{InvalidField, Slim};

/// In this annotation `kubectl apply` stores a copy of the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[derive(Deserialize)]
pub(super) struct SlimIngress {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Metadata<IgnoredAny, StringMap<String>>,
    #[serde(default, deserialize_with = "nullable")]
    spec: Spec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    ingress_class_name: Option<CompactString>,
    #[serde(default)]
    default_backend: Option<SlimBackend>,
    #[serde(default, deserialize_with = "nullable")]
    rules: Vec<Rule>,
    #[serde(default, deserialize_with = "nullable")]
    tls: Vec<Tls>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(default, deserialize_with = "nullable")]
    host: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    http: Http,
}

#[derive(Deserialize, Default)]
struct Http {
    #[serde(default, deserialize_with = "nullable")]
    paths: Vec<SlimPath>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimPath {
    #[serde(default, deserialize_with = "nullable")]
    path: CompactString,
    path_type: SlimPathType,
    backend: SlimBackend,
}

#[derive(Deserialize)]
enum SlimPathType {
    Exact,
    Prefix,
    ImplementationSpecific,
}

#[derive(Deserialize)]
struct SlimBackend {
    #[serde(default)]
    service: Option<SlimServiceBackend>,
    #[serde(default)]
    resource: Option<Resource>,
}

#[derive(Deserialize)]
struct SlimServiceBackend {
    name: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    port: SlimPort,
}

#[derive(Deserialize, Default)]
struct SlimPort {
    #[serde(default, deserialize_with = "nullable")]
    name: CompactString,
    #[serde(default)]
    number: Option<PortNumber>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default, deserialize_with = "nullable")]
    kind: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    name: CompactString,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tls {
    #[serde(default, deserialize_with = "nullable")]
    hosts: Vec<CompactString>,
    #[serde(default, deserialize_with = "nullable")]
    secret_name: CompactString,
}

impl Slim for SlimIngress {
    const KIND: Kind = Kind::Ingress;

    fn key_and_version(&self) -> (Key, CompactString) {
        self.metadata.key_and_version(Self::KIND)
    }

    fn object(self, key: Key, _: &mut Vec<InvalidField>) -> Result<Option<Object>, InvalidField> {
        let created = created(&self.metadata.creation_timestamp)?;
        let mut annotations = self.metadata.annotations.sorted();
        annotations.retain(|(name, _)| name != LAST_APPLIED);
        let Spec { ingress_class_name: class, default_backend, rules, tls } = self.spec;
        let default_backend =
            default_backend.map(|backend| backend.backend("spec.defaultBackend")).transpose()?;
        let rules = rules.into_iter().enumerate();
        let rules = rules.map(|(at, rule)| rule.rule(at)).collect::<Result<_, _>>()?;
        let tls =
            tls.into_iter().map(|tls| IngressTls { hosts: tls.hosts, secret: tls.secret_name }).collect();
        let ingress = Ingress { key, created, annotations, class, default_backend, rules, tls };
        Ok(Some(Object::Ingress(Arc::new(ingress))))
    }
}

fn created(text: &str) -> Result<i64, InvalidField> {
    if text.is_empty() {
        return Ok(0);
    }
    let time: Result<Timestamp, _> = text.parse();
    time.map(Timestamp::as_second).map_err(|_| {
        InvalidField::new("metadata.creationTimestamp", text, "an RFC 3339 time such as 2026-01-31T12:00:00Z")
    })
}

impl Rule {
    fn rule(self, at: usize) -> Result<IngressRule, InvalidField> {
        let paths = self.http.paths.into_iter().enumerate();
        let paths = paths.map(|(nth, path)| path.path(&format!("spec.rules[{at}].http.paths[{nth}]")));
        Ok(IngressRule { host: self.host, paths: paths.collect::<Result<_, _>>()? })
    }
}

impl SlimPath {
    fn path(self, at: &str) -> Result<IngressPath, InvalidField> {
        if !self.path.is_empty() && !self.path.starts_with('/') {
            return Err(InvalidField::new(
                format!("{at}.path"),
                self.path,
                "a path that begins with a slash",
            ));
        }
        let kind = match self.path_type {
            SlimPathType::Exact => PathType::Exact,
            SlimPathType::Prefix => PathType::Prefix,
            SlimPathType::ImplementationSpecific => PathType::ImplementationSpecific,
        };
        Ok(IngressPath { path: self.path, kind, backend: self.backend.backend(&format!("{at}.backend"))? })
    }
}

impl SlimBackend {
    fn backend(self, at: &str) -> Result<Backend, InvalidField> {
        match (self.service, self.resource) {
            (Some(service), None) => Ok(Backend::Service(service.backend(at)?)),
            (None, Some(Resource { kind, name })) => Ok(Backend::Resource(format!("{kind}/{name}").into())),
            (Some(_), Some(_)) => Err(InvalidField::new(at, "service and resource", "one of the two")),
            (None, None) => Err(InvalidField::new(format!("{at}.service"), "", "a name and a port")),
        }
    }
}

impl SlimServiceBackend {
    fn backend(self, at: &str) -> Result<ServiceBackend, InvalidField> {
        let port = match (self.port.number, self.port.name) {
            (Some(PortNumber(number)), name) if name.is_empty() => PortRef::Number(number),
            (None, name) if !name.is_empty() => PortRef::Name(name),
            (None, _) => {
                return Err(InvalidField::new(format!("{at}.service.port"), "", "a number or a name"));
            }
            (Some(_), _) => {
                return Err(InvalidField::new(
                    format!("{at}.service.port"),
                    "number and name",
                    "one of the two",
                ));
            }
        };
        Ok(ServiceBackend { name: self.name, port })
    }
}

#[derive(Deserialize)]
pub(super) struct SlimClass {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Metadata<IgnoredAny, StringMap<String>>,
    #[serde(default, deserialize_with = "nullable")]
    spec: ClassSpec,
}

#[derive(Deserialize, Default)]
struct ClassSpec {
    #[serde(default, deserialize_with = "nullable")]
    controller: CompactString,
}

impl Slim for SlimClass {
    const KIND: Kind = Kind::IngressClass;

    fn key_and_version(&self) -> (Key, CompactString) {
        self.metadata.key_and_version(Self::KIND)
    }

    fn object(self, key: Key, _: &mut Vec<InvalidField>) -> Result<Option<Object>, InvalidField> {
        let default = |(name, value): &(CompactString, String)| {
            name == "ingressclass.kubernetes.io/is-default-class" && value == "true"
        };
        let default = self.metadata.annotations.0.iter().any(default);
        let class = IngressClass { key, controller: self.spec.controller, default };
        Ok(Some(Object::IngressClass(Arc::new(class))))
    }
}
