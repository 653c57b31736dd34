//! Ingresses that are not served because of their annotations, or not admitted because of their paths.

use cluster::Ingress;

use super::{AnnotationFamily, CRITICAL, FamilyKey, SettingReader};
use crate::family_values::FamilyValues;
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "ingress filter",
    doc: "Which Ingresses are left out because of an annotation, as if they did not exist.",
    keys: &[
        FamilyKey {
            name: RISK_LEVEL,
            values: "Low, Medium, High, Critical; default High",
            doc: "an Ingress with an annotation that ingress-nginx rates as riskier is left out; only snippets are rated Critical",
        },
        FamilyKey {
            name: "annotation-value-word-blocklist",
            values: "words separated by commas",
            doc: "an Ingress is left out if the value of an annotation contains one of these words",
        },
        FamilyKey {
            name: STRICT_PATHS,
            values: "true, false; default true",
            doc: "the admission webhook refuses paths of the types Exact and Prefix that have other characters than letters, digits and `._-/`; if \
                  false, it warns of them",
        },
    ],
    phases: &[Phase::Server],
    syntax: "annotations-risk-level: Medium\n\
             annotation-value-word-blocklist: load_module,lua_package\n\
             strict-validate-path-type: 'false'",
    read_keys,
    ..AnnotationFamily::NONE
};

/// The key with a [`RiskLevel`].
pub(super) const RISK_LEVEL: &str = "annotations-risk-level";

/// The key about characters of paths.
const STRICT_PATHS: &str = "strict-validate-path-type";

/// The highest allowed rating of annotations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum RiskLevel {
    Low,
    Medium,
    #[default]
    High,
    Critical,
}

impl RiskLevel {
    /// The level of a name in any letter case.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let levels = [
            ("Low", Self::Low),
            ("Medium", Self::Medium),
            ("High", Self::High),
            ("Critical", Self::Critical),
        ];
        levels.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, level)| level)
    }
}

/// The keys of the ConfigMap.
#[derive(Clone, Debug, Default, PartialEq)]
struct IngressFilter {
    level: RiskLevel,
    /// Compared exactly as written between the commas, including spaces.
    words: Vec<String>,
    /// [`STRICT_PATHS`].
    strict_paths: bool,
}

/// Whether the admission webhook refuses special characters in paths that are no patterns.
pub(crate) fn are_paths_strict(values: &FamilyValues) -> bool {
    values.get::<IngressFilter>().is_none_or(|filter| filter.strict_paths)
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    const LEVELS: &str = "Low, Medium, High or Critical; it counts as Low, as in ingress-nginx, so that Ingresses with annotations of any \
                          higher risk are left out";
    let has_level = reader.text(RISK_LEVEL).is_some();
    let level = reader.value(RISK_LEVEL, LEVELS, Effect::Differs, RiskLevel::parse);
    // As in ingress-nginx, an unknown level counts as Low.
    let level = level.unwrap_or(if has_level { RiskLevel::Low } else { RiskLevel::default() });
    let words = reader.text("annotation-value-word-blocklist").unwrap_or_default().split(',');
    let words = words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let strict_paths = reader.flag(STRICT_PATHS).unwrap_or(true);
    values.set(IngressFilter { level, words, strict_paths });
}

/// The annotation because of which an Ingress is left out, without its prefix, and the reason.
pub(crate) fn left_out<'i>(
    values: &FamilyValues,
    ingress: &'i Ingress,
    prefix: &'i str,
) -> Option<(&'i str, String)> {
    let default = IngressFilter::default();
    let IngressFilter { level, words, .. } = values.get().unwrap_or(&default);
    let annotations = ingress.annotations.iter();
    let mut annotations = annotations
        .filter(|(_, value)| !value.trim().is_empty())
        .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.strip_prefix('/')?, value.as_str())));
    annotations.find_map(|(name, value)| {
        if is_riskier(name, *level) {
            return Some((name, "is riskier than annotations-risk-level of the ConfigMap allows".to_owned()));
        }
        let word = words.iter().find(|word| value.contains(*word))?;
        Some((name, format!("contains {word:?}, a word of annotation-value-word-blocklist of the ConfigMap")))
    })
}

fn is_riskier(name: &str, level: RiskLevel) -> bool {
    match level {
        RiskLevel::Low => [MEDIUM_RISK, HIGH_RISK, CRITICAL].iter().any(|names| names.contains(&name)),
        RiskLevel::Medium => HIGH_RISK.contains(&name) || CRITICAL.contains(&name),
        RiskLevel::High => CRITICAL.contains(&name),
        RiskLevel::Critical => false,
    }
}

