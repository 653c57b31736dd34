//! `rewrite-target` and `use-regex`: the path that the upstream gets, and rules that are patterns.

use std::borrow::Cow;
use std::sync::Arc;

use cluster::PathType;
use http::StatusCode;

use super::template::{TemplatePart, is_name_character, parts, rule_variable};
use super::{Annotation, AnnotationFamily, Rule, SettingReader, Settings};
use crate::exchange::Exchange;
use crate::path::{decode_redirect, encode, encode_unsafe};
use crate::pattern::{Captures, PathPattern, StepLimitExceeded};
use crate::plan::Plan;
use crate::plan::filter::{DirectResponse, FilterOutcome, RequestFilter};
use crate::plan::phase::Phase;
use crate::problem::Effect;
use crate::variables::RequestVariable;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "rewrite",
    doc: "Changes the path that the upstream gets. Either annotation (a target other than the path itself) makes \
          every path of the host, of all Ingresses, a case-insensitive regular expression anchored at the start of the \
          path, longest text first; Exact paths are patterns, too.",
    annotations: &[
        Annotation {
            name: "rewrite-target",
            values: "a path with $1 to $9 and $name for the groups of the rule's path and $host, $uri, $arg_name and \
                     other variables of nginx, or a URL to redirect to",
            doc: "Replaces the whole path; the query is kept. A value that is not a path, or an unknown variable, closes \
                  the routes (503).",
        },
        Annotation { name: "use-regex", values: "true, false", doc: "The paths are regular expressions." },
    ],
    phases: &[Phase::Rewrite],
    syntax: "rewrite-target: /$2\n\
             use-regex: 'true'",
    read,
    plan,
    ..AnnotationFamily::NONE
};

/// The annotations of an Ingress.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RewriteSettings {
    /// `rewrite-target`.
    target: Option<Arc<RewriteTemplate>>,
    /// `use-regex`.
    pub(super) use_regex: bool,
}

impl RewriteSettings {
    /// Whether a rule with this path makes all paths of its host regular expressions.
    pub(crate) fn is_regex(&self, rule_path: &str) -> bool {
        self.use_regex || self.target.as_ref().is_some_and(|target| target.changes(rule_path))
    }

    /// The error of `rewrite-target` for a rule: a name that is neither a variable nor a group of the path.
    pub(crate) fn error(&self, rule: &Rule<'_>) -> Option<String> {
        self.target.as_ref()?.error(rule)
    }
}

/// `rewrite-target`, parsed. Its names are resolved for each rule, because they may be groups of the rule's path.
#[derive(Clone, Debug, PartialEq)]
struct RewriteTemplate {
    text: String,
    path: Vec<TemplatePart>,
    query: Option<TemplateQuery<TemplatePart>>,
    /// Named groups of all paths of the Ingress. In nginx they are variables everywhere, empty if their path does not match.
    group_names: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct TemplateQuery<P> {
    parts: Vec<P>,
    /// A final `?` drops the query of the request.
    replaces: bool,
}

/// A part of a template whose names are resolved.
#[derive(Debug)]
enum RewritePart {
    Text(String),
    Group(usize),
    Variable(RequestVariable),
}

impl RewriteTemplate {
    /// Parses a target for rules with these paths; `None` if it is neither a path nor a URL, or if a `$` is not followed by a
    /// name.
    fn parse<'p>(text: &str, paths: impl Iterator<Item = &'p str>) -> Option<Self> {
        let is_path_or_url = text.starts_with('/') || text.starts_with('$') || is_redirect(text);
        if !is_path_or_url || text.bytes().any(|byte| byte <= b' ' || byte == 127) {
            return None;
        }
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        let query = match query {
            Some(query) => {
                let kept = query.strip_suffix('?');
                let replaces = kept.is_some() || query.is_empty();
                Some(TemplateQuery { parts: parts(kept.unwrap_or(query))?, replaces })
            }
            None => None,
        };
        let group_names = paths.flat_map(group_names).map(String::from).collect();
        Some(Self { text: text.into(), path: parts(path)?, query, group_names })
    }

