use super::*;
use crate::head::NameClass;

fn parse(text: &str) -> ParsedRequest {
    let (mut request, mut buffer) = (ParsedRequest::default(), BytesMut::from(text));
    assert_eq!(request.parse(&mut buffer, &HeadLimits::default()), Ok(true), "{text:?}");
    assert!(buffer.is_empty());
    request
}

const BROWSER: &str = "POST /cart?item=1#top HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent:Mozilla/5.0 \t\r\n\
    cookie: a=b\r\nX_Odd: 1\r\nX!Odd:2\r\nCookie: c=d\r\nCONTENT-LENGTH: 3\r\nConnection: keep-alive, X-Hop,TE\r\n\r\n";

#[test]
fn a_head_is_a_list_in_the_order_and_letter_case_received() {
    let request = parse(BROWSER);
    assert_eq!((request.method(), request.method_name()), (Method::Post, &b"POST"[..]));
    assert_eq!(request.target(), b"/cart?item=1");
    assert_eq!(request.line(), b"POST /cart?item=1#top HTTP/1.1");
    assert_eq!(request.authority(), Some(&b"shop.example:8080"[..]));
    assert_eq!((request.version(), request.framing()), (HttpVersion::Http11, MessageFraming::Length(3)));
    let head = request.head();
    let names: Vec<_> = head.fields().map(|field| field.name).collect();
    let expected =
        ["Host", "User-Agent", "cookie", "X_Odd", "X!Odd", "Cookie", "CONTENT-LENGTH", "Connection"]
            .map(str::as_bytes);
    assert_eq!(names, expected);
    assert_eq!(head.get(KnownHeader::UserAgent), Some(&b"Mozilla/5.0"[..]));
    assert_eq!(head.get_bytes(KnownHeader::Cookie), Some(Bytes::from_static(b"a=b")));
    assert!(head.get_all(KnownHeader::Cookie).eq([&b"a=b"[..], b"c=d"]));
    assert!(head.get_named(b"COOKIE").eq([&b"a=b"[..], b"c=d"]));
    assert!(head.get_named(b"x!odd").eq([&b"2"[..]]));
    assert_eq!(head.get_named(b"x-none").count() + head.get_all(KnownHeader::Accept).count(), 0);
    let map = head.header_map();
    assert_eq!((map.len(), map.get_all("cookie").iter().count()), (8, 2));
}

#[test]
fn names_that_nginx_drops_are_marked() {
    let classes: Vec<_> = parse(BROWSER).head().fields().map(|field| field.class).collect();
    assert_eq!(
        (classes[0], classes[3], classes[4]),
        (NameClass::Plain, NameClass::Underscores, NameClass::Token)
    );
}

#[test]
fn requests_that_follow_each_other_are_read_one_by_one() {
    let (mut request, limits) = (ParsedRequest::default(), HeadLimits::default());
    let mut buffer =
        BytesMut::from("\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\nTE: x\r\n\r\n\r\nGET /b HTTP/1.0\r\n\r\nGE");
    assert_eq!(request.parse(&mut buffer, &limits), Ok(true));
    assert_eq!((request.target(), request.head().has(KnownHeader::Te)), (&b"/a"[..], true));
    assert_eq!(request.parse(&mut buffer, &limits), Ok(true));
    assert_eq!((request.target(), request.head().has(KnownHeader::Te)), (&b"/b"[..], false));
    assert_eq!(request.authority(), None);
    assert!(!request.is_partial());
    assert_eq!(request.parse(&mut buffer, &limits), Ok(false));
    assert!(request.is_partial() && !request.is_complete() && request.line().is_empty());
    assert_eq!(&buffer[..], b"GE");
}

#[test]
fn an_empty_line_before_the_head_may_arrive_in_two_pieces() {
    let (mut request, limits) = (ParsedRequest::default(), HeadLimits::default());
    let mut buffer = BytesMut::from("\r");
    assert_eq!(request.parse(&mut buffer, &limits), Ok(false));
    buffer.extend_from_slice(b"\nGET / HTTP/1.0\r\n\r\n");
    assert_eq!(request.parse(&mut buffer, &limits), Ok(true));
}

#[test]
fn a_refused_head_stays_in_the_buffer_for_the_log() {
    let (mut request, limits) = (ParsedRequest::default(), HeadLimits::default());
    let mut buffer = BytesMut::from("GET /x HTTP/2.0\r\nHost");
    assert_eq!(request.parse(&mut buffer, &limits), Ok(false), "the error is found with the whole head");
    buffer.extend_from_slice(b": a\r\n\r\n");
    assert_eq!(request.parse(&mut buffer, &limits), Err(HeadError::Version));
    assert_eq!(refused_line(&buffer, &limits), b"GET /x HTTP/2.0");
}

