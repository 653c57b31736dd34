//! Values that ingress-nginx's admission webhook refuses. Other invalid values only lose their effect, and are admitted with a warning.

use super::reader::{ReaderFindings, SettingReader};
use crate::family_values::FamilyValues;
use crate::problem::RoutingProblem;
use cluster::{Ingress, Snapshot};

/// Annotations of which ingress-nginx does not store an Ingress with an invalid value.
const STRICT: &[&str] = &[
    "app-root",
    "auth-realm",
    "auth-secret-type",
    "auth-tls-error-page",
    "auth-tls-match-cn",
    "auth-tls-pass-certificate-to-upstream",
    "auth-tls-secret",
    "auth-type",
    "auth-url",
    "client-body-buffer-size",
    "connection-proxy-header",
    "custom-headers",
    "custom-http-errors",
    "default-backend",
    "disable-proxy-intercept-errors",
    "fastcgi-index",
    "fastcgi-params-configmap",
    "from-to-www-redirect",
    "http2-push-preload",
    "limit-allowlist",
    "limit-whitelist",
    "permanent-redirect",
    "permanent-redirect-code",
    "proxy-ssl-secret",
    "rewrite-target",
    "server-alias",
    "ssl-ciphers",
    "ssl-passthrough",
    "ssl-prefer-server-ciphers",
    "temporal-redirect",
    "temporal-redirect-code",
    "upstream-hash-by",
    "upstream-vhost",
    "x-forwarded-prefix",
];

/// Those of them that name an object.
const OBJECTS: &[&str] =
    &["auth-tls-secret", "proxy-ssl-secret", "custom-headers", "default-backend", "fastcgi-params-configmap"];

/// Those of them whose values may have any character, such as regular expressions.
const PATTERNS: &[&str] = &["auth-realm", "auth-tls-match-cn"];

/// Annotations that ingress-nginx rates Critical: raw nginx text.
pub(crate) const CRITICAL: &[&str] =
    &["auth-snippet", "configuration-snippet", "modsecurity-snippet", "server-snippet", "stream-snippet"];

/// Annotations that ingress-nginx warns of as deprecated.
pub(crate) const DEPRECATED: &[&str] = &[
    "enable-influxdb",
    "influxdb-measurement",
    "influxdb-port",
    "influxdb-host",
    "influxdb-server-name",
    "secure-verify-ca-secret",
    "fastcgi-params-configmap",
    "fastcgi-index",
];

/// Why the value of an annotation is refused, with what was wanted. `findings` are those of the same Ingress.
pub(crate) fn refused_value(
    ingress: &Ingress,
    prefix: &str,
    findings: &ReaderFindings,
    cluster: &Snapshot,
) -> Vec<(String, String)> {
    let mut refused = Vec::new();
    let globals = FamilyValues::default();
    let reader = SettingReader::of_ingress(ingress, prefix, cluster, &globals);
    for (name, value) in reader.values() {
        if !STRICT.contains(&name) {
            continue;
        }
        let field = format!("{prefix}/{name}");
        let reported = |at: &&usize| findings.problems[**at].field == field;
        let wanted = if let Some(at) = findings.invalid.iter().find(reported) {
            let RoutingProblem { what, .. } = &findings.problems[*at];
            refused.push((field, what.clone()));
            continue;
        } else if value.contains(['\r', '\n']) {
            "one line"
        } else if !PATTERNS.contains(&name) && value.contains([';', '"', '`']) {
            "text without ; \" or `"
        } else if OBJECTS.contains(&name) && reader.object_key(value).is_none() {
            "the name of an object, or namespace/name"
        } else if name == "auth-url" && !value.bytes().all(is_of_url) {
            "a URL of letters, digits, -._~/,:?&= and variables"
        } else {
            continue;
        };
        let shown: String = value.chars().take(80).collect();
        refused.push((field, format!("{shown:?} should be {wanted}")));
    }
    refused
}

fn is_of_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~/,:?&=${}%#+@!()*[]".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::super::{FAMILIES, OBSOLETE, UNSUPPORTED};
    use super::*;

    #[test]
    fn the_lists_name_annotations_that_exist() {
        let is_known = |name: &&str| {
            FAMILIES.iter().flat_map(|family| family.annotations).any(|known| known.name == *name)
                || UNSUPPORTED.iter().any(|known| known.name == *name)
                || OBSOLETE.contains(name)
        };
        let lists = STRICT.iter().chain(OBJECTS).chain(PATTERNS).chain(CRITICAL).chain(DEPRECATED);
        let unknown: Vec<_> = lists.filter(|name| !is_known(name)).collect();
        assert_eq!(unknown, [&""; 0]);
        assert!(OBJECTS.iter().all(|name| STRICT.contains(name)));
    }
}
