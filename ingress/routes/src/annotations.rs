//! The annotations and ConfigMap keys: one file per family, and the order in which their filters run.

mod access_log;
mod affinity;
mod app_root;
mod authentication;
mod basic_auth;
mod auth_tls;
mod blocklist;
mod canary;
mod client_identity;
mod compression;
mod cors;
mod custom_headers;
mod fastcgi;
mod error_pages;
mod external_auth;
mod geoip;
mod header_names;
mod host_names;
mod hsts;
mod https_redirect;
mod ingress_filter;
mod limits;
mod listeners;
mod load_balance;
mod log_outputs;
mod mirror;
mod networks;
mod opentelemetry;
mod proxy;
mod backend_protocol;
mod proxy_cookie;
mod proxy_redirect;
mod proxy_ssl;
mod reader;
mod redirect;
mod replacement;
mod response_head;
mod response_rate;
mod rewrite;
mod server;
mod snippet_settings;
mod snippets;
mod source_range;
mod stream_services;
mod strict_values;
mod subrequest_fields;
mod template;
mod tls;
mod upstream_head;
mod unsupported;

use std::sync::Arc;

use cluster::{Ingress, Key, PathType, ServiceBackend, Snapshot};

pub(crate) use self::ingress_filter::{are_paths_strict, left_out};
pub use self::reader::SettingReader;
pub(crate) use self::reader::{ReaderFindings, Reference};
pub use self::unsupported::{OBSOLETE, UNSUPPORTED};
use crate::canary::CanaryPolicy;
use crate::family_values::FamilyValues;
use crate::limits::LimitZones;
use crate::pattern::PatternCache;
use crate::plan::Plan;
use crate::plan::phase::Phase;

