//! The Corefile of `portolan up` without `--conf`.

/// Its text.
const BUILT_IN: &str = "\
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus
    forward . /etc/resolv.conf
    cache 30
    loadbalance
}
";

/// The built-in Corefile; without `forward` if `/etc/resolv.conf` names no server.
pub fn built_in() -> String {
    let servers = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    if servers.lines().any(|line| line.trim_start().starts_with("nameserver")) {
        return BUILT_IN.to_owned();
    }
    BUILT_IN.lines().filter(|line| !line.contains("forward . ")).map(|line| format!("{line}\n")).collect()
}
