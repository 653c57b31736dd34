//! Checks of passwords, which take long on purpose.

use std::sync::Arc;

use crate::password::PasswordHash;
pub use crate::password::RememberedPassword;

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
