//! Where a connection or a datagram to a TCP or UDP service goes.

use std::fmt;
use std::str::FromStr;

use cluster::Protocol;
use ingress_routes::Streams;

use crate::ingress::members;
use crate::request::BadExplainedRequest;
use crate::tree::Tree;

/// A TCP or UDP service as `tcp://HOST:PORT` or `udp://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedStream {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The host as given. It has no part in the choice.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl ExplainedStream {
    /// Whether a text is meant as one.
    pub fn is_url(text: &str) -> bool {
        text.starts_with("tcp://") || text.starts_with("udp://")
    }

    fn scheme(&self) -> &'static str {
        self.protocol.label()
    }
}

impl FromStr for ExplainedStream {
    type Err = BadExplainedRequest;

    fn from_str(text: &str) -> Result<Self, BadExplainedRequest> {
        let wanted = || BadExplainedRequest(format!("{text}: wanted tcp://HOST:PORT or udp://HOST:PORT"));
        let (scheme, authority) = text.split_once("://").ok_or_else(wanted)?;
        let protocol = match scheme {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(wanted()),
        };
        let (host, port) = authority.trim_end_matches('/').rsplit_once(':').ok_or_else(wanted)?;
        Ok(Self { protocol, host: host.to_owned(), port: port.parse().map_err(|_| wanted())? })
    }
}

impl fmt::Display for ExplainedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme(), self.host, self.port)
    }
}

/// The entry of a port, its Service and its endpoints.
pub fn explain(stream: &ExplainedStream, streams: &Streams) -> Tree {
    let tree = Tree::new(stream.to_string());
    let entry = format!("{}:{}", stream.scheme(), stream.port);
    let problems = streams.problems().map(ToString::to_string);
    let problems: Vec<_> = problems.filter(|problem| problem.contains(&stream.port.to_string())).collect();
    let Some(found) = streams.get(stream.protocol, stream.port) else {
        return tree
            .with(format!(
                "no entry for {entry} in the ConfigMaps of --tcp-services-configmap and --udp-services-configmap, nor in stream-snippet"
            ))
            .with_all(problems)
            .with("answer: the port is closed, unless it is one of HTTP or HTTPS");
    };
    let target = &found.target;
    let tree = tree
        .with(format!("entry: {entry} of {} {}", found.source.0, found.source.1))
        .with(
            Tree::new(format!("backend: Service {}, port {}", target.service, target.port))
                .with_all(members(&found.pool)),
        )
        .with_all(
            found
                .rules
                .directives()
                .map(|directive| format!("{directive}, unless one before it has the client")),
        )
        .with_all(problems);
    match found.is_open() {
        true => tree.with("answer: that of an endpoint"),
        false => tree.with("answer: the port is closed, because there is no endpoint"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_by_protocol_and_port() {
        let parsed = |text: &str| text.parse::<ExplainedStream>().map(|stream| stream.to_string()).ok();
        assert_eq!(parsed("tcp://db.test:5432/").as_deref(), Some("tcp://db.test:5432"));
        assert_eq!(parsed("udp://[::1]:53").as_deref(), Some("udp://[::1]:53"));
        for text in ["tcp://db.test", "tcp://db.test:x", "http://a:1", "db.test:5432"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn a_port_without_an_entry_is_closed() {
        let text = explain(&"tcp://db.test:5432".parse().unwrap(), &Streams::default()).to_text();
        assert!(text.contains("no entry for tcp:5432") && text.contains("the port is closed"), "{text}");
    }
}