/// Annotations that ingress-nginx rates Medium.
const MEDIUM_RISK: &[&str] = &[
    "canary-by-header",
    "canary-by-header-value",
    "canary-by-header-pattern",
    "canary-by-cookie",
    "affinity-mode",
    "session-cookie-name",
    "session-cookie-path",
    "session-cookie-domain",
    "session-cookie-expires",
    "session-cookie-max-age",
    "fastcgi-index",
    "fastcgi-params-configmap",
    "x-forwarded-prefix",
    "rewrite-target",
    "app-root",
    "force-ssl-redirect",
    "preserve-trailing-slash",
    "permanent-redirect",
    "temporal-redirect",
    "proxy-redirect-from",
    "proxy-redirect-to",
    "auth-tls-secret",
    "auth-tls-verify-client",
    "proxy-ssl-secret",
    "proxy-ssl-ciphers",
    "auth-secret",
    "auth-realm",
    "auth-signin-redirect-param",
    "auth-response-headers",
    "auth-request-redirect",
    "auth-proxy-set-headers",
    "auth-cache-key",
    "auth-cache-duration",
    "allowlist-source-range",
    "whitelist-source-range",
    "denylist-source-range",
    "custom-headers",
    "cors-allow-origin",
    "cors-allow-methods",
    "cors-allow-headers",
    "cors-expose-headers",
    "proxy-body-size",
    "proxy-next-upstream",
    "proxy-cookie-domain",
    "proxy-cookie-path",
    "opentelemetry-operation-name",
];

/// Annotations that ingress-nginx rates High.
const HIGH_RISK: &[&str] = &[
    "upstream-hash-by",
    "mirror-target",
    "mirror-host",
    "auth-tls-error-page",
    "auth-tls-match-cn",
    "proxy-ssl-name",
    "auth-url",
    "auth-signin",
    "server-alias",
    "modsecurity-transaction-id",
];

#[cfg(test)]
mod tests {
    use super::super::{FAMILIES, UNSUPPORTED};
    use super::*;
    use crate::testing::TestCluster;

    const INGRESSES: &str = "
metadata: {name: plain, annotations: {ssl-redirect: 'false', upstream-vhost: fine.example}}
spec: {rules: [{host: plain.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: medium, annotations: {app-root: /bad_word}}
spec: {rules: [{host: medium.example, paths: [[/x, Prefix, web]]}]}
---
metadata: {name: high, annotations: {auth-url: 'http://bad_host.example/'}}
spec: {rules: [{host: high.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: critical, annotations: {auth-snippet: 'proxy_set_header X-A b;'}}
spec: {rules: [{host: critical.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: empty, annotations: {server-snippet: ' '}}
spec: {rules: [{host: empty.example, paths: [[/, Prefix, web]]}]}
";

    #[test]
    fn ingresses_with_risky_annotations_or_blocked_words_are_left_out() {
        let (level, list) = ("annotations-risk-level", "annotation-value-word-blocklist");
        let all = ["plain", "medium", "high", "critical", "empty"];
        let high = &["plain", "medium", "high", "empty"][..];
        let mut cluster = TestCluster::configured(INGRESSES);
        for (key, value, served) in [
            (level, "", high),
            (level, "Critical", &all[..]),
            (level, "High", high),
            (level, "critical", &all),
            (level, "medium", &["plain", "medium", "empty"]),
            (level, "Low", &["plain", "empty"]),
            (level, "None", &["plain", "empty"]),
            (list, "", high),
            (list, "other,", high),
            (list, "bad_", &["plain", "empty"]),
            (list, "zz, bad_word", high),
            (list, "zz,bad_word", &["plain", "high", "empty"]),
        ] {
            cluster.configure(&[(key, value)]);
            let host = |name: &str| format!("{name}.example/x");
            let found: Vec<_> = all.into_iter().filter(|name| cluster.get(&host(name)) != "404").collect();
            assert_eq!(found, served, "{key}: {value}");
            let reported =
                cluster.problems().iter().filter(|problem| problem.contains("of the ConfigMap")).count();
            assert_eq!(reported, all.len() - served.len(), "{key}: {value}: {:?}", cluster.problems());
            let consequence = "of the ConfigMap; the whole Ingress is left out, as by ingress-nginx";
            let is_told = |problem: &&String| {
                problem.ends_with(consequence) || problem.contains("ConfigMap allows; the whole Ingress")
            };
            assert_eq!(
                cluster.problems().iter().filter(is_told).count(),
                reported,
                "{:?}",
                cluster.problems()
            );
        }
    }

    #[test]
    fn a_level_that_is_misspelled_is_reported_with_its_consequence() {
        let mut cluster = TestCluster::configured("");
        cluster.configure(&[("annotations-risk-level", "Medum")]);
        let problem = "ConfigMap ingress/controller: annotations-risk-level: \"Medum\" should be Low, Medium, High or Critical; it counts \
                       as Low, as in ingress-nginx, so that Ingresses with annotations of any higher risk are left out";
        assert_eq!(cluster.problems(), [problem]);
    }

    #[test]
    fn risky_annotations_are_known_ones() {
        let honoured = FAMILIES.iter().flat_map(|family| family.annotations).map(|known| known.name);
        let known: Vec<_> = honoured.chain(UNSUPPORTED.iter().map(|known| known.name)).collect();
        assert_eq!((MEDIUM_RISK.len(), HIGH_RISK.len(), CRITICAL.len()), (46, 10, 5));
        assert!(MEDIUM_RISK.iter().chain(HIGH_RISK).chain(CRITICAL).all(|name| known.contains(name)));
    }
}
