//! Verifies passwords. Their hashes are slow on purpose, so this happens on the blocking threads of the runtime, a few at a time, and
//! what was right lately is remembered.
//!
//! It is remembered twice: with the hash, where requests find it without a lock, and here, so that the hashes of the next table, which
//! remember nothing, need no check.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use ingress_routes::plan::password_check::{PasswordCheck, RememberedPassword};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::observe::metrics::PasswordMetrics;
use crate::state::generations::Generations;

/// How many requests may wait for their check, of all workers. With a bcrypt hash of cost 10, that is some ten seconds of work.
const MAX_WAITING: usize = 256;
/// How many passwords are remembered as right here.
const MAX_REMEMBERED: usize = 8192;

/// Verifies the passwords of all workers.
pub(crate) struct PasswordVerifier {
    /// Half of the workers' number, so that requests without a password go on.
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Of the digests: who reads the memory finds no passwords that can be guessed without it.
    key: [u8; 32],
    remembered: Mutex<Generations<[u8; 32], ()>>,
    metrics: PasswordMetrics,
}

/// A request that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl PasswordVerifier {
    pub(crate) fn new(workers: usize, metrics: PasswordMetrics) -> Self {
        let mut key = [0; 32];
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.secure_random.fill(&mut key).expect("the system has random numbers");
        Self {
            slots: Arc::new(Semaphore::new((workers / 2).max(1))),
            waiting: AtomicUsize::new(0),
            key,
            remembered: Mutex::new(Generations::new(MAX_REMEMBERED)),
            metrics,
        }
    }

    /// Whether a password is the one that was verified for a hash. Hot: one digest, without a lock or an allocation.
    pub(crate) fn remembers(&self, remembered: &RememberedPassword, password: &[u8]) -> bool {
        let is_remembered = remembered.is(|| self.password_digest(password));
        if is_remembered {
            self.metrics.remembered.inc();
        }
        is_remembered
    }

    /// Whether a password is right; `None` if too many wait for an answer.
    pub(crate) async fn verify(&self, check: PasswordCheck) -> Option<bool> {
        let digest = self.digest(&check);
        if self.finds(&digest, &check) {
            return Some(true);
        }
        let waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Relaxed) >= MAX_WAITING {
            self.metrics.refused.inc();
            return None;
        }
        let slot = self.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        drop(waiting);
        // Another request with the same password may have been verified in the meantime.
        if self.finds(&digest, &check) {
            return Some(true);
        }
        self.metrics.verified.inc();
        let verifying = tokio::task::spawn_blocking(move || {
            // Held to the end, even if the client has gone.
            let _slot = slot;
            check.verify().then_some(check)
        });
        // A panic must not let anybody in.
        let verified = verifying.await.ok().flatten();
        if let Some(check) = &verified {
            check.remembered().set(self.password_digest(check.password()));
            drop(self.lock().insert(hash_of(&digest), digest, (), 1));
        }
        Some(verified.is_some())
    }

    /// Whether a password was verified for an equal hash. Then this one remembers it, too.
    fn finds(&self, digest: &[u8; 32], check: &PasswordCheck) -> bool {
        let is_found = self.lock().get(hash_of(digest), digest).is_some();
        if is_found {
            check.remembered().set(self.password_digest(check.password()));
            self.metrics.remembered.inc();
        }
        is_found
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations<[u8; 32], ()>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A keyed digest of a password.
    fn password_digest(&self, password: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.key).chain_update(password).finalize().into()
    }

    /// A keyed digest of user, hash and password.
    fn digest(&self, check: &PasswordCheck) -> [u8; 32] {
        let mut inner = Sha256::new().chain_update(self.key);
        for part in check.parts() {
            inner.update((part.len() as u64).to_be_bytes());
            inner.update(part);
        }
        Sha256::new().chain_update(self.key).chain_update(inner.finalize()).finalize().into()
    }
}

/// The first bytes of a keyed digest. Clients cannot predict them, because they do not know the key.
fn hash_of(digest: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::task::Poll;

    use telemetry::metrics::Counter;

    use super::*;

    const HASH: &str = "$apr1$ab$eIePjsejfBGR8ITtu2z0U1";

    fn verifier() -> PasswordVerifier {
        let [verified, remembered, refused] = <[Counter; 3]>::default();
        PasswordVerifier::new(1, PasswordMetrics { verified, remembered, refused })
    }

    fn check(user: &str, hash: &str, password: &str) -> PasswordCheck {
        PasswordCheck::parse(user, hash, password.as_bytes()).expect("a hash")
    }

    #[tokio::test]
    async fn right_passwords_are_remembered_for_their_user_and_hash() {
        let verifier = verifier();
        for _ in 0..2 {
            assert_eq!(verifier.verify(check("ann", HASH, "x")).await, Some(true));
            assert_eq!(verifier.verify(check("ann", HASH, "y")).await, Some(false));
        }
        let PasswordMetrics { verified, remembered, refused } = &verifier.metrics;
        assert_eq!((verified.value(), remembered.value(), refused.value()), (3, 1, 0));
        assert_eq!(verifier.verify(check("bob", HASH, "x")).await, Some(true));
        let other = "$apr1$saltstri$aGfuB7Lcvs2TUeFTqUVfN0";
        assert_eq!(verifier.verify(check("ann", other, "x")).await, Some(false));
        assert_eq!((verified.value(), remembered.value()), (5, 1));
    }

    #[tokio::test]
    async fn a_hash_remembers_its_password_until_the_secret_has_another_one() {
        let verifier = verifier();
        let first = check("ann", HASH, "x");
        assert!(!verifier.remembers(first.remembered(), b"x"));
        assert_eq!(verifier.verify(first.clone()).await, Some(true));
        assert!(
            verifier.remembers(first.remembered(), b"x") && !verifier.remembers(first.remembered(), b"y")
        );
        // The next table has an equal hash.
        let next = check("ann", HASH, "x");
        assert!(!verifier.remembers(next.remembered(), b"x"));
        assert_eq!(verifier.verify(next.clone()).await, Some(true));
        assert!(verifier.remembers(next.remembered(), b"x"));
        let other = check("ann", "$apr1$saltstri$aGfuB7Lcvs2TUeFTqUVfN0", "x");
        assert_eq!(verifier.verify(other.clone()).await, Some(false));
        assert!(!verifier.remembers(other.remembered(), b"x"), "a wrong password is not remembered");
        let PasswordMetrics { verified, remembered, .. } = &verifier.metrics;
        assert_eq!((verified.value(), remembered.value()), (2, 3));
    }

    #[tokio::test]
    async fn requests_over_the_limit_of_waiting_ones_are_refused() {
        let verifier = verifier();
        let slot = verifier.slots.clone().acquire_owned().await.expect("a slot");
        let mut waiting: Vec<_> =
            (0..MAX_WAITING).map(|_| Box::pin(verifier.verify(check("ann", HASH, "x")))).collect();
        for one in &mut waiting {
            assert!(poll_fn(|cx| Poll::Ready(one.as_mut().poll(cx).is_pending())).await);
        }
        assert_eq!(verifier.verify(check("ann", HASH, "x")).await, None);
        waiting.pop();
        drop(slot);
        for one in waiting {
            assert_eq!(one.await, Some(true));
        }
        let PasswordMetrics { verified, refused, .. } = &verifier.metrics;
        assert_eq!((verified.value(), refused.value()), (1, 1), "those that waited used the first result");
        assert_eq!(verifier.verify(check("ann", HASH, "z")).await, Some(false));
    }
}
