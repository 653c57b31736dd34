//! Server-side TLS session cache, for session resumption without a full handshake.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::server::StoresServerSessions;

/// nginx's `ssl_session_timeout 10m`.
pub const LIFETIME: Duration = Duration::from_secs(600);
/// About the number of sessions that fit into nginx's `ssl_session_cache shared:SSL:10m`.
pub const CAPACITY: usize = 40_000;

/// A bounded cache of sessions. A session expires after [`LIFETIME`]; the oldest is removed when the cache is full. All workers
/// share one cache, since a client may reach another worker the next time. Its lock is taken once or twice per handshake, which
/// costs a hundred times as much.
#[derive(Debug)]
pub struct SessionCache {
    sessions: Mutex<Sessions>,
    capacity: usize,
    lifetime: Duration,
}

#[derive(Debug, Default)]
struct Sessions {
    by_key: HashMap<Vec<u8>, Session>,
    /// Keys, oldest first. The key of a session that was taken stays here until it expires.
    by_age: VecDeque<(Instant, Vec<u8>)>,
}

#[derive(Debug)]
struct Session {
    since: Instant,
    secret: Vec<u8>,
}

impl SessionCache {
    /// Creates an empty cache.
    pub fn new(capacity: usize, lifetime: Duration) -> Self {
        Self { sessions: Mutex::default(), capacity, lifetime }
    }

    fn put_at(&self, key: Vec<u8>, secret: Vec<u8>, now: Instant) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.by_age.push_back((now, key.clone()));
        sessions.by_key.insert(key, Session { since: now, secret });
        while let Some((since, _)) = sessions.by_age.front() {
            if sessions.by_age.len() <= self.capacity && now.duration_since(*since) < self.lifetime {
                break;
            }
            let Some((since, key)) = sessions.by_age.pop_front() else { break };
            // The key may have been inserted again since.
            if sessions.by_key.get(&key).is_some_and(|session| session.since == since) {
                sessions.by_key.remove(&key);
            }
        }
    }

    fn get_at(&self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.by_key.get(key)?;
        (now.duration_since(session.since) < self.lifetime).then(|| session.secret.clone())
    }

    fn take_at(&self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.by_key.remove(key)?;
        (now.duration_since(session.since) < self.lifetime).then_some(session.secret)
    }
}

impl Default for SessionCache {
    fn default() -> Self {
        Self::new(CAPACITY, LIFETIME)
    }
}

impl StoresServerSessions for SessionCache {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.put_at(key, value, Instant::now());
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get_at(key, Instant::now())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.take_at(key, Instant::now())
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_expires_and_can_be_taken_once() {
        let (sessions, start) = (SessionCache::new(8, LIFETIME), Instant::now());
        sessions.put_at(b"a".to_vec(), b"secret".to_vec(), start);
        let almost = start + LIFETIME - Duration::from_millis(1);
        assert_eq!(sessions.get_at(b"a", almost), Some(b"secret".to_vec()));
        assert_eq!(sessions.get_at(b"a", start + LIFETIME), None);
        assert_eq!(sessions.take_at(b"a", almost), Some(b"secret".to_vec()));
        assert_eq!(sessions.take_at(b"a", almost), None);
    }

    #[test]
    fn a_full_cache_removes_the_oldest() {
        let (sessions, start) = (SessionCache::new(2, LIFETIME), Instant::now());
        for (second, key) in ["a", "b", "c"].iter().enumerate() {
            sessions.put_at(key.as_bytes().to_vec(), vec![1], start + Duration::from_secs(second as u64));
        }
        let now = start + Duration::from_secs(3);
        let found: Vec<bool> =
            ["a", "b", "c"].iter().map(|k| sessions.get_at(k.as_bytes(), now).is_some()).collect();
        assert_eq!(found, [false, true, true]);
    }

    #[test]
    fn a_key_inserted_again_lives_longer() {
        let (sessions, start) = (SessionCache::new(8, LIFETIME), Instant::now());
        sessions.put_at(b"a".to_vec(), vec![1], start);
        sessions.put_at(b"a".to_vec(), vec![2], start + LIFETIME / 2);
        sessions.put_at(b"b".to_vec(), vec![3], start + LIFETIME);
        assert_eq!(sessions.get_at(b"a", start + LIFETIME), Some(vec![2]));
    }
}
