//! Annotations that are not supported yet, each with its consequence, and names that ingress-nginx does not have.

use super::reader::SettingReader;
use super::{FAMILIES, Settings};
use crate::problem::Effect;
use crate::unsupported::NeutralValues::{False, OnlyEmpty, Words};
use crate::unsupported::{Level, UnsupportedSetting, closed, cosmetic, parse_bool, unknown_name};

const NO_FIREWALL: &str = "the web application firewall would not check requests";
const STREAMED: &str = "responses are streamed: no more is read from the endpoint than the client takes";

/// The annotations of ingress-nginx 1.15 that are not supported yet, in the order of its documentation.
///
/// Annotations that control access (the firewall) close the routes of their Ingress.
/// With all others the routes are served.
#[rustfmt::skip]
pub const UNSUPPORTED: &[UnsupportedSetting] = &[
    // External authentication.
    cosmetic("auth-keepalive-share-vars", False, "the request to the authentication server is made from the same request, so its variables have the same values"),
    // Proxy behaviour.
    cosmetic("proxy-buffering", Words(&["off"]), STREAMED),
    cosmetic("proxy-buffers-number", OnlyEmpty, STREAMED),
    cosmetic("proxy-busy-buffers-size", OnlyEmpty, STREAMED),
    cosmetic("proxy-max-temp-file-size", OnlyEmpty, STREAMED),
    // Logs, tracing, rest.
    cosmetic("enable-rewrite-log", False, "rewrites are not logged: they have no steps, and the access log has the request as sent and its upstream"),
    cosmetic("http2-push-preload", False, "nothing is pushed: browsers have removed HTTP/2 push, and nginx since 1.25.1; `Link` fields reach the client as preload hints"),
    closed("enable-modsecurity", False, NO_FIREWALL),
    closed("enable-owasp-core-rules", False, NO_FIREWALL),
    cosmetic("modsecurity-transaction-id", OnlyEmpty, "it only names requests in the log of the firewall, which does not exist here"),
    closed("modsecurity-snippet", OnlyEmpty, NO_FIREWALL),
];

/// Annotations that ingress-nginx 1.15 no longer reads, but manifests still have. They are not reported.
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

/// Annotations with which an Ingress opts out of a global setting.
const OPT_OUTS: &[&str] = &["enable-modsecurity"];

/// The annotations of [`OPT_OUTS`] that are false: they exempt the Ingress from a global setting (see
/// [`Guard`](crate::globals::Guard)).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OptedOut(Vec<&'static str>);

impl OptedOut {
    /// Whether an annotation is one of them.
    pub(crate) fn has(&self, annotation: &str) -> bool {
        self.0.contains(&annotation)
    }
}

/// Reports the annotations that no family reads, and closes the routes if one of them protects something.
pub(super) fn check(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let is_off = |name: &&str| reader.text(name).and_then(parse_bool) == Some(false);
    let opted_out: Vec<_> = OPT_OUTS.iter().copied().filter(is_off).collect();
    if !opted_out.is_empty() {
        settings.values.set(OptedOut(opted_out));
    }
    for (name, value) in reader.values() {
        if FAMILIES.iter().any(|family| family.annotations.iter().any(|known| known.name == name)) {
            continue;
        }
        if let Some(known) = UNSUPPORTED.iter().find(|known| known.name == name) {
            let Some(what) = known.explain(value) else { continue };
            match known.level {
                // A canary is protected by the annotations of the rule that it belongs to.
                Level::Closed if settings.canary.is_some() => {}
                Level::Closed => reader.report(what, Effect::Closed),
                Level::Differs => reader.report(what, Effect::Differs),
                Level::Cosmetic => reader.report(what, Effect::Cosmetic),
            }
        } else if !OBSOLETE.contains(&name) {
            reader.problem(name, unknown_name(name, names()), Effect::Differs);
        }
    }
}

