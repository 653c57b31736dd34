//! Problems of single objects of one kind, reported for as long as they exist.

use std::collections::HashMap;

use cluster::{Key, Kind};
use telemetry::{Problem, Reports};

use super::SCOPE;
use crate::decode::InvalidField;

/// Objects of one kind whose problems are reported. One line reports that there are more.
const MAX_OBJECTS: usize = 100;

/// The key of objects whose own key cannot be read, and of the line about all beyond [`MAX_OBJECTS`].
const UNKNOWN: &str = "(name unknown)";
const MORE: &str = "(more objects)";

/// The objects of one kind that have problems. Dropping it removes the reports.
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

    /// Replaces the reported problems of an object. The key is `None` if it cannot be decoded.
    pub(super) fn set(&mut self, key: Option<&Key>, defects: Vec<InvalidField>) {
        // The common case: the object is valid, and no problem was reported before.
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

    /// Removes the problems of an object that is valid or deleted.
    pub(super) fn clear(&mut self, key: &Key) {
        if !self.reported.is_empty() && self.reported.remove(key).is_some() {
            self.replace(key, Vec::new());
        }
    }

    /// Begins a list, which will contain each existing object.
    pub(super) fn begin_list(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    /// Ends a list: removes the problems of objects that were not in it.
    pub(super) fn end_list(&mut self) {
        let list = self.list;
        let deleted: Vec<Key> =
            self.reported.iter().filter(|(_, seen)| **seen != list).map(|(key, _)| key.clone()).collect();
        deleted.iter().for_each(|key| self.clear(key));
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
    fn a_problem_is_reported_until_its_object_is_valid_deleted_or_not_listed() {
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
