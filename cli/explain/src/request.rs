//! The request to explain.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::BytesMut;
use ingress_routes::{Exchange, RequestScheme};
use ingress_wire::request::ParsedRequest;
use ingress_wire::request_head::HeadLimits;

/// A request as the command line describes it.
#[derive(Clone, Debug)]
pub struct ExplainedRequest {
    /// `http` or `https`.
    pub scheme: RequestScheme,
    /// Host, and port if the URL has one.
    pub authority: String,
    /// Path and query.
    pub target: String,
    /// `-X`; GET if it is not given.
    pub method: String,
    /// `-H`, as `Name: value`.
    pub headers: Vec<String>,
    /// `--from`: the address of the client.
    pub from: IpAddr,
}

/// Why a request cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadExplainedRequest(pub(crate) String);

impl std::fmt::Display for BadExplainedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadExplainedRequest {}

impl ExplainedRequest {
    /// A GET of a URL such as `https://shop.example/cart?x=1` from 127.0.0.1. Without a scheme it is `http`.
    ///
    /// # Errors
    /// When the scheme is another one or there is no host.
    pub fn get(url: &str) -> Result<Self, BadExplainedRequest> {
        let (scheme, rest) = match url.split_once("://") {
            Some(("http", rest)) => (RequestScheme::Http, rest),
            Some(("https", rest)) => (RequestScheme::Https, rest),
            Some((scheme, _)) => {
                return Err(BadExplainedRequest(format!(
                    "{url}: the scheme {scheme:?} is not http or https"
                )));
            }
            None => (RequestScheme::Http, url),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() {
            return Err(BadExplainedRequest(format!(
                "{url}: wanted a URL with a host, such as https://shop.example/cart"
            )));
        }
        // A client sends no fragment.
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self {
            scheme,
            authority: authority.to_owned(),
            target,
            method: "GET".to_owned(),
            headers: Vec::new(),
            from: IpAddr::V4(Ipv4Addr::LOCALHOST),
        })
    }

    /// The URL.
    pub fn url(&self) -> String {
        format!("{}://{}{}", self.scheme.as_str(), self.authority, self.target)
    }

    /// The request as a server receives it.
    ///
    /// # Errors
    /// When the server would answer 400, with the reason.
    pub(crate) fn exchange(&self) -> Result<Exchange, BadExplainedRequest> {
        let Self { method, target, authority, headers, scheme, from, .. } = self;
        let has_host = headers.iter().any(|header| header.to_ascii_lowercase().starts_with("host:"));
        let host = if has_host { String::new() } else { format!("Host: {authority}\r\n") };
        let fields: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let text = format!("{method} {target} HTTP/1.1\r\n{host}{fields}\r\n");
        let mut parsed = Box::<ParsedRequest>::default();
        match parsed.parse(&mut BytesMut::from(text.as_str()), &HeadLimits::default()) {
            Ok(true) => {}
            Ok(false) => {
                return Err(BadExplainedRequest("the head of the request is not complete".to_owned()));
            }
            Err(error) => {
                return Err(BadExplainedRequest(format!("the head of the request is refused ({error:?})")));
            }
        }
        // The port of the client has no effect on routes.
        let peer = SocketAddr::new(*from, 40_000);
        Exchange::new(parsed, peer, *scheme).map_err(|(error, _)| BadExplainedRequest(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_clients_send_them() {
        for (url, wanted) in [
            ("https://shop.example/cart?x=1#top", "https://shop.example/cart?x=1"),
            ("shop.example", "http://shop.example/"),
            ("http://shop.example:8080?x", "http://shop.example:8080/?x"),
        ] {
            assert_eq!(ExplainedRequest::get(url).unwrap().url(), wanted);
        }
        for url in ["ftp://shop.example/", "https:///cart", "/cart"] {
            assert!(ExplainedRequest::get(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_host_header_replaces_that_of_the_url_and_a_bad_one_is_said() {
        let mut request = ExplainedRequest::get("http://10.0.0.1/").unwrap();
        request.headers.push("Host: shop.example".to_owned());
        assert_eq!(request.exchange().unwrap().host(), "shop.example");
        request.headers = vec!["no colon".to_owned()];
        assert!(request.exchange().is_err());
    }
}
