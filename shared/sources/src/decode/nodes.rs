//! Nodes (core/v1).

use std::sync::Arc;

use cluster::{CompactString, Key, Kind, Node, Object};
use serde::Deserialize;
use smallvec::SmallVec;

use super::fields::{Metadata, nullable};
use super::{InvalidField, Slim};

#[derive(Deserialize)]
pub(super) struct SlimNode {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Metadata,
    #[serde(default, deserialize_with = "nullable")]
    status: Status,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default, deserialize_with = "nullable")]
    addresses: Vec<SlimAddress>,
}

#[derive(Deserialize)]
struct SlimAddress {
    #[serde(default, deserialize_with = "nullable", rename = "type")]
    kind: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    address: CompactString,
}

impl Slim for SlimNode {
    const KIND: Kind = Kind::Node;

    fn key_and_version(&self) -> (Key, CompactString) {
        self.metadata.key_and_version(Self::KIND)
    }

    fn object(self, key: Key, defects: &mut Vec<InvalidField>) -> Result<Option<Object>, InvalidField> {
        let (mut addresses, mut hostnames) = (SmallVec::new(), SmallVec::new());
        for (at, SlimAddress { kind, address }) in self.status.addresses.into_iter().enumerate() {
            match kind.as_str() {
                "InternalIP" => match address.parse() {
                    Ok(ip) => addresses.push(ip),
                    Err(_) => {
                        let field = format!("status.addresses[{at}].address");
                        defects.push(InvalidField::new(field, address.as_str(), "an IP address"));
                    }
                },
                "Hostname" if address != key.name => hostnames.push(address),
                _ => {}
            }
        }
        Ok(Some(Object::Node(Arc::new(Node { key, addresses, hostnames }))))
    }
}
