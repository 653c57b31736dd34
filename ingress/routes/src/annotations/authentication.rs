//! What basic and external authentication share: how access rules are combined, which paths need none, and which namespaces'
//! objects may be named.

use cluster::Key;

use super::snippet_settings::location_levels;
use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "authentication",
    doc: "How address lists, basic and external authentication are combined, and which rules need no authentication.",
    annotations: &[Annotation {
        name: "satisfy",
        values: "all, any; default all",
        doc: "With `any`, a request may pass if the allow list, basic or external authentication allows it; if none does, 401 \
              takes precedence over 403.",
    }],
    keys: &[
        FamilyKey {
            name: "no-auth-locations",
            values: "prefixes between commas; default /.well-known/acme-challenge",
            doc: "rules whose path begins with one of these need neither basic nor external authentication; with an empty value all need it",
        },
        FamilyKey {
            name: "allow-cross-namespace-resources",
            values: "true, false; default false",
            doc: "auth-secret, auth-proxy-set-headers, auth-tls-secret, proxy-ssl-secret, fastcgi-params-configmap and custom-headers may \
                  name objects of other namespaces",
        },
    ],
    phases: &[Phase::Access],
    syntax: "satisfy: any",
    read,
    read_keys,
    plan,
};

/// The path at which ACME validates domains.
const ACME: &str = "/.well-known/acme-challenge";

/// `satisfy: any`.
#[derive(Debug, PartialEq)]
struct SatisfyAny;

/// The keys of the ConfigMap.
#[derive(Debug, PartialEq)]
struct AuthKeys {
    /// Prefixes of rule paths.
    exempt: Vec<String>,
    cross_namespace: bool,
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let any = |value: &str| match value {
        "any" => Some(true),
        "all" => Some(false),
        _ => None,
    };
    if reader.value("satisfy", "all or any", Effect::DefaultUsed, any) == Some(true) {
        settings.values.set(SatisfyAny);
    }
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let exempt = reader.list("no-auth-locations");
    let cross_namespace = reader.flag("allow-cross-namespace-resources").unwrap_or(false);
    values.set(AuthKeys { exempt: exempt.unwrap_or_else(|| vec![ACME.to_owned()]), cross_namespace });
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let own = settings.values.get::<SatisfyAny>().is_some();
    plan.access.any =
        own || location_levels(settings, rule).find_map(|level| level.satisfy_any) == Some(true);
}

/// Whether requests of a rule need no authentication (`no-auth-locations`).
pub(super) fn is_exempt(rule: &Rule<'_>) -> bool {
    match rule.globals.get::<AuthKeys>() {
        Some(keys) => keys.exempt.iter().any(|prefix| rule.path.starts_with(prefix)),
        None => rule.path.starts_with(ACME),
    }
}

/// Why an Ingress may not use an object that it names; `None` if it may.
pub(super) fn namespace_error(rule: &Rule<'_>, kind: &str, named: &Key) -> Option<String> {
    foreign_error(rule.globals, rule.ingress?, kind, named)
}

/// The same, for what belongs to no rule.
pub(crate) fn foreign_error(
    globals: &FamilyValues,
    ingress: &Key,
    kind: &str,
    named: &Key,
) -> Option<String> {
    let is_own = ingress.namespace == named.namespace;
    let is_allowed = globals.get::<AuthKeys>().is_some_and(|keys| keys.cross_namespace);
    (!is_own && !is_allowed).then(|| {
        format!("{kind} {named} is in another namespace, and allow-cross-namespace-resources of the ConfigMap is not true")
    })
}
