//! Which Ingress comes first, and how hosts are keyed: the same for routes and certificates.

use std::cmp::Ordering;

use cluster::{CompactString, Ingress};

/// The oldest first; of the same age, namespace and name descending (§3.1).
pub(crate) fn precedence(one: &Ingress, other: &Ingress) -> Ordering {
    fn full(ingress: &Ingress) -> impl Iterator<Item = u8> + '_ {
        ingress.key.namespace.bytes().chain([b'/']).chain(ingress.key.name.bytes())
    }
    one.created.cmp(&other.created).then_with(|| full(other).cmp(full(one)))
}

/// The key of the host of rules without one.
pub(crate) const CATCH_ALL: CompactString = CompactString::const_new("");

/// How a host is keyed: a name in lower case, the suffix with its dot for a wildcard, nothing for the catch-all.
pub(crate) fn host_key(host: &str) -> CompactString {
    let host = host.strip_prefix('*').unwrap_or(host);
    CompactString::from(host.to_ascii_lowercase())
}

/// A host as logs and metrics name it.
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
    fn the_oldest_ingress_comes_first_and_the_last_name_of_equals() {
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