    /// Whether requests to this path itself are rewritten: not if the target equals the path.
    fn changes(&self, rule_path: &str) -> bool {
        self.text != rule_path
    }

    /// The error of the template for a rule: a name that is neither a variable nor a group of the path.
    fn error(&self, rule: &Rule<'_>) -> Option<String> {
        let pattern = pattern(self, rule)?;
        let names = self.path.iter().chain(self.query.iter().flat_map(|query| &query.parts));
        let unknown = names.into_iter().find_map(|part| match part {
            TemplatePart::Name(name) if self.resolve(name, &pattern, rule).is_none() => Some(name),
            _ => None,
        })?;
        Some(format!("${unknown} is neither a known variable nor a named group of the path {:?}", rule.path))
    }

    /// Resolves a name. A named group hides the variable of the same name, as in nginx.
    fn resolve(&self, name: &str, pattern: &PathPattern, rule: &Rule<'_>) -> Option<RewritePart> {
        if let Some(number) = pattern.group_number(name) {
            return Some(RewritePart::Group(number));
        }
        if let Some(value) = rule_variable(name, rule) {
            return Some(RewritePart::Text(value));
        }
        if self.group_names.iter().any(|known| known == name) {
            return Some(RewritePart::Text(String::new()));
        }
        RequestVariable::parse(name).map(RewritePart::Variable)
    }
}

/// Names of the groups `(?<name>…)` and `(?P<name>…)` of a pattern.
fn group_names(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split("(?").skip(1).filter_map(|group| {
        let (name, _) = group.strip_prefix('P').unwrap_or(group).strip_prefix('<')?.split_once('>')?;
        (!name.is_empty() && name.chars().all(is_name_character)).then_some(name)
    })
}

/// Whether nginx redirects to this replacement instead of rewriting.
fn is_redirect(text: &str) -> bool {
    ["http://", "https://", "$scheme"].iter().any(|start| text.starts_with(start))
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    const WANTED: &str =
        "a path, in which $1 to $9 and $name stand for groups of the rule's path and variables of nginx";
    let paths = reader.paths();
    let target = reader.value("rewrite-target", WANTED, Effect::Closed, |value| {
        RewriteTemplate::parse(value, paths).map(Arc::new)
    });
    let rewrite = RewriteSettings { target, use_regex: reader.flag("use-regex").unwrap_or_default() };
    if rewrite != RewriteSettings::default() {
        settings.values.set(rewrite);
    }
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    plan.rewrite.extend(rewrite(settings, rule).map(|rewrite| Box::new(rewrite) as Box<dyn RequestFilter>));
}

fn rewrite(settings: &Settings, rule: &Rule<'_>) -> Option<Rewrite> {
    let template = settings.values.get::<RewriteSettings>()?.target.as_ref()?;
    let pattern = pattern(template, rule)?;
    let resolve_all = |parts: &[TemplatePart]| -> Option<Vec<RewritePart>> {
        let resolve = |part: &TemplatePart| match part {
            TemplatePart::Text(text) => Some(RewritePart::Text(text.clone())),
            TemplatePart::Group(number) => Some(RewritePart::Group(*number)),
            TemplatePart::Name(name) => template.resolve(name, &pattern, rule),
        };
        parts.iter().map(resolve).collect()
    };
    // If a name cannot be resolved, the route is closed ([`RewriteTemplate::error`]), so it needs no filter.
    let redirects = is_redirect(&template.text);
    let mut path = resolve_all(&template.path)?;
    for part in path.iter_mut().filter(|_| !redirects) {
        // As in nginx the new path is plain text, of which a percent sign is a part like any other.
        if let RewritePart::Text(text) = part {
            *text = encode(text).into_owned();
        }
    }
    let query = match &template.query {
        Some(query) => Some(TemplateQuery { parts: resolve_all(&query.parts)?, replaces: query.replaces }),
        None => None,
    };
    Some(Rewrite { pattern, path, query, redirects })
}

