use super::*;

fn read(text: &str) -> Result<RequestHead, HeadError> {
    // The one-pass parser gives the same result for each case of this file.
    crate::fuzz::request_head(text.as_bytes());
    let mut finder = HeadFinder::default();
    let length = finder.find(text.as_bytes())?.expect("the case is a whole head");
    assert_eq!(length, text.len());
    RequestHead::check(Bytes::copy_from_slice(text.as_bytes()))
}

/// A head of these lines, each ended by CRLF, and the empty line.
fn wire(lines: &[&str]) -> String {
    let mut text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    text.push_str("\r\n");
    text
}

#[test]
fn heads_that_can_be_read_in_two_ways_are_refused() {
    use HeadError::{Coding, Malformed, Method, Version};
    let cases: &[(&[&str], HeadError)] = &[
        (&["GET / HTTP/1.1"], Malformed),
        (&["GET / HTTP/1.1", "Host:"], Malformed),
        (&["GET / HTTP/1.1", "Host: a", "Host: a"], Malformed),
        (&["GET / HTTP/1.1", "Host: a", "host: b"], Malformed),
        (&["GET / HTTP/1.1", "Host: a/b"], Malformed),
        (&["GET / HTTP/1.1", "Host: a..b"], Malformed),
        (&["GET / HTTP/1.1", "Host: :80"], Malformed),
        (&["GET / HTTP/1.1", "Host: a b"], Malformed),
        (&["GET / HTTP/1.1", "Host: user@a"], Malformed),
        (&["GET http://b/ HTTP/1.1", "Host: a"], Malformed),
        (&["GET http:// HTTP/1.1", "Host: a"], Malformed),
        (&["GET http://a?b HTTP/1.1", "Host: a"], Malformed),
        (&["GET a HTTP/1.1", "Host: a"], Malformed),
        (&["OPTIONS * HTTP/1.1", "Host: a"], Malformed),
        (&["CONNECT a:443 HTTP/1.1", "Host: a"], Malformed),
        (&["TRACE / HTTP/1.1", "Host: a"], Method),
        (&["get / HTTP/1.1", "Host: a"], Malformed),
        (&[" / HTTP/1.1", "Host: a"], Malformed),
        (&["GET  / HTTP/1.1", "Host: a"], Malformed),
        (&["GET / HTTP/1.1 ", "Host: a"], Malformed),
        (&["GET /"], Malformed),
        (&["GET / HTTP/1.2", "Host: a"], Malformed),
        (&["GET / HTTP/2.0", "Host: a"], Version),
        (&["POST / HTTP/1.1", "Host: a", "Content-Length: 3", "Transfer-Encoding: chunked"], Malformed),
        (&["POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Content-Length: 3"], Malformed),
        (&["POST / HTTP/1.1", "Host: a", "Content-Length: 3", "Content-Length: 4"], Malformed),
        (&["POST / HTTP/1.1", "Host: a", "Content-Length: 3", "Content-Length: 3"], Malformed),
        (&["POST / HTTP/1.1", "Host: a", "Content-Length: 3, 3"], Malformed),
        (&["POST / HTTP/1.1", "Host: a", "Content-Length: +3"], Malformed),
        (&["POST / HTTP/1.1", "Host: a", "Content-Length: -1"], Malformed),
        (&["POST / HTTP/1.1", "Host: a", "Content-Length: 0x3"], Malformed),
        (&["POST / HTTP/1.1", "Host: a", "Content-Length:"], Malformed),
        (&["POST / HTTP/1.1", "Host: a", "Content-Length: 9999999999999999999"], Malformed),
        (&["POST / HTTP/1.0", "Host: a", "Transfer-Encoding: chunked"], Malformed),
        (&["POST / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip"], Coding),
        (&["POST / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip, chunked"], Coding),
        (&["POST / HTTP/1.1", "Host: a", "Transfer-Encoding: \u{b}chunked"], Malformed),
        (&["POST / HTTP/1.1", "Host: a", "Transfer-Encoding: identity"], Coding),
        (
            &["POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
            Malformed,
        ),
        (&["POST / HTTP/1.1", "Host: a", "Transfer-Encoding : chunked"], Malformed),
        (&["GET / HTTP/1.1", "Host: a", "X: 1", " folded"], Malformed),
        (&["GET / HTTP/1.1", "Host: a", "X: 1", "\tfolded"], Malformed),
        (&["GET / HTTP/1.1", " Host: a"], Malformed),
        (&["GET / HTTP/1.1", "Host: a", "X"], Malformed),
        (&["GET / HTTP/1.1", "Host: a", ": x"], Malformed),
        (&["GET / HTTP/1.1", "Host: a", "X y: z"], Malformed),
        (&["GET / HTTP/1.1", "Host: a", "X: a\0b"], Malformed),
        (&["GET / HTTP/1.1", "Host: a", "X: a\rY: b"], Malformed),
        (&["GET / HTTP/1.1", "Host: a", "X: a\r"], Malformed),
        (&["GET / HTTP/1.1", "Host: a", "\rX: a"], Malformed),
        (&["GET / HTTP/1.1", "Host: a", "\r"], Malformed),
        (&["GET / HTTP/1.1", "\rHost: a", "Host: a"], Malformed),
        (&["GET / HTTP/1.1\r", "Host: a"], Malformed),
        (&["GET /\r HTTP/1.1", "Host: a"], Malformed),
        (&["GET /\u{1} HTTP/1.1", "Host: a"], Malformed),
    ];
    for (lines, refusal) in cases {
        assert_eq!(read(&wire(lines)).unwrap_err(), *refusal, "{lines:?}");
    }
}

#[test]
fn a_bare_line_feed_is_malformed() {
    for text in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "\n",
    ] {
        assert_eq!(HeadFinder::default().find(text.as_bytes()), Err(HeadError::Malformed), "{text:?}");
        crate::fuzz::request_head(text.as_bytes());
    }
}

