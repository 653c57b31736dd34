//! The verdict of the admission webhook on an Ingress: what ingress-nginx refuses, and warnings for what is not served as written. Only
//! the Ingress itself is read again; the other Ingresses are looked up in the table.

use std::collections::HashSet;
use std::sync::Arc;

use cluster::{CompactString, ConfigMap, Ingress, Key, Kind, PathType, Snapshot};
use foldhash::fast::RandomState;

use super::RouteTable;
use super::parsed_ingress::{ParsedIngress, RulePath};
use crate::annotations::{self, CRITICAL, DEPRECATED, OBSOLETE, Reference};
use crate::options::RouteOptions;
use crate::precedence::{CATCH_ALL, host_name};
use crate::problem::Effect;
use crate::unsupported::parse_bool;

/// The prefix of annotations without `--annotations-prefix`.
const DEFAULT_PREFIX: &str = "nginx.ingress.kubernetes.io";

/// Files and directives in a host, path or name that ingress-nginx refuses, whatever the class.
const INJECTIONS: &[&str] = &[
    "_by_lua",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/nginx",
    "/etc/ingress-controller",
    "/var/run/secrets",
];

/// Characters of a value that a message quotes.
const QUOTED: usize = 80;

/// Reasons of one refusal.
const MAX_REFUSALS: usize = 10;

/// Length of all annotations in bytes, which the API server allows.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Warnings of one verdict, and their length in bytes. The API server cuts longer ones, and warns of that.
const MAX_WARNINGS: usize = 15;
const MAX_WARNING: usize = 250;

/// The answer of the webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdmissionVerdict {
    /// Why it is refused; empty if it is admitted.
    pub refusals: Vec<String>,
    /// The settings that are not served as written.
    pub warnings: Vec<String>,
}

impl AdmissionVerdict {
    /// Keeps the first refusals and warnings, and cuts long warnings.
    fn bound(&mut self) {
        if let Some(more @ 1..) = self.refusals.len().checked_sub(MAX_REFUSALS) {
            self.refusals.truncate(MAX_REFUSALS);
            self.refusals.push(format!("and {more} more"));
        }
        self.warnings.truncate(MAX_WARNINGS);
        self.warnings.iter_mut().for_each(cut);
    }
}

impl RouteTable {
    /// The Secrets and ConfigMaps that the verdict on an Ingress depends on.
    pub fn admission_references(&self, ingress: &Ingress, options: &RouteOptions) -> Vec<(Kind, Key)> {
        let (_, findings) = annotations::read(
            ingress,
            &options.annotations_prefix,
            &Snapshot::default(),
            self.globals.values(),
        );
        let mut references: Vec<Reference> = findings.references.into();
        references.extend(options.config_map.clone().map(|key| (Kind::ConfigMap, key)));
        references
    }

    /// Whether an Ingress is of a class that is served.
    pub fn takes(&self, ingress: &Ingress, options: &RouteOptions) -> bool {
        self.classes.take(ingress, options)
    }

    /// The verdict on a new version of an Ingress. `named` has the objects of [`Self::admission_references`].
    pub fn review(
        &self,
        ingress: &Arc<Ingress>,
        options: &RouteOptions,
        named: &Snapshot,
    ) -> AdmissionVerdict {
        let mut verdict = AdmissionVerdict::default();
        verdict.refusals.extend(injection(ingress));
        if !self.classes.take(ingress, options) {
            return verdict;
        }
        let length: usize = ingress.annotations.iter().map(|(name, value)| name.len() + value.len()).sum();
        if length > MAX_ANNOTATIONS {
            let what = format!("metadata.annotations: {length} bytes; wanted at most {MAX_ANNOTATIONS}");
            verdict.refusals.push(what);
            return verdict;
        }
        self.review_spec(ingress, options, &mut verdict);
        let config_map = options.config_map.as_ref().and_then(|key| named.get::<ConfigMap>(key));
        review_names(ingress, &options.annotations_prefix, config_map.map(|found| &**found), &mut verdict);
        self.review_values(ingress, options, named, &mut verdict);
        verdict.bound();
        verdict
    }

