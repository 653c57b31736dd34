//! The TO arguments of `forward`: addresses, URLs, host names and files in resolv.conf format.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{HostPort, Scheme, Word};
use dns_wire::codes::rtype;
use dns_wire::{Name, Query, Reply, Section};

use super::options::ForwardOptions;
use super::resolv;
use crate::setup::SetupErrors;

/// The maximum number of upstreams of one `forward`, as in CoreDNS.
pub(super) const MAX_UPSTREAMS: usize = 15;

/// One upstream as given in the Corefile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ForwardTarget {
    pub scheme: Scheme,
    pub address: SocketAddr,
    /// The name in its certificate: the part after `%`, or the host name.
    pub server_name: Option<String>,
    /// The path of an `https://` URL.
    pub path: String,
}

impl ForwardTarget {
    /// An address that is asked over UDP and TCP.
    pub(super) fn plain(address: SocketAddr) -> Self {
        Self { scheme: Scheme::Dns, address, server_name: None, path: String::new() }
    }
}

/// One argument, and the upstreams that it names.
pub(super) struct TargetSource {
    /// The file, if it is one. Its servers may change.
    pub file: Option<PathBuf>,
    pub targets: Vec<ForwardTarget>,
}

/// Parses all arguments. Host names are resolved once, here.
pub(super) fn read(words: &[Word], options: &ForwardOptions) -> Result<Vec<TargetSource>, SetupErrors> {
    let (mut sources, mut errors) = (Vec::new(), SetupErrors::new());
    for word in words {
        match parse_target(word, options) {
            Ok(found) => sources.push(found),
            Err(error) => errors.push(error),
        }
    }
    let count: usize = sources.iter().map(|source: &TargetSource| source.targets.len()).sum();
    if count > MAX_UPSTREAMS {
        let what = format!("more than {MAX_UPSTREAMS} TOs configured: {count}");
        errors.extend(words.first().map(|word| word.error(what, format!("at most {MAX_UPSTREAMS}"))));
    }
    if errors.is_empty() { Ok(sources) } else { Err(errors) }
}

fn parse_target(word: &Word, options: &ForwardOptions) -> Result<TargetSource, config::ConfigError> {
    let path = Path::new(&word.text);
    if path.is_file() {
        let servers = file(path).map_err(|what| word.error(what, "nameserver lines with addresses"))?;
        let targets = servers.into_iter().map(ForwardTarget::plain).collect();
        return Ok(TargetSource { file: Some(path.to_owned()), targets });
    }
    let (scheme, rest) = Scheme::split(&word.text);
    if matches!(scheme, Scheme::Grpc | Scheme::Https3) {
        return Err(word
            .error(format!("forward does not support {scheme}://"), "dns://, tls://, https:// or quic://"));
    }
    let (host, path) = match rest.split_once('/') {
        Some((host, path)) if scheme == Scheme::Https => (host, format!("/{path}")),
        _ => (rest, "/dns-query".to_owned()),
    };
    let (host, port, mut server_name) = split(host, scheme).ok_or_else(|| {
        word.error(
            format!("not an IP address or file: \"{word}\""),
            "an address, a host name or a file in resolv.conf form",
        )
    })?;
    let addresses = match resolv::address(&host, port) {
        Some(address) => vec![address],
        None => {
            let found = resolve(&host, &options.resolver);
            server_name = server_name.or_else(|| Some(host.trim_end_matches('.').to_owned()));
            let found = found.map_err(|why| {
                word.error(format!("not an IP address or file: \"{word}\" ({why})"), "a name that resolves")
            })?;
            found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
        }
    };
    let target =
        |address| ForwardTarget { scheme, address, server_name: server_name.clone(), path: path.clone() };
    Ok(TargetSource { file: None, targets: addresses.into_iter().map(target).collect() })
}

/// Host, port and the name after `%`. For plain DNS the part after `%` is the scope of the address.
fn split(text: &str, scheme: Scheme) -> Option<(String, u16, Option<String>)> {
    let (text, name) = match text.rsplit_once('%') {
        Some((address, name)) if scheme != Scheme::Dns => {
            // In `9.9.9.9%name:853` the port follows the name.
            match name.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) {
                Some((name, port)) => (format!("{address}:{port}"), Some(name.to_owned())),
                None => (address.to_owned(), Some(name.to_owned())),
            }
        }
        _ => (text.to_owned(), None),
    };
    let HostPort { host, port } = HostPort::read(&text, Some(scheme.default_port()))?;
    let plausible = resolv::address(&host, port).is_some()
        || (!host.contains(['/', '%']) && host.parse::<Name>().is_ok());
    (plausible && !host.is_empty()).then_some((host, port, name))
}

