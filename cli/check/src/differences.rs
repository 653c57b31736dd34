//! Settings that are honoured, and with some of their values do not work quite as in ingress-nginx or CoreDNS.
//!
//! What the route table reports is not repeated here. `docs/differences-*.md` explain each row.

use ingress_routes::parse_bool;

/// A difference of a setting.
pub(crate) struct Difference {
    /// Annotations without their prefix, or keys of the ConfigMap; for a Corefile the plugin, or the plugin and a property.
    names: &'static [&'static str],
    /// The values that differ.
    applies: fn(&str) -> bool,
    /// How, and who notices.
    pub(crate) text: &'static str,
}

/// Of annotations and of keys of the ConfigMap.
#[rustfmt::skip]
const INGRESS: &[Difference] = &[
    Difference { names: &["proxy-request-buffering"], applies: |value| value.trim() == "on",
        text: "bodies are streamed; endpoints that cannot read chunked bodies notice" },
    Difference { names: &["proxy-http-version"], applies: |value| value.trim() == "1.0",
        text: "a body in chunks gets 411; clients notice that upload without a length" },
    Difference { names: &["proxy-next-upstream-tries"], applies: |value| value.trim() == "0",
        text: "each endpoint is tried once, 100 at most; in nginx there is no limit" },
    Difference { names: &["proxy-redirect-from"], applies: |value| value.trim() == "default",
        text: "has no effect; it stands for a URL that no endpoint knows" },
    Difference { names: &["ssl-passthrough"], applies: |value| parse_bool(value) == Some(true),
        text: "a connection that is idle for an hour ends; clients notice that are silent for longer" },
    Difference { names: &["http-redirect-code"], applies: |value| ["300", "304", "305", "306"].contains(&value.trim()),
        text: "it redirects; ingress-nginx sends the URL as a page" },
];

/// Of plugins and their properties.
#[rustfmt::skip]
const COREFILE: &[Difference] = &[
    Difference { names: &["chaos"], applies: str::is_empty,
        text: "tells Portolan's version; programs notice that read the version of CoreDNS" },
    Difference { names: &["dns64"], applies: |_| true, text: "translated answers keep RA; CoreDNS clears it" },
    Difference { names: &["errors"], applies: |words| !words.contains("consolidate"),
        text: "a failure that repeats is logged ten times in ten seconds, then counted" },
    Difference { names: &["etcd"], applies: |_| true,
        text: "reads etcd through its JSON gateway; a member without it is not asked" },
    Difference { names: &["health lameduck"], applies: |_| true,
        text: "queries that arrive after it are answered, for up to 25 s in all" },
    Difference { names: &["k8s_external"], applies: |_| true,
        text: "until the cluster has been listed, unknown names are SERVFAIL; AXFR is REFUSED" },
    Difference { names: &["loop"], applies: |words| !words.contains("exit"),
        text: "a loop ends forwarding, not the process" },
    Difference { names: &["multisocket"], applies: |_| true, text: "takes effect at the next start and not at a reload" },
    Difference { names: &["pprof"], applies: |_| true,
        text: "has no profiles, which are those of a Go program; tools notice that read them" },
    Difference { names: &["shed"], applies: |_| true,
        text: "names that are answered from memory are never dropped" },
    Difference { names: &["timeouts"], applies: |_| true,
        text: "a served address takes new values for new connections" },
];

impl Difference {
    fn find(rows: &'static [Self], name: &str, value: &str) -> Option<&'static str> {
        let row = rows.iter().find(|row| row.names.contains(&name) && (row.applies)(value))?;
        Some(row.text)
    }
}

/// How an annotation or key of the ConfigMap that is honoured differs with this value.
pub(crate) fn of_ingress(name: &str, value: &str) -> Option<&'static str> {
    Difference::find(INGRESS, name, value)
}

/// How a plugin, or `PLUGIN PROPERTY`, that is honoured differs with these words: its arguments and the names of its properties.
pub(crate) fn of_plugin(name: &str, words: &str) -> Option<&'static str> {
    Difference::find(COREFILE, name, words)
}

#[cfg(test)]
mod tests {
    use ingress_routes::annotations::FAMILIES;

    use super::*;

    #[test]
    fn every_row_names_a_setting_that_is_honoured() {
        let annotations = FAMILIES.iter().flat_map(|family| family.annotations).map(|known| known.name);
        let keys = ingress_routes::config_map_keys().map(|key| key.name);
        let honoured: Vec<_> = annotations.chain(keys).collect();
        for name in INGRESS.iter().flat_map(|row| row.names) {
            assert!(honoured.contains(name), "{name}");
        }
        for name in COREFILE.iter().flat_map(|row| row.names) {
            let plugin_name = name.split(' ').next();
            assert!(
                dns_chain::plugins::PLUGINS.iter().any(|plugin| Some(plugin.name) == plugin_name),
                "{name}"
            );
        }
    }
}
