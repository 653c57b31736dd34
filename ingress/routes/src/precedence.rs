//! The precedence of Ingresses and the keys of hosts, for routes and certificates.

use std::cmp::Ordering;
use std::net::IpAddr;

use cluster::{CompactString, Ingress};

/// Orders Ingresses by age, the oldest first. Those of the same age are in descending order of namespace and name, as in
/// ingress-nginx.
pub(crate) fn precedence(one: &Ingress, other: &Ingress) -> Ordering {
    fn full(ingress: &Ingress) -> impl Iterator<Item = u8> + '_ {
        ingress.key.namespace.bytes().chain([b'/']).chain(ingress.key.name.bytes())
    }
    one.created.cmp(&other.created).then_with(|| full(other).cmp(full(one)))
}

/// The key of the catch-all: rules without a host.
pub(crate) const CATCH_ALL: CompactString = CompactString::const_new("");

/// The key of a host: its name in lower case; the suffix with its dot for a wildcard.
pub(crate) fn host_key(host: &str) -> CompactString {
    let host = host.strip_prefix('*').unwrap_or(host);
    CompactString::from(host.to_ascii_lowercase())
}

/// The error of a rule's host. The API server accepts RFC 1123 names in lower case and wildcards for one label; manifests
/// from files may contain anything.
pub(crate) fn host_error(host: &str) -> Option<&'static str> {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if host.is_empty() {
        None
    } else if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        Some("is an address; the host of a rule is a DNS name")
    } else if name.len() > 253 || !name.split('.').all(is_label) {
        Some("is not a DNS name, nor a wildcard such as *.example.com")
    } else {
        None
    }
}

/// The name of a host in logs and metrics.
pub(crate) fn host_name(key: &CompactString) -> CompactString {
    match key.as_str() {
        "" => "_".into(),
        suffix if suffix.starts_with('.') => compact_str::format_compact!("*{suffix}"),
        _ => key.clone(),
    }
}

#[cfg(test)]
mod tests {
    use cluster::Key;

    use super::*;

    #[test]
    fn hosts_that_cannot_be_served_are_refused() {
        for host in [
            "",
            "a",
            "a.example",
            "*.a.example",
            "Shop.Example",
            "a-b.c_d.example",
            "1.example",
            "*.localhost",
        ] {
            assert_eq!(host_error(host), None, "{host}");
        }
        let long = "a.".repeat(127) + "a";
        for host in [
            "a b",
            "a.*.b",
            "*",
            "*.",
            "*a.example",
            "**.example",
            "*.*.example",
            "a:80",
            "a.example.",
            ".a",
            "a..b",
            "-a.b",
            "a-.b",
            "a/b",
            "~a.example",
            "http://a",
            "caf\u{e9}.example",
            "192.0.2.1",
            "::1",
            "[::1]",
            "*.192.0.2.1",
            &long,
        ] {
            assert!(host_error(host).is_some(), "{host}");
        }
    }

    #[test]
    fn the_oldest_ingress_comes_first_and_equal_ages_are_in_descending_order_of_name() {
        let ingress = |namespace: &str, name: &str, created| Ingress {
            key: Key::new(namespace, name),
            created,
            annotations: Vec::new(),
            class: None,
            default_backend: None,
            rules: Vec::new(),
            tls: Vec::new(),
        };
        let mut all = [
            ingress("b", "x", 2),
            ingress("a", "x", 1),
            ingress("a", "z", 1),
            ingress("a-b", "x", 1),
            ingress("z", "x", 0),
        ];
        all.sort_by(precedence);
        let order: Vec<_> = all.iter().map(|ingress| ingress.key.to_string()).collect();
        assert_eq!(order, ["z/x", "a/z", "a/x", "a-b/x", "b/x"]);
    }
}
