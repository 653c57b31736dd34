//! Secrets and ConfigMaps.

use crate::key::{CompactString, Key};

/// A Secret (core/v1) of any type.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// `metadata.namespace` and `metadata.name`.
    pub key: Key,
    /// `data["tls.crt"]`: PEM, a chain from the leaf up. Empty when missing.
    pub certificate: Box<[u8]>,
    /// `data["tls.key"]`: PEM. Empty when missing.
    pub private_key: Box<[u8]>,
    /// The other entries of `data`, sorted by name: passwords (`auth`), certificate authorities (`ca.crt`, `ca.crl`), and what is
    /// not too long to be a password.
    pub other: Box<[(CompactString, Box<[u8]>)]>,
}

impl Secret {
    /// The value of one of the other entries.
    pub fn entry(&self, name: &str) -> Option<&[u8]> {
        self.other.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }
}

/// Prints only the key, never the data.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A ConfigMap (core/v1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMap {
    /// `metadata.namespace` and `metadata.name`.
    pub key: Key,
    /// `data`, sorted by name.
    pub data: Vec<(CompactString, String)>,
}

impl ConfigMap {
    /// The value of a key.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.data.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}
