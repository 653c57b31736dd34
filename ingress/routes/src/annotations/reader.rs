//! Reads the annotations of one Ingress, or the keys of the ConfigMap, and collects the problems found in them.

use std::sync::Arc;
use std::time::Duration;

use cluster::{ConfigMap, Ingress, IngressRule, Key, Kind, Secret, Snapshot};

use crate::family_values::{FamilyValue, FamilyValues};
use crate::geo::GeoSettings;
use crate::problem::{BadValue, Effect, RoutingProblem};
use crate::unsupported::parse_bool;

/// An object that another one names.
pub(crate) type Reference = (Kind, Key);

/// The findings of a reader besides the settings.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ReaderFindings {
    /// Why the routes of the Ingress, or all routes, answer 503.
    pub(crate) denied: Option<String>,
    pub(crate) problems: Vec<RoutingProblem>,
    /// Which of the problems are values that are invalid whatever exists in the cluster.
    pub(crate) invalid: Vec<usize>,
    /// The objects that were looked up, sorted.
    pub(crate) references: Box<[Reference]>,
}

/// The annotations of one Ingress under the prefix, or the keys of the ConfigMap. An empty value counts as unset, as in
/// ingress-nginx, except for lists that have a default (`list`).
pub struct SettingReader<'i> {
    kind: Kind,
    key: &'i Key,
    /// Of annotations; empty for the ConfigMap.
    prefix: &'i str,
    rules: &'i [IngressRule],
    cluster: &'i Snapshot,
    /// Of the ConfigMap, for annotations.
    globals: Option<&'i FamilyValues>,
    /// Which variables about the client's address texts may have.
    geo: GeoSettings,
    references: Vec<Reference>,
    /// Names without the prefix, and values.
    values: Vec<(&'i str, &'i str)>,
    /// The names whose value is empty.
    empty: Vec<&'i str>,
    /// The names of annotations whose value has spaces around it.
    padded: Vec<&'i str>,
    /// Why the routes of the Ingress, or all routes, answer 503.
    denied: Option<String>,
    problems: Vec<RoutingProblem>,
    /// The numbers of those that are invalid values.
    invalid: Vec<usize>,
}

impl<'i> SettingReader<'i> {
    pub(super) fn of_ingress(
        ingress: &'i Ingress,
        prefix: &'i str,
        cluster: &'i Snapshot,
        globals: &'i FamilyValues,
    ) -> Self {
        let short = |name: &'i str| name.strip_prefix(prefix)?.strip_prefix('/');
        let values = ingress.annotations.iter();
        let values = values.filter_map(|(name, value)| Some((short(name)?, value.as_str())));
        let padded =
            values.clone().filter(|(_, value)| value.trim() != *value).map(|(name, _)| name).collect();
        let values = values.map(|(name, value)| (name, value.trim()));
        let reader = Self::new((Kind::Ingress, &ingress.key), prefix, &ingress.rules, cluster, values);
        let geo = globals.get::<GeoSettings>().cloned().unwrap_or_default();
        Self { globals: Some(globals), geo, padded, ..reader }
    }

    pub(crate) fn of_config_map(config_map: &'i ConfigMap, cluster: &'i Snapshot) -> Self {
        let values = config_map.data.iter().map(|(name, value)| (name.as_str(), value.trim()));
        Self::new((Kind::ConfigMap, &config_map.key), "", &[], cluster, values)
    }

    fn new(
        (kind, key): (Kind, &'i Key),
        prefix: &'i str,
        rules: &'i [IngressRule],
        cluster: &'i Snapshot,
        values: impl Iterator<Item = (&'i str, &'i str)>,
    ) -> Self {
        let (mut set, mut empty) = (Vec::new(), Vec::new());
        for (name, value) in values {
            match value {
                "" => empty.push(name),
                value => set.push((name, value)),
            }
        }
        let (references, problems) = <(Vec<_>, Vec<_>)>::default();
        Self {
            kind,
            key,
            prefix,
            rules,
            cluster,
            globals: None,
            geo: GeoSettings::default(),
            references,
            values: set,
            empty,
            padded: Vec::new(),
            denied: None,
            problems,
            invalid: Vec::new(),
        }
    }

    /// The object.
    pub fn object(&self) -> &'i Key {
        self.key
    }

