//! Annotations that are known by name and not honoured yet, each with its fate, and names nobody knows.

use super::reader::{AnnotationReader, parse_bool};
use super::{FAMILIES, Settings};
use crate::problem::Effect;

/// An annotation that is known and not honoured yet.
pub struct UnsupportedAnnotation {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// What happens to routes of an Ingress that has it.
    pub fate: Fate,
}

/// What happens to the routes of an Ingress with an annotation that is not honoured yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They are served without it; one warning names all such annotations.
    Decorates,
    /// It guards something: they answer 503 rather than stand open.
    Guards,
    /// The same, unless its value is a boolean that says no.
    GuardsIfTrue,
    /// The same, unless its value is 0.
    GuardsIfPositive,
    /// The same, unless its value is this word, which asks for nothing.
    GuardsUnless(&'static str),
}

impl Fate {
    /// Whether a value of the annotation guards something.
    pub fn guards(self, value: &str) -> bool {
        match self {
            Self::Decorates => false,
            Self::Guards => true,
            Self::GuardsIfTrue => parse_bool(value) != Some(false),
            Self::GuardsIfPositive => value.parse::<i64>().ok().is_none_or(|number| number > 0),
            Self::GuardsUnless(word) => value != word,
        }
    }
}

const fn decorates(name: &'static str) -> UnsupportedAnnotation {
    UnsupportedAnnotation { name, fate: Fate::Decorates }
}

const fn guards(name: &'static str) -> UnsupportedAnnotation {
    UnsupportedAnnotation { name, fate: Fate::Guards }
}

const fn guards_if_true(name: &'static str) -> UnsupportedAnnotation {
    UnsupportedAnnotation { name, fate: Fate::GuardsIfTrue }
}

/// The annotations of reference §1 that are not honoured yet.
pub const UNSUPPORTED: &[UnsupportedAnnotation] = &[
    // Load balancing and upstream.
    decorates("load-balance"),
    decorates("upstream-hash-by"),
    decorates("upstream-hash-by-subset"),
    decorates("upstream-hash-by-subset-size"),
    decorates("service-upstream"),
    decorates("upstream-vhost"),
    decorates("default-backend"),
    decorates("custom-http-errors"),
    decorates("disable-proxy-intercept-errors"),
    decorates("fastcgi-index"),
    decorates("fastcgi-params-configmap"),
    decorates("mirror-target"),
    decorates("mirror-host"),
    decorates("mirror-request-body"),
    decorates("connection-proxy-header"),
    decorates("x-forwarded-prefix"),
    // Rewrite and redirect.
    decorates("preserve-trailing-slash"),
    decorates("use-port-in-redirects"),
    decorates("relative-redirects"),
    decorates("from-to-www-redirect"),
    decorates("proxy-redirect-from"),
    decorates("proxy-redirect-to"),
    // TLS on the client side.
    decorates("ssl-passthrough"),
    decorates("ssl-ciphers"),
    decorates("ssl-prefer-server-ciphers"),
    guards("auth-tls-secret"),
    UnsupportedAnnotation { name: "auth-tls-verify-client", fate: Fate::GuardsUnless("off") },
    guards("auth-tls-verify-depth"),
    guards("auth-tls-error-page"),
    guards_if_true("auth-tls-pass-certificate-to-upstream"),
    guards("auth-tls-match-cn"),
    // TLS to the upstream: without effect on plain HTTP, which is all that is spoken yet (`backend-protocol`).
    decorates("proxy-ssl-secret"),
    decorates("proxy-ssl-verify"),
    decorates("proxy-ssl-verify-depth"),
    decorates("proxy-ssl-name"),
    decorates("proxy-ssl-server-name"),
    decorates("proxy-ssl-ciphers"),
    decorates("proxy-ssl-protocols"),
    // Basic and external authentication.
    guards("auth-type"),
    guards("auth-secret"),
    guards("auth-secret-type"),
    guards("auth-realm"),
    UnsupportedAnnotation { name: "satisfy", fate: Fate::GuardsUnless("all") },
    guards("auth-url"),
    guards("auth-method"),
    guards("auth-signin"),
    guards("auth-signin-redirect-param"),
    guards("auth-response-headers"),
    guards("auth-request-redirect"),
    guards("auth-proxy-set-headers"),
    guards_if_true("auth-always-set-cookie"),
    guards("auth-cache-key"),
    guards("auth-cache-duration"),
    guards("auth-keepalive"),
    guards("auth-keepalive-requests"),
    guards("auth-keepalive-timeout"),
    guards_if_true("auth-keepalive-share-vars"),
    guards("auth-snippet"),
    guards_if_true("enable-global-auth"),
    // Access and limits.
    guards("allowlist-source-range"),
    guards("whitelist-source-range"),
    guards("denylist-source-range"),
    UnsupportedAnnotation { name: "limit-connections", fate: Fate::GuardsIfPositive },
    UnsupportedAnnotation { name: "limit-rps", fate: Fate::GuardsIfPositive },
    UnsupportedAnnotation { name: "limit-rpm", fate: Fate::GuardsIfPositive },
    // These four only shape limits or speed; without a limit they close nothing.
    decorates("limit-burst-multiplier"),
    decorates("limit-allowlist"),
    decorates("limit-whitelist"),
    decorates("limit-rate"),
    decorates("limit-rate-after"),
    // Headers and CORS.
    decorates("custom-headers"),
    decorates("enable-cors"),
    decorates("cors-allow-origin"),
    decorates("cors-allow-methods"),
    decorates("cors-allow-headers"),
    decorates("cors-allow-credentials"),
    decorates("cors-expose-headers"),
    decorates("cors-max-age"),
    decorates("server-alias"),
    // Proxy behaviour.
    decorates("proxy-body-size"),
    decorates("client-body-buffer-size"),
    decorates("proxy-connect-timeout"),
    decorates("proxy-send-timeout"),
    decorates("proxy-read-timeout"),
    decorates("proxy-next-upstream"),
    decorates("proxy-next-upstream-timeout"),
    decorates("proxy-next-upstream-tries"),
    decorates("proxy-request-buffering"),
    decorates("proxy-buffering"),
    decorates("proxy-buffers-number"),
    decorates("proxy-buffer-size"),
    decorates("proxy-busy-buffers-size"),
    decorates("proxy-max-temp-file-size"),
    decorates("proxy-http-version"),
    decorates("proxy-cookie-domain"),
    decorates("proxy-cookie-path"),
    // Logs, tracing, rest.
    decorates("enable-access-log"),
    decorates("enable-rewrite-log"),
    decorates("enable-opentelemetry"),
    decorates("opentelemetry-trust-incoming-span"),
    decorates("opentelemetry-operation-name"),
    decorates("http2-push-preload"),
    guards_if_true("enable-modsecurity"),
    guards_if_true("enable-owasp-core-rules"),
    decorates("modsecurity-transaction-id"),
    guards("modsecurity-snippet"),
    // Raw nginx text may hold a `deny` or an `auth_request`.
    guards("configuration-snippet"),
    guards("server-snippet"),
    decorates("stream-snippet"),
];

