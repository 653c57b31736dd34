//! nginx in three configurations: without a log, with a log, and with the settings of ingress-nginx's template.

use std::path::Path;
use std::process::Command;

use crate::http::message::HOST;
use crate::http::stream::LoadTls;
use crate::process::Process;
use crate::server::Server;
use crate::testbed::{Testbed, find, free_port, write};

/// Name of the configuration without a log.
pub(crate) const BARE: &str = "nginx";

/// Name of the configuration that the other proxies are compared with.
pub(crate) const INGRESS: &str = "nginx as ingress-nginx";

/// nginx without a log, with its default buffers and headers.
pub(crate) fn without_log(testbed: &Testbed, backend: u16, tls: Option<&LoadTls>) -> Result<Server, String> {
    let location = "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;";
    start(testbed, "nginx-bare", backend, tls, "access_log off;", location)
}

/// nginx with its default access log.
pub(crate) fn with_log(testbed: &Testbed, backend: u16, tls: Option<&LoadTls>) -> Result<Server, String> {
    let location = "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;";
    start(testbed, "nginx-log", backend, tls, "access_log access.log;", location)
}

/// nginx with the directives of ingress-nginx's template at their defaults.
pub(crate) fn as_ingress_nginx(
    testbed: &Testbed,
    backend: u16,
    tls: Option<&LoadTls>,
) -> Result<Server, String> {
    start(testbed, "nginx-ingress", backend, tls, INGRESS_HTTP, INGRESS_LOCATION)
}

/// The same for endpoints that speak gRPC (`backend-protocol: GRPC`).
pub(crate) fn for_grpc(testbed: &Testbed, backend: u16, tls: &LoadTls) -> Result<Server, String> {
    let location = INGRESS_LOCATION.replace("proxy_set_header", "grpc_set_header")
        + "            grpc_pass grpc://upstream_balancer;";
    start_with(testbed, "nginx-grpc", backend, Some(tls), INGRESS_HTTP, &location)
}

fn start(
    testbed: &Testbed,
    name: &str,
    backend: u16,
    tls: Option<&LoadTls>,
    http: &str,
    location: &str,
) -> Result<Server, String> {
    let location = format!("{location}\n            proxy_pass http://upstream_balancer;");
    start_with(testbed, name, backend, tls, http, &location)
}

/// `location`: with the directive that names the upstream.
fn start_with(
    testbed: &Testbed,
    name: &str,
    backend: u16,
    tls: Option<&LoadTls>,
    http: &str,
    location: &str,
) -> Result<Server, String> {
    let program = find("nginx", "NGINX").ok_or("nginx is not installed (Debian package nginx-light)")?;
    let (folder, port) = (testbed.folder(name)?, free_port()?);
    let at = folder.display();
    let (listen, ssl) = match tls {
        None => ("", String::new()),
        Some(tls) => {
            write(&folder.join("tls.crt"), &tls.certificate.certificate)?;
            write(&folder.join("tls.key"), &tls.certificate.key)?;
            (
                " ssl http2",
                format!(
                    "{SSL}\n        ssl_certificate {at}/tls.crt;\n        ssl_certificate_key {at}/tls.key;"
                ),
            )
        }
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {at}/{kind};\n"))
        .concat();
    write(
        &folder.join("nginx.conf"),
        &format!(
            "daemon off;\nworker_processes 1;\npid {at}/pid;\nerror_log {at}/error.log notice;\n\
             events {{ worker_connections 16384; multi_accept on; use epoll; }}\n\
             http {{\n{temporary}{}\n    upstream upstream_balancer {{\n        server 127.0.0.1:{backend};\n        \
             keepalive 320;\n        keepalive_time 1h;\n        keepalive_timeout 60s;\n        \
             keepalive_requests 10000;\n    }}\n    server {{\n        listen 127.0.0.1:{port}{listen} reuseport backlog=4096;{ssl}\n        \
             server_name {HOST};\n        location / {{\n{location}\n        }}\n    }}\n}}\n",
            http.replace("access.log", &format!("{at}/access.log"))
        ),
    )?;
    Ok(Server::new(run(testbed, &program, &folder)?, port))
}

fn run(testbed: &Testbed, program: &Path, folder: &Path) -> Result<Process, String> {
    let mut command = Command::new(program);
    command
        .arg("-e")
        .arg(folder.join("error.log"))
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"));
    if testbed.counts_instructions {
        // Valgrind has no control over the processes that nginx starts.
        command.args(["-g", "master_process off;"]);
    }
    Process::start_server(testbed, &mut command, folder)
}

/// TLS settings of ingress-nginx's template.
const SSL: &str = "
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_early_data off;
        ssl_session_cache shared:SSL:10m;
        ssl_session_timeout 10m;
        ssl_session_tickets off;
        ssl_buffer_size 4k;
        ssl_prefer_server_ciphers on;";

const INGRESS_HTTP: &str = r#"
    aio threads;
    aio_write on;
    tcp_nopush on;
    tcp_nodelay on;
    log_subrequest on;
    reset_timedout_connection on;
    keepalive_timeout 75s;
    keepalive_requests 1000;
    client_header_buffer_size 1k;
    client_header_timeout 60s;
    large_client_header_buffers 4 8k;
    client_body_buffer_size 8k;
    client_body_timeout 60s;
    types_hash_max_size 2048;
    server_names_hash_max_size 1024;
    server_names_hash_bucket_size 64;
    map_hash_bucket_size 64;
    proxy_headers_hash_max_size 512;
    proxy_headers_hash_bucket_size 64;
    variables_hash_bucket_size 256;
    variables_hash_max_size 2048;
    underscores_in_headers off;
    ignore_invalid_headers on;
    limit_req_status 503;
    limit_conn_status 503;
    server_tokens off;
    uninitialized_variable_warn off;
    log_format upstreaminfo '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id';
    map $request_uri $loggable { default 1; }
    access_log access.log upstreaminfo if=$loggable;
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    map $http_x_request_id $req_id { default $http_x_request_id; "" $request_id; }
"#;

const INGRESS_LOCATION: &str = r#"
            set $namespace "default";
            set $ingress_name "shop";
            set $service_name "web";
            set $service_port "80";
            set $location_path "/";
            set $proxy_upstream_name "default-web-80";
            set $proxy_host $proxy_upstream_name;
            set $proxy_alternative_upstream_name "";
            set $pass_access_scheme $scheme;
            set $pass_server_port $server_port;
            set $best_http_host $http_host;
            set $pass_port $pass_server_port;
            port_in_redirect off;
            client_max_body_size 1m;
            proxy_set_header Host $best_http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Request-ID $req_id;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Host $best_http_host;
            proxy_set_header X-Forwarded-Port $pass_port;
            proxy_set_header X-Forwarded-Proto $pass_access_scheme;
            proxy_set_header X-Forwarded-Scheme $pass_access_scheme;
            proxy_set_header X-Scheme $pass_access_scheme;
            proxy_set_header X-Original-Forwarded-For $http_x_forwarded_for;
            proxy_set_header Proxy "";
            proxy_connect_timeout 5s;
            proxy_send_timeout 60s;
            proxy_read_timeout 60s;
            proxy_buffering off;
            proxy_buffer_size 4k;
            proxy_buffers 4 4k;
            proxy_max_temp_file_size 1024m;
            proxy_request_buffering on;
            proxy_http_version 1.1;
            proxy_cookie_domain off;
            proxy_cookie_path off;
            proxy_next_upstream error timeout;
            proxy_next_upstream_timeout 0;
            proxy_next_upstream_tries 3;
            proxy_redirect off;
"#;
