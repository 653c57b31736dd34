use super::*;

fn head(text: &str) -> RequestHead {
    RequestHead::check(text.replace('\n', "\r\n").into()).unwrap()
}

fn map(head: &RequestHead) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, line) in head.lines() {
        let value = line[name.len() + 1..].trim_ascii();
        map.append(
            http::HeaderName::from_bytes(name).unwrap(),
            http::HeaderValue::from_bytes(value).unwrap(),
        );
    }
    map
}

fn forward(head: &RequestHead, raw: bool, edits: &HeadEdits<'_>) -> String {
    forward_names(head, raw, edits, FieldNames::Plain)
}

fn forward_names(head: &RequestHead, raw: bool, edits: &HeadEdits<'_>, names: FieldNames) -> String {
    let headers = map(head);
    let forward = UpstreamHead {
        method: &Method::POST,
        target: &head.target(),
        host: b"shop.example:8080",
        authority: b"shop.example:8080",
        request_id: b"0123456789abcdef0123456789abcdef",
        client: "192.0.2.7",
        port: 443,
        scheme: "https",
        body: BodyLength::Known(12),
        loop_id: None,
        names,
        upgrade: upgrade(&headers),
        is_http10: false,
    };
    let mut out = BytesMut::new();
    let client = if raw { ClientHeaders::Raw(head) } else { ClientHeaders::Map };
    forward.write(&client, &headers, edits, &mut out);
    String::from_utf8(take(&mut out).to_vec()).unwrap().replace("\r\n", "\n")
}

const REQUEST: &str = "\
POST /a%2fb?c=<d> HTTP/1.1
Host: shop.example:8080
Connection: keep-alive, X-Hop
X-Hop: 1
Keep-Alive: 5
User-Agent: curl/8
X-Forwarded-For: 10.0.0.1
X-Forwarded-Host: evil.example
X-Forwarded-For: 10.0.0.2
X-Forwarded-Proto: http
X-Real-IP: 10.0.0.1
X-Request-ID: mine
Proxy: http://evil
Expect: 100-continue
TE: trailers, deflate
my_header: 1
X-Odd!: 1
Accept: a
aCCept: b
Content-Length: 12

";

#[test]
fn headers_to_the_endpoint_are_those_of_ingress_nginx() {
    let own = "\
POST /a%2fb?c=<d> HTTP/1.1
Host: shop.example:8080
X-Request-ID: 0123456789abcdef0123456789abcdef
X-Real-IP: 192.0.2.7
X-Forwarded-For: 192.0.2.7
X-Forwarded-Host: shop.example:8080
X-Forwarded-Port: 443
X-Forwarded-Proto: https
X-Forwarded-Scheme: https
X-Scheme: https
X-Original-Forwarded-For: 10.0.0.1, 10.0.0.2
X-Original-Forwarded-Host: evil.example
Content-Length: 12
";
    let raw = forward(&head(REQUEST), true, &HeadEdits::default());
    assert_eq!(raw, format!("{own}User-Agent: curl/8\nAccept: a\naCCept: b\nTE: trailers\n\n"));
    let parsed = forward(&head(REQUEST), false, &HeadEdits::default());
    assert_eq!(parsed, format!("{own}user-agent: curl/8\naccept: a\naccept: b\nTE: trailers\n\n"));
}

#[test]
fn unusual_names_pass_where_they_are_configured() {
    for raw in [true, false] {
        let passed = |names| {
            let text = forward_names(&head(REQUEST), raw, &HeadEdits::default(), names).to_lowercase();
            ["\nmy_header: 1\n", "\nx-odd!: 1\n"].map(|line| text.contains(line))
        };
        assert_eq!(passed(FieldNames::Plain), [false, false]);
        assert_eq!(passed(FieldNames::WithUnderscores), [true, false]);
        assert_eq!(passed(FieldNames::All), [true, true]);
    }
}

#[test]
fn upgrades_pass_and_h2c_does_not() {
    let upgraded =
        "GET / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: k\n\n";
    let text = forward(&head(upgraded), true, &HeadEdits::default());
    assert!(text.contains("\nUpgrade: websocket\nConnection: upgrade\n"), "{text}");
    assert!(text.contains("\nSec-WebSocket-Key: k\n"), "{text}");
    for protocol in ["h2c", "H2C", "websocket, h2c"] {
        let text = forward(&head(&upgraded.replace("websocket", protocol)), true, &HeadEdits::default());
        assert!(!text.to_lowercase().contains("upgrade"), "{protocol}: {text}");
    }
}

#[test]
fn filters_set_and_remove_headers() {
    let mut edits = HeadEdits::default();
    edits.set("accept", &b"c"[..]);
    edits.set("user-agent", &b""[..]);
    edits.set("X-Forwarded-Prefix", &b"/p"[..]);
    edits.set("Host", &b"inner.example"[..]);
    edits.set("X-Forwarded-Port", &b"80"[..]);
    edits.remove("x-scheme");
    edits.append("Content-Length", &b"5"[..]);
    for raw in [true, false] {
        let text = forward(&head(REQUEST), raw, &edits);
        let end = "12\naccept: c\nX-Forwarded-Prefix: /p\nX-Forwarded-Port: 80\nTE: trailers\n\n";
        assert!(text.ends_with(end), "{text}");
        assert!(text.contains("\nHost: inner.example\n") && !text.contains("\nHost: shop"), "{text}");
        assert!(!text.contains("X-Forwarded-Port: 443") && !text.contains("X-Scheme"), "{text}");
    }
}

#[test]
fn cookies_that_http2_split_are_joined() {
    let text =
        forward(&head("GET / HTTP/1.1\nHost: a\nCookie: a=1\nCookie: b=2\n\n"), false, &HeadEdits::default());
    assert!(text.contains("\ncookie: a=1; b=2\n"), "{text}");
}