/// Names that ingress-nginx itself does not read any more, or that nothing comes of: passed over in silence.
pub const OBSOLETE: &[&str] = &[
    "session-cookie-hash",
    "enable-influxdb",
    "influxdb-host",
    "influxdb-measurement",
    "influxdb-port",
    "influxdb-server-name",
    "secure-verify-ca-secret",
    "enable-opentracing",
    "opentracing-trust-incoming-span",
    "global-rate-limit",
    "global-rate-limit-header-based",
    "global-rate-limit-ignored-cidrs",
    "global-rate-limit-key",
    "global-rate-limit-window",
    "secure-backends",
    "grpc-backend",
    "add-base-url",
    "base-url-scheme",
];

/// Looks at the annotations that no family reads.
pub(super) fn check(reader: &mut AnnotationReader<'_>, settings: &Settings) {
    let mut decorations = Vec::new();
    for (name, value) in reader.values() {
        if FAMILIES.iter().any(|family| family.annotations.iter().any(|known| known.name == name)) {
            continue;
        }
        match UNSUPPORTED.iter().find(|known| known.name == name) {
            // A canary takes its guards from the rule it doubles.
            Some(known) if known.fate.guards(value) && settings.canary.is_none() => {
                reader.problem(name, "is not honoured yet, and it guards something".into(), Effect::Closed);
            }
            Some(known) if known.fate == Fate::Decorates => decorations.push(name),
            Some(_) => {}
            None if OBSOLETE.contains(&name) => {}
            None => reader.problem(name, unknown(name), Effect::Differs),
        }
    }
    if !decorations.is_empty() {
        reader.note(format!("not honoured yet: {}", decorations.join(", ")));
    }
}

fn unknown(name: &str) -> String {
    let honoured = FAMILIES.iter().flat_map(|family| family.annotations).map(|known| known.name);
    let names = honoured.chain(UNSUPPORTED.iter().map(|known| known.name));
    let closest = names.map(|known| (distance(name, known), known)).min();
    match closest {
        Some((0..=3, known)) => format!("is not known; did you mean {known}?"),
        _ => "is not known".into(),
    }
}

/// Edit distance of two short names (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.bytes().enumerate() {
            let next = (corner + usize::from(a != b)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_gets_the_closest_known_one() {
        for (name, answer) in [
            ("rewrite-traget", "is not known; did you mean rewrite-target?"),
            ("canary-wieght", "is not known; did you mean canary-weight?"),
            ("proxy-body-sizes", "is not known; did you mean proxy-body-size?"),
            ("something-else-entirely", "is not known"),
        ] {
            assert_eq!(unknown(name), answer);
        }
    }

    #[test]
    fn no_name_stands_twice() {
        let honoured = FAMILIES.iter().flat_map(|family| family.annotations).map(|known| known.name);
        let later = UNSUPPORTED.iter().map(|known| known.name);
        let mut names: Vec<_> = honoured.chain(later).chain(OBSOLETE.iter().copied()).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