/// The names of all supported and unsupported annotations.
fn names() -> impl Iterator<Item = &'static str> {
    let honoured = FAMILIES.iter().flat_map(|family| family.annotations).map(|known| known.name);
    honoured.chain(UNSUPPORTED.iter().map(|known| known.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestCluster;

    #[test]
    fn an_unknown_name_gets_the_closest_known_one() {
        for (name, answer) in [
            ("rewrite-traget", "is not known; did you mean rewrite-target?"),
            ("canary-wieght", "is not known; did you mean canary-weight?"),
            ("proxy-body-sizes", "is not known; did you mean proxy-body-size?"),
            ("something-else-entirely", "is not known"),
        ] {
            assert_eq!(unknown_name(name, names()), answer);
        }
    }

    #[test]
    fn every_annotation_of_ingress_nginx_is_listed_once_and_has_a_consequence() {
        let mut listed: Vec<_> = names().collect();
        let mut wanted: Vec<_> = NAMES.split_whitespace().collect();
        listed.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(listed, wanted);
        for known in UNSUPPORTED {
            assert!(!known.consequence.is_empty(), "{}", known.name);
        }
        assert!(OBSOLETE.iter().all(|name| !listed.contains(name)));
    }

    #[test]
    fn names_without_effect_change_no_route() {
        let outcome = |annotations: &str, keys: &[(&str, &str)]| {
            let manifest = format!(
                "
metadata: {{name: main, annotations: {{{annotations}}}}}
spec: {{rules: [{{host: a.example, paths: [[/, Prefix, web]]}}]}}
"
            );
            let mut cluster = TestCluster::configured(&manifest).services("web 80:http 10.0.0.1");
            cluster.configure(keys);
            (cluster.get("http://a.example/"), cluster.problems().len())
        };
        for (annotation, wanted) in [
            ("proxy-buffering: 'on'", ("web", 1)),
            ("proxy-buffers-number: '8'", ("web", 1)),
            ("proxy-busy-buffers-size: 16k", ("web", 1)),
            ("proxy-max-temp-file-size: '0'", ("web", 1)),
            // Left out: ingress-nginx rates it Critical.
            ("modsecurity-snippet: SecRuleEngine On", ("404", 1)),
        ] {
            let (response, problems) = outcome(annotation, &[]);
            assert_eq!((response.as_str(), problems), wanted, "{annotation}");
        }
        for (key, value, wanted) in [
            ("upstream-hash-by-subset", "true", 0),
            ("upstream-hash-by-subset-size", "3", 0),
            ("proxy-buffering", "on", 1),
            ("proxy-buffers-number", "8", 1),
            ("proxy-busy-buffers-size", "16k", 1),
            ("proxy-max-temp-file-size", "0", 1),
            ("modsecurity-snippet", "SecRuleEngine On", 1),
        ] {
            assert_eq!(outcome("", &[(key, value)]), ("web".to_owned(), wanted), "{key}: {value}");
        }
    }

    /// The 138 annotations of ingress-nginx 1.15.1.
    const NAMES: &str = "
        canary canary-by-header canary-by-header-value canary-by-header-pattern canary-by-cookie canary-weight
        canary-weight-total affinity-canary-behavior affinity affinity-mode session-cookie-name
        session-cookie-path session-cookie-domain session-cookie-expires session-cookie-max-age
        session-cookie-samesite session-cookie-conditional-samesite-none session-cookie-secure
        session-cookie-change-on-failure load-balance upstream-hash-by upstream-hash-by-subset
        upstream-hash-by-subset-size service-upstream upstream-vhost backend-protocol default-backend
        custom-http-errors disable-proxy-intercept-errors fastcgi-index fastcgi-params-configmap mirror-target
        mirror-host mirror-request-body connection-proxy-header x-forwarded-prefix rewrite-target use-regex
        app-root ssl-redirect force-ssl-redirect preserve-trailing-slash use-port-in-redirects
        permanent-redirect permanent-redirect-code temporal-redirect temporal-redirect-code relative-redirects
        from-to-www-redirect proxy-redirect-from proxy-redirect-to ssl-passthrough ssl-ciphers
        ssl-prefer-server-ciphers auth-tls-secret auth-tls-verify-client auth-tls-verify-depth
        auth-tls-error-page auth-tls-pass-certificate-to-upstream auth-tls-match-cn proxy-ssl-secret
        proxy-ssl-verify proxy-ssl-verify-depth proxy-ssl-name proxy-ssl-server-name proxy-ssl-ciphers
        proxy-ssl-protocols auth-type auth-secret auth-secret-type auth-realm satisfy auth-url auth-method
        auth-signin auth-signin-redirect-param auth-response-headers auth-request-redirect
        auth-proxy-set-headers auth-always-set-cookie auth-cache-key auth-cache-duration auth-keepalive
        auth-keepalive-requests auth-keepalive-timeout auth-keepalive-share-vars auth-snippet
        enable-global-auth allowlist-source-range whitelist-source-range denylist-source-range
        limit-connections limit-rps limit-rpm limit-burst-multiplier limit-allowlist limit-whitelist
        limit-rate limit-rate-after custom-headers enable-cors cors-allow-origin cors-allow-methods
        cors-allow-headers cors-allow-credentials cors-expose-headers cors-max-age server-alias
        proxy-body-size client-body-buffer-size proxy-connect-timeout proxy-send-timeout proxy-read-timeout
        proxy-next-upstream proxy-next-upstream-timeout proxy-next-upstream-tries proxy-request-buffering
        proxy-buffering proxy-buffers-number proxy-buffer-size proxy-busy-buffers-size
        proxy-max-temp-file-size proxy-http-version proxy-cookie-domain proxy-cookie-path enable-access-log
        enable-rewrite-log enable-opentelemetry opentelemetry-trust-incoming-span opentelemetry-operation-name
        http2-push-preload enable-modsecurity enable-owasp-core-rules modsecurity-transaction-id
        modsecurity-snippet configuration-snippet server-snippet stream-snippet";
}
