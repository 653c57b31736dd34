//! Load balancers in front of the proxy: which of them are trusted, and what they report about clients.

use std::sync::Arc;

use http::HeaderName;

use super::networks::networks;
use super::{AnnotationFamily, FamilyKey, SettingReader};
use crate::family_values::FamilyValues;
use crate::identity_settings::IdentitySettings;
use crate::plan::phase::Phase;
use crate::problem::Effect;
use crate::settings::parse_time;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "client identity",
    doc: "The address, scheme, host and port of clients behind load balancers. They apply to address lists, limits, redirects, \
          the access log and the X-Forwarded-* fields that endpoints get.",
    keys: &[
        FamilyKey {
            name: "use-proxy-protocol",
            values: "true, false; default false",
            doc: "connections to the http and https ports begin with a PROXY header of version 1 or 2, others are closed; for \
                  new connections",
        },
        FamilyKey {
            name: "proxy-protocol-header-timeout",
            values: "a time; default 5s",
            doc: "how long the PROXY header may take",
        },
        FamilyKey {
            name: "use-forwarded-headers",
            values: "true, false; default false",
            doc: "X-Forwarded-For, -Proto, -Host and -Port of trusted peers count",
        },
        FamilyKey {
            name: "enable-real-ip",
            values: "true, false; default false",
            doc: "the address in X-Forwarded-For of trusted peers counts, and nothing else; without effect with use-proxy-protocol",
        },
        FamilyKey {
            name: "forwarded-for-header",
            values: "a header name; default X-Forwarded-For",
            doc: "the field with the addresses; it is also the source of X-Original-Forwarded-For",
        },
        FamilyKey {
            name: "compute-full-forwarded-for",
            values: "true, false; default false",
            doc: "with use-forwarded-headers, X-Forwarded-For of endpoints has the received addresses and the peer's",
        },
        FamilyKey {
            name: "proxy-real-ip-cidr",
            values: "addresses and networks; default all",
            doc: "the trusted peers. Addresses are read from the right for as long as they are in the list",
        },
    ],
    phases: &[Phase::Server, Phase::UpstreamRequest],
    syntax: "use-proxy-protocol: 'true'\n\
             proxy-protocol-header-timeout: 5s\n\
             use-forwarded-headers: 'true'\n\
             enable-real-ip: 'true'\n\
             forwarded-for-header: X-Forwarded-For\n\
             compute-full-forwarded-for: 'true'\n\
             proxy-real-ip-cidr: 10.0.0.0/8,2001:db8::/32",
    read_keys,
    ..AnnotationFamily::NONE
};

/// `compute-full-forwarded-for` applies. For other families: the parts of the server's settings are not among the values that plans get.
#[derive(Debug, PartialEq)]
pub(super) struct FullForwardedFor;

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let defaults = values.take::<IdentitySettings>().unwrap_or_default();
    let name = |value: &str| HeaderName::try_from(value).ok();
    let trusted = match networks(reader, "proxy-real-ip-cidr", Effect::Differs, Effect::LeftOut) {
        Some(networks) => networks,
        // A list without a valid entry must not become the default, which trusts every peer.
        None if reader.text("proxy-real-ip-cidr").is_some() => Arc::default(),
        None => defaults.trusted,
    };
    let timeout = reader.value(
        "proxy-protocol-header-timeout",
        "a time such as 5s or 500ms",
        Effect::DefaultUsed,
        parse_time,
    );
    let identity = IdentitySettings {
        proxy_protocol: reader.flag("use-proxy-protocol").unwrap_or(defaults.proxy_protocol),
        proxy_header_timeout: timeout.unwrap_or(defaults.proxy_header_timeout),
        forwarded_headers: reader.flag("use-forwarded-headers").unwrap_or(defaults.forwarded_headers),
        real_ip: reader.flag("enable-real-ip").unwrap_or(defaults.real_ip),
        forwarded_for: reader
            // The default is a header that every client can send.
            .value("forwarded-for-header", "a header name", Effect::Closed, name)
            .unwrap_or(defaults.forwarded_for),
        full_forwarded_for: reader.flag("compute-full-forwarded-for").unwrap_or(defaults.full_forwarded_for),
        trusted,
    };
    if identity.forwarded_headers && identity.full_forwarded_for {
        values.set(FullForwardedFor);
    }
    values.set(identity);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::TestCluster;

    const INGRESSES: &str = "
