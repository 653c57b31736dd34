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
    // A server of stream-snippet names an address, and no Service.
    let (origin, backend) = match found.is_of_snippet() {
        true => (" (stream-snippet)", "the address of its proxy_pass".to_owned()),
        false => ("", format!("Service {}, port {}", target.service, target.port)),
    };
    let tree = tree
        .with(format!("entry: {entry} of {} {}{origin}", found.source.0, found.source.1))
        .with(Tree::new(format!("backend: {backend}")).with_all(members(&found.pool)))
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

    #[test]
    fn a_server_of_stream_snippet_has_no_service() {
        let snippet = "server { listen 5432; proxy_pass 192.0.2.7:5432; }";
        let key = cluster::Key::new("edge", "controller");
        let config_map =
            cluster::ConfigMap { key: key.clone(), data: vec![("stream-snippet".into(), snippet.into())] };
        let mut cache = cluster::Cache::default();
        cache.apply([cluster::Event::Apply(cluster::Object::ConfigMap(std::sync::Arc::new(config_map)))], 0);
        cache.apply(cluster::Kind::ALL.map(cluster::Event::Synced), 0);
        let options = ingress_routes::RouteOptions { config_map: Some(key), ..Default::default() };
        let streams = cache.project(ingress_routes::StreamIndex::new(options)).load_full();
        let text = explain(&"tcp://db.test:5432".parse().unwrap(), &streams).to_text();
        for wanted in [
            "of ConfigMap edge/controller (stream-snippet)",
            "backend: the address of its proxy_pass",
            "192.0.2.7:5432",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is missing in\n{text}");
        }
        assert!(!text.contains("Service"), "{text}");
    }
}
