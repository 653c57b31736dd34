//! Session tickets (RFC 5077, RFC 8446 §4.6.1) whose key may be shared by several processes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use rustls::server::ProducesTickets;

/// Longer sessions are not put into tickets: a client that sends its chain of certificates makes them long.
const MAX_SESSION: usize = 16 * 1024;
const NONCE: usize = 12;
const TIME: usize = 8;

/// Makes and reads tickets of one scope: nonce, time of issue, encrypted session. The time is authenticated.
#[derive(Debug)]
pub struct SessionTickets {
    key: RandomizedNonceKey,
    lifetime: Duration,
}

impl SessionTickets {
    /// Tickets of a scope. Those of another scope or secret cannot be read, because the key is derived from both (RFC 5869).
    pub fn new(secret: &[u8], scope: &[u8], lifetime: Duration) -> Option<Self> {
        let parts = [b"portolan session tickets", scope];
        let extracted = Salt::new(HKDF_SHA256, &[]).extract(secret);
        let mut key = [0; 32];
        extracted.expand(&parts, HKDF_SHA256).ok()?.fill(&mut key).ok()?;
        Some(Self { key: RandomizedNonceKey::new(&AES_256_GCM, &key).ok()?, lifetime })
    }

    fn encrypt_at(&self, plain: &[u8], now: u64) -> Option<Vec<u8>> {
        if plain.len() > MAX_SESSION {
            return None;
        }
        let time = now.to_be_bytes();
        let mut sealed = plain.to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(&time), &mut sealed).ok()?;
        Some([&nonce.as_ref()[..], &time, &sealed].concat())
    }

    fn decrypt_at(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (nonce, rest) = ticket.split_at_checked(NONCE)?;
        let (time, sealed) = rest.split_first_chunk::<TIME>()?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let plain = self.key.open_in_place(nonce, Aad::from(time), &mut sealed).ok()?.to_vec();
        // The clocks of two processes may differ.
        let age = now.saturating_sub(u64::from_be_bytes(*time));
        (age < self.lifetime.as_secs()).then_some(plain)
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl ProducesTickets for SessionTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.encrypt_at(plain, unix_seconds())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.decrypt_at(ticket, unix_seconds())
    }
}

/// A random secret for the tickets of this process.
pub fn random_secret() -> [u8; 48] {
    let mut secret = [0; 48];
    aws_lc_rs::rand::fill(&mut secret).expect("the random generator of aws-lc does not fail");
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_ticket_is_read_with_its_secret_in_its_scope_and_time_only() {
        let tickets = |secret, scope| SessionTickets::new(secret, scope, MINUTE).unwrap();
        let ticket = tickets(b"secret", b"a").encrypt_at(b"session", 1000).unwrap();
        for (secret, scope, now, is_read) in [
            (&b"secret"[..], &b"a"[..], 1000, true),
            (b"secret", b"a", 1059, true),
            (b"secret", b"a", 990, true),
            (b"secret", b"a", 1060, false),
            (b"secret", b"b", 1000, false),
            (b"other", b"a", 1000, false),
        ] {
            let plain = tickets(secret, scope).decrypt_at(&ticket, now);
            assert_eq!(plain, is_read.then(|| b"session".to_vec()), "{secret:?} {scope:?} {now}");
        }
    }

    #[test]
    fn a_changed_or_cut_ticket_is_refused() {
        let tickets = SessionTickets::new(b"secret", b"", MINUTE).unwrap();
        let ticket = tickets.encrypt_at(b"session", 1000).unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.decrypt_at(&changed, 1000), None, "{at}");
            assert_eq!(tickets.decrypt_at(&ticket[..at], 1000), None, "{at}");
        }
    }

    #[test]
    fn a_session_that_is_too_long_gets_no_ticket() {
        let tickets = SessionTickets::new(&random_secret(), b"", MINUTE).unwrap();
        assert!(tickets.encrypt(&vec![0; MAX_SESSION]).is_some());
        assert!(tickets.encrypt(&vec![0; MAX_SESSION + 1]).is_none());
    }
}
