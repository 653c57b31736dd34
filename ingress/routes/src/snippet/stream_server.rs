//! `stream-snippet` of the ConfigMap and of Ingresses: `server` blocks with a port and an endpoint of their own.
//!
//! A block is served as a whole or not at all: what it says that is not honoured could have protected it.

use std::net::IpAddr;

use cluster::{CompactString, Protocol};
use ipnet::IpNet;

use super::compile::MAX_DIRECTIVES;
use super::lexer::{Position, SnippetWord};
use super::statement::{Statement, parse};
use crate::settings::parse_time;

/// A `server` block.
#[derive(Debug, PartialEq)]
pub(crate) struct SnippetServer {
    pub(crate) at: Position,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
    /// `listen … proxy_protocol`.
    pub(crate) decodes_proxy: bool,
    /// `proxy_protocol on`.
    pub(crate) encodes_proxy: bool,
    /// `proxy_pass`: the host and its port.
    pub(crate) target: (CompactString, u16),
    /// `allow` and `deny`.
    pub(crate) rules: StreamAddressRules,
}

/// `allow` and `deny` of nginx in their order: the first that covers a client decides, and a client that none covers is served.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamAddressRules(pub(crate) Box<[(bool, Option<IpNet>)]>);

impl StreamAddressRules {
    /// Whether a client is served.
    pub fn admit(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let covers = |network: &Option<IpNet>| network.is_none_or(|network| network.contains(&client));
        self.0.iter().find(|(_, network)| covers(network)).is_none_or(|(allows, _)| *allows)
    }

    /// The directives in their order, such as `allow 10.0.0.0/8` and `deny all`.
    pub fn directives(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(allows, network)| {
            let verb = if *allows { "allow" } else { "deny" };
            network.map_or_else(|| format!("{verb} all"), |network| format!("{verb} {network}"))
        })
    }
}

/// What is wrong, and where.
#[derive(Debug, PartialEq)]
pub(crate) struct SnippetMistake {
    pub(crate) at: Position,
    pub(crate) what: String,
}

