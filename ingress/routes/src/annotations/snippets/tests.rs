//! What snippets do with requests.

use http::StatusCode;

use crate::exchange::tests::{get, request};
use crate::exchange::{Exchange, RequestId};
use crate::plan::filter::{FilterOutcome, ResponseView};
use crate::plan::head_edits::{EditedName, HeadEdits};
use crate::testing::{TestCluster, edited_response};

const ALLOWED: [(&str, &str); 2] =
    [("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];

/// An Ingress with annotations (as a flow mapping) for `/` of a.example.
fn cluster(annotations: &str) -> TestCluster {
    let mut cluster = TestCluster::configured(&format!(
        "
metadata: {{name: one, annotations: {{{annotations}}}}}
spec: {{rules: [{{host: a.example, paths: [[/, Prefix, web], [/other, Prefix, other]]}}]}}
"
    ));
    cluster.configure(&ALLOWED);
    cluster
}

/// The same with a `configuration-snippet`.
fn with(snippet: &str) -> TestCluster {
    let cluster = cluster(&format!("configuration-snippet: {snippet:?}"));
    assert_eq!(cluster.problems(), Vec::<String>::new(), "{snippet}");
    cluster
}

/// Runs the rewrite phase. Then the fields that endpoints get, and those that clients get with a status, as `Name: value`.
fn heads(cluster: &TestCluster, exchange: &mut Exchange, status: u16) -> (Vec<String>, Vec<String>) {
    let table = cluster.table.load();
    let mut found = table.find_for(exchange);
    let outcome = found.rewrite(exchange);
    let plan = &found.route().plan;
    let status = match outcome {
        FilterOutcome::Continue => StatusCode::from_u16(status).unwrap(),
        FilterOutcome::Respond(response) => response.status,
    };
    let (mut sent, mut got) = <(HeadEdits<'_>, HeadEdits<'_>)>::default();
    plan.edit_request_head(exchange, &mut sent);
    plan.edit_response_head(exchange, &ResponseView::new(status), &mut got);
    let shown = |edits: &HeadEdits<'_>| {
        edits.added().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect()
    };
    (shown(&sent), shown(&got))
}

fn client_gets(cluster: &TestCluster, url: &str) -> Vec<String> {
    let mut exchange = get(url, &[]);
    exchange.request_id = RequestId::of(None, || 7);
    heads(cluster, &mut exchange, 200).1
}

#[test]
fn the_line_of_the_users_guide_works_as_it_stands() {
    let cluster = with("more_set_headers \"Request-Id: $req_id\";");
    assert_eq!(client_gets(&cluster, "a.example/"), ["Request-Id: 00000000000000000000000000000007"]);
}

/// The annotation stream-snippet changes no route; its ports are made by `StreamIndex`.
#[test]
fn mistakes_of_a_stream_snippet_are_reported_with_their_position() {
    let mut cluster = cluster("stream-snippet: 'server { listen 1; proxy_pass a:1; proxy_ssl on; }'");
    let problem = "Ingress default/one: nginx.ingress.kubernetes.io/stream-snippet: line 1, column 36: proxy_ssl is not honoured in a server \
                   of stream-snippet, so it is not opened; it is left out";
    assert_eq!((cluster.get("a.example/"), cluster.problems()), ("web".to_owned(), vec![problem.to_owned()]));
    cluster.configure(&[ALLOWED[1]]);
    assert_eq!(cluster.get("a.example/"), "web");
    assert!(
        cluster.problems()[0].contains("is ignored: it needs allow-snippet-annotations"),
        "{:?}",
        cluster.problems()
    );
    cluster.configure(&[ALLOWED[0]]);
    assert_eq!(cluster.get("a.example/"), "404", "the Ingress is left out");
}

#[test]
fn snippets_of_annotations_need_two_keys() {
    let text = "
metadata: {name: one, annotations: {configuration-snippet: 'return 418;', server-snippet: 'auth_basic x;'}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
";
    let mut cluster = TestCluster::configured(text);
    let [allow, critical] = ALLOWED;
    for (keys, answer, problem) in [
        (&[][..], "404", "is riskier than annotations-risk-level"),
        (&[allow], "404", "is riskier than annotations-risk-level"),
        (&[critical], "web", "is ignored: it needs allow-snippet-annotations"),
        (&[allow, critical], "503", "line 1, column 1: auth_basic is refused"),
    ] {
        cluster.configure(keys);
        assert_eq!(cluster.get("a.example/"), answer, "{keys:?}");
        assert!(cluster.problems().iter().any(|one| one.contains(problem)), "{:?}", cluster.problems());
    }
}

#[test]
fn requests_are_answered_by_directives_of_the_rewrite_phase() {
    for (snippet, method, url, answer) in [
        ("return 403;", "GET", "a.example/", "403"),
        ("return 301 https://$host$request_uri;", "GET", "a.example/x?y", "301 https://a.example/x?y"),
        ("return 302 /login;", "GET", "https://a.example:8443/x", "302 https://a.example/login"),
        ("return https://b.example/$arg_q;", "GET", "a.example/?q=1", "302 https://b.example/1"),
        ("return 302 https://b.example$uri;", "GET", "a.example/x%0ay", "302 https://b.example/x%0Ay"),
        ("if ($request_method = POST) { return 405; }", "POST", "a.example/", "405"),
        ("if ($request_method = POST) { return 405; }", "GET", "a.example/", "web"),
        ("if ($request_method != GET) { return 405; }", "PUT", "a.example/", "405"),
        ("if ($uri ~ ^/(a|b)$) { return 302 /got/$1; }", "GET", "a.example/b", "302 http://a.example/got/b"),
        ("if ($uri ~ ^/B$) { return 404; }", "GET", "a.example/b", "web"),
        ("if ($uri ~* ^/B$) { return 404; }", "GET", "a.example/b", "404"),
        ("if ($uri !~ ^/ok) { return 404; }", "GET", "a.example/ok", "web"),
        ("if ($uri !~* ^/OK) { return 404; }", "GET", "a.example/no", "404"),
        ("if ($arg_x) { return 404; }", "GET", "a.example/?x=0", "web"),
        ("if ($arg_x) { return 404; }", "GET", "a.example/?x=00", "404"),
        ("if ($arg_x) { return 404; }", "GET", "a.example/?x=", "web"),
        (
            "set $a 0; if ($arg_x) { set $a 1; } if ($arg_y) { set $a \"${a}1\"; } if ($a = 11) { return 410; }",
            "GET",
            "a.example/?x=1&y=1",
            "410",
        ),
        (
            "set $a 0; if ($arg_x) { set $a 1; } if ($arg_y) { set $a \"${a}1\"; } if ($a = 11) { return 410; }",
            "GET",
            "a.example/?y=1",
            "web",
        ),
        ("break; return 403;", "GET", "a.example/", "web"),
        ("if ($uri ~ ^/(?<name>.+)) { return 302 /$name; }", "GET", "a.example/x", "302 http://a.example/x"),
        ("rewrite ^/a/(.*)$ /b/$1 break;", "GET", "a.example/a/c%20d?e", "web /b/c%20d?e"),
        ("rewrite ^/a/(.*)$ /b/$1 break;", "GET", "a.example/x", "web"),
        ("rewrite ^/a/(.*)$ /b/$1? break;", "GET", "a.example/a/c?e", "web /b/c"),
        ("rewrite ^/a$ /b?f=1 break;", "GET", "a.example/a?e=2", "web /b?f=1&e=2"),
        ("rewrite ^/a$ b break;", "GET", "a.example/a", "web /b"),
        ("rewrite ^/a$ /b permanent;", "GET", "a.example/a?e", "301 http://a.example/b?e"),
        // Beside nginx 1.22.
        (
            "rewrite ^/a/(.*) \"/n/|$1|{%41%7c\" permanent;",
            "GET",
            "a.example/a/x%7Cy%20%25+%23%26z",
            "301 http://a.example/n/|x|y%20%25+%23&z|{A|",
        ),
        (
            "rewrite ^/a/(.*) /n/$1?q=$1 permanent;",
            "GET",
            "a.example/a/x%7Cy%26%2Fz",
            "301 http://a.example/n/x|y&/z?q=x%7Cy%26/z",
        ),
        ("rewrite ^/a/(.*) /n?q=$1 permanent;", "GET", "a.example/a/b&c", "301 http://a.example/n?q=b&c"),
        ("rewrite ^/a/(.*) /n?q=$1 break;", "GET", "a.example/a/b%26c", "web /n?q=b%26c"),
        (
            "rewrite ^/a/(.*) https://b.example/$1 redirect;",
            "GET",
            "a.example/a/%C3%A9",
            "302 https://b.example/%C3%A9",
        ),
        ("rewrite ^ $scheme://b.example? last;", "GET", "https://a.example/a?b", "302 https://b.example"),
        ("rewrite ^/a /other/b last;", "GET", "a.example/a", "other /other/b"),
        ("rewrite ^/a /other/b; return 200;", "GET", "a.example/a", "200"),
        ("rewrite ^/a /other/b;", "GET", "a.example/a", "other /other/b"),
        ("rewrite ^/a /other/b; break;", "GET", "a.example/a", "web /other/b"),
        ("rewrite ^/a /x/../other//b last;", "GET", "a.example/a", "other /other/b"),
        ("rewrite ^/a /x/../../b last;", "GET", "a.example/a", "500"),
        ("rewrite ^/(.*)$ /$1x last;", "GET", "a.example/a", "500"),
        ("set $args x=$host;", "GET", "a.example/a?b", "web /a?x=a.example"),
        (
            "if ($uri ~ (x+x+)+y) { return 404; } if ($uri ~ ^(a|b|ab)*c(?=d)$) { return 405; }",
            "GET",
            "a.example/a",
            "web",
        ),
    ] {
        let cluster = with(snippet);
        assert_eq!(cluster.answer(&mut request(method, url, &[]), 99), answer, "{snippet} {method} {url}");
    }
}

#[test]
fn a_value_that_grows_without_end_is_an_error() {
    let doubled = "set $a \"$a$a\"; ".repeat(40);
    let cluster = with(&format!("set $a 0123456789; {doubled}"));
    assert_eq!(cluster.get("a.example/"), "500");
}

#[test]
fn bodies_of_return_have_a_type() {
    for (snippet, body) in [
        ("return 200 'a $host';", Some(("a a.example", "text/html"))),
        ("default_type application/json; return 200 '{}';", Some(("{}", "application/json"))),
        ("return 200;", Some(("", "text/html"))),
        ("return 204;", None),
        ("return 404;", None),
        ("return 404 gone;", Some(("gone", "text/html"))),
        ("return 301;", None),
    ] {
        let cluster = with(snippet);
        let table = cluster.table.load();
        let mut exchange = get("a.example/", &[]);
        let FilterOutcome::Respond(response) = table.find_for(&exchange).rewrite(&mut exchange) else {
            panic!("{snippet}");
        };
        let found = response.body.as_ref().map(|(body, kind)| (&body[..], kind.to_str().unwrap()));
        assert_eq!(found, body.map(|(body, kind)| (body.as_bytes(), kind)), "{snippet}");
    }
}

/// The `Content-Type` of the response to a request.
fn body_type(cluster: &TestCluster, url: &str) -> String {
    let table = cluster.table.load();
    let mut exchange = get(url, &[]);
    let FilterOutcome::Respond(response) = table.find_for(&exchange).rewrite(&mut exchange) else {
        panic!("{url}");
    };
    response.body.map(|(_, kind)| kind.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[test]
fn bodies_of_return_have_the_type_of_their_path_or_the_key_default_type() {
    let own = "if ($arg_x) { return 404; } return 200 x;";
    let with_directive = "default_type a/b; return 200 x;";
    for (snippet, key, url, wanted) in [
        (own, None, "a.example/", "text/html"),
        (own, None, "a.example/robots.txt", "text/plain"),
        (own, Some("text/plain"), "a.example/", "text/plain"),
        (own, Some("text/plain"), "a.example/a.json", "application/json"),
        (own, Some("text/plain"), "a.example/a.jso%6E", "application/json"),
        (own, Some("text/plain"), "a.example/?x=1", ""),
        (with_directive, Some("text/plain"), "a.example/", "a/b"),
        (with_directive, None, "a.example/a.css", "text/css"),
        ("rewrite ^ /x.css; return 200 x;", None, "a.example/", "text/css"),
    ] {
        let mut cluster = with(snippet);
        let data: Vec<_> = ALLOWED.into_iter().chain(key.map(|value| ("default-type", value))).collect();
        cluster.configure(&data);
        assert_eq!(body_type(&cluster, url), wanted, "{snippet}, {key:?}, {url}");
    }
}

#[test]
fn a_default_type_that_is_not_one_word_is_reported() {
    for bad in ["text/plain; charset=utf-8", "text plain", "a\nb", "'text/plain'"] {
        let mut cluster = with("return 200 x;");
        cluster.configure(&[ALLOWED[0], ALLOWED[1], ("default-type", bad)]);
        let problem = format!(
            "ConfigMap ingress/controller: default-type: {bad:?} should be a media type without parameters, as text/plain; its default is used"
        );
        assert_eq!(cluster.problems(), [problem]);
        assert_eq!(body_type(&cluster, "a.example/"), "text/html", "{bad}");
    }
}

#[test]
fn directives_come_after_cors_and_before_redirects() {
    let lines = "permanent-redirect: /p, configuration-snippet: 'if ($uri = /x) { return 410; } if ($uri = /b) { break; }'";
    let cluster = cluster(lines);
    assert_eq!(cluster.get("a.example/x"), "410");
    assert_eq!(cluster.get("a.example/y"), "301 http://a.example/p");
    assert_eq!(cluster.get("a.example/b"), "web", "break ends the directives of this module");
    let cluster = self::cluster("enable-cors: 'true', configuration-snippet: 'return 410;'");
    let mut preflight = request("OPTIONS", "a.example/", &[("origin", "https://b.example")]);
    assert_eq!(cluster.answer(&mut preflight, 99), "204");
    let cluster =
        self::cluster("force-ssl-redirect: 'true', configuration-snippet: 'if ($uri = /x) { return 410; }'");
    assert_eq!(cluster.get("a.example/x"), "410");
    assert_eq!(cluster.get("a.example/y"), "308 https://a.example/y");
    let cluster = self::cluster(
        "rewrite-target: /to/$1, configuration-snippet: 'rewrite ^/a$ /b; rewrite ^/c$ /d break;'",
    );
    assert_eq!(cluster.get("a.example/a"), "web /to/", "the target's flag is break");
    assert_eq!(cluster.get("a.example/c"), "web /d");
}

#[test]
fn headers_of_responses_are_changed() {
    let none: &[&str] = &[];
    for (snippet, status, fields) in [
        ("more_set_headers 'A: 1' 'B:2';", 200, &["A: 1", "B: 2"][..]),
        ("more_set_headers 'A: 1';", 502, &["A: 1"]),
        ("more_set_headers -s '404 500' 'A: 1';", 200, none),
        ("more_set_headers -s '404 500' 'A: 1';", 500, &["A: 1"]),
        ("more_set_headers -t 'text/css text/html' 'A: 1';", 200, &["A: 1"]),
        ("more_set_headers -t text/css 'A: 1';", 200, none),
        ("more_set_headers 'A: 1'; more_clear_headers A;", 200, none),
        ("more_set_headers 'A: 1'; more_clear_headers 'a*'; more_set_headers 'B: 2';", 200, &["B: 2"]),
        ("more_set_headers 'A: 1'; more_set_headers -a 'A: 2';", 200, &["A: 1", "A: 2"]),
        ("more_set_headers 'A: $http_none';", 200, none),
        ("more_set_headers 'A: $uri';", 200, &["A: /x%0Ay"]),
        ("add_header A 1; add_header A 2;", 200, &["A: 1", "A: 2"]),
        ("add_header A 1; add_header B 2 always;", 404, &["B: 2"]),
        ("add_header A 1;", 308, &["A: 1"]),
        ("add_header A $http_none;", 200, none),
        ("more_clear_headers A; add_header A 1;", 200, &["A: 1"]),
        ("expires epoch;", 200, &["Expires: Thu, 01 Jan 1970 00:00:01 GMT", "Cache-Control: no-cache"]),
        ("expires epoch;", 404, none),
        ("add_header A 1; if ($uri ~ x) { more_set_headers 'B: 2'; }", 200, &["B: 2", "A: 1"]),
        ("add_header A 1; if ($uri ~ x) { add_header B 2; }", 200, &["B: 2"]),
        ("more_set_headers 'A: 1'; if ($uri ~ z) { add_header B 2; }", 200, &["A: 1"]),
        ("if ($uri ~ x) { add_header A 1; } if ($uri ~ y) { add_header B 2; }", 200, &["B: 2"]),
        ("if ($uri ~ x) { add_header A 1; } if ($uri ~ z) { add_header B 2; }", 200, &["A: 1"]),
        ("if ($uri ~ (x)) { add_header A $1 always; return 403; }", 200, &["A: x"]),
    ] {
        let cluster = with(snippet);
        let got = heads(&cluster, &mut get("a.example/x%0ay", &[]), status).1;
        assert_eq!(got, fields, "{snippet} {status}");
    }
    let own = [("server", "apache"), ("x-powered-by", "php"), ("x-hidden-a", "1"), ("x-b", "2")];
    let names = |snippet: &str| {
        let head = edited_response(&with(snippet), &get("a.example/", &[]), 200, &own);
        head.keys().map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names("proxy_hide_header X-Powered-By; more_clear_headers 'X-Hidden-*' Server;"), ["x-b"]);
    assert!(
        with("proxy_pass_header Server;")
            .table
            .load()
            .find("a.example", "/")
            .route()
            .plan
            .heads
            .passes_server
    );
}

#[test]
fn headers_of_requests_to_endpoints_are_changed() {
    for (snippet, fields) in [
        (
            "proxy_set_header A $namespace; proxy_set_header Host $service_name.x;",
            &["A: default", "Host: web.x"][..],
        ),
        ("proxy_set_header X-One '';", &[]),
        ("more_set_input_headers 'X-One: 2' 'X-New: 3';", &["X-One: 2", "X-New: 3"]),
        ("more_set_input_headers -r 'X-One: 2' 'X-New: 3';", &["X-One: 2"]),
        ("more_set_input_headers 'X-One: 2'; proxy_set_header X-One 4;", &["X-One: 4"]),
        ("more_set_input_headers -t text/plain 'X-One: 2';", &["X-One: 2"]),
        ("more_set_input_headers -t text/css 'X-One: 2';", &[]),
        ("set $zone eu; proxy_set_header X-Zone $zone;", &["X-Zone: eu"]),
        ("if ($http_x_one = 1) { more_set_input_headers 'X-If: $http_x_one'; }", &["X-If: 1"]),
    ] {
        let headers = [("x-one", "1"), ("content-type", "text/plain; charset=utf-8")];
        let sent = heads(&with(snippet), &mut get("a.example/", &headers), 200).0;
        assert_eq!(sent, fields, "{snippet}");
    }
    let cluster = with("more_clear_input_headers 'X-Auth-*' Y;");
    let exchange = get("a.example/", &[("x-auth-user", "ann"), ("X-Author", "b"), ("y", "1")]);
    let table = cluster.table.load();
    let mut edits = HeadEdits::default();
    table.find_for(&exchange).route().plan.edit_request_head(&exchange, &mut edits);
    let replaced: Vec<_> = edits.replaced_names().map(EditedName::as_str).collect();
    assert_eq!(replaced, ["x-auth-user", "Y"]);
}

#[test]
fn addresses_are_checked_in_nginx_order() {
    // The client is 192.0.2.7.
    for (annotations, keys, answer) in [
        ("configuration-snippet: 'deny all;'", &[][..], "403"),
        ("configuration-snippet: 'allow 192.0.2.0/24; deny all;'", &[], "web"),
        ("configuration-snippet: 'deny 192.0.2.7; allow all;'", &[], "403"),
        ("configuration-snippet: 'deny 2001:db8::/32;'", &[], "web"),
        ("server-snippet: 'deny all;'", &[], "403"),
        ("server-snippet: 'deny all;', configuration-snippet: 'allow all;'", &[], "web"),
        ("server-snippet: 'deny all;', denylist-source-range: 10.0.0.0/8", &[], "web"),
        ("configuration-snippet: 'deny all;', denylist-source-range: 10.0.0.0/8", &[], "403"),
        ("configuration-snippet: 'deny all;', allowlist-source-range: 192.0.2.0/24", &[], "web"),
        ("", &[("http-snippet", "deny 192.0.2.7;")], "403"),
        ("server-snippet: 'allow all;'", &[("http-snippet", "deny 192.0.2.7;")], "web"),
        ("", &[("location-snippet", "deny 192.0.2.7;")], "403"),
    ] {
        let mut cluster = cluster(annotations);
        cluster.configure(&[&ALLOWED, keys].concat());
        assert_eq!(cluster.get("a.example/"), answer, "{annotations} {keys:?}");
    }
}

#[test]
fn settings_of_requests_to_endpoints_are_those_of_the_snippet() {
    let cluster = cluster(
        "configuration-snippet: 'proxy_read_timeout 90s; client_max_body_size 2m;', proxy-send-timeout: '7'",
    );
    let proxy = cluster.table.load().find("a.example", "/").route().plan.proxy.clone();
    assert_eq!(
        (proxy.read_timeout.as_secs(), proxy.send_timeout.as_secs(), proxy.body_size),
        (90, 7, 2 << 20)
    );
    let cluster = self::cluster(
        "configuration-snippet: 'proxy_cookie_path /a \"/b; Secure\"; proxy_cookie_domain ~x y;', proxy-cookie-path: /c /d",
    );
    let cookies = [("set-cookie", "k=1; Path=/a"), ("set-cookie", "l=2; Path=/c; Domain=x")];
    let head = edited_response(&cluster, &get("a.example/", &[]), 200, &cookies);
    let cookies: Vec<_> = head.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(cookies, ["k=1; Path=/b; Secure", "l=2; Path=/d; Domain=y"]);
    let bad = self::cluster("configuration-snippet: 'proxy_cookie_path ~( /;'");
    assert!(bad.problems()[0].contains("line 1, column 1: proxy_cookie_path"), "{:?}", bad.problems());
}

#[test]
fn authentication_is_turned_off_and_combined() {
    let mut cluster = cluster("configuration-snippet: 'auth_request off;'");
    let keys = [&ALLOWED[..], &[("global-auth-url", "http://auth.example/")]].concat();
    cluster.configure(&keys);
    assert_eq!(cluster.get("a.example/"), "web");
    let mut cluster =
        self::cluster("auth-url: 'http://auth.example/', configuration-snippet: 'auth_request off;'");
    assert_eq!(cluster.get("a.example/"), "503", "nginx refuses both");
    cluster =
        self::cluster("auth-url: 'http://auth.example/', configuration-snippet: 'satisfy any; allow all;'");
    assert_eq!(cluster.get("a.example/"), "web");
}

#[test]
fn a_server_snippet_applies_to_all_routes_of_its_hosts() {
    let text = "
metadata: {name: first, created: 1}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}, {host: b.example, paths: [[/b, Prefix, web]]}]}
---
metadata: {name: second, created: 2, annotations: {server-snippet: \"if ($arg_x) { return 403; }\\nmore_set_headers 'A: 1';\\nrewrite ^/old/(.*) /b/$1;\"}}
spec: {rules: [{host: a.example, paths: [[/b, Prefix, other]]}]}
---
metadata: {name: third, created: 3, annotations: {server-snippet: 'return 410;'}}
spec: {rules: [{host: a.example, paths: [[/c, Prefix, other]]}]}
";
    let mut cluster = TestCluster::configured(text);
    cluster.configure(&ALLOWED);
    for (url, answer) in [
        ("a.example/?x=1", "403"),
        ("a.example/b?x=1", "403"),
        ("a.example/c?x=1", "403"),
        ("a.example/c", "other"),
        ("a.example/old/d?e", "other /b/d?e"),
        ("b.example/b?x=1", "web"),
        ("c.example/?x=1", "404"),
    ] {
        assert_eq!(cluster.get(url), answer, "{url}");
    }
    assert_eq!(client_gets(&cluster, "a.example/"), ["A: 1"]);
    assert_eq!(client_gets(&cluster, "a.example/c"), ["A: 1"]);
    assert_eq!(client_gets(&cluster, "b.example/b"), Vec::<String>::new());
    cluster.remove(cluster::Kind::Ingress, cluster::Key::new("default", "second"));
    assert_eq!((cluster.get("a.example/"), cluster.get("b.example/b")), ("410".into(), "web".into()));
    cluster.remove(cluster::Kind::Ingress, cluster::Key::new("default", "third"));
    assert_eq!(cluster.get("a.example/"), "web");
}

#[test]
fn a_server_snippet_that_could_protect_closes_the_host() {
    let text = "
metadata: {name: one, created: 1}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: two, created: 2, annotations: {server-snippet: \"# our rules\\n  location /x { deny all; }\"}}
spec: {rules: [{host: a.example, paths: [[/b, Prefix, other]]}, {host: b.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: free}
spec: {rules: [{host: c.example, paths: [[/, Prefix, web]]}]}
";
    let mut cluster = TestCluster::configured(text);
    cluster.configure(&ALLOWED);
    for url in ["a.example/", "a.example/b", "b.example/x"] {
        assert_eq!(cluster.get(url), "503", "{url}");
    }
    assert_eq!(cluster.get("c.example/"), "web");
    assert_eq!(
        cluster.problems(),
        [
            "Ingress default/one: nginx.ingress.kubernetes.io/server-snippet: that of Ingress default/two closes the host: line 2, column 3: \
             location is refused: paths belong to the rules of Ingresses: add a rule with annotations of its own; the routes answer 503",
            "Ingress default/two: nginx.ingress.kubernetes.io/server-snippet: line 2, column 3: location is refused: paths belong to the \
             rules of Ingresses: add a rule with annotations of its own; the routes answer 503",
        ]
    );
}

#[test]
fn snippets_of_the_config_map_apply_to_all_routes_and_are_followed() {
    let mut cluster = TestCluster::configured(
        "
metadata: {name: one}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
",
    );
    cluster.configure(&[
        ("http-snippet", "add_header H 1; more_set_headers 'M: http';"),
        ("server-snippet", "if ($arg_x) { return 403; } set $zone eu;"),
        ("location-snippet", "more_set_headers 'M: location' 'Z: $host';"),
    ]);
    assert_eq!(cluster.problems(), Vec::<String>::new());
    assert_eq!(cluster.get("a.example/?x=1"), "403");
    assert_eq!(cluster.get("b.example/?x=1"), "403");
    assert_eq!(client_gets(&cluster, "a.example/"), ["M: location", "Z: a.example", "H: 1"]);
    assert_eq!(client_gets(&cluster, "b.example/"), ["M: location", "Z: b.example", "H: 1"]);
    cluster.configure(&[("http-snippet", "no_such_thing on;\nadd_header H 2;")]);
    assert_eq!(client_gets(&cluster, "a.example/"), ["H: 2"]);
    assert_eq!(
        cluster.problems(),
        [
            "ConfigMap ingress/controller: http-snippet: line 1, column 1: no_such_thing is not a known directive; it is left out"
        ]
    );
    cluster.configure(&[("location-snippet", "auth_basic x;")]);
    assert_eq!((cluster.get("a.example/"), cluster.get("b.example/")), ("503".into(), "503".into()));
    cluster.configure(&[]);
    assert_eq!(cluster.get("a.example/"), "web");
}

#[test]
fn variables_of_outer_snippets_are_known() {
    let mut cluster =
        cluster("server-snippet: 'set $a 1;', configuration-snippet: 'more_set_headers \"A: $a$b\";'");
    cluster.configure(&[&ALLOWED[..], &[("server-snippet", "set $b 2;")]].concat());
    assert_eq!(client_gets(&cluster, "a.example/"), ["A: 12"]);
    cluster.configure(&ALLOWED);
    assert!(
        cluster.problems()[0].contains("more_set_headers $b is not a known variable"),
        "{:?}",
        cluster.problems()
    );
}
