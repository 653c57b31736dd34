//! What is read of a text and what is reported of it.

use super::*;

/// The findings as `line:column severity: text`.
fn findings(text: &str, context: Context) -> Vec<String> {
    let (_, findings) = compile(text, context, &KnownNames::default());
    let letter = |severity| match severity {
        FindingSeverity::NoEffect => 'n',
        FindingSeverity::LeftOut => 'l',
        FindingSeverity::Closes => 'c',
    };
    let shown = |SnippetFinding { at, what, severity }: &SnippetFinding| {
        format!("{}:{} {}: {what}", at.line, at.column, letter(*severity))
    };
    findings.iter().map(shown).collect()
}

#[test]
fn directives_of_a_location_are_accepted() {
    for text in [
        "more_set_headers \"Request-Id: $req_id\";",
        "more_set_headers 'A: b' \"C:d\" E:f;",
        "more_set_headers -s '404 500' -t 'text/html text/plain' 'X: 1';",
        "more_set_headers -a 'Link: </a>; rel=preload';",
        "more_set_headers Server:;",
        "more_clear_headers Server 'X-Hidden-*';",
        "more_clear_headers -s 404 -t text/css Server;",
        "more_set_input_headers -r 'X-Zone: $namespace';",
        "more_clear_input_headers 'X-User' 'X-Auth-*';",
        "add_header X-A \"a b\";\nadd_header X-B $host always;",
        "proxy_set_header Host $service_name;",
        "proxy_set_header X-A \"\";",
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection 'upgrade';",
        "proxy_hide_header X-Powered-By; proxy_pass_header Server;",
        "proxy_cookie_path / \"/; Secure; SameSite=None\";",
        "proxy_cookie_path ~*^/a/(.*) /b/$1;",
        "return 403;",
        "return 444;",
        "return 200 \"$host\\n\";",
        "return 301 https://$host$request_uri;",
        "return https://a.example/;",
        "return 302 /login?from=$uri;",
        "rewrite ^/a/(.*)$ /b/$1 break;",
        "rewrite ^/a(?<rest>.*) https://b.example$rest? permanent;",
        "rewrite (?i)^/A /b;",
        "set $a 1; set $b $a$host; set $args \"$args&b=$b\";",
        "if ($a) { set $a 2; return 403; }",
        "if ( $http_x = \"a b\" ) { return 404; }",
        "if ($request_method != GET) { return 405; }",
        "if ($http_user_agent ~* \"(bot|crawl{2})\") { more_set_headers \"X: $1\"; }",
        "if ($cookie_a !~ ^x) { add_header A b; expires 1h; }",
        "if ($uri !~* \\.(png|css)$) { break; }",
        "client_max_body_size 8m; client_body_buffer_size 16k; proxy_buffer_size 8k;",
        "proxy_connect_timeout 5; proxy_send_timeout 1m; proxy_read_timeout 1h30m;",
        "proxy_request_buffering off; proxy_http_version 1.1;",
        "proxy_next_upstream error http_502; proxy_next_upstream_tries 2; proxy_next_upstream_timeout 5s;",
        "deny 192.0.2.1; allow 10.0.0.0/8; allow 2001:db8::/32; deny all;",
        "auth_request_set $user $upstream_http_x_user; proxy_set_header X-User $user;",
        "auth_request_set $a \"$upstream_status $upstream_cookie_b $http_c\";",
        "satisfy any; auth_request off; default_type text/plain; expires -1;",
        "# a comment with deny all;\n",
        "",
    ] {
        let text = format!("set $a 0; {text}");
        assert_eq!(findings(&text, Context::Location), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn what_has_no_effect_is_reported_with_its_position_and_consequence() {
    use Context::{Auth, Http, Location, Main, Server};
    for (context, text, wanted) in [
        (Location, "add_header A b;\n  no_such_thing on;", "2:3 l: no_such_thing is not a known directive"),
        (Location, "auth_digest x;", "1:1 c: auth_digest is not a known directive"),
        (Location, "limit_something x;", "1:1 c: limit_something is not a known directive"),
        (Location, "geo_block { return 403; }", "1:1 c: geo_block is not a known directive"),
        (Location, "geo_block { return 301 /x; }", "1:1 l: geo_block is not a known directive"),
        (Location, "proxy_pass http://x;", "1:1 l: proxy_pass is refused: requests go to the Service"),
        (Location, "include x;", "1:1 c: include is refused"),
        (
            Location,
            "access_by_lua_block { ngx.exit(403) }",
            "1:1 c: access_by_lua_block is refused: there is no Lua",
        ),
        (Location, "limit_except GET { deny all; }", "1:1 c: limit_except is refused"),
        (Location, "root /etc;", "1:1 l: root is refused: no file"),
        (Server, "location /a { deny all; }", "1:1 c: location is refused"),
        (Server, "location = /robots.txt { return 200 'x'; }", "1:1 l: location is refused"),
        (Server, "location /x { if ($a) { return 404; } }", "1:1 c: location is refused"),
        (Http, "server { listen 8080; return 308 https://$host; }", "1:1 l: server is refused"),
        (Http, "map $a $b { default 1; }", "1:1 l: map is refused"),
        (Http, "limit_req_zone $binary_remote_addr zone=a:1m rate=1r/s;", "1:1 l: limit_req_zone is refused"),
        (Http, "return 403;", "1:1 c: return is not allowed here (http)"),
        (Http, "client_max_body_size 1m;", "1:1 n: client_max_body_size has no effect: every location"),
        (Server, "proxy_set_header A b;", "1:1 n: proxy_set_header has no effect: every location"),
        (Location, "proxy_buffering on;", "1:1 n: proxy_buffering has no effect: bodies are streamed"),
        (Location, "deny x;", "1:1 c: deny \"x\" should be an IP address, a network, or all"),
        (Location, "deny;", "1:1 c: deny should have one argument"),
        (Location, "satisfy some;", "1:1 c: satisfy \"some\" should be all or any"),
        (Location, "auth_request /check;", "1:1 c: auth_request \"/check\" should be off"),
        (Location, "return 99;", "1:1 c: return should have a status from 200 to 599"),
        (Location, "return 301 https://$none/;", "1:1 c: return $none is not a known variable"),
        (Location, "return 301 \"/a\\nb\";", "1:1 c: return has a URL with a control character"),
        (Location, "rewrite ( /x;", "1:1 c: rewrite \"(\" is not a regular expression"),
        (Location, "rewrite ^ /x never;", "1:1 c: rewrite should have a regular expression"),
        (Location, "rewrite ^ \"\";", "1:1 c: rewrite has an empty replacement"),
        (
            Location,
            "rewrite ^/(?<host>.*) /$host;",
            "1:1 c: rewrite a group cannot have the name of the variable $host",
        ),
        (Location, "set $host a;", "1:1 c: set $host cannot be changed"),
        (Location, "set $proxy_upstream_name a;", "1:1 c: set $proxy_upstream_name cannot be changed"),
        (Location, "set host a;", "1:1 c: set \"host\" should begin with a dollar sign"),
        (Location, "set $1 a;", "1:1 c: set $1 is not the name of a variable"),
        (Location, "set $a $none;", "1:1 c: set $none is not a known variable"),
        (Location, "more_set_headers 'A: $1';", "1:1 l: more_set_headers $1 needs a regular expression"),
        (Location, "more_set_headers 'A: $none';", "1:1 l: more_set_headers $none is not a known variable"),
        (
            Location,
            "more_set_headers 'A b: c';",
            "1:1 l: more_set_headers \"A b\" is not the name of a header",
        ),
        (
            Location,
            "more_set_headers \"A: b\\r\\nC: d\";",
            "1:1 l: more_set_headers \"b\\r\\nC: d\" has a line break",
        ),
        (
            Location,
            "more_set_headers 'Transfer-Encoding: gzip';",
            "1:1 l: more_set_headers Transfer-Encoding belongs to the connection",
        ),
        (Location, "more_set_headers -x 'A: b';", "1:1 l: more_set_headers has the option -x"),
        (Location, "more_set_headers -s many 'A: b';", "1:1 l: more_set_headers \"many\" should be a status"),
        (Location, "more_set_headers -s 404;", "1:1 l: more_set_headers should have a header"),
        (Location, "more_set_headers 'A*: b';", "1:1 l: more_set_headers \"A*\" is not the name"),
        (Location, "more_clear_headers *;", "1:1 l: more_clear_headers \"*\" would remove every header"),
        (
            Location,
            "more_set_input_headers 'X-Real-IP: 1';",
            "1:1 l: more_set_input_headers X-Real-IP is replaced by the proxy",
        ),
        (Location, "add_header A b sometimes;", "1:1 l: add_header should have a name, a value"),
        (Location, "expires modified;", "1:1 l: expires \"modified\" should be a time"),
        (
            Location,
            "proxy_set_header A $none;",
            "1:1 l: proxy_set_header $none is not a known variable; A is removed",
        ),
        (Location, "proxy_read_timeout soon;", "1:1 l: proxy_read_timeout \"soon\" should be a time"),
        (Location, "proxy_buffer_size 0;", "1:1 l: proxy_buffer_size \"0\" should be a size above 0"),
        (Location, "if (-f /x) { return 403; }", "1:1 c: if tests a file with -f"),
        (Location, "if ($none = a) { return 403; }", "1:1 c: if $none is not a known variable"),
        (Location, "if ($none = a) { more_set_headers 'A: b'; }", "1:1 l: if $none is not a known variable"),
        (
            Location,
            "if ($host) { if ($uri) { return 403; } }",
            "1:14 c: if is not allowed here (if in location)",
        ),
        (Location, "if $host { }", "1:1 l: if should have a condition in parentheses"),
        (Location, "if ($host == a) { deny all; }", "1:1 c: if should have a condition"),
        (Location, "if ($host) { deny all; }", "1:14 c: deny is not allowed here (if in location)"),
        (
            Server,
            "if ($host) { more_set_headers 'A: b'; }",
            "1:14 l: more_set_headers is not allowed here (if in server)",
        ),
        (Location, "if ($host);", "1:1 l: if should have a block"),
        (Location, "return 403 { }", "1:1 c: return should have no block"),
        (
            Location,
            "add_header A b; add_header 'C d;",
            "1:28 l: the quote ' is not closed; what follows is not read",
        ),
        (
            Location,
            "add_header A 'b; deny all;",
            "1:14 c: the quote ' is not closed; what follows is not read",
        ),
        (Location, "add_header A b }", "1:16 l: ; is missing after add_header; what follows is not read"),
        (Location, "auth_request_set $a;", "1:1 l: auth_request_set should have a variable and a value"),
        (
            Location,
            "auth_request_set $host $upstream_status;",
            "1:1 l: auth_request_set $host cannot be changed",
        ),
        (
            Location,
            "auth_request_set $a $upstream_addr;",
            "1:1 l: auth_request_set $upstream_addr is not a known",
        ),
        (Location, "if ($uri) { auth_request_set $a b; }", "1:13 l: auth_request_set is not allowed here"),
        (
            Server,
            "auth_request_set $a $upstream_status;",
            "1:1 n: auth_request_set has no effect: ingress-nginx",
        ),
        (Main, "env LANG;", "1:1 n: env has no effect: the process has"),
        (Main, "worker_processes 4;", "1:1 l: worker_processes is refused: use the key `worker-processes`"),
        (Main, "http { server { listen 1; } }", "1:1 l: http is refused: use the key `http-snippet`"),
        (Main, "load_module x.so;", "1:1 l: load_module is refused: there are no modules"),
        (Main, "client_max_body_size 1m;", "1:1 l: client_max_body_size is not allowed here (main)"),
        (Auth, "proxy_set_header A $none;", "1:1 c: proxy_set_header $none is not a known variable"),
        (Auth, "deny all;", "1:1 c: deny is not allowed here (auth)"),
        (
            Auth,
            "add_header A b;",
            "1:1 l: add_header has no effect on the request to the authentication server",
        ),
    ] {
        let found = findings(text, context);
        assert!(matches!(found.as_slice(), [one] if one.starts_with(wanted)), "{text}\n{wanted}\n{found:#?}");
    }
}

#[test]
fn lengths_and_numbers_are_limited() {
    let long = format!("add_header A b; # {}", "x".repeat(MAX_LENGTH));
    assert!(findings(&long, Context::Location)[0].starts_with("1:1 c: the snippet has 655"));
    let many = "add_header A b;".repeat(MAX_DIRECTIVES + 1);
    let found = findings(&many, Context::Location);
    assert!(found[0].ends_with("l: there are too many directives; what follows is not read"), "{found:?}");
    let (program, _) = compile(&many, Context::Location, &KnownNames::default());
    assert!(program.level.changes_responses());
    let mut unknown = "x;".repeat(30);
    let found = findings(&unknown, Context::Location);
    assert_eq!(found.len(), 20);
    assert_eq!(found[19], "1:39 l: there are 11 more directives without effect from here on");
    unknown.push_str("limit_x;");
    assert!(findings(&unknown, Context::Location)[19].starts_with("1:39 c: there are 12 more"));
    let long_name = format!("{};", "x".repeat(1000));
    assert!(findings(&long_name, Context::Location)[0].len() < 400);
}

#[test]
fn every_directive_is_listed_once_and_explained() {
    let mut names: Vec<_> = DIRECTIVES.iter().flat_map(|(_, all)| *all).map(|known| known.name).collect();
    for known in DIRECTIVES.iter().flat_map(|(_, all)| *all) {
        assert!(!known.doc.is_empty() && !known.name.is_empty(), "{known:?}");
        assert_eq!(known.contexts.is_empty(), matches!(known.fate, Fate::Refused), "{known:?}");
    }
    let listed = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), listed);
}

/// Without `use-geoip2` its variables are unknown, which must not open what they protect.
#[test]
fn a_condition_about_geoip_closes_and_a_header_with_it_is_left_out_without_the_databases() {
    let unknown = "$geoip2_city_country_code is not a known variable without use-geoip2";
    for (text, severity) in [
        ("if ($geoip2_city_country_code = AU) { return 403; }", " c: "),
        ("more_set_headers \"X-Country: $geoip2_city_country_code\";", " l: "),
    ] {
        let found = findings(text, Context::Location);
        let is_found = |finding: &String| finding.contains(severity) && finding.ends_with(unknown);
        assert!(found.len() == 1 && found.iter().all(is_found), "{text}: {found:?}");
    }
}
