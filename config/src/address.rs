//! Parses `host:port` like Go's `net.SplitHostPort`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A host and a port. An empty host means all addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

impl HostPort {
    /// Parses `host:port`, `:port` or `[v6]:port`, and with a default port also `host`, `v6` and `[v6]`.
    pub fn read(text: &str, default_port: Option<u16>) -> Option<Self> {
        if let Some(port) = default_port {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            let lone = if bare.len() < text.len() { is_ip(bare) } else { is_ip(bare) || !text.contains(':') };
            if lone && !bare.is_empty() && !bare.contains(['[', ']']) {
                return Some(Self { host: bare.to_owned(), port });
            }
        }
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(host) => host.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let clean = !host.contains(['[', ']', '/']) && !host.contains(char::is_whitespace);
        if !digits || !clean {
            return None;
        }
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }

    /// The IP address, if the host is one. A zone id (`%eth0`) is ignored.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.split('%').next()?.parse().ok()
    }

    /// The socket address, if the host is an IP address.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.ip()?, self.port))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

fn is_ip(text: &str) -> bool {
    text.split('%').next().is_some_and(|ip| ip.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_with_and_without_a_default_port() {
        for (text, default, wanted) in [
            (":8080", None, Some(":8080")),
            ("localhost:9153", None, Some("localhost:9153")),
            ("[::1]:53", None, Some("[::1]:53")),
            ("1.2.3.4", None, None),
            ("1.2.3.4", Some(53), Some("1.2.3.4:53")),
            ("1.2.3.4:5353", Some(53), Some("1.2.3.4:5353")),
            ("::1", Some(53), Some("[::1]:53")),
            ("[::1]", Some(53), Some("[::1]:53")),
            ("fe80::1%eth0", Some(53), Some("[fe80::1%eth0]:53")),
            ("::1", None, None),
            ("dns.example", Some(53), Some("dns.example:53")),
            ("", Some(53), None),
            (":", None, None),
            (":port", None, None),
            (":70000", None, None),
            ("a:+1", None, None),
            ("[::1", Some(53), None),
            ("[::1]x:1", None, None),
            ("[]", Some(53), None),
            ("/etc/resolv.conf:1", None, None),
        ] {
            let read = HostPort::read(text, default).map(|addr| addr.to_string());
            assert_eq!(read.as_deref(), wanted, "{text} with {default:?}");
        }
    }
}