    /// Paths and the default backend.
    fn review_spec(&self, ingress: &Ingress, options: &RouteOptions, verdict: &mut AdmissionVerdict) {
        let paths = wrong_paths(ingress);
        if annotations::are_paths_strict(self.globals.values()) {
            verdict.refusals.extend(paths.iter().cloned());
        }
        verdict.warnings.extend(paths);
        if options.disable_catch_all && ingress.default_backend.is_some() {
            let what = "spec.defaultBackend: default backends are disabled (--disable-catch-all); remove it";
            verdict.refusals.push(what.to_owned());
        }
    }

    /// The values of annotations, and what the Ingress shares with others.
    fn review_values(
        &self,
        ingress: &Arc<Ingress>,
        options: &RouteOptions,
        named: &Snapshot,
        verdict: &mut AdmissionVerdict,
    ) {
        let prefix = &options.annotations_prefix;
        if let Some((name, what)) = annotations::left_out(self.globals.values(), ingress, prefix) {
            let field = format!("{prefix}/{name}: ");
            if !verdict.refusals.iter().any(|refusal| refusal.starts_with(&field)) {
                verdict.refusals.push(format!("{field}{what}"));
            }
        }
        let (_, findings) = annotations::read(ingress, prefix, named, self.globals.values());
        let refused = annotations::refused_value(ingress, prefix, &findings, named);
        verdict.refusals.extend(refused.iter().map(|(field, what)| format!("{field}: {what}")));
        let parsed = Arc::new(ParsedIngress::new(ingress.clone(), options, &self.globals, named));
        self.overlaps(&parsed, prefix, verdict);
        let is_refused = |field: &str| refused.iter().any(|(known, _)| known == field);
        for problem in parsed.problems.iter().filter(|problem| !is_refused(&problem.field)) {
            if problem.effect != Effect::Cosmetic {
                let colon = if problem.field.is_empty() { "" } else { ": " };
                let what = format!("{}{colon}{}{}", problem.field, problem.what, problem.effect.suffix());
                verdict.warnings.push(what);
            }
        }
    }

    /// Host and path that another Ingress has already, unless one of the two is a canary. ingress-nginx admits an Ingress with the
    /// annotation `canary`, whatever its value. A path that the Ingress had before is not refused: its other parts could no longer be changed.
    fn overlaps(&self, parsed: &Arc<ParsedIngress>, prefix: &str, verdict: &mut AdmissionVerdict) {
        let own = &parsed.ingress.key;
        let before: HashSet<_, RandomState> = self
            .ingresses
            .get(own)
            .into_iter()
            .flat_map(ParsedIngress::rule_paths)
            .map(|(host, rule)| (host, CompactString::from(rule.path().0)))
            .collect();
        let has_canary = |ingress: &Ingress| {
            ingress.annotation(&format!("{prefix}/canary")).is_some_and(|value| !value.trim().is_empty())
        };
        for (key, rule_path) in parsed.rule_paths() {
            // A default backend overlaps with no rule.
            if rule_path.field() == "spec.defaultBackend" {
                continue;
            }
            let (path, _) = rule_path.path();
            let host = if key == CATCH_ALL { Some(&self.catch_all) } else { self.hosts.get(&key) };
            let others = host.into_iter().flat_map(|host| host.rules_of(path));
            let is_rule = |other: &&RulePath| {
                other.parsed.ingress.key != *own && other.field() != "spec.defaultBackend"
            };
            let conflicts = |other: &&RulePath| match (parsed.is_canary(), other.parsed.is_canary()) {
                (true, true) => true,
                _ => !has_canary(&parsed.ingress) && !has_canary(&other.parsed.ingress),
            };
            let Some(other) = others.filter(is_rule).find(conflicts) else { continue };
            let name = host_name(&key);
            let other = &other.parsed.ingress.key;
            let canary = if parsed.is_canary() { " as a canary" } else { "" };
            let what = format!(
                "{}: host {name:?} and path {path:?} are already defined in Ingress {other}{canary}",
                rule_path.field()
            );
            match before.contains(&(key.clone(), path.into())) {
                true => verdict.warnings.push(what),
                false => verdict.refusals.push(what),
            }
        }
    }
}

