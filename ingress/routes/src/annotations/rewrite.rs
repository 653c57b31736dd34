//! `rewrite-target` and `use-regex`: the path that the upstream sees, and rules that are patterns.

use std::borrow::Cow;
use std::sync::Arc;

use cluster::PathType;
use http::StatusCode;

use super::{Annotation, AnnotationFamily, AnnotationReader, Rule, Settings};
use crate::exchange::Exchange;
use crate::filter::{DirectResponse, Filter, FilterOutcome};
use crate::path::encode;
use crate::pattern::PathPattern;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "rewrite",
    doc: "Changes the path on its way to the upstream. Either annotation (a target other than the path itself) makes \
          every path of the host, from every Ingress, a case-insensitive regular expression from the start of the \
          path, longest text first; Exact is no longer exact then.",
    annotations: &[
        Annotation {
            name: "rewrite-target",
            values: "a path with $1 to $9 for the groups of the rule's path, or a URL to redirect to",
            doc: "Replaces the whole path; the query stays. A value that is no path closes the routes (503).",
        },
        Annotation { name: "use-regex", values: "true, false", doc: "The paths are regular expressions." },
    ],
    syntax: "rewrite-target: /$2\n\
             use-regex: 'true'",
    read,
    filter,
};

/// `rewrite-target`, parsed.
#[derive(Clone, Debug, PartialEq)]
pub struct RewriteTemplate {
    text: String,
    path: Vec<TemplatePart>,
    query: Option<TemplateQuery>,
}

#[derive(Clone, Debug, PartialEq)]
struct TemplateQuery {
    pieces: Vec<TemplatePart>,
    /// A final `?` drops the query of the request.
    only: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum TemplatePart {
    Text(String),
    /// 0 for `$1`.
    Group(usize),
}

impl RewriteTemplate {
    /// Parses a target; `None` where it is neither path nor URL, or where `$` is not followed by 1 to 9.
    pub fn parse(text: &str) -> Option<Self> {
        let begins = text.starts_with('/') || text.starts_with('$') || is_url(text);
        if !begins || text.bytes().any(|byte| byte <= b' ' || byte == 127) {
            return None;
        }
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        let query = match query {
            Some(query) => {
                let kept = query.strip_suffix('?');
                let only = kept.is_some() || query.is_empty();
                Some(TemplateQuery { pieces: pieces(kept.unwrap_or(query))?, only })
            }
            None => None,
        };
        Some(Self { text: text.into(), path: pieces(path)?, query })
    }

    /// Whether a rule with this path is rewritten at all: a target equal to the path leaves the path itself alone.
    pub fn changes(&self, rule_path: &str) -> bool {
        self.text != rule_path
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn pieces(text: &str) -> Option<Vec<TemplatePart>> {
    let mut parts = text.split('$');
    let mut pieces = Vec::new();
    let mut push = |text: &str| {
        if !text.is_empty() {
            pieces.push(TemplatePart::Text(text.into()));
        }
    };
    push(parts.next()?);
    for part in parts {
        let digit = part.bytes().next().filter(|byte| (b'1'..=b'9').contains(byte))?;
        pieces.push(TemplatePart::Group(usize::from(digit - b'1')));
        if part.len() > 1 {
            pieces.push(TemplatePart::Text(part[1..].into()));
        }
    }
    Some(pieces)
}

fn read(reader: &mut AnnotationReader<'_>, settings: &mut Settings) {
    const WANTED: &str = "a path, in which $1 to $9 stand for groups of the rule's path";
    settings.rewrite = reader
        .value("rewrite-target", WANTED, Effect::Closed, |value| RewriteTemplate::parse(value).map(Arc::new));
    settings.use_regex = reader.flag("use-regex").unwrap_or_default();
}

fn filter(settings: &Settings, rule: &Rule<'_>) -> Option<Box<dyn Filter>> {
    let template = settings.rewrite.as_ref()?;
    // A path that is no pattern has closed its route already; without the pattern nothing is rewritten.
    let pattern = if template.changes(rule.path) {
        PathPattern::anywhere(rule.path, rule.patterns)
    } else if rule.kind == PathType::Prefix && !rule.path.ends_with('/') {
        // ingress-nginx makes a location of its own for what lies below, whose path is another text than the target.
        PathPattern::anchored(&format!("{}/", rule.path), rule.patterns)
    } else {
        return None;
    };
    let pattern = pattern.ok()?;
    Some(Box::new(Rewrite { pattern, template: template.clone() }))
}

/// Rewrites the requests of one rule.
#[derive(Debug)]
pub struct Rewrite {
    pattern: PathPattern,
    template: Arc<RewriteTemplate>,
}

impl Filter for Rewrite {
    /// nginx runs the path of the rule once more, this time unanchored, for its groups.
    fn request(&self, exchange: &mut Exchange) -> FilterOutcome {
        let Ok(groups) = self.pattern.groups(exchange.path()) else {
            return FilterOutcome::Respond(DirectResponse::status(StatusCode::INTERNAL_SERVER_ERROR));
        };
        let Some(groups) = groups else { return FilterOutcome::Continue };
        let fill = |pieces: &[TemplatePart]| -> String {
            pieces
                .iter()
                .map(|piece| match piece {
                    TemplatePart::Text(text) => Cow::Borrowed(text.as_str()),
                    TemplatePart::Group(number) => encode(groups[*number]),
                })
                .collect()
        };
        let mut target = fill(&self.template.path);
        let elsewhere = is_url(&target);
        if !elsewhere && !target.starts_with('/') {
            target.insert(0, '/');
        }
        let own = self.template.query.as_ref();
        // An empty query goes without its mark.
        let sent = exchange.query().filter(|query| !query.is_empty() && own.is_none_or(|own| !own.only));
        let own = own.map(|query| fill(&query.pieces)).filter(|query| !query.is_empty());
        for (mark, query) in ["?", if own.is_some() { "&" } else { "?" }].iter().zip([own.as_deref(), sent]) {
            target.extend(query.iter().flat_map(|query| [mark, *query]));
        }
        if elsewhere {
            return FilterOutcome::Respond(DirectResponse::redirect(StatusCode::FOUND, target));
        }
        exchange.target = Some(target);
        FilterOutcome::Continue
    }
}
