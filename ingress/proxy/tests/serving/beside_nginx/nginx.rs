//! nginx with the directives of ingress-nginx's template, as far as a build without Lua has them.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::support::TEST_TIMEOUT;

/// The Services and the hosts that lead to them.
pub(super) const SERVICES: [(&str, &str); 3] =
    [("shop", "shop.example"), ("other", "other.example"), ("wild", "*.wild.example")];

/// Of the template's `http` block, at the defaults of the ConfigMap.
const HTTP: &str = "
    reset_timedout_connection on;
    keepalive_requests 1000;
    client_header_buffer_size 1k;
    large_client_header_buffers 4 8k;
    client_body_buffer_size 8k;
    underscores_in_headers off;
    ignore_invalid_headers on;
    server_tokens off;
    http2_max_concurrent_streams 128;
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    map $http_x_request_id $req_id { default $http_x_request_id; '' $request_id; }";

/// Directives for the variables that ingress-nginx sets in Lua, without `use-forwarded-headers`.
pub(super) const NO_FORWARDED_HEADERS: &str = "
    map '' $pass_access_scheme { default $scheme; }
    map '' $pass_port { default $server_port; }
    map '' $best_http_host { default $http_host; }";

/// Of the template's `location` block.
const LOCATION: &str = "
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
            proxy_set_header X-Original-Forwarded-Host $http_x_forwarded_host;
            proxy_set_header Proxy '';
            proxy_buffering off;
            proxy_request_buffering on;
            proxy_http_version 1.1;
            proxy_next_upstream error timeout;
            proxy_next_upstream_tries 3;
            proxy_redirect off;";

/// Of the template's location for `auth-url`.
const AUTHENTICATION: &str = "
            internal;
            proxy_pass_request_body off;
            proxy_set_header Content-Length '';
            proxy_set_header X-Forwarded-Proto '';
            proxy_set_header X-Request-ID $req_id;
            proxy_set_header Host auth.example;
            proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
            proxy_set_header X-Original-Method $request_method;
            proxy_set_header X-Sent-From nginx-ingress-controller;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Auth-Request-Redirect $request_uri;
            proxy_http_version 1.1;
            proxy_pass_request_headers on;";

/// A running nginx. Dropping it ends it.
pub(super) struct Nginx {
    child: Child,
    folder: PathBuf,
    /// HTTP/1, HTTP/2 with prior knowledge, TLS.
    pub(super) ports: [SocketAddr; 3],
}

impl Nginx {
    /// Starts it with these endpoints of `SERVICES`. `name` is that of the table, of which one test has one.
    pub(super) fn start(
        name: &str,
        http: &str,
        endpoints: &[SocketAddr],
        authentication: Option<SocketAddr>,
    ) -> Result<Self, String> {
        // An address for each table: its ports are fixed, and no other program listens there.
        let last = name.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)) | 1;
        let ports = [18080, 18081, 18443].map(|port| SocketAddr::from(([127, 0, 77, last], port)));
        let folder = std::env::temp_dir().join(format!("portolan-nginx-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let certificate = net::testing::certificate("shop.example");
        let write = |file: &str, text: &str| {
            std::fs::write(folder.join(file), text).map_err(|error| format!("{file}: {error}"))
        };
        write("tls.crt", &certificate.certificate)?;
        write("tls.key", &certificate.key)?;
        write(
            "nginx.conf",
            &configuration(&folder.display().to_string(), http, endpoints, authentication, ports),
        )?;
        let child = Command::new("nginx")
            .arg("-e")
            .arg(folder.join("error.log"))
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("nginx does not start (Debian package nginx-light): {error}"))?;
        let nginx = Self { child, folder, ports };
        let start = Instant::now();
        while TcpStream::connect(ports[2]).is_err() {
            if start.elapsed() > TEST_TIMEOUT {
                let log = std::fs::read_to_string(nginx.folder.join("error.log")).unwrap_or_default();
                return Err(format!("nginx does not listen: {log}"));
            }
            std::thread::yield_now();
        }
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // They fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn configuration(
    at: &str,
    http: &str,
    endpoints: &[SocketAddr],
    authentication: Option<SocketAddr>,
    ports: [SocketAddr; 3],
) -> String {
    let [plain, http2, tls] = ports;
    let listen = |suffix: &str| {
        format!("listen {plain}{suffix}; listen {http2} http2{suffix}; listen {tls} ssl http2{suffix};")
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {at}/{kind};\n"))
        .concat();
    let mut blocks = String::new();
    for ((name, host), endpoint) in SERVICES.iter().zip(endpoints) {
        let host = match host.strip_prefix("*.") {
            None => (*host).to_owned(),
            Some(suffix) => format!("~^(?<subdomain>[\\w-]+)\\.{}$", suffix.replace('.', "\\.")),
        };
        let (request, server) = match authentication {
            Some(server) => (
                "\n            auth_request /_external-auth;",
                format!(
                    "\n        location = /_external-auth {{{AUTHENTICATION}\n            proxy_pass http://{server}/;\n        }}"
                ),
            ),
            None => ("", String::new()),
        };
        blocks += &format!(
            "    upstream {name} {{ server {endpoint}; keepalive 320; }}\n    server {{\n        {}\n        \
             server_name {host};\n        location / {{{LOCATION}{request}\n            proxy_pass http://{name};\n        }}{server}\n    }}\n",
            listen("")
        );
    }
    format!(
        "daemon off;\nmaster_process off;\npid {at}/pid;\nevents {{ worker_connections 16384; }}\n\
         http {{\n    access_log off;\n{temporary}{HTTP}{http}\n    ssl_certificate {at}/tls.crt;\n    \
         ssl_certificate_key {at}/tls.key;\n    ssl_protocols TLSv1.2 TLSv1.3;\n    server {{\n        {}\n        \
         server_name _;\n        location / {{ return 404; }}\n    }}\n{blocks}}}\n",
        listen(" default_server")
    )
}
