//! Explanations: `/live/explain?url=https://shop.example/&method=GET&header=Cookie: a=b`, `?url=tcp://shop.example:5432`, or
//! `?name=web&type=A&from=shop/web-0`, with `&send=1` to ask upstream servers.

use explain::{ExplainedName, ExplainedRequest, ExplainedStream, Tree};
use http::StatusCode;
use sources::Cluster;
use telemetry::AdminResponse;
use tokio::runtime::Handle;

use super::{LiveDns, LiveIngress, json};
use crate::args::NameClient;
use crate::explained_cluster;

/// Headers that one explanation may have.
const MAX_HEADERS: usize = 32;

/// Explains what its query describes.
pub struct ExplainPage {
    /// The proxy, if there is one.
    pub ingress: Option<LiveIngress>,
    /// The DNS server, if there is one.
    pub dns: LiveDns,
    /// Runs queries that are explained.
    pub handle: Handle,
}

impl ExplainPage {
    /// The explanation of the request or the name that a query describes. Only a client that `may_send` has upstream servers asked.
    /// Runs on a blocking thread.
    pub fn respond(&self, query: &str, may_send: bool) -> AdminResponse {
        let fields = fields(query);
        let explained = match (field(&fields, "name"), field(&fields, "url")) {
            (Some(name), _) => self.name(name, &fields, may_send),
            (None, Some(url)) if ExplainedStream::is_url(url) => self.stream(url),
            _ => self.request(&fields),
        };
        match explained {
            Ok(tree) => json(tree.to_json()),
            Err((status, reason)) => AdminResponse::text(status, format!("{reason}\n")),
        }
    }

    fn ingress(&self) -> Result<&LiveIngress, PageError> {
        self.ingress.as_ref().ok_or((StatusCode::NOT_FOUND, "this process serves no Ingresses".to_owned()))
    }

    fn request(&self, fields: &[(String, String)]) -> Result<Tree, PageError> {
        let ingress = self.ingress()?;
        Ok(ingress.explain(&request(fields).map_err(bad)?))
    }

    fn stream(&self, url: &str) -> Result<Tree, PageError> {
        let ingress = self.ingress()?;
        Ok(ingress.explain_stream(&url.parse().map_err(bad)?))
    }

    fn name(&self, name: &str, fields: &[(String, String)], may_send: bool) -> Result<Tree, PageError> {
        let none = || (StatusCode::NOT_FOUND, "this process serves no DNS, or not yet".to_owned());
        let served = self.dns.get().ok_or_else(none)?;
        let qtype = field(fields, "type").unwrap_or("A");
        let qtype = dns_chain::explain::type_named(qtype)
            .ok_or_else(|| bad(format!("type={qtype}: wanted a type of records, such as AAAA")))?;
        let from = NameClient::parse(field(fields, "from").unwrap_or("127.0.0.1"));
        // A Corefile that cannot be read now is served as it was; its cluster zone is only a guess then.
        let zone =
            served.corefile().map(|corefile| explained_cluster::cluster_zone(&corefile)).unwrap_or_default();
        let cluster = self.ingress.as_ref().map(|ingress| &ingress.cluster);
        let query = ExplainedName {
            name: name.to_owned(),
            qtype,
            sends: may_send && field(fields, "send") == Some("1"),
            ..explained_cluster::client(&from, &zone, cluster)
        };
        let describe = |namespace: &str, name: &str| {
            let objects = |cluster: &Cluster| {
                cluster.read(|snapshot| explained_cluster::objects(snapshot, namespace, name))
            };
            cluster.map(objects).unwrap_or_default()
        };
        self.handle.block_on(async {
            let routes = served.first().await.ok_or_else(none)?;
            Ok(explain::dns::explain(&query, &routes, &describe).await)
        })
    }
}

/// The status and the text of a response that is no explanation.
type PageError = (StatusCode, String);

fn bad(reason: impl std::fmt::Display) -> PageError {
    (StatusCode::BAD_REQUEST, reason.to_string())
}

/// The fields of a query in their order.
pub fn fields(query: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    let fields = query.split('&').filter_map(|field| field.split_once('='));
    fields.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

/// The first field of a name that is not empty.
pub fn field<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    let found = fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    found.filter(|value| !value.is_empty())
}

fn request(fields: &[(String, String)]) -> Result<ExplainedRequest, String> {
    let field = |name: &str| field(fields, name);
    let url = field("url").ok_or("wanted url=https://shop.example/cart")?;
    let mut request = ExplainedRequest::get(url).map_err(|error| error.to_string())?;
    if let Some(method) = field("method") {
        request.method = method.to_owned();
    }
    if let Some(from) = field("from") {
        request.from = from.parse().map_err(|_| format!("from={from}: wanted an IP address"))?;
    }
    let headers = fields.iter().filter(|(name, value)| name == "header" && !value.is_empty());
    request.headers = headers.map(|(_, value)| value.clone()).take(MAX_HEADERS).collect();
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_describes_a_request() {
        let request = request(&fields(
            "url=https%3A%2F%2Fshop.example%2Fa%3Fb&header=Cookie%3A+a%3Db&from=192.0.2.1&method=POST",
        ))
        .unwrap();
        assert_eq!(request.url(), "https://shop.example/a?b");
        assert_eq!((request.headers, request.method.as_str()), (vec!["Cookie: a=b".to_owned()], "POST"));
        for query in ["", "url=", "url=ftp://x/", "url=http://x/&from=nowhere"] {
            assert!(super::request(&fields(query)).is_err(), "{query}");
        }
    }
}