#[test]
fn other_limits_apply() {
    let limits = HeadLimits { line: 40, head: 60 };
    let cases = [
        ("GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.0\r\n\r\n", Err(HeadError::UriTooLong)),
        ("GET /aaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.0\r\n\r\n", Ok(true)),
        (
            "GET / HTTP/1.0\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n",
            Err(HeadError::HeaderTooLarge),
        ),
        ("GET / HTTP/1.0\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n", Ok(true)),
        (
            "GET / HTTP/1.0\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaa\r\nY: aaaaaaaaaaaaaaa\r\n\r\n",
            Err(HeadError::HeaderTooLarge),
        ),
    ];
    for (text, expected) in cases {
        let result = ParsedRequest::default().parse(&mut BytesMut::from(text), &limits);
        assert_eq!(result, expected, "{text:?}");
    }
}

#[test]
fn the_connection_is_kept_as_the_client_asks() {
    let cases = [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: x, Close\r\n", false),
        ("HTTP/1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("HTTP/1.1", "Connection: close\r\nConnection: keep-alive\r\n", false),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("HTTP/1.0", "Connection: Keep-Alive, close\r\n", false),
    ];
    for (version, fields, kept) in cases {
        let request = parse(&format!("GET / {version}\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(request.keeps_alive(), kept, "{version} {fields}");
    }
    let request = parse(BROWSER);
    assert!(request.connection().listed.has(KnownHeader::Te) && request.connection().lists_others);
}

#[test]
fn upgrades_continues_and_trailers_are_recognised() {
    let with = |fields: &str| parse(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    assert_eq!(with("Upgrade: websocket\r\n").upgrade(), Some(&b"websocket"[..]));
    for refused in ["", "Upgrade:\r\n", "Upgrade: h2c\r\n", "Upgrade: websocket, H2c\r\n"] {
        assert_eq!(with(refused).upgrade(), None, "{refused}");
    }
    assert!(with("Expect: 100-Continue\r\n").expects_continue());
    assert!(!with("Expect: x\r\n").expects_continue());
    assert!(with("TE: gzip, Trailers\r\n").accepts_trailers());
    assert!(!with("TE: gzip\r\n").accepts_trailers());
}

#[test]
fn a_head_that_arrives_byte_by_byte_is_scanned_a_constant_number_of_times() {
    // A quadratic scan of this line would touch 32 MiB.
    let text = format!("GET / HTTP/1.0\r\nX: {}\r\n\r\n", "a".repeat(8_000));
    let (mut request, mut buffer) = (ParsedRequest::default(), BytesMut::new());
    for (at, byte) in text.bytes().enumerate() {
        buffer.extend_from_slice(&[byte]);
        assert_eq!(request.parse(&mut buffer, &HeadLimits::default()), Ok(at + 1 == text.len()));
        assert!(
            request.is_complete() || request.progress.scanned == at + 1,
            "each call looks at new bytes only"
        );
    }
}

#[test]
fn an_http2_head_is_the_same_list() {
    let parts = http::Request::builder()
        .method("POST")
        .uri("https://shop.example/cart?item=1")
        .version(http::Version::HTTP_2)
        .header("cookie", "a=b")
        .header("user-agent", "x")
        .header("host", "shop.example")
        .header("cookie", "c=d")
        .body(())
        .unwrap()
        .into_parts()
        .0;
    let (mut request, mut buffer) = (ParsedRequest::default(), BytesMut::new());
    request.assign_h2(&parts, true, &mut buffer, &HeadLimits::default()).unwrap();
    assert_eq!(
        request.head().bytes(),
        "POST /cart?item=1 HTTP/2.0\r\nhost: shop.example\r\nuser-agent: x\r\ncookie: a=b; c=d\r\n\r\n"
    );
    assert_eq!(
        (request.line(), request.target()),
        (&b"POST /cart?item=1 HTTP/2.0"[..], &b"/cart?item=1"[..])
    );
    assert_eq!(request.authority(), Some(&b"shop.example"[..]));
    assert_eq!((request.framing(), request.method()), (MessageFraming::Chunked, Method::Post));
    assert!(request.head().get_all(KnownHeader::Cookie).eq([&b"a=b; c=d"[..]]));
    assert!(request.head().get_all(KnownHeader::Host).eq([&b"shop.example"[..]]));
    for lengths in [&["5", "5"][..], &["5", "6"], &["+5"], &[""]] {
        let mut refused = parts.clone();
        for length in lengths {
            refused.headers.append("content-length", length.parse().unwrap());
        }
        let result = request.assign_h2(&refused, true, &mut buffer, &HeadLimits::default());
        assert_eq!(result, Err(HeadError::Malformed), "{lengths:?}");
    }
    let mut refused = parts;
    refused.method = http::Method::TRACE;
    let result = request.assign_h2(&refused, false, &mut buffer, &HeadLimits::default());
    assert_eq!(result, Err(HeadError::Method));
    assert!(!request.is_complete());
}
