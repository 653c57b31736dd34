//! Keys in etcd: the labels of a name from the right, below a prefix: `/skydns/local/cluster/web` for `web.cluster.local`.

use dns_wire::Name;

/// The prefix of all keys, as its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyPrefix(Vec<String>);

/// Where the records of a name are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyQuery {
    /// The key to read, up to the first wildcard.
    pub key: String,
    /// With a wildcard, the parts that the keys below are compared with; `None` stands for any.
    pub pattern: Option<Vec<Option<String>>>,
}

impl KeyPrefix {
    /// The prefix of the property `path`.
    pub(super) fn new(path: &str) -> Self {
        Self(path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect())
    }

    /// Where the records of a name are; `None` if a label has a slash, since its key would belong to another name.
    pub(super) fn query(&self, name: &Name) -> Option<KeyQuery> {
        let name = name.lower();
        let mut labels: Vec<String> = name.labels().map(text).collect();
        if labels.iter().any(|label| label.contains('/')) {
            return None;
        }
        labels.reverse();
        let is_wildcard = |label: &String| label == "*" || label == "any";
        let first = labels.iter().position(is_wildcard);
        let read = self.0.iter().chain(&labels[..first.unwrap_or(labels.len())]);
        let key = read.fold(String::new(), |key, part| key + "/" + part);
        let pattern = first.map(|_| {
            let parts = labels.iter().map(|label| (!is_wildcard(label)).then(|| label.clone()));
            self.0.iter().cloned().map(Some).chain(parts).collect()
        });
        Some(KeyQuery { key, pattern })
    }

    /// The name of a key.
    pub(super) fn name(&self, key: &str) -> Option<Name> {
        let mut parts: Vec<&str> = key.trim_end_matches('/').split('/').skip(1 + self.0.len()).collect();
        parts.reverse();
        parts.join(".").parse::<Name>().ok()
    }
}

impl KeyQuery {
    /// Whether a key that was read belongs to the name.
    pub(super) fn matches(&self, key: &str) -> bool {
        let Some(pattern) = &self.pattern else { return true };
        let mut parts = key.split('/').skip(1);
        pattern.iter().all(|wanted| match (wanted, parts.next()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(wanted), Some(part)) => wanted == part,
        })
    }
}

/// A label in presentation format.
fn text(label: &[u8]) -> String {
    let wire = [&[label.len() as u8], label, &[0]].concat();
    let mut text = Name::from_wire(&wire).map(|name| name.to_string()).unwrap_or_default();
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_key_and_a_key_has_a_name() {
        for (path, name, key) in [
            ("/skydns", "A.web.skydns.test.", "/skydns/test/skydns/web/a"),
            ("skydns/", "test.", "/skydns/test"),
            ("/a//b", "x.test.", "/a/b/test/x"),
            ("/", "x.test.", "/test/x"),
            ("/skydns", r"a\.b.test.", r"/skydns/test/a\.b"),
        ] {
            let prefix = KeyPrefix::new(path);
            let name: Name = name.parse().unwrap();
            assert_eq!(prefix.query(&name), Some(KeyQuery { key: key.to_owned(), pattern: None }));
            assert_eq!(prefix.name(key), Some(name.lower()), "{key}");
        }
        assert_eq!(KeyPrefix::new("/skydns").query(&"a/b.test.".parse().unwrap()), None);
        assert_eq!(KeyPrefix::new("/skydns").name("/skydns/test/a/"), "a.test.".parse().ok());
    }

    #[test]
    fn a_wildcard_stands_for_one_part_of_a_key() {
        let query = KeyPrefix::new("/skydns").query(&"prod.*.skydns.test.".parse().unwrap()).unwrap();
        assert_eq!(query.key, "/skydns/test/skydns");
        for (key, is_match) in [
            ("/skydns/test/skydns/region1/prod/a", true),
            ("/skydns/test/skydns/region2/prod", true),
            ("/skydns/test/skydns/region1/dev/a", false),
            ("/skydns/test/skydns/region1", false),
        ] {
            assert_eq!(query.matches(key), is_match, "{key}");
        }
    }
}
