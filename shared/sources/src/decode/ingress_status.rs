//! The status of Ingresses (networking.k8s.io/v1).

use std::sync::Arc;

use cluster::{CompactString, IngressStatus, Key, Kind, LoadBalancerAddress, Object};
use serde::Deserialize;

use super::fields::nullable;
use super::{InvalidField, Slim};

#[derive(Deserialize)]
pub(super) struct SlimIngressStatus {
    #[serde(default, deserialize_with = "nullable")]
    metadata: StatusMetadata,
    #[serde(default, deserialize_with = "nullable")]
    status: Status,
}

/// The metadata of other kinds has no `uid`, which nothing reads there.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct StatusMetadata {
    #[serde(default, deserialize_with = "nullable")]
    name: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    namespace: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    resource_version: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    uid: CompactString,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default, deserialize_with = "nullable")]
    load_balancer: LoadBalancer,
}

#[derive(Deserialize, Default)]
struct LoadBalancer {
    #[serde(default, deserialize_with = "nullable")]
    ingress: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    #[serde(default, deserialize_with = "nullable")]
    hostname: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    ip: CompactString,
}

impl Slim for SlimIngressStatus {
    const KIND: Kind = Kind::IngressStatus;

    fn key_and_version(&self) -> (Key, CompactString) {
        let StatusMetadata { name, namespace, resource_version, .. } = &self.metadata;
        (Key { namespace: namespace.clone(), name: name.clone() }, resource_version.clone())
    }

    fn object(self, key: Key, _: &mut Vec<InvalidField>) -> Result<Option<Object>, InvalidField> {
        let addresses = self.status.load_balancer.ingress.into_iter();
        let mut addresses: Box<[_]> =
            addresses.map(|Address { hostname, ip }| LoadBalancerAddress { hostname, ip }).collect();
        addresses.sort_unstable();
        Ok(Some(Object::IngressStatus(Arc::new(IngressStatus { key, uid: self.metadata.uid, addresses }))))
    }
}
