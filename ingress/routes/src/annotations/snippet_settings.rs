//! What snippets say, for their own family and for those that honour a part of them.

use std::sync::Arc;

use cluster::Key;

use super::ingress_filter::RISK_LEVEL;
use super::{Rule, SettingReader, Settings};
use crate::family_values::FamilyValues;
use crate::problem::Effect;
use crate::snippet::{ConfigLevel, FindingSeverity, Program, RouteNames, SnippetFinding};

/// The key that allows annotations with snippets.
pub(super) const ALLOW: &str = "allow-snippet-annotations";

/// The ConfigMap allows annotations with directives.
#[derive(Debug, PartialEq)]
pub(super) struct SnippetsAllowed;

/// The snippets of the ConfigMap.
#[derive(Debug, Default, PartialEq)]
pub(super) struct GlobalSnippets {
    pub(super) http: Arc<Program>,
    pub(super) server: Arc<Program>,
    pub(super) location: Arc<Program>,
}

/// `configuration-snippet`.
#[derive(Debug, PartialEq)]
pub(super) struct LocationSnippet(pub(super) Arc<Program>);

/// `server-snippet` of an Ingress, which applies to all routes of its hosts.
#[derive(Debug, PartialEq)]
pub struct HostSnippet {
    pub(super) ingress: Key,
    pub(super) program: Arc<Program>,
    /// Why all routes of the host are closed.
    pub(super) closed: Option<String>,
}

/// Whether the ConfigMap allows annotations with directives.
pub(crate) fn allows_snippets(values: &FamilyValues) -> bool {
    values.get::<SnippetsAllowed>().is_some()
}

/// The text of an annotation, if the ConfigMap allows it. As in ingress-nginx it is ignored otherwise.
pub(super) fn allowed<'i>(reader: &mut SettingReader<'i>, name: &'static str) -> Option<&'i str> {
    let text = reader.text(name)?;
    if reader.global::<SnippetsAllowed>().is_some() {
        return Some(text);
    }
    let what = format!("is ignored: it needs {ALLOW} \"true\" and {RISK_LEVEL} Critical in the ConfigMap");
    reader.problem(name, what, Effect::Differs);
    None
}

/// Reports what has no effect.
pub(super) fn report(reader: &mut SettingReader<'_>, name: &'static str, findings: &[SnippetFinding]) {
    for finding in findings {
        let effect = match finding.severity {
            FindingSeverity::NoEffect => Effect::Cosmetic,
            FindingSeverity::LeftOut => Effect::LeftOut,
            FindingSeverity::Closes => Effect::Closed,
        };
        reader.problem(name, finding.to_string(), effect);
    }
}

/// The directives for the locations of a rule that other families honour: those of the annotation, then those of the ConfigMap.
pub(super) fn location_levels<'r>(
    settings: &'r Settings,
    rule: &Rule<'r>,
) -> impl Iterator<Item = &'r ConfigLevel> {
    let own = settings.values.get::<LocationSnippet>().map(|snippet| &snippet.0.level);
    let global = rule.globals.get::<GlobalSnippets>().map(|global| &global.location.level);
    own.into_iter().chain(global)
}

/// `auth_request off` in `configuration-snippet`.
pub(super) fn turns_authentication_off(settings: &Settings) -> bool {
    settings.values.get::<LocationSnippet>().is_some_and(|snippet| snippet.0.level.without_auth_request)
}

/// The values of the variables that are the same for all requests of a rule.
pub(super) fn route_names(rule: &Rule<'_>) -> RouteNames {
    let (namespace, ingress_name) =
        rule.ingress.map_or(("", ""), |ingress| (&*ingress.namespace, &*ingress.name));
    RouteNames {
        server_name: rule.host.to_owned(),
        location_path: rule.path.to_owned(),
        namespace: namespace.to_owned(),
        ingress_name: ingress_name.to_owned(),
        service_name: rule.service.map_or_else(String::new, |service| service.name.to_string()),
        service_port: rule.service.map(|service| service.port.to_string()).unwrap_or_default(),
    }
}
