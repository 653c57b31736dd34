//! Reads the annotations of one Ingress and collects the problems found in them.

use cluster::Ingress;

use crate::problem::{BadValue, Effect, RoutingProblem};
use crate::unsupported::parse_bool;

/// The annotations of one Ingress under the prefix. An empty value counts as unset, as in ingress-nginx.
pub struct AnnotationReader<'i> {
    ingress: &'i Ingress,
    prefix: &'i str,
    /// Names without the prefix, and values.
    values: Vec<(&'i str, &'i str)>,
    /// Why the routes of the Ingress answer 503.
    denied: Option<String>,
    problems: Vec<RoutingProblem>,
}

impl<'i> AnnotationReader<'i> {
    pub(super) fn new(ingress: &'i Ingress, prefix: &'i str) -> Self {
        let short = |name: &'i str| name.strip_prefix(prefix)?.strip_prefix('/');
        let values = ingress.annotations.iter();
        let values = values.filter_map(|(name, value)| Some((short(name)?, value.trim())));
        let values = values.filter(|(_, value)| !value.is_empty()).collect();
        Self { ingress, prefix, values, denied: None, problems: Vec::new() }
    }

    /// Names and values of all annotations.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'i str, &'i str)> + use<'i> {
        self.values.clone().into_iter()
    }

    /// The paths of all rules.
    pub(super) fn paths(&self) -> impl Iterator<Item = &'i str> + use<'i> {
        let ingress = self.ingress;
        ingress.rules.iter().flat_map(|rule| &rule.paths).map(|path| path.path.as_str())
    }

    /// The value of an annotation as text.
    pub fn text(&self, name: &str) -> Option<&'i str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The value of an annotation, if `parse` accepts it. Otherwise reports what was expected, with `effect` as the
    /// consequence; [`Effect::Closed`] closes the routes of the Ingress.
    pub fn value<T>(
        &mut self,
        key: &'static str,
        wanted: &'static str,
        effect: Effect,
        parse: impl FnOnce(&'i str) -> Option<T>,
    ) -> Option<T> {
        let value = self.text(key)?;
        // No value may contain a line break: CVE-2021-25748 and CVE-2024-7646 of ingress-nginx used one.
        let parsed = (!value.contains(['\r', '\n'])).then(|| parse(value)).flatten();
        if parsed.is_none() {
            let bad = BadValue { key, value: value.into(), wanted };
            self.problem(key, bad.to_string(), effect);
        }
        parsed
    }

    /// A boolean, as Go's `strconv.ParseBool` reads it. Reports any other value and returns `None`.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.value(key, "true or false", Effect::DefaultUsed, parse_bool)
    }

    /// An integer. Reports any other value and returns `None`.
    pub fn number(&mut self, key: &'static str) -> Option<i64> {
        self.value(key, "a whole number", Effect::DefaultUsed, |value| value.parse().ok())
    }

    /// Reports a problem with an annotation.
    pub fn problem(&mut self, name: &str, what: String, effect: Effect) {
        let field = format!("{}/{name}", self.prefix);
        if effect == Effect::Closed && self.denied.is_none() {
            self.denied = Some(format!("{field}: {what}"));
        }
        self.problems.push(RoutingProblem::of_ingress(&self.ingress.key, field, what, effect));
    }

    /// Reports a problem whose text contains the name of the annotation.
    pub(super) fn report(&mut self, what: String, effect: Effect) {
        if effect == Effect::Closed && self.denied.is_none() {
            self.denied = Some(what.clone());
        }
        self.problems.push(RoutingProblem::of_ingress(&self.ingress.key, "", what, effect));
    }

    pub(super) fn done(self) -> (Option<String>, Vec<RoutingProblem>) {
        (self.denied, self.problems)
    }
}
