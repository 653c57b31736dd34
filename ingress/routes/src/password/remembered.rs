//! Which password a hash is known to match.

use std::sync::OnceLock;

use subtle::ConstantTimeEq;

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
