//! Decides which Events are written: client-go's correlator. Equal Events are counted in one object, many that differ only in their
//! message are combined, and an object that causes too many is limited.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use cluster::{Key, Kind};
use foldhash::fast::RandomState;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::token_bucket::TokenBucket;

/// Messages with the same reason about one object after which further ones are combined, and for how long.
const SIMILAR: usize = 10;
const WINDOW: Duration = Duration::from_secs(600);

/// Events of one object at once, and then one in five minutes.
const OBJECT_BURST: u32 = 25;
const OBJECT_RATE: f64 = 1.0 / 300.0;

/// The most entries of each kind.
const REMEMBERED: usize = 4096;

/// An Event to report about an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EventText {
    pub(crate) kind: Kind,
    pub(crate) key: Key,
    /// Warning or Normal.
    pub(crate) is_warning: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// The request that writes an Event.
#[derive(Debug, PartialEq)]
pub(crate) enum EventAction {
    /// A new Event of this name.
    Create { name: String, message: String },
    /// The Event of this name with a new count.
    Count { name: String, message: String, count: u32, first: Timestamp },
}

/// The Events that were written recently.
#[derive(Default)]
pub(crate) struct Correlator {
    hasher: RandomState,
    similar: Remembered<HashSet<u64>>,
    written: Remembered<Written>,
    objects: Remembered<Option<TokenBucket>>,
}

#[derive(Clone)]
struct Written {
    name: String,
    count: u32,
    first: Timestamp,
}

impl Correlator {
    /// The request that writes an Event; `None` if the object has caused too many.
    pub(crate) fn correlate(
        &mut self,
        event: &EventText,
        now: Instant,
        wall: Timestamp,
    ) -> Option<EventAction> {
        let object = self.hasher.hash_one((event.kind, &event.key));
        let bucket = self.objects.entry(object, now);
        let bucket = bucket.get_or_insert_with(|| TokenBucket::new(OBJECT_RATE, OBJECT_BURST, now));
        if !bucket.try_take(now) {
            return None;
        }
        let group = self.hasher.hash_one((object, event.is_warning, event.reason));
        let full = self.hasher.hash_one(event);
        if self.similar.age(group, now).is_some_and(|age| age > WINDOW) {
            self.similar.0.remove(&group);
        }
        let messages = self.similar.entry(group, now);
        let is_combined = messages.len() >= SIMILAR && !messages.contains(&full);
        if !is_combined {
            messages.insert(full);
        }
        let (key, message) = match is_combined {
            true => (group, format!("(combined from similar events): {}", event.message)),
            false => (full, event.message.clone()),
        };
        if let Some(known) = self.written.get_mut(key, now) {
            known.count += 1;
            let Written { name, count, first } = known.clone();
            return Some(EventAction::Count { name, message, count, first });
        }
        // A name may have 253 characters.
        let end = (0..=event.key.name.len().min(230)).rev().find(|end| event.key.name.is_char_boundary(*end));
        let short = event.key.name[..end.unwrap_or_default()].trim_end_matches(['.', '-']);
        let name = format!("{short}.{:x}", wall.as_nanosecond().unsigned_abs() ^ u128::from(key & 0xffff));
        self.written.insert(key, Written { name: name.clone(), count: 1, first: wall }, now);
        Some(EventAction::Create { name, message })
    }

    /// Forgets an Event that does not exist any more, so that it is created again.
    pub(crate) fn forget(&mut self, name: &str) {
        self.written.0.retain(|_, (written, _)| written.name != name);
    }
}