    /// The value that a family has read from the ConfigMap. When it changes, all annotations are read again.
    pub fn global<T: FamilyValue>(&self) -> Option<&'i T> {
        self.globals?.get()
    }

    /// Which variables about the client's address texts may have.
    pub(super) fn geo(&self) -> &GeoSettings {
        &self.geo
    }

    /// Sets what [`Self::geo`] returns, for the keys after those of its family.
    pub(super) fn set_geo(&mut self, geo: GeoSettings) {
        self.geo = geo;
    }

    /// The namespace of the object, in which names of other objects are looked up.
    pub fn namespace(&self) -> &'i str {
        &self.key.namespace
    }

    /// The object that a value names: `name` in the namespace of this object, or `namespace/name`. `None` if it is neither.
    pub fn object_key(&self, value: &str) -> Option<Key> {
        let (namespace, name) = value.split_once('/').unwrap_or((&self.key.namespace, value));
        let is_name = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        };
        (is_name(namespace) && is_name(name)).then(|| Key::new(namespace, name))
    }

    /// A Secret, if it exists. When it is added, changed or removed, this object is read again.
    pub fn secret(&mut self, key: &Key) -> Option<&'i Arc<Secret>> {
        self.references.push((Kind::Secret, key.clone()));
        self.cluster.get::<Secret>(key)
    }

    /// A ConfigMap, if it exists. When it is added, changed or removed, this object is read again.
    pub fn config_map(&mut self, key: &Key) -> Option<&'i Arc<ConfigMap>> {
        self.references.push((Kind::ConfigMap, key.clone()));
        self.cluster.get::<ConfigMap>(key)
    }

    /// Names and values of all that are set.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'i str, &'i str)> + use<'i> {
        self.values.clone().into_iter()
    }

    /// The paths of all rules.
    pub(super) fn paths(&self) -> impl Iterator<Item = &'i str> + use<'i> {
        self.rules.iter().flat_map(|rule| &rule.paths).map(|path| path.path.as_str())
    }

    /// The value of an annotation or key as text.
    pub fn text(&self, name: &str) -> Option<&'i str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The items of a list between commas, which may be empty: an empty value is a list without items, and not the default. `None`
    /// if it is not set.
    pub(super) fn list(&self, name: &str) -> Option<Vec<String>> {
        if self.empty.contains(&name) {
            return Some(Vec::new());
        }
        let items = self.text(name)?.split(',').map(str::trim);
        Some(items.filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }

    /// The value of an annotation or key, if `parse` accepts it. Otherwise reports what was expected, with `effect` as the
    /// consequence; [`Effect::Closed`] closes the routes of the Ingress.
    pub fn value<T>(
        &mut self,
        key: &'static str,
        wanted: &'static str,
        effect: Effect,
        parse: impl FnOnce(&'i str) -> Option<T>,
    ) -> Option<T> {
        let value = self.text(key)?;
        if let Some(missing) = self.geo.missing_in(value) {
            self.problem(key, format!("{value:?}: {missing}"), effect);
            return None;
        }
        // No value may contain a line break: CVE-2021-25748 and CVE-2024-7646 of ingress-nginx used one.
        let parsed = (!value.contains(['\r', '\n'])).then(|| parse(value)).flatten();
        if parsed.is_none() {
            let bad = BadValue { key, value: value.into(), wanted };
            self.invalid_value(key, bad.to_string(), effect);
        }
        parsed
    }

    /// A boolean, as Go's `strconv.ParseBool` reads it. Reports any other value and returns `None`.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        if self.padded.contains(&key) {
            return self.value(key, "true or false without spaces around it", Effect::DefaultUsed, |_| None);
        }
        self.value(key, "true or false", Effect::DefaultUsed, parse_bool)
    }

    /// An integer. Reports any other value and returns `None`.
    pub fn number(&mut self, key: &'static str) -> Option<i64> {
        self.value(key, "a whole number", Effect::DefaultUsed, |value| value.parse().ok())
    }

    /// Reports a limit below 0, which is none.
    pub(super) fn report_negative(&mut self, name: &str) {
        if let Some(value) = self.text(name).filter(|value| value.parse::<i64>().is_ok_and(i64::is_negative))
        {
            self.problem(name, format!("{value:?} is below 0 and limits nothing"), Effect::Ignored);
        }
    }

    /// A number that is not negative. Reports any other value and returns `None`.
    pub fn count(&mut self, key: &'static str) -> Option<u32> {
        self.value(key, "a whole number from 0", Effect::DefaultUsed, |value| value.parse().ok())
    }

    /// A whole number of seconds. Reports any other value and returns `None`.
    pub fn seconds(&mut self, key: &'static str) -> Option<Duration> {
        let seconds =
            self.value(key, "a whole number of seconds", Effect::DefaultUsed, |value| value.parse().ok());
        seconds.map(|seconds: u32| Duration::from_secs(seconds.into()))
    }

    /// Reports the invalid items of a list as one problem, if there are any. `wanted` is what an item should be.
    pub(super) fn invalid_items(&mut self, name: &str, invalid: &[&str], wanted: &str, effect: Effect) {
        let Some((first, others)) = invalid.split_first() else { return };
        let more = if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
        self.invalid_value(name, format!("{first:?}{more} should be {wanted}"), effect);
    }

    /// Reports a value that is invalid whatever exists in the cluster.
    pub(super) fn invalid_value(&mut self, name: &str, what: String, effect: Effect) {
        self.invalid.push(self.problems.len());
        self.problem(name, what, effect);
    }

    /// Reports a problem with an annotation or key.
    pub fn problem(&mut self, name: &str, what: String, effect: Effect) {
        let field = if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) };
        if effect == Effect::Closed && self.denied.is_none() {
            self.denied = Some(format!("{field}: {what}"));
        }
        self.push(field, what, effect);
    }

    /// Reports a problem whose text contains the name of the annotation.
    pub(super) fn report(&mut self, what: String, effect: Effect) {
        if effect == Effect::Closed && self.denied.is_none() {
            self.denied = Some(what.clone());
        }
        self.push(String::new(), what, effect);
    }

    fn push(&mut self, field: String, what: String, effect: Effect) {
        // The ConfigMap closes the routes of other objects.
        let effect = match effect {
            Effect::Closed if self.kind == Kind::ConfigMap => Effect::ClosesOthers,
            effect => effect,
        };
        let (kind, key) = (self.kind, self.key.clone());
        self.problems.push(RoutingProblem { kind, key, field, what, effect });
    }

    /// Runs a part of `read_keys` of which an invalid value closes some routes only (`which`), and returns why it closes them. The family
    /// sets [`Plan::closed_by_key`](crate::plan::Plan::closed_by_key) for them.
    pub(super) fn closing_some<T>(
        &mut self,
        which: &str,
        read: impl FnOnce(&mut Self) -> T,
    ) -> (T, Option<String>) {
        let all = self.denied.take();
        let before = self.problems.len();
        let result = read(self);
        for problem in self.problems[before..].iter_mut().filter(|it| it.effect == Effect::ClosesOthers) {
            problem.what += &format!("; {which} answer 503");
        }
        (result, std::mem::replace(&mut self.denied, all))
    }

    /// The findings besides the settings.
    pub(crate) fn done(self) -> ReaderFindings {
        let Self { denied, problems, invalid, mut references, .. } = self;
        references.sort_unstable();
        references.dedup();
        ReaderFindings { denied, problems, invalid, references: references.into() }
    }
}