#[test]
fn a_head_is_found_however_its_bytes_arrive() {
    let text = wire(&["GET / HTTP/1.1", "Host: a", "X: y"]);
    for cut in 1..text.len() {
        let mut finder = HeadFinder::default();
        assert_eq!(finder.find(&text.as_bytes()[..cut]), Ok(None), "{cut}");
        assert_eq!(finder.find(text.as_bytes()), Ok(Some(text.len())), "{cut}");
    }
}

#[test]
fn long_lines_are_refused_as_nginx_refuses_them() {
    let long = "x".repeat(MAX_LINE);
    let mut all = vec!["GET / HTTP/1.1".to_owned(), "Host: a".to_owned()];
    all.extend((0..5).map(|at| format!("X-{at}: {}", "y".repeat(7_000))));
    let cases = [
        (format!("GET /{long} HTTP/1.1\r\n"), HeadError::UriTooLong),
        (format!("GET /{long}"), HeadError::UriTooLong),
        (format!("GET / HTTP/1.1\r\nX: {long}"), HeadError::HeaderTooLarge),
        // One byte more than the limit, with the line end.
        (format!("GET /{} HTTP/1.1\r\n", &long[..MAX_LINE - 15]), HeadError::UriTooLong),
        (format!("GET / HTTP/1.1\r\nX: {}\r\n", &long[..MAX_LINE - 4]), HeadError::HeaderTooLarge),
        (all.join("\r\n"), HeadError::HeaderTooLarge),
    ];
    for (text, refusal) in cases {
        assert_eq!(HeadFinder::default().find(text.as_bytes()), Err(refusal), "{}", &text[..20]);
        crate::fuzz::request_head(text.as_bytes());
    }
}

#[test]
fn a_line_of_the_limit_is_found() {
    let line = format!("GET /{} HTTP/1.1\r\n", "x".repeat(MAX_LINE - 16));
    assert_eq!(line.len(), MAX_LINE);
    let head = line + "Host: a\r\n\r\n";
    assert_eq!(HeadFinder::default().find(head.as_bytes()), Ok(Some(head.len())));
}

#[test]
fn good_heads_keep_their_target_byte_for_byte() {
    let cases: &[(&[&str], &str, RequestFraming)] = &[
        (&["GET / HTTP/1.1", "Host: a"], "/", RequestFraming::Length(0)),
        (&["GET /a%2fb?c=%20&<d>#e HTTP/1.1", "Host: a:8080"], "/a%2fb?c=%20&<d>", RequestFraming::Length(0)),
        (&["GET //a/../b HTTP/1.0"], "//a/../b", RequestFraming::Length(0)),
        (&["GET http://A.b/c?d HTTP/1.1", "Host: a.B"], "/c?d", RequestFraming::Length(0)),
        (&["GET HTTP://a HTTP/1.0"], "/", RequestFraming::Length(0)),
        (&["PUT / HTTP/1.1", "Host: [::1]:80", "content-length: 12"], "/", RequestFraming::Length(12)),
        (&["PUT / HTTP/1.1", "Host: a", "transfer-encoding:\tChunked "], "/", RequestFraming::Chunked),
        (&["M-SEARCH / HTTP/1.1", "Host: a", "Upgrade: x"], "/", RequestFraming::Length(0)),
    ];
    for (lines, target, framing) in cases {
        let head = read(&wire(lines)).unwrap_or_else(|refusal| panic!("{lines:?}: {refusal:?}"));
        assert_eq!(&head.target()[..], target.as_bytes(), "{lines:?}");
        assert_eq!(head.framing, *framing, "{lines:?}");
        assert_eq!(head.line(), lines[0].as_bytes());
    }
}

#[test]
fn odd_bytes_of_a_target_are_percent_encoded_and_others_are_not() {
    for byte in (b'!'..=0xff).filter(|byte| !matches!(*byte, b'#' | b'?' | 0x7f)) {
        match encoded_target(&[b'/', byte, b'?', byte]) {
            None => assert!(http::Uri::try_from(&[b'/', byte][..]).is_ok(), "{byte:#x}"),
            Some(encoded) => assert_eq!(encoded, format!("/%{byte:02X}?%{byte:02X}")),
        }
    }
    assert_eq!(encoded_target("/a%20b/<é>?c=d".as_bytes()).unwrap(), "/a%20b/%3C%C3%A9%3E?c=d");
}

#[test]
fn a_tls_handshake_is_refused_at_its_first_byte() {
    for first in [&b"\x16"[..], b"\x16\x03\x01\x02\x00", b"get", b"\0"] {
        assert_eq!(HeadFinder::default().find(first), Err(HeadError::Malformed), "{first:?}");
        crate::fuzz::request_head(first);
    }
}

#[test]
fn many_header_fields_pass() {
    let mut text = "POST /<a> HTTP/1.1\r\nHost: a\r\n".to_owned();
    for at in 0..200 {
        text.push_str(&format!("X-{at}: {at}\r\n"));
    }
    text.push_str("content-length: 5\r\n\r\n");
    assert_eq!(HeadFinder::default().find(text.as_bytes()), Ok(Some(text.len())));
    let head = RequestHead::check(text.into()).unwrap();
    assert_eq!(head.lines().count(), 202);
}