/// The servers of a text, and what is not honoured.
pub(crate) fn read_servers(text: &str) -> (Vec<SnippetServer>, Vec<SnippetMistake>) {
    let (statements, error) = parse(text, MAX_DIRECTIVES);
    let (mut servers, mut mistakes) = (Vec::new(), Vec::new());
    for statement in &statements {
        match server(statement) {
            Ok(server) => servers.push(server),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    // Everything after a mistake of syntax is lost.
    mistakes.extend(error.map(|error| SnippetMistake { at: error.at, what: error.what }));
    (servers, mistakes)
}

fn mistake(word: &SnippetWord, what: impl Into<String>) -> SnippetMistake {
    SnippetMistake { at: word.at, what: what.into() }
}

fn server(statement: &Statement) -> Result<SnippetServer, SnippetMistake> {
    let Statement { name, arguments, block } = statement;
    let block = match (name.text.as_str(), block) {
        ("server", Some(block)) if arguments.is_empty() => block,
        ("server", _) => return Err(mistake(name, "server should have a block and no argument")),
        ("proxy_timeout" | "proxy_next_upstream" | "proxy_responses", None) => {
            let key = match name.text.as_str() {
                "proxy_timeout" => "proxy-stream-timeout",
                "proxy_responses" => "proxy-stream-responses",
                _ => "proxy-stream-next-upstream",
            };
            return Err(mistake(name, format!("{} has no effect here; use the key {key}", name.text)));
        }
        (other, _) => {
            return Err(mistake(name, format!("{other} is not honoured in stream-snippet; server is")));
        }
    };
    let (mut listen, mut target, mut encodes_proxy) = (None, None, false);
    let mut rules = Vec::new();
    for Statement { name, arguments, block } in block {
        let words: Vec<&str> = arguments.iter().map(|word| word.text.as_str()).collect();
        let should = |wanted: &str| mistake(name, format!("{} should have {wanted}", name.text));
        let twice = || mistake(name, format!("{} occurs twice in a server", name.text));
        if block.is_some() {
            return Err(mistake(
                name,
                format!("{} with a block is not honoured; the server is not opened", name.text),
            ));
        }
        match (name.text.as_str(), &words[..]) {
            ("listen", _) if listen.is_some() => return Err(twice()),
            ("listen", [address, parameters @ ..]) => {
                let read = read_listen(address, parameters);
                listen = Some(read.ok_or_else(|| {
                    should("a port from 1 to 65535 and optionally udp, proxy_protocol or reuseport")
                })?);
            }
            ("proxy_pass", _) if target.is_some() => return Err(twice()),
            ("proxy_pass", [address]) => {
                target = Some(
                    read_target(address)
                        .ok_or_else(|| should("a host and a port, such as db.example:5432"))?,
                );
            }
            ("proxy_protocol", ["on"]) => encodes_proxy = true,
            ("proxy_protocol", ["off"]) => encodes_proxy = false,
            ("allow" | "deny", [network]) => {
                let network =
                    read_network(network).ok_or_else(|| should("an IP address, a network, or all"))?;
                rules.push((name.text == "allow", network));
            }
            // The limits of ingress-nginx's keys apply; a time that is the default of both changes nothing.
            ("proxy_timeout", [time]) if parse_time(time).is_some_and(|time| time.as_secs() == 600) => {}
            (other, _) => {
                let what =
                    format!("{other} is not honoured in a server of stream-snippet, so it is not opened");
                return Err(mistake(name, what));
            }
        }
    }
    let missing = |what: &str| mistake(name, format!("the server has no {what}"));
    let (protocol, port, decodes_proxy) = listen.ok_or_else(|| missing("listen"))?;
    let target = target.ok_or_else(|| missing("proxy_pass"))?;
    if protocol == Protocol::Udp && (encodes_proxy || decodes_proxy) {
        return Err(mistake(name, "the PROXY protocol needs TCP"));
    }
    let rules = StreamAddressRules(rules.into());
    Ok(SnippetServer { at: name.at, protocol, port, decodes_proxy, encodes_proxy, target, rules })
}

/// The protocol, the port, and whether streams begin with a PROXY header. Addresses other than all are those of `bind-address`.
fn read_listen(address: &str, parameters: &[&str]) -> Option<(Protocol, u16, bool)> {
    let port = address.strip_prefix("*:").or_else(|| address.strip_prefix("0.0.0.0:")).unwrap_or(address);
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let (mut protocol, mut decodes_proxy) = (Protocol::Tcp, false);
    for parameter in parameters {
        match *parameter {
            "udp" => protocol = Protocol::Udp,
            "proxy_protocol" => decodes_proxy = true,
            // Each worker has a socket of its own anyway.
            "reuseport" => {}
            _ => return None,
        }
    }
    Some((protocol, port, decodes_proxy))
}

fn read_target(address: &str) -> Option<(CompactString, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().ok().map(|ip| CompactString::from(ip.to_string()))?,
        None if !host.contains(':') => CompactString::from(host.strip_suffix('.').unwrap_or(host)),
        None => return None,
    };
    // A variable would be a target of the client's choice.
    (!host.is_empty() && !host.contains('$') && host != "unix").then_some((host, port))
}

/// `None` in `Some` for all addresses.
fn read_network(text: &str) -> Option<Option<IpNet>> {
    match text {
        "all" => Some(None),
        text => {
            let network = text.parse::<IpNet>().map(|network| network.trunc());
            network.ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        let (servers, mistakes) = read_servers(
            "# a database\nserver {\n  listen 5432 proxy_protocol;\n  proxy_pass db.example.:5433;\n  proxy_protocol on;\n  allow 10.0.0.0/8; deny all;\n}\n\
             server { listen *:53 udp reuseport; proxy_pass [2001:db8::1]:53; }",
        );
        assert_eq!(mistakes, []);
        let shown: Vec<_> = servers
            .iter()
            .map(|server| {
                let (host, port) = &server.target;
                format!(
                    "{} {} {} {} {host} {port} {}",
                    server.at,
                    server.protocol.label(),
                    server.port,
                    server.decodes_proxy,
                    server.rules.0.len()
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "line 2, column 1 tcp 5432 true db.example 5433 2",
                "line 8, column 1 udp 53 false 2001:db8::1 53 0"
            ]
        );
        let admits = |ip: &str| servers[0].rules.admit(ip.parse().unwrap());
        assert_eq!(["10.1.2.3", "192.0.2.1", "2001:db8::1"].map(admits), [true, false, false]);
        assert!(servers[1].rules.admit("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn mistakes_have_a_position_and_leave_their_server_out() {
        for (text, at, what) in [
            ("server { listen 1; }", (1, 1), "the server has no proxy_pass"),
            ("server { proxy_pass a:1; }", (1, 1), "the server has no listen"),
            ("server { listen 0; proxy_pass a:1; }", (1, 10), "a port from 1 to 65535"),
            ("server { listen 1 ssl; proxy_pass a:1; }", (1, 10), "a port from 1 to 65535"),
            ("server { listen 127.0.0.1:1; proxy_pass a:1; }", (1, 10), "a port from 1 to 65535"),
            ("server { listen 1; listen 2; proxy_pass a:1; }", (1, 20), "occurs twice"),
            ("server { listen 1; proxy_pass a; }", (1, 20), "a host and a port"),
            ("server { listen 1; proxy_pass unix:/x; }", (1, 20), "a host and a port"),
            ("server { listen 1; proxy_pass $host:1; }", (1, 20), "a host and a port"),
            ("server { listen 1; proxy_pass a:1; deny x; }", (1, 36), "a network, or all"),
            ("server { listen 1; proxy_pass a:1;\n proxy_ssl on; }", (2, 2), "proxy_ssl is not honoured"),
            ("server { listen 1 udp; proxy_pass a:1; proxy_protocol on; }", (1, 1), "needs TCP"),
            ("proxy_timeout 5s;", (1, 1), "use the key proxy-stream-timeout"),
            ("upstream a { server b:1; }", (1, 1), "upstream is not honoured"),
            ("server { listen 1;", (1, 19), "the text ends where }"),
        ] {
            let (servers, mistakes) = read_servers(text);
            assert_eq!(servers, [], "{text}");
            assert_eq!(mistakes.len(), 1, "{text}: {mistakes:?}");
            let Position { line, column } = mistakes[0].at;
            assert_eq!((line, column), at, "{text}: {mistakes:?}");
            assert!(mistakes[0].what.contains(what), "{text}: {mistakes:?}");
        }
    }

    #[test]
    fn a_snippet_has_a_limited_number_of_directives() {
        let (servers, mistakes) = read_servers(&"server { listen 1; proxy_pass a:1; }".repeat(1000));
        assert_eq!((servers.len(), mistakes.len()), (MAX_DIRECTIVES / 3, 1));
        assert!(mistakes[0].what.contains("too many directives"), "{mistakes:?}");
    }
}
