//! TLS sessions kept on the server's side, so that a client that comes back skips the full handshake.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::server::StoresServerSessions;

/// nginx's `ssl_session_timeout 10m`.
pub const LIFE: Duration = Duration::from_secs(600);
/// About what fits into nginx's `ssl_session_cache shared:SSL:10m`.
pub const CAPACITY: usize = 40_000;

/// A bounded store of sessions that forgets each after [`LIFE`], the oldest first when it is full. One store serves
/// all workers, or a client would resume only when it hits the same worker again; it is touched once or twice per
/// handshake, which costs a hundred times as much.
#[derive(Debug)]
pub struct SessionCache {
    kept: Mutex<Kept>,
    capacity: usize,
    life: Duration,
}

#[derive(Debug, Default)]
struct Kept {
    by_key: HashMap<Vec<u8>, Session>,
    /// Keys by age. A key that was taken stays here until its time is up.
    by_age: VecDeque<(Instant, Vec<u8>)>,
}

#[derive(Debug)]
struct Session {
    since: Instant,
    secret: Vec<u8>,
}

impl SessionCache {
    /// An empty store.
    pub fn new(capacity: usize, life: Duration) -> Self {
        Self { kept: Mutex::default(), capacity, life }
    }

    fn put_at(&self, key: Vec<u8>, secret: Vec<u8>, now: Instant) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.by_age.push_back((now, key.clone()));
        kept.by_key.insert(key, Session { since: now, secret });
        while let Some((since, _)) = kept.by_age.front() {
            if kept.by_age.len() <= self.capacity && now.duration_since(*since) < self.life {
                break;
            }
            let Some((since, key)) = kept.by_age.pop_front() else { break };
            // The key may have been put again since.
            if kept.by_key.get(&key).is_some_and(|session| session.since == since) {
                kept.by_key.remove(&key);
            }
        }
    }

    fn get_at(&self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let session = kept.by_key.get(key)?;
        (now.duration_since(session.since) < self.life).then(|| session.secret.clone())
    }

    fn take_at(&self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let session = kept.by_key.remove(key)?;
        (now.duration_since(session.since) < self.life).then_some(session.secret)
    }
}

impl Default for SessionCache {
    fn default() -> Self {
        Self::new(CAPACITY, LIFE)
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
    fn a_session_lives_as_long_as_agreed_and_is_taken_once() {
        let (sessions, start) = (SessionCache::new(8, LIFE), Instant::now());
        sessions.put_at(b"a".to_vec(), b"secret".to_vec(), start);
        let almost = start + LIFE - Duration::from_millis(1);
        assert_eq!(sessions.get_at(b"a", almost), Some(b"secret".to_vec()));
        assert_eq!(sessions.get_at(b"a", start + LIFE), None);
        assert_eq!(sessions.take_at(b"a", almost), Some(b"secret".to_vec()));
        assert_eq!(sessions.take_at(b"a", almost), None);
    }

    #[test]
    fn a_full_store_forgets_the_oldest() {
        let (sessions, start) = (SessionCache::new(2, LIFE), Instant::now());
        for (second, key) in ["a", "b", "c"].iter().enumerate() {
            sessions.put_at(key.as_bytes().to_vec(), vec![1], start + Duration::from_secs(second as u64));
        }
        let now = start + Duration::from_secs(3);
        let found: Vec<bool> =
            ["a", "b", "c"].iter().map(|k| sessions.get_at(k.as_bytes(), now).is_some()).collect();
        assert_eq!(found, [false, true, true]);
    }

    #[test]
    fn a_key_put_again_outlives_its_first_age() {
        let (sessions, start) = (SessionCache::new(8, LIFE), Instant::now());
        sessions.put_at(b"a".to_vec(), vec![1], start);
        sessions.put_at(b"a".to_vec(), vec![2], start + LIFE / 2);
        sessions.put_at(b"b".to_vec(), vec![3], start + LIFE);
        assert_eq!(sessions.get_at(b"a", start + LIFE), Some(vec![2]));
    }
}
