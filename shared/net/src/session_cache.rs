//! Server-side TLS session cache, for session resumption without a full handshake.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::server::StoresServerSessions;

/// nginx's `ssl_session_timeout 10m`.
pub const LIFETIME: Duration = Duration::from_secs(600);
/// About the number of sessions that fit into nginx's `ssl_session_cache shared:SSL:10m`.
pub const CAPACITY: usize = 40_000;
/// The most bytes of all sessions. A session without a client certificate takes 300; with one, it has the chain of the client.
pub const MAX_BYTES: usize = 32 << 20;

/// A bounded cache of sessions. A session expires after a time; the oldest is removed when the cache is full. All workers
/// share one cache, since a client may reach another worker the next time. Its lock is taken once or twice per handshake, which
/// costs a hundred times as much.
#[derive(Debug)]
pub struct SessionCache {
    sessions: Mutex<Sessions>,
    capacity: usize,
    max_bytes: usize,
    /// In milliseconds.
    lifetime: AtomicU64,
}

#[derive(Debug, Default)]
struct Sessions {
    by_key: HashMap<Vec<u8>, Session>,
    /// Keys, oldest first. The key of a session that was taken stays here until it expires.
    by_age: VecDeque<(Instant, Vec<u8>)>,
    /// Of keys and sessions in `by_key`.
    bytes: usize,
}

#[derive(Debug)]
struct Session {
    since: Instant,
    secret: Vec<u8>,
}

impl SessionCache {
    /// Creates an empty cache.
    pub fn new(capacity: usize, lifetime: Duration) -> Self {
        let cache =
            Self { sessions: Mutex::default(), capacity, max_bytes: MAX_BYTES, lifetime: AtomicU64::new(0) };
        cache.set_lifetime(lifetime);
        cache
    }

    /// Sets another lifetime, also for the sessions that there are.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.lifetime.store(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    fn lifetime(&self) -> Duration {
        Duration::from_millis(self.lifetime.load(Relaxed))
    }

    fn put_at(&self, key: Vec<u8>, secret: Vec<u8>, now: Instant) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let lifetime = self.lifetime();
        sessions.by_age.push_back((now, key.clone()));
        sessions.remove(&key);
        sessions.bytes += key.len() + secret.len();
        sessions.by_key.insert(key, Session { since: now, secret });
        while let Some((since, _)) = sessions.by_age.front() {
            let fits = sessions.by_age.len() <= self.capacity && sessions.bytes <= self.max_bytes;
            if fits && now.duration_since(*since) < lifetime {
                break;
            }
            let Some((since, key)) = sessions.by_age.pop_front() else { break };
            // The key may have been inserted again since.
            if sessions.by_key.get(&key).is_some_and(|session| session.since == since) {
                sessions.remove(&key);
            }
        }
    }

    fn get_at(&self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.by_key.get(key)?;
        (now.duration_since(session.since) < self.lifetime()).then(|| session.secret.clone())
    }

    fn take_at(&self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.remove(key)?;
        (now.duration_since(session.since) < self.lifetime()).then_some(session.secret)
    }
}

impl Sessions {
    fn remove(&mut self, key: &[u8]) -> Option<Session> {
        let session = self.by_key.remove(key)?;
        self.bytes -= key.len() + session.secret.len();
        Some(session)
    }
}

/// The sessions of one scope in a cache: they cannot be resumed in another.
#[derive(Debug)]
pub struct ScopedSessions {
    cache: Arc<SessionCache>,
    scope: [u8; 32],
}

impl ScopedSessions {
    /// The sessions of a scope.
    pub fn new(cache: Arc<SessionCache>, scope: [u8; 32]) -> Self {
        Self { cache, scope }
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.scope, key].concat()
    }
}

impl StoresServerSessions for ScopedSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.cache.put(self.key(&key), value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.cache.get(&self.key(key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.cache.take(&self.key(key))
    }

    fn can_cache(&self) -> bool {
        true
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
    fn sessions_that_are_too_long_together_are_removed() {
        let cache = SessionCache { max_bytes: 300, ..SessionCache::new(100, LIFETIME) };
        let now = Instant::now();
        for key in 0..10_u8 {
            cache.put_at(vec![key], vec![0; 99], now);
        }
        let found: Vec<u8> = (0..10).filter(|key| cache.get_at(&[*key], now).is_some()).collect();
        assert_eq!(found, [7, 8, 9]);
        cache.take_at(&[8], now);
        cache.put_at(vec![9], vec![0; 99], now);
        assert_eq!(cache.sessions.lock().unwrap().bytes, 200);
    }

    #[test]
    fn a_session_belongs_to_its_scope() {
        let cache = Arc::new(SessionCache::default());
        let [one, other] = [[1; 32], [2; 32]].map(|scope| ScopedSessions::new(cache.clone(), scope));
        one.put(b"key".to_vec(), b"session".to_vec());
        assert_eq!((other.get(b"key"), other.take(b"key")), (None, None));
        assert_eq!(one.take(b"key"), Some(b"session".to_vec()));
    }

    #[test]
    fn another_lifetime_applies_to_the_sessions_that_there_are() {
        let (cache, start) = (SessionCache::default(), Instant::now());
        cache.put_at(vec![1], vec![1], start);
        cache.set_lifetime(Duration::from_secs(1));
        assert_eq!(cache.get_at(&[1], start + Duration::from_secs(1)), None);
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
