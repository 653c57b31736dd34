//! The servers of a file in resolv.conf format (resolv.conf(5)).

use std::net::{SocketAddr, SocketAddrV6};

/// The addresses of the `nameserver` lines, as Go's DNS library reads them.
pub(super) fn servers(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().map(|line| line.split(['#', ';']).next().unwrap_or_default());
    let words = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()
    });
    words.filter_map(|word| address(word, 53)).collect()
}

/// An address with an optional `%scope`: the number or the name of its interface (RFC 4007 §11).
pub(super) fn address(text: &str, port: u16) -> Option<SocketAddr> {
    if let Some((ip, scope)) = text.split_once('%') {
        let scope = scope.parse().ok().or_else(|| interface(scope))?;
        return Some(SocketAddrV6::new(ip.parse().ok()?, port, 0, scope).into());
    }
    Some(SocketAddr::new(text.parse().ok()?, port))
}

/// The index of a network interface.
fn interface(name: &str) -> Option<u32> {
    std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameserver_lines_are_read_and_nothing_else() {
        let text = "# nameserver 1.1.1.1\nsearch a.example\nnameserver 8.8.8.8 # first\n\tnameserver ::1\nnameserver\n\
                    nameserver fe80::1%7\noptions ndots:5\nnameserver dns.example\n";
        let found: Vec<_> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["8.8.8.8:53", "[::1]:53", "[fe80::1%7]:53"]);
    }
}