/// A group of related annotations and ConfigMap keys, with their parser and what they add to the plan of a route.
pub struct AnnotationFamily {
    /// One word, for the generated reference.
    pub name: &'static str,
    /// The purpose of the family.
    pub doc: &'static str,
    /// Its annotations.
    pub annotations: &'static [Annotation],
    /// Its keys of the ConfigMap.
    pub keys: &'static [FamilyKey],
    /// Where it has its part in the handling of a request, in order.
    pub phases: &'static [Phase],
    /// An example that uses each annotation, as `name: value` lines of a manifest, without the prefix. For a family without
    /// annotations, one that uses each key.
    pub syntax: &'static str,
    /// Reads the annotations of an Ingress.
    pub read: fn(&mut SettingReader<'_>, &mut Settings),
    /// Reads the keys of the ConfigMap. They are read again at each change, and if the result differs, all routes are built
    /// again.
    pub read_keys: fn(&mut SettingReader<'_>, &mut FamilyValues),
    /// Adds to the plan of a rule of such an Ingress.
    pub plan: fn(&Settings, &Rule<'_>, &mut Plan),
}

impl AnnotationFamily {
    /// A family that does nothing, from which others take what they do not need.
    const NONE: Self = Self {
        name: "",
        doc: "",
        annotations: &[],
        keys: &[],
        phases: &[],
        syntax: "",
        read: |_, _| {},
        read_keys: |_, _| {},
        plan: |_, _, _| {},
    };
}

/// A supported key of the ConfigMap.
pub struct FamilyKey {
    /// Its name.
    pub name: &'static str,
    /// Its valid values and its default.
    pub values: &'static str,
    /// Its effect.
    pub doc: &'static str,
}

/// A supported annotation.
pub struct Annotation {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// Its valid values.
    pub values: &'static str,
    /// Its effect.
    pub doc: &'static str,
}

/// The parsed annotations of an Ingress.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Why all of its routes answer 503: an annotation that protects them is not supported or has an invalid value.
    pub denied: Option<String>,
    /// `canary` and its conditions. A canary makes no routes: families that protect a rule or describe its endpoints skip it.
    pub canary: Option<Arc<CanaryPolicy>>,
    /// All other values, each of a type of its family.
    pub values: FamilyValues,
}

impl Settings {
    /// The settings on the catch-all of a default backend: ingress-nginx applies no redirects and rewrites there.
    pub(crate) fn of_default_backend(&self) -> Self {
        let mut settings = self.clone();
        settings.values.take::<AppRoot>();
        settings.values.take::<redirect::Redirect>();
        settings.values.take::<RewriteSettings>();
        settings.values.set(https_redirect::HttpsRedirect::OFF);
        settings
    }
}

/// The properties of a rule that its plan is made from.
pub struct Rule<'r> {
    /// What the families have read from the ConfigMap.
    pub globals: &'r FamilyValues,
    /// The host, as in logs.
    pub host: &'r str,
    /// The Ingress.
    pub ingress: Option<&'r Key>,
    /// The Service that requests go to.
    pub service: Option<&'r ServiceBackend>,
    /// The path as written.
    pub path: &'r str,
    /// Exact or Prefix.
    pub kind: PathType,
    /// `--default-backend-service`.
    pub default_backend: Option<&'r Key>,
    /// Compiles its pattern.
    pub patterns: &'r PatternCache,
    /// What limits have counted.
    pub zones: &'r LimitZones,
    /// The `server-snippet` of the host.
    pub host_snippet: Option<&'r HostSnippet>,
    /// The port that every redirect to https has.
    pub port_in_redirects: Option<u16>,
    /// `--http-port`, for redirects.
    pub http_port: u16,
    /// `--https-port`, for redirects.
    pub https_port: u16,
}

/// Order is behaviour: the filters of a route run from top to bottom. As in ingress-nginx the answer to a CORS preflight
/// request takes precedence over the directives of snippets, these over a redirect annotation, that over a rewrite, and a rewrite over
/// the redirect to https. Headers
/// of endpoints are hidden and changed before others are set. Address lists, passwords and external authentication decide in this
/// order; the last, and `mirror`, need the timeouts of `proxy`. `geoip` decides which variables texts of the others may have.
pub const FAMILIES: &[AnnotationFamily] = &[
    geoip::FAMILY,
    header_names::FAMILY,
    upstream_head::FAMILY,
    response_head::FAMILY,
    proxy_redirect::FAMILY,
    proxy_cookie::FAMILY,
    hsts::FAMILY,
    custom_headers::FAMILY,
    cors::FAMILY,
    snippets::FAMILY,
    app_root::FAMILY,
    host_names::FAMILY,
    auth_tls::FAMILY,
    redirect::FAMILY,
    rewrite::FAMILY,
    https_redirect::FAMILY,
    canary::FAMILY,
    proxy_ssl::FAMILY,
    fastcgi::FAMILY,
    backend_protocol::FAMILY,
    affinity::FAMILY,
    load_balance::FAMILY,
    blocklist::FAMILY,
    limits::FAMILY,
    response_rate::FAMILY,
    source_range::FAMILY,
    proxy::FAMILY,
    mirror::FAMILY,
    server::FAMILY,
    listeners::FAMILY,
    tls::FAMILY,
    opentelemetry::FAMILY,
    access_log::FAMILY,
    log_outputs::FAMILY,
    stream_services::FAMILY,
    error_pages::FAMILY,
    ingress_filter::FAMILY,
    authentication::FAMILY,
    basic_auth::FAMILY,
    external_auth::FAMILY,
    client_identity::FAMILY,
    compression::FAMILY,
];

/// Reads the annotations of an Ingress that begin with a prefix, and the objects that they name. `globals` are the values of the
/// ConfigMap.
pub(crate) fn read(
    ingress: &Ingress,
    prefix: &str,
    cluster: &Snapshot,
    globals: &FamilyValues,
) -> (Settings, ReaderFindings) {
    let mut reader = SettingReader::of_ingress(ingress, prefix, cluster, globals);
    let mut settings = Settings::default();
    for family in FAMILIES {
        (family.read)(&mut reader, &mut settings);
    }
    unsupported::check(&mut reader, &mut settings);
    let mut findings = reader.done();
    settings.denied = findings.denied.take();
    (settings, findings)
}

/// Reads the keys of the ConfigMap that families have.
pub(crate) fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    for family in FAMILIES {
        (family.read_keys)(reader, values);
    }
}

/// Whether a family has a key of the ConfigMap.
pub(crate) fn has_key(name: &str) -> bool {
    FAMILIES.iter().flat_map(|family| family.keys).any(|key| key.name == name)
}

/// The plan of a rule. The filter of `app-root` belongs to the host instead.
pub(crate) fn plan(settings: &Settings, rule: &Rule<'_>) -> Plan {
    let mut plan = Plan::default();
    for family in FAMILIES {
        (family.plan)(settings, rule, &mut plan);
    }
    plan
}

pub(crate) use self::affinity::AffinitySettings;
pub(crate) use self::app_root::AppRoot;
pub(crate) use self::auth_tls::{AuthTls, HOSTS_CLOSED};
pub(crate) use self::authentication::foreign_error;
pub(crate) use self::host_names::{HostNames, counterpart, counterpart_plan};
pub(crate) use self::load_balance::{LoadBalance, balancing};
pub(crate) use self::rewrite::RewriteSettings;
pub use self::snippet_settings::HostSnippet;
pub(crate) use self::snippet_settings::allows_snippets;
pub(crate) use self::strict_values::{CRITICAL, DEPRECATED, refused_value};
pub(crate) use self::tls::HostConnections;
pub(crate) use self::unsupported::OptedOut;

#[cfg(test)]
mod tests;