/// The pattern that a request path has to match to be rewritten; `None` if nothing is rewritten, or if the path is not a
/// valid pattern, which closes the route.
fn pattern(template: &RewriteTemplate, rule: &Rule<'_>) -> Option<PathPattern> {
    let pattern = if template.changes(rule.path) {
        PathPattern::anywhere(rule.path, rule.patterns)
    } else if rule.kind == PathType::Prefix && !rule.path.ends_with('/') {
        // ingress-nginx makes a separate location for the paths below this one. Its path has a final slash, so it differs from
        // the target.
        PathPattern::anchored(&format!("{}/", rule.path), rule.patterns)
    } else {
        return None;
    };
    pattern.ok()
}

/// Rewrites the requests of one rule.
#[derive(Debug)]
struct Rewrite {
    pattern: PathPattern,
    path: Vec<RewritePart>,
    query: Option<TemplateQuery<RewritePart>>,
    redirects: bool,
}

impl Rewrite {
    /// The new path and query, or the URL to redirect to; `None` if the path does not match.
    fn target(&self, exchange: &Exchange) -> Result<Option<String>, StepLimitExceeded> {
        let mut budget = exchange.step_budget.get();
        let captures = self.pattern.captures(exchange.path(), &mut budget);
        exchange.step_budget.set(budget);
        let Some(captures) = captures? else { return Ok(None) };
        let mut target = fill(&self.path, &captures, exchange, !self.redirects);
        if self.redirects {
            target = decode_redirect(&target);
        }
        if !self.redirects && !target.starts_with('/') {
            target.insert(0, '/');
        }
        let own = self.query.as_ref();
        // An empty query has no question mark.
        let sent = exchange.query().filter(|query| !query.is_empty() && own.is_none_or(|own| !own.replaces));
        let own = own.map(|query| fill(&query.parts, &captures, exchange, false));
        let own = own.filter(|query| !query.is_empty());
        for (mark, query) in ["?", if own.is_some() { "&" } else { "?" }].iter().zip([own.as_deref(), sent]) {
            target.extend(query.iter().flat_map(|query| [mark, *query]));
        }
        Ok(Some(target))
    }
}

impl RequestFilter for Rewrite {
    /// As in nginx, the path of the rule is matched again, this time unanchored, to find its groups.
    fn request(&self, exchange: &mut Exchange) -> FilterOutcome {
        if exchange.rewrite_ended {
            return FilterOutcome::Continue;
        }
        match self.target(exchange) {
            Ok(None) => FilterOutcome::Continue,
            Ok(Some(target)) if self.redirects => {
                FilterOutcome::respond(DirectResponse::redirect(StatusCode::FOUND, target))
            }
            Ok(target) => {
                exchange.target = target;
                // In nginx this rewrite has the flag `break`.
                exchange.new_uri = false;
                FilterOutcome::Continue
            }
            Err(StepLimitExceeded) => {
                FilterOutcome::respond(DirectResponse::status(StatusCode::INTERNAL_SERVER_ERROR))
            }
        }
    }
}

/// Fills in a template. In the path of a request, whose text is encoded already, values are encoded as path text. Elsewhere a group is
/// encoded as a part of a URL, and of a variable only the characters that would break the request line or the header.
fn fill(parts: &[RewritePart], captures: &Captures<'_>, exchange: &Exchange, is_path: bool) -> String {
    // For the rest of the target, too.
    let mut text = String::with_capacity(128);
    for part in parts {
        match part {
            RewritePart::Text(part) => text.push_str(part),
            RewritePart::Group(number) => {
                let group = captures.get(*number).copied().unwrap_or_default();
                text.push_str(&if is_path { encode(group) } else { exchange.encoded_part(group) });
            }
            RewritePart::Variable(variable) => {
                let value: Cow<'_, str> = variable.value(exchange);
                text.push_str(&if is_path { encode(&value) } else { encode_unsafe(&value) });
            }
        }
    }
    text
}
