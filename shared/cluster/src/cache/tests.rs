use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::proptest;

use super::*;
use crate::change::ChangeType;
use crate::testing::{check_projection, histories};
use crate::{CompactString, Object, Service, ServiceKind};

/// Counts the ready endpoints of each Service.
struct ReadyEndpoints;

impl Projection for ReadyEndpoints {
    type View = (bool, u64, BTreeMap<Key, usize>);

    fn kinds(&self) -> Kinds {
        Kinds::of(&[Kind::Service, Kind::EndpointSlice])
    }

    fn build(&self, cluster: &Snapshot) -> Self::View {
        let ready = |service: &Key| {
            cluster
                .slices_of(service)
                .flat_map(|slice| &slice.endpoints)
                .filter(|endpoint| endpoint.ready)
                .count()
        };
        let counts =
            cluster.iter::<Service>().map(|service| (service.key.clone(), ready(&service.key))).collect();
        (cluster.synced(self.kinds()), cluster.changed_at(self.kinds()), counts)
    }

    fn advance(&self, last: &Self::View, cluster: &Snapshot, touched: &[ObjectChange]) -> Self::View {
        let mut counts = last.2.clone();
        let mut recount = |key: Key| {
            counts.remove(&key);
            if cluster.get::<Service>(&key).is_some() {
                let ready = cluster
                    .slices_of(&key)
                    .flat_map(|slice| &slice.endpoints)
                    .filter(|endpoint| endpoint.ready);
                counts.insert(key.clone(), ready.count());
            }
        };
        for touched in touched {
            match touched {
                ObjectChange::Service(change) => {
                    change.sides().for_each(|service| recount(service.key.clone()))
                }
                ObjectChange::EndpointSlice(change) => {
                    change.sides().for_each(|slice| recount(slice.service_key()))
                }
                _ => {}
            }
        }
        (cluster.synced(self.kinds()), cluster.changed_at(self.kinds()), counts)
    }
}

proptest! {
    #[test]
    fn advancing_a_projection_equals_building_it_anew(history in histories()) {
        check_projection(|| ReadyEndpoints, history);
    }
}

proptest! {
    #[test]
    fn a_projection_that_is_built_while_batches_are_applied_is_up_to_date(
        history in histories(),
        begin in 0..12_usize,
        length in 0..4_usize,
    ) {
        let mut cache = Cache::default();
        let (mut pending, mut built, mut current) = (None, None, None);
        for (at, batch) in history.into_iter().enumerate() {
            if at == begin {
                pending = Some(cache.begin_projection(ReadyEndpoints));
            }
            cache.apply(batch, at as u64 + 1);
            if at == begin + length / 2 {
                built = pending.take().map(super::PendingProjection::build);
            }
            if at == begin + length && let Some(built) = built.take() {
                current = Some(cache.finish_projection(built));
            }
            if let Some(current) = &current {
                let current: &Current<_> = current;
                assert_eq!(**current.load(), ReadyEndpoints.build(cache.snapshot()), "batch {at}");
            }
        }
    }
}

#[test]
fn a_dropped_pending_projection_leaves_no_recording() {
    let mut cache = Cache::default();
    drop(cache.begin_projection(ReadyEndpoints));
    cache.apply([service("a")], 1);
    assert!(cache.recordings.is_empty());
}

fn service(name: &str) -> Event {
    let service = Service {
        key: Key::new("default", name),
        kind: ServiceKind::Headless,
        ports: Default::default(),
        external: Box::default(),
        prefers_own_zone: false,
    };
    Event::Apply(Object::Service(Arc::new(service)))
}

fn names(cache: &Cache) -> Vec<CompactString> {
    let mut names: Vec<_> =
        cache.snapshot().iter::<Service>().map(|service| service.key.name.clone()).collect();
    names.sort();
    names
}

#[test]
fn a_relist_removes_missing_objects_and_touches_no_others() {
    let mut cache = Cache::default();
    cache.apply([service("a"), service("b"), Event::Synced(Kind::Service)], 1);
    assert_eq!(cache.apply([Event::Restart(Kind::Service), service("b")], 2), []);
    assert_eq!(names(&cache), ["a", "b"], "the objects stay while the list runs");
    let touched = cache.apply([Event::Synced(Kind::Service)], 3);
    assert_eq!(
        touched.iter().map(ObjectChange::summary).collect::<Vec<_>>(),
        [(Key::new("default", "a"), ChangeType::Removed)]
    );
    assert_eq!(names(&cache), ["b"]);
}

#[test]
fn a_relist_keeps_equal_objects_in_place() {
    let mut cache = Cache::default();
    cache.apply([service("a")], 1);
    let before = cache.snapshot().get::<Service>(&Key::new("default", "a")).expect("it was applied").clone();
    cache.apply([Event::Restart(Kind::Service), service("a"), Event::Synced(Kind::Service)], 2);
    let after = cache.snapshot().get::<Service>(&Key::new("default", "a")).expect("it was applied again");
    assert!(Arc::ptr_eq(&before, after), "an equal object must not replace the existing one");
}

#[test]
fn an_object_that_a_relist_cannot_decode_stays_until_it_is_not_listed() {
    let mut cache = Cache::default();
    cache.apply([service("a"), service("b"), Event::Synced(Kind::Service)], 1);
    let keep = || Event::Keep(Kind::Service, Key::new("default", "a"));
    let relist = || [Event::Restart(Kind::Service), keep(), Event::Synced(Kind::Service)];
    cache.apply(relist(), 2);
    assert_eq!(names(&cache), ["a"], "b was neither listed nor kept");
    assert_eq!(cache.apply(relist(), 3), [], "a kept object has not changed");
    cache.apply([Event::Restart(Kind::Service), Event::Synced(Kind::Service)], 4);
    assert_eq!(names(&cache), [""; 0]);
    assert_eq!(cache.apply([keep()], 5), [], "keeping an unknown object adds nothing");
}

#[test]
fn an_object_added_and_removed_within_a_batch_is_not_a_change() {
    let mut cache = Cache::default();
    let remove = Event::Remove(Kind::Service, Key::new("default", "a"));
    assert_eq!(cache.apply([service("a"), remove], 1), []);
}

#[test]
fn a_kind_is_synced_from_the_end_of_its_first_list() {
    let mut cache = Cache::default();
    let current = cache.project(ReadyEndpoints);
    cache.apply([Event::Restart(Kind::Service), Event::Synced(Kind::Service)], 1);
    assert!(!current.load().0, "slices have not been listed");
    cache.apply([Event::Synced(Kind::EndpointSlice)], 2);
    assert!(current.load().0);
    cache.apply([Event::Restart(Kind::Service)], 3);
    assert!(current.load().0, "a kind stays synced through a relist");
}

#[test]
fn a_projection_without_readers_is_dropped() {
    let mut cache = Cache::default();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    cache.on_unused(move || _ = count.fetch_add(1, Ordering::Relaxed));
    let current = cache.project(ReadyEndpoints);
    drop(current.clone());
    cache.release();
    assert_eq!((calls.load(Ordering::Relaxed), cache.kinds()), (0, ReadyEndpoints.kinds()));
    drop(current);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    cache.apply([], 1);
    assert_eq!(cache.kinds(), Kinds::default());
}
