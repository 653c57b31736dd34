//! The live page of the admin addresses: what is served now. Read-only.
//!
//! `/live` is one page without anything from elsewhere; `/live/state` is what changes rarely, `/live/events` is what changes with
//! each request, once a second for each open page, and `/live/explain` explains a request
//! or a name. `/configuration/…` dumps what is served, for `portolan dbg`.

mod dump;
mod events;
mod explanation;
mod followed;
mod state;

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cluster::{Current, Ingress, Key};
use dns_server::ServedRoutes;
use explain::ingress::IngressViews;
use explain::{ExplainedRequest, ExplainedStream, Tree};
use http::StatusCode;
use http::header::HOST;
use http::uri::Authority;
use ingress_proxy::ProxyViews;
use ingress_proxy::followed_requests::FollowedRequests;
use ingress_routes::{Certs, GeoDatabases, Pools, RouteOptions, RouteTable, Streams};
use sources::Cluster;
use telemetry::{AdminPeer, AdminRequest, AdminResponse};

use crate::args::LiveAccess;
use crate::runtime::Runtime;

/// How often events are sent.
const PERIOD: Duration = Duration::from_secs(1);

/// The page and what it loads.
const FILES: [(&str, &str, &str); 3] = [
    ("/live", "text/html; charset=utf-8", include_str!("live/page.html")),
    ("/live/script.js", "text/javascript; charset=utf-8", include_str!("live/script.js")),
    ("/live/style.css", "text/css; charset=utf-8", include_str!("live/style.css")),
];

/// Whether a client may see the page.
fn allows(access: LiveAccess, request: &AdminRequest) -> bool {
    match access {
        LiveAccess::Off => false,
        LiveAccess::All => true,
        LiveAccess::Loopback => is_local(request),
    }
}

/// Whether a request comes from this host and is meant for it. The page of another site may have a name that its owner has pointed to
/// the loopback address in the meantime (DNS rebinding); then the browser of this host sends that name.
fn is_local(request: &AdminRequest) -> bool {
    let is_loopback = request.extensions.get::<AdminPeer>().is_some_and(|peer| peer.0.is_loopback());
    let host = request.headers.get(HOST).map(|host| host.to_str().unwrap_or("invalid"));
    is_loopback && host.is_none_or(is_own_name)
}

/// Whether a Host field has an address, `localhost` or a name below it, which no name server can point elsewhere (RFC 6761 §6.3).
fn is_own_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

/// The parts of the ingress proxy that the page shows.
#[derive(Clone)]
pub struct LiveIngress {
    /// Its cluster.
    pub cluster: Cluster,
    /// Its views.
    pub views: ProxyViews,
    /// Its options.
    pub options: RouteOptions,
    /// The requests that are followed.
    pub followed: FollowedRequests,
}

impl LiveIngress {
    /// Explains a TCP or UDP service with the current views.
    fn explain_stream(&self, stream: &ExplainedStream) -> Tree {
        explain_stream(stream, &self.views.streams)
    }

    /// Explains a request with the current views.
    fn explain(&self, request: &ExplainedRequest) -> Tree {
        let Self { cluster, views, options, .. } = self;
        explain(request, cluster, (&views.table, &views.pools, &views.certs, &views.geo), options)
    }
}

/// The DNS server of the process, once it serves. Stays empty without one.
pub type LiveDns = Arc<OnceLock<ServedRoutes>>;

/// Explains a TCP or UDP service with the current ones.
pub fn explain_stream(stream: &ExplainedStream, streams: &Current<Streams>) -> Tree {
    explain::stream::explain(stream, &streams.load())
}

/// Explains a request with the current routes, endpoints, certificates and GeoIP databases of a cluster.
pub fn explain(
    request: &ExplainedRequest,
    cluster: &Cluster,
    (table, pools, certs, geo): (
        &Current<RouteTable>,
        &Current<Pools>,
        &Current<Certs>,
        &Current<GeoDatabases>,
    ),
    options: &RouteOptions,
) -> Tree {
    let views = IngressViews {
        table: &table.load(),
        pools: &pools.load(),
        certs: &certs.load(),
        geo,
        ingress: &|key: &Key| {
            cluster.read(|snapshot| snapshot.get::<Ingress>(key).map(|found| (**found).clone()))
        },
        prefix: &options.annotations_prefix,
        ports: (options.http_port, options.https_port),
        now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    };
    explain::ingress::explain(request, &views)
}

/// Adds the page to all admin addresses. `ingress` is `None` without a proxy. Returns what the DNS server is set in once it serves.
pub fn serve(access: LiveAccess, ingress: Option<LiveIngress>, runtime: &Runtime) -> LiveDns {
    let dns = LiveDns::default();
    if access == LiveAccess::Off {
        return dns;
    }
    let page = move |request: &AdminRequest, make: &dyn Fn() -> AdminResponse| match allows(access, request) {
        true => make(),
        false => forbidden(),
    };
    for (path, content_type, text) in FILES {
        let file = move || AdminResponse { status: StatusCode::OK, content_type, body: text.into() };
        runtime.admin.add_common_page(path, move |request| page(request, &file));
    }
    let (state, dump) = (state::StateSource::new(ingress.clone(), runtime), ingress.clone());
    let explained = explanation::ExplainPage { ingress, dns: dns.clone(), handle: runtime.handle.clone() };
    runtime.admin.add_common_page("/live/state", move |request| page(request, &|| json(state.json())));
    runtime.admin.add_common_page("/live/explain", move |request| {
        page(request, &|| explained.respond(request.uri.query().unwrap_or_default(), is_local(request)))
    });
    let followed = dump.clone();
    runtime.admin.add_common_page("/live/follow", move |request| {
        // Others could use up the secrets.
        if is_local(request) {
            followed::respond(followed.as_ref(), request)
        } else {
            let text = "403 requests are followed for clients on this host only: use kubectl port-forward\n";
            AdminResponse::text(StatusCode::FORBIDDEN, text)
        }
    });
    for (path, make) in dump::PAGES {
        let dump = dump.clone();
        runtime.admin.add_common_page(path, move |request| {
            page(request, &|| dump::respond(dump.as_ref(), *make, request.uri.query().unwrap_or_default()))
        });
    }
    let (metrics, served) = (runtime.metrics.clone(), dns.clone());
    runtime.admin.add_common_events("/live/events", PERIOD, move |request| {
        if !allows(access, request) {
            return Err(forbidden());
        }
        let (metrics, served) = (metrics.clone(), served.clone());
        Ok(Box::new(move || events::json(&metrics, served.get().map(ServedRoutes::names))))
    });
    dns
}

fn forbidden() -> AdminResponse {
    let text =
        "403 the live page is for clients on this host: use kubectl port-forward, or --live-page=all\n";
    AdminResponse::text(StatusCode::FORBIDDEN, text)
}

fn json(body: String) -> AdminResponse {
    AdminResponse { status: StatusCode::OK, content_type: "application/json", body: body.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_no_name_server_has_are_own_names() {
        for host in
            ["127.0.0.1:10254", "localhost", "LOCALHOST:10254", "shop.localhost", "[::1]:10254", "10.0.0.1"]
        {
            assert!(is_own_name(host), "{host}");
        }
        for host in ["", "evil.example", "127.0.0.1.evil.example:10254", "localhost.evil.example", "a b"] {
            assert!(!is_own_name(host), "{host}");
        }
    }
}
