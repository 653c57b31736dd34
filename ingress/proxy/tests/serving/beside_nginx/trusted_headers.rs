//! What endpoints get of headers about the client that a client sends itself.

use ingress_proxy::ProxyOptions;

use super::http1::{Answer, ask, shown};
use super::nginx::NO_FORWARDED_HEADERS;
use super::server::{EdgeServer, EdgeSetup};
use super::{EdgeTable, compare};
use crate::support::{TestOptions, name_server, options};

/// Variables that ingress-nginx sets in Lua with `use-forwarded-headers`, for peers that are in the variable `$is_trusted`.
macro_rules! forwarded_headers {
    ($trusted:literal, $peers:literal) => {
        concat!(
            "
    real_ip_header X-Forwarded-For;
    real_ip_recursive on;
    set_real_ip_from ",
            $trusted,
            ";
    geo $realip_remote_addr $is_trusted { default 0; ",
            $peers,
            " 1; }
    map $is_trusted:$http_x_forwarded_proto $pass_access_scheme { ~^1:(?<proto>.+)$ $proto; default $scheme; }
    map $is_trusted:$http_x_forwarded_port $pass_port { ~^1:(?<fport>.+)$ $fport; default $server_port; }
    map $is_trusted:$http_x_forwarded_host $best_http_host { ~^1:(?<fhost>[^,]+) $fhost; default $http_host; }"
        )
    };
}

fn defaults() -> TestOptions {
    TestOptions::from(options())
}

/// `auth.example` is a name of the loopback.
fn with_name_server() -> TestOptions {
    let name_servers = vec![name_server(&["127.0.0.1".parse().unwrap()])];
    TestOptions::from(ProxyOptions { name_servers, ..options() })
}

const OFF: EdgeSetup =
    EdgeSetup { keys: &[], options: defaults, http: NO_FORWARDED_HEADERS, authenticates: false };
const AUTHENTICATED: EdgeSetup = EdgeSetup { options: with_name_server, authenticates: true, ..OFF };
const ON: EdgeSetup = EdgeSetup {
    keys: &[("use-forwarded-headers", "true")],
    options: defaults,
    http: forwarded_headers!("0.0.0.0/0", "0.0.0.0/0"),
    authenticates: false,
};
const ON_FOR_OTHERS: EdgeSetup = EdgeSetup {
    keys: &[("use-forwarded-headers", "true"), ("proxy-real-ip-cidr", "10.0.0.0/8")],
    options: defaults,
    http: forwarded_headers!("10.0.0.0/8", "10.0.0.0/8"),
    authenticates: false,
};
const ON_FOR_THE_PEER: EdgeSetup = EdgeSetup {
    keys: &[("use-forwarded-headers", "true"), ("proxy-real-ip-cidr", "127.0.0.0/8")],
    options: defaults,
    http: forwarded_headers!("127.0.0.0/8", "127.0.0.0/8"),
    authenticates: false,
};

/// Fields that a client adds.
const FIELDS: &[&str] = &[
    "X-Forwarded-For: 1.2.3.4",
    "X-Forwarded-For: 1.2.3.4, 10.1.1.1",
    "X-Forwarded-For: 1.2.3.4, 127.0.0.1",
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-For: 1.2.3.4:5678",
    "X-Forwarded-For: 2001:db8::1",
    "X-Forwarded-For: [2001:db8::1]:80",
    "X-Forwarded-For: unknown",
    "X-Forwarded-For: ",
    "X-Forwarded-For: 1.2.3.4\nX-Forwarded-For: 5.6.7.8",
    "x-forwarded-for: 1.2.3.4",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Host: evil.example, other.example",
    "X-Forwarded-Host: other.example",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Proto: javascript",
    "X-Forwarded-Port: 1234",
    "X-Forwarded-Port: x",
    "X-Forwarded-Scheme: https",
    "X-Scheme: https",
    "X-Forwarded-Server: evil.example",
    "X-Forwarded-Prefix: /x",
    "X-Forwarded-Ssl: on",
    "X-Real-IP: 1.2.3.4",
    "X-Client-IP: 1.2.3.4",
    "True-Client-IP: 1.2.3.4",
    "Forwarded: for=1.2.3.4;proto=https;host=evil.example",
    "X-Original-Forwarded-For: 1.2.3.4",
    "X-Original-Forwarded-Host: evil.example",
    "X-Original-URI: /admin",
    "X-Original-URL: http://shop.example/admin",
    "X-Rewrite-URL: /admin",
    "X-Original-Method: DELETE",
    "X-HTTP-Method-Override: DELETE",
    "X-Auth-Request-Redirect: http://evil.example/",
    "X-Auth-Request-User: admin",
    "X-Sent-From: nginx-ingress-controller",
    "X-Code: 503",
    "X-Service-Name: admin",
    "ssl-client-verify: SUCCESS",
    "ssl-client-cert: x",
    "ssl-client-subject-dn: CN=admin",
    "ssl-client-issuer-dn: CN=admin",
    "X-SSL-Client-Verify: SUCCESS",
    "X-SSL-Client-CN: admin",
    "X_Forwarded_For: 1.2.3.4",
    "X_Real_IP: 1.2.3.4",
    "X-Forwarded_For: 1.2.3.4",
    "ssl_client_verify: SUCCESS",
    "X.Real.IP: 1.2.3.4",
    "X-Request-ID: chosen",
    "Proxy: http://evil.example/",
    "Connection: X-Real-IP, X-Forwarded-For",
    "Connection: close, X-Scheme",
    "Connection: Host",
    "X-Accel-Redirect: /admin",
    "CDN-Loop: portolan",
    "Via: 1.1 evil",
    "Authorization: Basic YTpi",
];

const NOTES: &[(&str, &str)] = &[("`X-Forwarded-Port: x`", "a port that is no number does not count")];

/// What the endpoint gets.
fn run(server: &EdgeServer) -> Vec<(String, String)> {
    run_with(server, |answer| answer.head().into_iter().map(str::to_owned).collect())
}

/// The fields that `seen` returns besides those of a plain request, and those that are missing.
fn run_with(server: &EdgeServer, seen: impl Fn(&Answer) -> Vec<String>) -> Vec<(String, String)> {
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let head = |fields: &str| {
        let text = format!("GET / HTTP/1.1\nHost: shop.example\n{fields}\n\n").replace("\n\n\n", "\n\n");
        let answer = ask(server.http, text.replace('\n', "\r\n").as_bytes());
        let lines = seen(&answer).into_iter().skip(1);
        let own_id = |line: &String| name(line) == "x-request-id" && !line.ends_with(" chosen");
        (answer.outcome.clone(), lines.filter(|line| !own_id(line)).collect::<Vec<_>>())
    };
    let (_, plain) = head("");
    let case = |fields: &&str| {
        let (outcome, lines) = head(fields);
        if outcome != "200" {
            return (shown(fields), outcome);
        }
        let mut parts: Vec<_> =
            lines.iter().filter(|line| !plain.contains(line)).map(|line| format!("`{line}`")).collect();
        parts.sort_by_key(|part| part.to_ascii_lowercase());
        let gone = plain.iter().filter(|line| !lines.iter().any(|other| name(other) == name(line)));
        parts.extend(gone.map(|line| format!("no `{}`", name(line))));
        (
            shown(fields),
            server.without_ports(&if parts.is_empty() { "nothing".to_owned() } else { parts.join(" ") }),
        )
    };
    FIELDS.iter().map(case).collect()
}

#[test]
fn headers_of_strangers_reach_endpoints_as_through_nginx() {
    compare(&EdgeTable { name: "headers", setup: OFF, reasons: &[], notes: &[] }, run);
}

#[test]
fn trusted_headers_of_anybody_count_as_in_nginx() {
    compare(&EdgeTable { name: "headers-trusted", setup: ON, reasons: &[], notes: NOTES }, run);
}

#[test]
fn trusted_headers_of_a_peer_outside_the_list_do_not_count() {
    compare(
        &EdgeTable { name: "headers-of-a-stranger", setup: ON_FOR_OTHERS, reasons: &[], notes: &[] },
        run,
    );
}

#[test]
fn trusted_headers_are_resolved_from_the_right() {
    compare(
        &EdgeTable { name: "headers-of-a-proxy", setup: ON_FOR_THE_PEER, reasons: &[], notes: NOTES },
        run,
    );
}

/// The line with its name in lower case, which is how Portolan writes requests of its own.
fn in_lower_case(line: &str) -> String {
    match line.split_once(':') {
        Some((name, value)) => format!("{}:{value}", name.to_ascii_lowercase()),
        None => line.to_owned(),
    }
}

#[test]
fn an_authentication_server_cannot_be_deceived_by_headers_of_the_client() {
    let seen = |server: &EdgeServer| {
        run_with(server, |_| server.authenticated().head.lines().map(in_lower_case).collect())
    };
    let notes = &[
        ("`Proxy: http://evil.example/`", "applications take it for a setting (CVE-2016-5385)"),
        ("`CDN-Loop: portolan`", "the proxy counts passes of authentication servers through itself"),
    ];
    let table = EdgeTable { name: "headers-authentication", setup: AUTHENTICATED, reasons: &[], notes };
    compare(&table, seen);
}
