//! The value of an entry: `namespace/service:port[:PROXY][:PROXY]`.

use cluster::{CompactString, Key, PortRef, Protocol};

use crate::options::PoolKey;

/// What an entry should look like, for messages.
pub(super) const WANTED: &str = "namespace/service:port[:PROXY][:PROXY]";

/// A parsed value.
#[derive(Debug, PartialEq)]
pub(super) struct StreamTarget {
    pub(super) pool: PoolKey,
    pub(super) decodes_proxy: bool,
    pub(super) encodes_proxy: bool,
    /// What was ignored, and why, for a report.
    pub(super) ignored: Option<String>,
}

impl StreamTarget {
    /// Reads a value. As in ingress-nginx, a third or fourth part other than `PROXY` is ignored, and so is `PROXY` for UDP.
    pub(super) fn parse(text: &str, protocol: Protocol) -> Option<Self> {
        let mut parts = text.trim().split(':').map(str::trim);
        let (namespace, name) = parts.next()?.split_once('/')?;
        let port = parts.next().filter(|port| is_name(port))?;
        if !is_name(namespace) || !is_name(name) {
            return None;
        }
        let port = match port.parse::<u16>() {
            Ok(0) => return None,
            Ok(number) => PortRef::Number(number),
            Err(_) if port.bytes().all(|byte| byte.is_ascii_digit()) => return None,
            Err(_) => PortRef::Name(CompactString::from(port)),
        };
        let words: Vec<&str> = parts.collect();
        let is_proxy = |at: usize| words.get(at).is_some_and(|word| word.eq_ignore_ascii_case("PROXY"));
        let is_known = |at: usize, word: &str| word.is_empty() || at < 2 && is_proxy(at);
        let unknown = words.iter().enumerate().find(|(at, word)| !is_known(*at, word));
        let is_tcp = protocol == Protocol::Tcp;
        let ignored = match unknown {
            Some((_, word)) => Some(format!("{word:?} should be PROXY; it is ignored")),
            None if !is_tcp && (is_proxy(0) || is_proxy(1)) => {
                Some("PROXY has no effect on UDP; it is ignored".to_owned())
            }
            None => None,
        };
        Some(Self {
            pool: PoolKey { service: Key::new(namespace, name), port },
            decodes_proxy: is_tcp && is_proxy(0),
            encodes_proxy: is_tcp && is_proxy(1),
            ignored,
        })
    }
}

/// Whether a text may be the name of an object or of a port.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_names_service_port_and_proxy_headers() {
        for (text, port, decodes, encodes) in [
            ("shop/db:5432", PortRef::Number(5432), false, false),
            (" shop/db : 5432 ", PortRef::Number(5432), false, false),
            ("shop/db:postgres", PortRef::Name("postgres".into()), false, false),
            ("shop/db:5432:PROXY", PortRef::Number(5432), true, false),
            ("shop/db:5432:proxy:Proxy", PortRef::Number(5432), true, true),
            ("shop/db:5432::PROXY", PortRef::Number(5432), false, true),
            ("shop/db:5432::", PortRef::Number(5432), false, false),
        ] {
            let pool = PoolKey { service: Key::new("shop", "db"), port };
            let target = StreamTarget { pool, decodes_proxy: decodes, encodes_proxy: encodes, ignored: None };
            assert_eq!(StreamTarget::parse(text, Protocol::Tcp), Some(target), "{text}");
        }
    }

    #[test]
    fn other_words_and_proxy_for_udp_are_ignored_and_reported() {
        for (text, protocol, ignored) in [
            ("shop/db:1:PROXI", Protocol::Tcp, "\"PROXI\" should be PROXY; it is ignored"),
            ("shop/db:1:PROXY:x", Protocol::Tcp, "\"x\" should be PROXY; it is ignored"),
            ("shop/db:1:::PROXY", Protocol::Tcp, "\"PROXY\" should be PROXY; it is ignored"),
            ("shop/db:1:PROXY", Protocol::Udp, "PROXY has no effect on UDP; it is ignored"),
        ] {
            let target = StreamTarget::parse(text, protocol).expect(text);
            assert_eq!(target.ignored.as_deref(), Some(ignored), "{text}");
            assert!(!target.decodes_proxy || protocol == Protocol::Tcp, "{text}");
        }
    }

    #[test]
    fn an_entry_without_namespace_service_or_port_is_invalid() {
        for text in [
            "",
            "db",
            "db:1",
            "shop/db",
            "shop/db:",
            "/db:1",
            "shop/:1",
            "a/b/c:1",
            "shop/db:0",
            "shop/db:70000",
            "shop/d b:1",
        ] {
            assert_eq!(StreamTarget::parse(text, Protocol::Tcp), None, "{text}");
        }
    }
}
