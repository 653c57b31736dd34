//! The annotations: one file per family, and the order in which their filters run.

mod affinity;
mod app_root;
mod canary;
mod global_auth;
mod https_redirect;
mod backend_protocol;
mod reader;
mod redirect;
mod rewrite;
mod unsupported;

use std::sync::Arc;

use cluster::{Ingress, Key, PathType, ServiceBackend};

pub use self::reader::AnnotationReader;
pub use self::rewrite::Rewrite;
pub use self::unsupported::{OBSOLETE, UNSUPPORTED};
use crate::affinity::Affinity;
use crate::canary::CanaryPolicy;
use crate::filter::Filter;
use crate::pattern::PatternCache;
use crate::problem::RoutingProblem;
use crate::unsupported::parse_bool;

/// Annotations that belong together, with their parser and filter.
pub struct AnnotationFamily {
    /// One word, for the generated reference.
    pub name: &'static str,
    /// What the family is for.
    pub doc: &'static str,
    /// Its annotations.
    pub annotations: &'static [Annotation],
    /// An example that uses each of them, `name: value` lines as they stand in a manifest, without the prefix.
    pub syntax: &'static str,
    /// Reads them.
    pub read: fn(&mut AnnotationReader<'_>, &mut Settings),
    /// The filter that a rule of such an Ingress gets.
    pub filter: fn(&Settings, &Rule<'_>) -> Option<Box<dyn Filter>>,
}

/// An annotation that is honoured.
pub struct Annotation {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// Its values.
    pub values: &'static str,
    /// What it does.
    pub doc: &'static str,
}

/// The parsed annotations of an Ingress.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Why all of its routes answer 503: something that protects them cannot be provided.
    pub denied: Option<String>,
    /// Annotations that exempt the Ingress from a global setting (see [`Guard`](crate::globals::Guard)): those of
    /// `OPT_OUTS` that are false.
    pub opted_out: Vec<&'static str>,
    /// `app-root`.
    pub app_root: Option<String>,
    /// `permanent-redirect` or `temporal-redirect`.
    pub redirect: Option<redirect::Redirect>,
    /// `rewrite-target`.
    pub rewrite: Option<Arc<rewrite::RewriteTemplate>>,
    /// `use-regex`.
    pub use_regex: bool,
    /// `ssl-redirect` and `force-ssl-redirect`.
    pub https_redirect: https_redirect::HttpsRedirect,
    /// `backend-protocol`.
    pub backend_protocol: backend_protocol::BackendProtocol,
    /// `canary` and its conditions.
    pub canary: Option<Arc<CanaryPolicy>>,
    /// `affinity` and its cookie.
    pub affinity: Option<Arc<Affinity>>,
    /// `affinity-canary-behavior: legacy`.
    pub legacy_canary_affinity: bool,
}

impl Settings {
    /// The settings on the catch-all of a default backend: ingress-nginx applies no redirects and rewrites there.
    pub(crate) fn of_default_backend(&self) -> Self {
        Self {
            app_root: None,
            redirect: None,
            rewrite: None,
            use_regex: false,
            https_redirect: https_redirect::HttpsRedirect::OFF,
            ..self.clone()
        }
    }
}

/// A rule for which filters are made.
pub struct Rule<'r> {
    /// The host as logs name it.
    pub host: &'r str,
    /// The Ingress.
    pub ingress: Option<&'r Key>,
    /// The Service that requests go to.
    pub service: Option<&'r ServiceBackend>,
    /// The path as written.
    pub path: &'r str,
    /// How far it reaches.
    pub kind: PathType,
    /// Compiles its pattern.
    pub patterns: &'r PatternCache,
    /// The port that a redirect to https names.
    pub port_in_redirects: Option<u16>,
}

/// Order is behaviour: the filters of a route run from top to bottom. As in ingress-nginx a redirect annotation wins over a
/// rewrite, and that over the redirect to https.
pub const FAMILIES: &[AnnotationFamily] = &[
    app_root::FAMILY,
    redirect::FAMILY,
    rewrite::FAMILY,
    https_redirect::FAMILY,
    canary::FAMILY,
    backend_protocol::FAMILY,
    affinity::FAMILY,
    global_auth::FAMILY,
];

/// Annotations with which an Ingress opts out of a global setting.
const OPT_OUTS: &[&str] = &["enable-global-auth", "enable-modsecurity", "force-ssl-redirect"];

/// Reads the annotations of an Ingress that begin with a prefix.
pub fn read(ingress: &Ingress, prefix: &str) -> (Settings, Vec<RoutingProblem>) {
    let mut reader = AnnotationReader::new(ingress, prefix);
    let is_off = |name: &&str| reader.text(name).and_then(parse_bool) == Some(false);
    let opted_out = OPT_OUTS.iter().copied().filter(is_off).collect();
    let mut settings = Settings { opted_out, ..Settings::default() };
    for family in FAMILIES {
        (family.read)(&mut reader, &mut settings);
    }
    unsupported::check(&mut reader, &settings);
    let (denied, problems) = reader.done();
    settings.denied = denied;
    (settings, problems)
}

/// The filters of a rule, in order. That of `app-root` belongs to the host.
pub(crate) fn filters(settings: &Settings, rule: &Rule<'_>) -> Vec<Box<dyn Filter>> {
    FAMILIES.iter().filter_map(|family| (family.filter)(settings, rule)).collect()
}

pub(crate) use self::app_root::AppRoot;

fn no_filter(_: &Settings, _: &Rule<'_>) -> Option<Box<dyn Filter>> {
    None
}

#[cfg(test)]
mod tests;
