//! Snippets: directives in the syntax of nginx, in annotations and in the ConfigMap.

mod filters;

use std::sync::Arc;

use http::HeaderValue;

use self::filters::{
    AddressRules, LocationSteps, RequestHeaders, ResponseHeaders, RouteSnippets, ServerSteps,
};
use super::ingress_filter::{RISK_LEVEL, RiskLevel};
use super::snippet_settings::{
    ALLOW, GlobalSnippets, HostSnippet, LocationSnippet, SnippetsAllowed, allowed, report, route_names,
};
use super::{
    Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings, proxy_cookie, redirect,
    source_range,
};
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::phase::Phase;
use crate::problem::Effect;
use crate::snippet::{ConfigLevel, Context, FindingSeverity, KnownNames, Program, compile};

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "snippets",
    doc: "Directives in the syntax of nginx. They are parsed and never inserted anywhere; [Snippets](snippets.md) lists those that are honoured. \
          Anything else is reported with its line and column; if it could protect something, the routes that it would protect answer 503. \
          Annotations need the keys allow-snippet-annotations `true` and annotations-risk-level `Critical`: without the first they are ignored, \
          without the second the whole Ingress is left out.",
    annotations: &[
        Annotation {
            name: CONFIGURATION,
            values: "directives",
            doc: "For the requests of this Ingress. They come after CORS and before redirects, `rewrite-target` and the redirect to https.",
        },
        Annotation {
            name: SERVER,
            values: "directives",
            doc: "For all requests to the hosts of this Ingress, before their path is matched. Of several Ingresses of a host the first one's count.",
        },
    ],
    keys: &[
        FamilyKey {
            name: ALLOW,
            values: "true, false; default false",
            doc: "annotations with snippets are honoured, together with annotations-risk-level `Critical`; otherwise they are ignored and reported",
        },
        FamilyKey {
            name: MAIN,
            values: "directives",
            doc: "directives of nginx's main context: none changes how requests are served; each is reported with its position, why its lack \
                  is harmless or which key replaces it",
        },
        FamilyKey {
            name: HTTP,
            values: "directives",
            doc: "directives for all requests; see [Snippets](snippets.md)",
        },
        FamilyKey {
            name: SERVER,
            values: "directives",
            doc: "directives for all requests, before their path is matched and after those of the annotation",
        },
        FamilyKey {
            name: LOCATION,
            values: "directives",
            doc: "directives for all requests, after those of the annotation configuration-snippet",
        },
        FamilyKey {
            name: DEFAULT_TYPE,
            values: "a media type; default text/html",
            doc: "the type of the bodies of `return` in snippets, for paths without an extension that nginx knows (`.txt`, `.json`, …). Pages of \
                  errors and redirects are text/html whatever it is",
        },
    ],
    phases: &[Phase::Server, Phase::Rewrite, Phase::Access, Phase::UpstreamRequest, Phase::ResponseHead],
    syntax: "configuration-snippet: 'more_set_headers \"Request-Id: $req_id\"; proxy_set_header X-Zone eu; deny 192.0.2.1; rewrite ^/old/(.*)$ /new/$1 break;'\n\
             server-snippet: 'if ($http_user_agent ~* badbot) { return 403; }'",
    read,
    read_keys,
    plan,
};

const CONFIGURATION: &str = "configuration-snippet";
const SERVER: &str = "server-snippet";
const MAIN: &str = "main-snippet";
const HTTP: &str = "http-snippet";
const LOCATION: &str = "location-snippet";
const DEFAULT_TYPE: &str = "default-type";

/// The type of bodies where neither the path nor a directive has another one.
#[derive(Clone, Debug, PartialEq)]
struct DefaultType(HeaderValue);

impl DefaultType {
    /// `None` if nginx's directive would not take it as one argument.
    fn parse(text: &str) -> Option<Self> {
        let is_word = !text.contains([';', '{', '}', '"', '\'', '\\', '#'])
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_word.then(|| HeaderValue::try_from(text).ok().map(Self))?
    }
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let nothing = GlobalSnippets::default();
    let global = reader.global::<GlobalSnippets>().unwrap_or(&nothing);
    let known = KnownNames::with_geo(reader.geo());
    let mut outer = known.clone().with(&global.server.names);
    if let Some(text) = allowed(reader, SERVER) {
        let (program, findings) = compile(text, Context::Server, &known);
        let closing = findings.iter().find(|finding| finding.severity == FindingSeverity::Closes);
        let closed = closing.map(ToString::to_string);
        report(reader, SERVER, &findings);
        outer = outer.with(&program.names);
        let ingress = reader.object().clone();
        settings.values.set(HostSnippet { ingress, program: Arc::new(program), closed });
    }
    if let Some(text) = allowed(reader, CONFIGURATION) {
        let program = read_location(reader, CONFIGURATION, text, &outer);
        settings.values.set(LocationSnippet(Arc::new(program)));
    }
}

