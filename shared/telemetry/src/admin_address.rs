//! The address of an admin server, as clients are given it.

use std::fmt;
use std::str::FromStr;

/// The port of ingress-nginx's `--healthz-port`, on which the ingress serves its admin pages.
const DEFAULT_PORT: u16 = 10254;

/// Host and port of an admin address: `[http://]HOST[:PORT]`, where an IPv6 address has brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminAddress {
    host: String,
    port: u16,
}

impl AdminAddress {
    /// A name or an IP address, without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `HOST:PORT`, as in the header field `Host`.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl FromStr for AdminAddress {
    type Err = String;

    /// Reads `127.0.0.1:10254`, `[::1]:10254`, `localhost` or `http://127.0.0.1:10254/`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("{text:?}: wanted [http://]HOST[:PORT], such as 127.0.0.1:10254");
        let authority = text.strip_prefix("http://").unwrap_or(text);
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !authority.ends_with(']') => (host, port.parse().map_err(|_| wanted())?),
            _ => (authority, DEFAULT_PORT),
        };
        let is_address = host.starts_with('[') && host.ends_with(']');
        let is_name = |ch: char| ch.is_ascii_alphanumeric() || matches!(ch, '-' | '.' | '_');
        if host.is_empty() || !is_address && !host.chars().all(is_name) {
            return Err(wanted());
        }
        if is_address && host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_err() {
            return Err(wanted());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_or_without_scheme_and_port() {
        for (text, shown) in [
            ("127.0.0.1:10254", "http://127.0.0.1:10254"),
            ("http://127.0.0.1:8181/", "http://127.0.0.1:8181"),
            ("localhost", "http://localhost:10254"),
            ("http://portolan.edge.svc", "http://portolan.edge.svc:10254"),
            ("[::1]:9", "http://[::1]:9"),
            ("[::1]", "http://[::1]:10254"),
        ] {
            let address: AdminAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), shown, "{text}");
            assert_eq!(format!("http://{}", address.authority()), shown, "{text}");
        }
        assert_eq!("[::1]:9".parse::<AdminAddress>().unwrap().host(), "::1");
        for text in [
            "",
            "http://",
            ":1",
            "::1",
            "x:port",
            "x:70000",
            "https://x:1",
            "http://x/live",
            "x/y:1",
            "a b",
            "a@b",
            "x\r\ny",
            "[x]",
            "[::1",
        ] {
            assert!(text.parse::<AdminAddress>().is_err(), "{text:?}");
        }
    }
}