/// The names of annotations: those that the ConfigMap does not allow, and those that are deprecated.
fn review_names(
    ingress: &Ingress,
    prefix: &str,
    config_map: Option<&ConfigMap>,
    verdict: &mut AdmissionVerdict,
) {
    let setting = |name: &str| config_map.and_then(|settings| settings.get(name)).map(str::trim);
    let are_snippets_allowed = setting("allow-snippet-annotations").and_then(parse_bool) == Some(true);
    let is_critical_allowed =
        setting("annotations-risk-level").is_some_and(|level| level.eq_ignore_ascii_case("Critical"));
    for (name, _) in &ingress.annotations {
        if prefix != DEFAULT_PREFIX && in_prefix(name, DEFAULT_PREFIX).is_some() {
            let what = format!("{name}: the prefix of annotations is {prefix} here (--annotations-prefix)");
            verdict.refusals.push(what);
        }
        let Some(short) = in_prefix(name, prefix) else { continue };
        if short.ends_with("-snippet") && !are_snippets_allowed {
            let what =
                "raw nginx text is not allowed (allow-snippet-annotations of the ConfigMap is not true)";
            verdict.refusals.push(format!("{name}: {what}"));
        } else if CRITICAL.contains(&short) && !is_critical_allowed {
            let what =
                "is riskier than annotations-risk-level of the ConfigMap allows (it would need Critical)";
            verdict.refusals.push(format!("{name}: {what}"));
        }
        if DEPRECATED.contains(&short) {
            verdict.warnings.push(format!("annotation {name} is deprecated"));
        } else if OBSOLETE.contains(&short) {
            verdict.warnings.push(format!("annotation {name} has no effect any more"));
        }
    }
}

fn in_prefix<'n>(name: &'n str, prefix: &str) -> Option<&'n str> {
    name.strip_prefix(prefix)?.strip_prefix('/')
}

/// nginx text in a host, path, or name of the `tls` section.
fn injection(ingress: &Ingress) -> Vec<String> {
    let rules = (0..).zip(&ingress.rules);
    let hosts = rules.clone().map(|(n, rule)| (format!("spec.rules[{n}].host"), &rule.host));
    let paths = rules.flat_map(|(n, rule)| {
        let paths = (0..).zip(&rule.paths);
        paths.map(move |(m, path): (u32, _)| (format!("spec.rules[{n}].http.paths[{m}].path"), &path.path))
    });
    let tls = (0..).zip(&ingress.tls).flat_map(|(n, tls): (u32, _)| {
        let hosts = tls.hosts.iter().map(move |host| (format!("spec.tls[{n}].hosts"), host));
        hosts.chain([(format!("spec.tls[{n}].secretName"), &tls.secret)])
    });
    let all = hosts.map(|(field, host): (String, _)| (field, host)).chain(paths).chain(tls);
    let found = all.filter_map(|(field, text)| {
        let directive = ["alias", "root"]
            .into_iter()
            .find(|word| text.find(word).is_some_and(|at| text[at + word.len()..].contains(';')));
        let part = INJECTIONS.iter().copied().find(|part| text.contains(part)).or(directive)?;
        Some(format!("{field}: {:?} contains {part:?}, which would be nginx configuration", quoted(text)))
    });
    found.collect()
}

/// Paths of the types Exact and Prefix with characters that ingress-nginx allows only in those of the type ImplementationSpecific.
fn wrong_paths(ingress: &Ingress) -> Vec<String> {
    let is_plain = |path: &str| {
        path.starts_with('/')
            && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte))
    };
    let mut wrong = Vec::new();
    for (n, rule) in ingress.rules.iter().enumerate() {
        for (m, path) in rule.paths.iter().enumerate() {
            if path.kind != PathType::ImplementationSpecific && !path.path.is_empty() && !is_plain(&path.path)
            {
                wrong.push(format!(
                    "spec.rules[{n}].http.paths[{m}].path: {:?} cannot be used with pathType {:?}; wanted letters, digits, ._-/ or the pathType \
                     ImplementationSpecific",
                    quoted(&path.path),
                    path.kind
                ));
            }
        }
    }
    wrong
}

fn quoted(text: &str) -> &str {
    text.char_indices().nth(QUOTED).map_or(text, |(end, _)| &text[..end])
}

fn cut(text: &mut String) {
    if text.len() > MAX_WARNING {
        let end = (0..=MAX_WARNING - '…'.len_utf8()).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
}

#[cfg(test)]
mod tests;