/// The longest file that is read.
const MAX_FILE: u64 = 64 << 10;

/// The servers of a file in resolv.conf format; an error if there are none.
pub(super) fn file(path: &Path) -> Result<Vec<SocketAddr>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut text = String::new();
    std::fs::File::open(path).map_err(failed)?.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    let servers = resolv::servers(&text);
    if servers.is_empty() { Err(format!("no nameservers found in {}", path.display())) } else { Ok(servers) }
}

/// The addresses of a host name. It is absolute: no search list applies (CoreDNS 1.15).
fn resolve(host: &str, resolvers: &[SocketAddr]) -> Result<Vec<IpAddr>, String> {
    let absolute = format!("{}.", host.trim_end_matches('.'));
    let mut found: Vec<IpAddr> = if resolvers.is_empty() {
        let addresses = (absolute.as_str(), 0).to_socket_addrs().map_err(|error| error.to_string())?;
        addresses.map(|address| address.ip()).collect()
    } else {
        let name: Name = absolute.parse().map_err(|error: dns_wire::InvalidName| error.to_string())?;
        let replies = resolvers.iter().map(|resolver| query_resolver(&name, *resolver));
        replies.reduce(|first, next| first.or(next)).unwrap_or_else(|| Ok(Vec::new()))?
    };
    found.sort();
    found.dedup();
    if found.is_empty() { Err("no addresses".to_owned()) } else { Ok(found) }
}

/// Queries one resolver for the addresses of both families.
fn query_resolver(name: &Name, resolver: SocketAddr) -> Result<Vec<IpAddr>, String> {
    let text = |error: std::io::Error| format!("{resolver}: {}", net::error_text(&error));
    let any: IpAddr = if resolver.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).map_err(text)?;
    socket.connect(resolver).map_err(text)?;
    socket.set_read_timeout(Some(Duration::from_secs(2))).map_err(text)?;
    let mut found = Vec::new();
    for qtype in [rtype::A, rtype::AAAA] {
        let query = Query::new(rand::random(), name, qtype);
        let mut packet = [0; 4096];
        let length = query.encode(query.id, &mut packet);
        socket.send(&packet[..length]).map_err(text)?;
        let length = socket.recv(&mut packet).map_err(text)?;
        let mut reply = Reply::default();
        let parsed = reply.parse(&packet[..length], &query).map_err(|error| error.to_string())?;
        if parsed.id != query.id || !parsed.matches {
            return Err(format!("{resolver}: reply to another question"));
        }
        for record in reply.section(Section::Answer) {
            let data = reply.rdata(record);
            match record.rtype {
                rtype::A => found.extend(<[u8; 4]>::try_from(data).map(IpAddr::from)),
                rtype::AAAA => found.extend(<[u8; 16]>::try_from(data).map(IpAddr::from)),
                _ => {}
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_port_and_server_name_are_parsed_in_each_form_of_to() {
        for (text, scheme, wanted) in [
            ("8.8.8.8", Scheme::Dns, Some(("8.8.8.8", 53, None))),
            ("8.8.8.8:5353", Scheme::Dns, Some(("8.8.8.8", 5353, None))),
            ("[::1]:5353", Scheme::Dns, Some(("::1", 5353, None))),
            ("9.9.9.9%dns.quad9.net", Scheme::Tls, Some(("9.9.9.9", 853, Some("dns.quad9.net")))),
            ("9.9.9.9%dns.quad9.net:8853", Scheme::Tls, Some(("9.9.9.9", 8853, Some("dns.quad9.net")))),
            ("fe80::1%lo", Scheme::Dns, Some(("fe80::1%lo", 53, None))),
            ("[fe80::1%1]:5353", Scheme::Dns, Some(("fe80::1%1", 5353, None))),
            ("fe80::1%none", Scheme::Dns, None),
            ("dns.example:53", Scheme::Dns, Some(("dns.example", 53, None))),
            ("1.1.1.1", Scheme::Https, Some(("1.1.1.1", 443, None))),
            ("/etc/none.conf", Scheme::Dns, None),
            ("a..b", Scheme::Dns, None),
        ] {
            let found = split(text, scheme);
            let found = found.as_ref().map(|(host, port, name)| (host.as_str(), *port, name.as_deref()));
            assert_eq!(found, wanted, "{text}");
        }
    }
}
