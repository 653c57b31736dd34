//! What is wrong with single objects of one kind, reported for as long as it is so.

use std::collections::HashMap;

use cluster::{Key, Kind};
use telemetry::{Problem, Reports};

use super::SCOPE;
use crate::decode::InvalidField;

/// Objects of one kind whose problems are reported; what is beyond is mentioned in one line.
const MAX_OBJECTS: usize = 100;

/// The key of objects whose own key cannot be read, and of the line about all beyond [`MAX_OBJECTS`].
const UNKNOWN: &str = "(name unknown)";
const MORE: &str = "(more objects)";

/// The objects of one kind that have problems. The reports go when it is dropped.
pub(super) struct ObjectProblems {
    kind: Kind,
    reports: Reports,
    /// The list in which each object was last seen.
    reported: HashMap<Key, u32>,
    list: u32,
}

impl ObjectProblems {
    pub(super) fn new(kind: Kind, reports: Reports) -> Self {
        Self { kind, reports, reported: HashMap::new(), list: 0 }
    }

    /// Reports what is wrong with an object, instead of what was before. `None` is an object without a readable key.
    pub(super) fn set(&mut self, key: Option<&Key>, defects: Vec<InvalidField>) {
        // Nearly all objects are good, and were so before.
        if defects.is_empty() && self.reported.is_empty() {
            return;
        }
        let unknown = Key::cluster(UNKNOWN);
        let key = key.unwrap_or(&unknown);
        if defects.is_empty() {
            self.clear(key);
        } else if self.reported.len() < MAX_OBJECTS || self.reported.contains_key(key) {
            self.reported.insert(key.clone(), self.list);
            self.replace(key, defects);
        } else {
            let more = Key::cluster(MORE);
            if self.reported.insert(more.clone(), self.list).is_none() {
                self.replace(&more, vec![InvalidField::of_error("not all invalid objects are listed")]);
            }
        }
    }

    /// The object is good, or gone.
    pub(super) fn clear(&mut self, key: &Key) {
        if !self.reported.is_empty() && self.reported.remove(key).is_some() {
            self.replace(key, Vec::new());
        }
    }

    /// A list begins, which names every object there is.
    pub(super) fn begin_list(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// The list is complete: objects that it did not name are gone.
    pub(super) fn end_list(&mut self) {
        let list = self.list;
        let gone: Vec<Key> =
            self.reported.iter().filter(|(_, seen)| **seen != list).map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| self.clear(key));
    }

    fn replace(&self, key: &Key, defects: Vec<InvalidField>) {
        let (kind, key) = (self.kind.name(), key.to_string());
        let problems: Vec<Problem> =
            defects.into_iter().map(|defect| defect.problem(kind, key.clone())).collect();
        self.reports.replace_object(SCOPE, kind, &key, problems);
    }
}

impl Drop for ObjectProblems {
    fn drop(&mut self) {
        for key in std::mem::take(&mut self.reported).into_keys() {
            self.replace(&key, Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use telemetry::metrics::Registry;

    use super::*;

    fn defect() -> Vec<InvalidField> {
        vec![InvalidField::new("spec.clusterIP", "x", "an IP address")]
    }

    fn keys(reports: &Reports) -> Vec<String> {
        reports.current().into_iter().map(|(_, problem)| problem.key).collect()
    }

    #[test]
    fn a_problem_lasts_until_its_object_is_good_gone_or_not_listed() {
        let reports = Reports::new(&Registry::new());
        let mut problems = ObjectProblems::new(Kind::Service, reports.clone());
        let [good, gone, unlisted, bad] =
            ["good", "gone", "unlisted", "bad"].map(|name| Key::new("shop", name));
        for key in [&good, &gone, &unlisted, &bad] {
            problems.set(Some(key), defect());
        }
        problems.set(Some(&good), vec![]);
        problems.clear(&gone);
        problems.begin_list();
        problems.set(Some(&bad), defect());
        assert_eq!(keys(&reports), ["shop/bad", "shop/unlisted"]);
        problems.end_list();
        assert_eq!(keys(&reports), ["shop/bad"]);
        drop(problems);
        assert_eq!(keys(&reports), [""; 0]);
    }

    #[test]
    fn the_number_of_reported_objects_is_bounded() {
        let reports = Reports::new(&Registry::new());
        let mut problems = ObjectProblems::new(Kind::Service, reports.clone());
        for number in 0..10 * MAX_OBJECTS {
            problems.set(Some(&Key::new("shop", format!("s{number}"))), defect());
        }
        assert_eq!(keys(&reports).len(), MAX_OBJECTS + 1);
        assert_eq!(keys(&reports)[0], MORE);
    }
}
