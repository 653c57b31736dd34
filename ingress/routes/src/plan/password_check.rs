//! Checks of passwords, which take long on purpose.

use std::sync::{Arc, OnceLock};

use subtle::ConstantTimeEq;

use crate::password::PasswordHash;

/// The password that was verified for a hash, as a keyed digest that the proxy makes. It ends with the hash: those of a changed Secret
/// remember nothing.
///
/// It is part of the hash, so that all workers read it without a lock, and it needs no bound of its own.
#[derive(Default)]
pub struct RememberedPassword(OnceLock<[u8; 32]>);

impl RememberedPassword {
    /// Whether this is the digest of the password; `digest` is called if there is one. Takes the same time for every digest.
    pub fn is(&self, digest: impl FnOnce() -> [u8; 32]) -> bool {
        self.0.get().is_some_and(|known| known.ct_eq(&digest()).into())
    }

    /// Remembers a password that was verified. The first one stays: other texts match the same hash only by the limits of its kind, such as
    /// the 72 bytes of bcrypt.
    pub fn set(&self, digest: [u8; 32]) {
        let _first_stays = self.0.set(digest);
    }
}

/// A password of a client and the hash that it has to match. The proxy runs the check where it blocks no other request.
#[derive(Clone, PartialEq)]
pub struct PasswordCheck {
    user: String,
    hash: Arc<PasswordHash>,
    password: Vec<u8>,
}

impl PasswordCheck {
    pub(crate) fn new(user: impl Into<String>, hash: Arc<PasswordHash>, password: Vec<u8>) -> Self {
        Self { user: user.into(), hash, password }
    }

    /// A check against a hash in a form of htpasswd; `None` if it is not supported.
    pub fn parse(user: &str, hash: &str, password: &[u8]) -> Option<Self> {
        Some(Self::new(user, Arc::new(PasswordHash::parse(hash)?), password.to_vec()))
    }

    /// The user name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether the password is the right one. Takes up to seconds.
    pub fn verify(&self) -> bool {
        self.hash.verify(&self.password)
    }

    /// The password.
    pub fn password(&self) -> &[u8] {
        &self.password
    }

    /// What is remembered of the hash.
    pub fn remembered(&self) -> &RememberedPassword {
        &self.hash.remembered
    }

    /// What the result depends on: a proxy that remembers results does so under a keyed digest of all three.
    pub fn parts(&self) -> [&[u8]; 3] {
        [self.user.as_bytes(), self.hash.text().as_bytes(), &self.password]
    }
}

/// Prints the user, never the password or its hash.
impl std::fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordCheck").field("user", &self.user).finish_non_exhaustive()
    }
}