/// Entries by the hash of their key, with the time of their last use. If there are too many, the older half is forgotten.
struct Remembered<T>(HashMap<u64, (T, Instant), RandomState>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<T> Remembered<T> {
    fn age(&self, key: u64, now: Instant) -> Option<Duration> {
        self.0.get(&key).map(|(_, used)| now - *used)
    }

    fn get_mut(&mut self, key: u64, now: Instant) -> Option<&mut T> {
        let (value, used) = self.0.get_mut(&key)?;
        *used = now;
        Some(value)
    }

    fn insert(&mut self, key: u64, value: T, now: Instant) {
        if self.0.len() >= REMEMBERED {
            let mut used: Vec<_> = self.0.values().map(|(_, used)| *used).collect();
            let (_, middle, _) = used.select_nth_unstable(REMEMBERED / 2);
            let middle = *middle;
            self.0.retain(|_, (_, used)| *used > middle);
        }
        self.0.insert(key, (value, now));
    }

    fn entry(&mut self, key: u64, now: Instant) -> &mut T
    where
        T: Default,
    {
        if !self.0.contains_key(&key) {
            self.insert(key, T::default(), now);
        }
        self.get_mut(key, now).expect("inserted above")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, message: &str) -> EventText {
        EventText {
            kind: Kind::Ingress,
            key: Key::new("shop", name),
            is_warning: true,
            reason: "AnnotationParsingFailed",
            message: message.to_owned(),
        }
    }

    fn shown(correlator: &mut Correlator, event: &EventText, now: Instant) -> String {
        match correlator.correlate(event, now, Timestamp::UNIX_EPOCH) {
            None => "nothing".into(),
            Some(EventAction::Create { message, .. }) => format!("new {message}"),
            Some(EventAction::Count { message, count, .. }) => format!("{count} {message}"),
        }
    }

    #[test]
    fn equal_events_are_counted() {
        let (mut correlator, now) = (Correlator::default(), Instant::now());
        assert_eq!(shown(&mut correlator, &event("web", "a"), now), "new a");
        assert_eq!(shown(&mut correlator, &event("web", "a"), now), "2 a");
        assert_eq!(shown(&mut correlator, &event("other", "a"), now), "new a");
        let name = correlator.written.0.values().next().unwrap().0.name.clone();
        correlator.forget(&name);
        assert_eq!(correlator.written.0.len(), 1);
    }

    #[test]
    fn events_that_differ_in_their_message_are_combined_after_ten() {
        let (mut correlator, now) = (Correlator::default(), Instant::now());
        for number in 0..10 {
            assert_eq!(
                shown(&mut correlator, &event("web", &format!("m{number}")), now),
                format!("new m{number}")
            );
        }
        let combined = "(combined from similar events):";
        assert_eq!(shown(&mut correlator, &event("web", "m10"), now), format!("new {combined} m10"));
        assert_eq!(shown(&mut correlator, &event("web", "m11"), now), format!("2 {combined} m11"));
        let later = now + WINDOW + Duration::from_secs(1);
        assert_eq!(shown(&mut correlator, &event("web", "m12"), later), "new m12");
    }

    #[test]
    fn an_object_with_too_many_events_is_limited_and_others_are_not() {
        let (mut correlator, now) = (Correlator::default(), Instant::now());
        let written =
            (0..100).filter(|_| shown(&mut correlator, &event("web", "a"), now) != "nothing").count();
        assert_eq!(written, 25);
        assert_eq!(shown(&mut correlator, &event("other", "a"), now), "new a");
        let later = now + Duration::from_secs(301);
        assert_eq!(shown(&mut correlator, &event("web", "a"), later), "26 a");
        assert_eq!(shown(&mut correlator, &event("web", "a"), later), "nothing");
    }

    #[test]
    fn the_memory_is_bounded() {
        let (mut correlator, now) = (Correlator::default(), Instant::now());
        for number in 0..20_000_u64 {
            let at = now + Duration::from_millis(number);
            correlator.correlate(&event(&format!("web-{number}"), "a"), at, Timestamp::UNIX_EPOCH);
        }
        assert!(correlator.written.0.len() <= REMEMBERED && correlator.objects.0.len() <= REMEMBERED);
        let last = event("web-19999", "a");
        assert_eq!(shown(&mut correlator, &last, now + Duration::from_secs(20)), "2 a");
    }

    #[test]
    fn a_long_name_fits() {
        let event = event(&"n".repeat(253), "a");
        let action = Correlator::default().correlate(&event, Instant::now(), Timestamp::MAX).unwrap();
        let EventAction::Create { name, .. } = action else { panic!("{action:?}") };
        assert!(name.len() <= 253 && name.starts_with("nnn"), "{name}");
    }
}
