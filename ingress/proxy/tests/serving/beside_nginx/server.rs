//! Portolan or nginx, with the same three Services behind it: `shop` for `shop.example`, `other` for `other.example`, `wild` for
//! `*.wild.example`. Their endpoints answer with the request that they have got.

use std::io::{BufRead, Read, Write};
use std::net::SocketAddr;

use super::nginx::{Nginx, SERVICES};
use crate::message::{Response, read_body};
use crate::scripted_endpoint::{EndpointConnection, ScriptedEndpoint};
use crate::support::{TestCluster, TestOptions};

/// The same configuration for both servers.
#[derive(Clone, Copy)]
pub(super) struct EdgeSetup {
    /// Keys of Portolan's ConfigMap.
    pub(super) keys: &'static [(&'static str, &'static str)],
    /// Options of Portolan that no key sets.
    pub(super) options: fn() -> TestOptions,
    /// Directives of nginx's `http` block.
    pub(super) http: &'static str,
    /// Whether the requests of `shop.example` are authenticated by a server (`auth-url`), which allows all.
    pub(super) authenticates: bool,
}

/// One of the servers.
pub(super) struct EdgeServer {
    pub(super) http: SocketAddr,
    /// HTTP/2 with prior knowledge. In Portolan this is the same port, in nginx 1.22 it needs one of its own.
    pub(super) http2: SocketAddr,
    pub(super) https: SocketAddr,
    endpoints: Vec<ScriptedEndpoint>,
    authentication: ScriptedEndpoint,
    cluster: Option<TestCluster>,
    _nginx: Option<Nginx>,
}

impl EdgeServer {
    pub(super) fn portolan(setup: EdgeSetup) -> Self {
        let endpoints: Vec<_> = SERVICES.iter().map(|(name, _)| echo(name)).collect();
        let authentication = echo("auth");
        let mut cluster = TestCluster::with((setup.options)());
        cluster.configure(setup.keys);
        for ((name, host), endpoint) in SERVICES.iter().zip(&endpoints) {
            cluster.service(name, &[endpoint.address]);
            cluster.ingress(name, host, &[]);
        }
        if setup.authenticates {
            let url = format!("http://auth.example:{}/", authentication.address.port());
            cluster.ingress("shop", "shop.example", &[("auth-url", &url)]);
        }
        let (http, https) = (cluster.http, cluster.https);
        Self { http, http2: http, https, endpoints, authentication, cluster: Some(cluster), _nginx: None }
    }

    pub(super) fn nginx(name: &str, setup: EdgeSetup) -> Result<Self, String> {
        let endpoints: Vec<_> = SERVICES.iter().map(|(name, _)| echo(name)).collect();
        let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address).collect();
        let authentication = echo("auth");
        let address = setup.authenticates.then_some(authentication.address);
        let nginx = Nginx::start(name, setup.http, &addresses, address)?;
        let [http, http2, https] = nginx.ports;
        Ok(Self { http, http2, https, endpoints, authentication, cluster: None, _nginx: Some(nginx) })
    }

    /// Portolan; `None` for nginx.
    pub(super) fn cluster(&self) -> Option<&TestCluster> {
        self.cluster.as_ref()
    }

    /// The request that the authentication server has got.
    pub(super) fn authenticated(&self) -> Response {
        self.authentication.seen()
    }

    /// How many requests the endpoints have got since the last call.
    pub(super) fn forwarded(&self) -> usize {
        self.endpoints.iter().map(|endpoint| endpoint.all_seen().len()).sum()
    }

    /// Waits until the server takes no more of the response to a target that begins with `/large`.
    pub(super) fn wait_for_end_of(&self, targets: &[&str]) {
        let mut open = targets.to_vec();
        while !open.is_empty() {
            let seen = self.endpoints[0].seen();
            open.retain(|target| seen.head != format!("ended {target}"));
        }
    }

    /// Replaces the numbers of the ports, which the system chooses.
    pub(super) fn without_ports(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (port, name) in [(self.http, "HTTP-PORT"), (self.http2, "HTTP-PORT"), (self.https, "HTTPS-PORT")]
        {
            text = text.replace(&port.port().to_string(), name);
        }
        text
    }
}

/// An endpoint that answers with its name, and the head and the body that it has got. The response to `/large` does not end; when the
/// server does not take more of it, the endpoint reports its target.
fn echo(name: &'static str) -> ScriptedEndpoint {
    ScriptedEndpoint::new(move |connection| {
        while let Some(request) = request(connection) {
            let target = request.head.split(' ').nth(1).unwrap_or_default().to_owned();
            let is_large = target.starts_with("/large");
            let body = format!("{name}\n{}\n{}", request.head, request.body);
            let is_head = request.head.starts_with("HEAD ");
            connection.report(request);
            let length = if is_large { usize::MAX >> 16 } else { body.len() };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let response = if is_head { head } else { head + &body };
            let sent = connection.stream.get_mut().write_all(response.as_bytes());
            if is_large {
                while connection.send(&"x".repeat(1 << 16)).is_ok() {}
                connection.report(Response {
                    status: 0,
                    head: format!("ended {target}"),
                    body: String::new(),
                });
                return;
            }
            if sent.is_err() {
                return;
            }
        }
    })
}

/// Reads a request of any bytes; those that are not printable ASCII are escaped.
fn request(connection: &mut EndpointConnection) -> Option<Response> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if connection.stream.by_ref().take(1 << 20).read_until(b'\n', &mut head).ok()? == 0 {
            return None;
        }
    }
    let lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let lines: Vec<_> = lines.map(|line| line.escape_ascii().to_string().replace("\\\"", "\"")).collect();
    let request =
        Response { status: 0, head: lines.join("\n").trim_end().to_owned() + "\n", body: String::new() };
    let body = read_body(&mut connection.stream, &request).unwrap_or_else(|| "(incomplete)".to_owned());
    Some(Response { body, ..request })
}