metadata: {name: web, annotations: {allowlist-source-range: 1.2.3.0/24, force-ssl-redirect: 'true'}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
";

    fn identity(cluster: &TestCluster) -> IdentitySettings {
        cluster.table.load().server().identity.clone()
    }

    #[test]
    fn keys_become_settings_at_once() {
        let mut cluster = TestCluster::configured(INGRESSES);
        assert_eq!(identity(&cluster), IdentitySettings::default());
        cluster.configure(&[
            ("use-proxy-protocol", "true"),
            ("proxy-protocol-header-timeout", "500ms"),
            ("use-forwarded-headers", "true"),
            ("enable-real-ip", "true"),
            ("forwarded-for-header", "CF-Connecting-IP"),
            ("compute-full-forwarded-for", "true"),
            ("proxy-real-ip-cidr", "10.0.0.0/8, 2001:db8::1"),
            ("keep-alive", "7"),
        ]);
        let wanted = IdentitySettings {
            proxy_protocol: true,
            proxy_header_timeout: Duration::from_millis(500),
            forwarded_headers: true,
            real_ip: true,
            forwarded_for: HeaderName::from_static("cf-connecting-ip"),
            full_forwarded_for: true,
            trusted: ["10.0.0.0/8", "2001:db8::1/128"].map(|text| text.parse().unwrap()).into(),
        };
        assert_eq!(identity(&cluster), wanted);
        assert_eq!(
            cluster.table.load().server().connections.keep_alive,
            Duration::from_secs(7),
            "both families apply"
        );
        cluster.configure(&[]);
        assert_eq!(identity(&cluster), IdentitySettings::default());
    }

    #[test]
    fn a_list_of_trusted_peers_without_a_valid_entry_trusts_nobody() {
        let mut cluster = TestCluster::configured(INGRESSES);
        cluster.configure(&[("use-forwarded-headers", "true"), ("proxy-real-ip-cidr", "everybody")]);
        assert!(identity(&cluster).trusted.is_empty());
        assert!(cluster.problems().iter().any(|text| text.contains("\"everybody\" should be an address")));
        cluster.configure(&[("use-forwarded-headers", "true"), ("proxy-real-ip-cidr", ",")]);
        assert!(identity(&cluster).trusted.is_empty());
        cluster.configure(&[("proxy-real-ip-cidr", "10.0.0.0/8,x")]);
        assert_eq!(identity(&cluster).trusted.len(), 1);
    }

    #[test]
    fn invalid_values_are_reported_and_keep_the_default() {
        let mut cluster = TestCluster::configured(INGRESSES);
        for (key, value) in [
            ("use-proxy-protocol", "on"),
            ("proxy-protocol-header-timeout", "soon"),
            ("use-forwarded-headers", "yes"),
            ("enable-real-ip", "x"),
            ("forwarded-for-header", "a b"),
            ("compute-full-forwarded-for", "2"),
        ] {
            cluster.configure(&[(key, value)]);
            assert_eq!(identity(&cluster), IdentitySettings::default(), "{key}: {value}");
            let problems = cluster.problems();
            assert!(problems.iter().any(|text| text.contains(key)), "{key}: {problems:?}");
        }
    }

    #[test]
    fn lists_and_redirects_use_the_reported_client() {
        let mut cluster = TestCluster::configured(INGRESSES).services("web 80 10.0.0.1");
        cluster.configure(&[("use-forwarded-headers", "true")]);
        let https = [("x-forwarded-proto", "https")];
        let ask = |headers: &[(&str, &str)]| cluster.ask("a.example:81/x/", headers, 99);
        assert_eq!(ask(&[]), "308 https://a.example/x");
        assert_eq!(ask(&[("x-forwarded-host", "b.example:82, c.example")]), "308 https://b.example/x");
        assert_eq!(ask(&https), "403");
        assert_eq!(ask(&[https[0], ("x-forwarded-for", "1.2.3.4")]), "web");
        assert_eq!(ask(&[https[0], ("x-forwarded-for", "1.2.4.4")]), "403");
    }
}