/// Compiles a snippet of locations.
fn read_location(
    reader: &mut SettingReader<'_>,
    name: &'static str,
    text: &str,
    outer: &KnownNames,
) -> Program {
    let (program, mut findings) = compile(text, Context::Location, outer);
    findings.extend(proxy_cookie::check(&program.level.cookies));
    report(reader, name, &findings);
    program
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let is_allowed = reader.text(ALLOW).is_some() && reader.flag(ALLOW) == Some(true);
    let level = reader.text(RISK_LEVEL).and_then(RiskLevel::parse);
    if is_allowed && level == Some(RiskLevel::Critical) {
        values.set(SnippetsAllowed);
    }
    if let Some(text) = reader.text(MAIN) {
        let (_, mut findings) = compile(text, Context::Main, &KnownNames::default());
        // Nothing at this level could protect a route.
        for finding in &mut findings {
            finding.severity = finding.severity.min(FindingSeverity::LeftOut);
        }
        report(reader, MAIN, &findings);
    }
    let known = KnownNames::with_geo(reader.geo());
    let mut program = |name, context| {
        let Some(text) = reader.text(name) else { return Program::default() };
        if context == Context::Location {
            return read_location(reader, name, text, &known);
        }
        let (program, findings) = compile(text, context, &known);
        report(reader, name, &findings);
        program
    };
    let global = GlobalSnippets {
        http: Arc::new(program(HTTP, Context::Http)),
        server: Arc::new(program(SERVER, Context::Server)),
        location: Arc::new(program(LOCATION, Context::Location)),
    };
    if global != GlobalSnippets::default() {
        values.set(global);
    }
    let wanted = "a media type without parameters, as text/plain";
    if let Some(default_type) = reader.value(DEFAULT_TYPE, wanted, Effect::DefaultUsed, DefaultType::parse) {
        values.set(default_type);
    }
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let global = rule.globals.get::<GlobalSnippets>();
    if let Some(HostSnippet { ingress, closed: Some(what), .. }) = rule.host_snippet
        && rule.ingress != Some(ingress)
    {
        plan.closed = Some((SERVER, format!("that of Ingress {ingress} closes the host: {what}")));
        return;
    }
    let programs = |programs: [Option<&Arc<Program>>; 2]| -> Vec<Arc<Program>> {
        programs.into_iter().flatten().filter(|program| !program.is_empty()).cloned().collect()
    };
    let own = settings.values.get::<LocationSnippet>().map(|snippet| &snippet.0);
    let snippets = RouteSnippets {
        names: route_names(rule),
        http: programs([global.map(|global| &global.http), None]),
        server: programs([rule.host_snippet.map(|host| &host.program), global.map(|global| &global.server)]),
        location: programs([own, global.map(|global| &global.location)]),
        origin: redirect::origin(settings, rule),
        default_type: rule
            .globals
            .get::<DefaultType>()
            .map_or(HeaderValue::from_static("text/html"), |it| it.0.clone()),
    };
    if snippets.is_empty() {
        return;
    }
    let snippets = Arc::new(snippets);
    let has = |of: fn(&ConfigLevel) -> bool| snippets.all_levels().any(of);
    if snippets.server.iter().any(|program| program.has_steps()) {
        plan.server_rewrite.push(Box::new(ServerSteps(snippets.clone())));
    }
    if snippets.location.iter().any(|program| program.has_steps()) {
        plan.rewrite.push(Box::new(LocationSteps(snippets.clone())));
    }
    if let Some(rules) = AddressRules::new(&snippets, source_range::has_lists(settings, rule)) {
        plan.access.rules.push(Box::new(rules));
    }
    if has(ConfigLevel::changes_requests) {
        plan.request_head.push(Box::new(RequestHeaders(snippets.clone())));
    }
    if has(ConfigLevel::changes_responses) {
        plan.response_head.push(Box::new(ResponseHeaders(snippets.clone())));
    }
    plan.heads.passes_server |= has(ConfigLevel::passes_server);
}

#[cfg(test)]
mod tests;
