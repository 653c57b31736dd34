use ingress_wire::request_head::HeadLimits;

use super::*;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

fn head(text: &str) -> ParsedRequest {
    let mut request = ParsedRequest::default();
    let mut bytes = BytesMut::from(text.replace('\n', "\r\n").as_str());
    assert_eq!(request.parse(&mut bytes, &HeadLimits::default()), Ok(true));
    request
}

fn forward(head: &ParsedRequest, edits: &HeadEdits<'_>) -> String {
    forward_names(head, edits, NameClass::Plain)
}

fn forward_names(head: &ParsedRequest, edits: &HeadEdits<'_>, names: NameClass) -> String {
    let text = write(head, edits, names, None);
    let lines = ConnectionLines::new("192.0.2.7", "443", "https");
    assert_eq!(write(head, edits, names, Some(&lines)), text, "the lines of the connection say the same");
    text
}

fn write(
    head: &ParsedRequest,
    edits: &HeadEdits<'_>,
    names: NameClass,
    connection_lines: Option<&ConnectionLines>,
) -> String {
    let forward = UpstreamHead {
        target: head.target(),
        host: b"shop.example:8080",
        authority: b"shop.example:8080",
        request_id: b"0123456789abcdef0123456789abcdef",
        client: "192.0.2.7",
        full_forwarded_for: None,
        forwarded_for: &FORWARDED_FOR,
        port: "443",
        scheme: "https",
        connection_lines,
        body: BodyLength::Known(12),
        loop_id: None,
        names,
        upgrade: head.upgrade(),
        is_http10: false,
    };
    let mut out = BytesMut::new();
    forward.write(head, edits, &mut HeadWriter::default(), &mut out);
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
    let text = forward(&head(REQUEST), &HeadEdits::default());
    assert_eq!(text, format!("{own}User-Agent: curl/8\nAccept: a\naCCept: b\nTE: trailers\n\n"));
}

#[test]
fn unusual_names_pass_where_they_are_configured() {
    let passed = |names| {
        let text = forward_names(&head(REQUEST), &HeadEdits::default(), names);
        ["\nmy_header: 1\n", "\nX-Odd!: 1\n"].map(|line| text.contains(line))
    };
    assert_eq!(passed(NameClass::Plain), [false, false]);
    assert_eq!(passed(NameClass::Underscores), [true, false]);
    assert_eq!(passed(NameClass::Token), [true, true]);
}

#[test]
fn upgrades_pass_and_h2c_does_not() {
    let upgraded =
        "GET / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: k\n\n";
    let text = forward(&head(upgraded), &HeadEdits::default());
    assert!(text.contains("\nUpgrade: websocket\nConnection: upgrade\n"), "{text}");
    assert!(text.contains("\nSec-WebSocket-Key: k\n"), "{text}");
    for protocol in ["h2c", "H2C", "websocket, h2c"] {
        let text = forward(&head(&upgraded.replace("websocket", protocol)), &HeadEdits::default());
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
    edits.append("bad name", &b"5"[..]);
    let text = forward(&head(REQUEST), &edits);
    let end = "12\naccept: c\nX-Forwarded-Prefix: /p\nX-Forwarded-Port: 80\nTE: trailers\n\n";
    assert!(text.ends_with(end), "{text}");
    assert!(text.contains("\nHost: inner.example\n") && !text.contains("\nHost: shop"), "{text}");
    assert!(!text.contains("X-Forwarded-Port: 443") && !text.contains("X-Scheme"), "{text}");
}

#[test]
fn trailers_pass_like_fields() {
    for (name, passed) in [("grpc-status", true), ("X-Real-IP", false), ("x_y", false), ("te", false)] {
        assert_eq!(passes(name.as_bytes()), passed, "{name}");
    }
}
