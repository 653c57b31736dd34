use super::*;

fn parse(lines: &[&str], is_head: bool) -> Result<ParsedResponse, ResponseError> {
    let mut text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    text.push_str("\r\nrest");
    let (mut response, mut buffer) = (ParsedResponse::default(), BytesMut::from(text.as_str()));
    let whole = response.parse(&mut buffer, is_head, MAX_RESPONSE_HEAD)?;
    assert!(whole && buffer == "rest");
    Ok(response)
}

#[test]
fn the_framing_follows_rfc_9112() {
    use MessageFraming::{Chunked, Length, None, UntilClose};
    let cases: &[(&[&str], bool, MessageFraming, bool)] = &[
        (&["HTTP/1.1 200 OK", "Content-Length: 5"], false, Length(5), true),
        (&["HTTP/1.1 200 OK", "Content-Length: 5"], true, None, true),
        (&["HTTP/1.1 200 OK", "Content-Length: 0"], false, None, true),
        (&["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"], false, Chunked, true),
        (&["HTTP/1.1 200 OK"], false, UntilClose, false),
        (&["HTTP/1.1 204 No Content"], false, None, true),
        (&["HTTP/1.1 204 No Content", "Content-Length: 0"], false, None, true),
        (&["HTTP/1.1 204 No Content", "Content-Length: 5"], false, None, false),
        (&["HTTP/1.1 204 No Content", "Transfer-Encoding: chunked"], false, None, false),
        (&["HTTP/1.1 304 Not Modified", "Content-Length: 9"], false, None, true),
        (&["HTTP/1.1 200 OK", "Content-Length: 5", "Connection: x, Close"], false, Length(5), false),
        (&["HTTP/1.0 200 OK", "Content-Length: 5"], false, Length(5), false),
        (&["HTTP/1.0 200 OK", "Content-Length: 5", "Connection: Keep-Alive"], false, Length(5), true),
        (&["HTTP/1.1 101 Switching Protocols", "Upgrade: x", "Connection: upgrade"], false, None, true),
    ];
    for (lines, is_head, framing, keeps_alive) in cases {
        let response = parse(lines, *is_head).unwrap_or_else(|error| panic!("{lines:?}: {error:?}"));
        assert_eq!((response.framing(), response.keeps_alive()), (*framing, *keeps_alive), "{lines:?}");
    }
}

#[test]
fn responses_that_can_be_read_in_two_ways_are_invalid() {
    use ResponseError::{Ambiguous, Coding, Length, Malformed, Status};
    let cases: &[(&[&str], ResponseError)] = &[
        (&["HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked"], Ambiguous),
        (&["HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 5"], Length),
        (&["HTTP/1.1 200 OK", "Content-Length: 5, 5"], Length),
        (&["HTTP/1.1 200 OK", "Content-Length: x"], Length),
        (&["HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked"], Coding),
        (&["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], Coding),
        (&["HTTP/1.0 200 OK", "Transfer-Encoding: chunked"], Ambiguous),
        (&["HTTP/1.1 200 OK", "X: 1", " folded"], Malformed),
        (&["HTTP/1.1 200 OK", "X : 1"], Malformed),
        (&["HTTP/1.1 200 OK", "X: a\rb"], Malformed),
        (&["HTTP/1.1 200 OK", "X: a\0b"], Malformed),
        (&["HTTP/1.1 20 OK"], Malformed),
        (&["HTTP/1.1 2000 OK"], Malformed),
        (&["HTTP/1.1  200 OK"], Malformed),
        (&["HTTP/1.1 099 OK"], Status),
        (&["HTTP/2.0 200 OK"], Malformed),
        (&["ICY 200 OK"], Malformed),
        (&["X"], Malformed),
    ];
    for (lines, error) in cases {
        assert_eq!(parse(lines, false).err(), Some(*error), "{lines:?}");
    }
}

#[test]
fn other_protocols_are_refused_before_a_line_ends() {
    for first in [&b"\x15\x03\x03"[..], b"SSH-2.0-x", b"HTTQ", b"HTTP/1.2"] {
        for step in [1, first.len()] {
            let (mut response, mut buffer) = (ParsedResponse::default(), BytesMut::new());
            let results = first.chunks(step).map(|piece| {
                buffer.extend_from_slice(piece);
                response.parse(&mut buffer, false, MAX_RESPONSE_HEAD)
            });
            let refusal = results.into_iter().find(|result| *result != Ok(false));
            assert_eq!(refusal, Some(Err(ResponseError::Malformed)), "{first:?} by {step}");
        }
    }
    for first in [&b"H"[..], b"HTTP/1.", b"HTTP/1.1", b"HTTP/1.1 200", b"\r", b"\r\n\nHTTP/1.0 200 OK\r"] {
        let result = ParsedResponse::default().parse(&mut BytesMut::from(first), false, MAX_RESPONSE_HEAD);
        assert_eq!(result, Ok(false), "{first:?}");
    }
}

#[test]
fn lenient_lines_are_accepted_however_they_arrive() {
    let cases = [
        ("\r\n\nHTTP/1.1 200 OK\nContent-Length: 1\nX:\n\n", "OK"),
        ("HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n", ""),
        ("HTTP/1.1 200\nContent-Length: 1\n\r\n", ""),
        ("HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\n", ""),
        ("HTTP/1.1 200 gr\u{fc}n\r\nContent-Length: 1\r\n\r\n", ""),
        ("HTTP/1.1 200 All  good\t\r\nContent-Length: 1\r\n\r\n", "All  good\t"),
    ];
    for (text, reason) in cases {
        for step in [1, 2, 3, text.len()] {
            let (mut response, mut buffer) = (ParsedResponse::default(), BytesMut::new());
            let mut whole = false;
            for piece in text.as_bytes().chunks(step) {
                assert!(!whole);
                buffer.extend_from_slice(piece);
                whole = response.parse(&mut buffer, false, MAX_RESPONSE_HEAD).unwrap();
            }
            assert!(whole, "{text:?} by {step}");
            assert_eq!(response.reason(), reason.as_bytes(), "{text:?}");
            assert_eq!(response.head().get(KnownHeader::ContentLength), Some(&b"1"[..]), "{text:?}");
        }
    }
}

#[test]
fn an_informational_response_is_followed_by_the_final_one() {
    let mut buffer = BytesMut::from(
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let mut response = ParsedResponse::default();
    assert_eq!(response.parse(&mut buffer, false, MAX_RESPONSE_HEAD), Ok(true));
    assert_eq!((response.status(), response.framing()), (103, MessageFraming::None));
    assert_eq!(response.parse(&mut buffer, false, MAX_RESPONSE_HEAD), Ok(true));
    assert_eq!((response.status(), response.framing()), (200, MessageFraming::Length(2)));
    assert!(!response.head().has(KnownHeader::Link));
    assert_eq!(buffer, "ok");
}

#[test]
fn a_huge_head_is_refused_and_the_number_of_fields_is_not_limited() {
    let mut buffer = BytesMut::from("HTTP/1.1 200 OK\r\nX: ");
    let mut response = ParsedResponse::default();
    assert_eq!(response.parse(&mut buffer, false, MAX_RESPONSE_HEAD), Ok(false));
    buffer.extend_from_slice(&vec![b'x'; MAX_RESPONSE_HEAD]);
    assert_eq!(response.parse(&mut buffer, false, MAX_RESPONSE_HEAD), Err(ResponseError::TooLarge));
    for count in [1, 32, 33, 1000, 16_000] {
        let mut buffer =
            BytesMut::from(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a:\r\n".repeat(count)).as_str());
        let mut response = ParsedResponse::default();
        assert_eq!(response.parse(&mut buffer, true, MAX_RESPONSE_HEAD), Ok(true), "{count}");
        assert_eq!(response.head().get_named(b"A").count(), count);
    }
    let mut buffer = BytesMut::from(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a:\r\n".repeat(40_000)).as_str());
    let result = ParsedResponse::default().parse(&mut buffer, true, MAX_RESPONSE_HEAD);
    assert_eq!(result, Err(ResponseError::TooLarge));
}

#[test]
fn a_map_of_very_many_fields_leaves_some_out() {
    let fields: String = (0..60_000).map(|name| format!("{name:x}:\r\n")).collect();
    let mut buffer = BytesMut::from(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_str());
    let mut response = ParsedResponse::default();
    assert_eq!(response.parse(&mut buffer, true, 1 << 20), Ok(true));
    assert_eq!(response.head().len(), 60_000);
    let map = response.head().header_map();
    assert!(map.len() > 20_000 && map.len() < 60_000, "{}", map.len());
}

#[test]
fn the_status_of_a_cgi_response_is_a_field() {
    type Expected = Result<(u16, &'static str, MessageFraming), ResponseError>;
    let cases: &[(&str, Expected)] = &[
        ("Content-Type: text/html\r\n\r\n", Ok((200, "", MessageFraming::UntilClose))),
        ("Status: 404 Not Found\nContent-Length: 3\n\n", Ok((404, "Not Found", MessageFraming::Length(3)))),
        ("Status: 204\r\n\r\n", Ok((204, "", MessageFraming::None))),
        ("Location: /x\r\n\r\n", Ok((302, "", MessageFraming::UntilClose))),
        ("Status: 201 Created\r\nLocation: /x\r\n\r\n", Ok((201, "Created", MessageFraming::UntilClose))),
        ("\r\n", Ok((200, "", MessageFraming::UntilClose))),
        ("Status: ok\r\n\r\n", Err(ResponseError::Status)),
        ("Status: 2000\r\n\r\n", Err(ResponseError::Status)),
        ("Status: 099\r\n\r\n", Err(ResponseError::Status)),
        ("Content-Length: x\r\n\r\n", Err(ResponseError::Length)),
        ("HTTP/1.1 200 OK\r\n\r\n", Err(ResponseError::Malformed)),
        ("a warning\r\n\r\n", Err(ResponseError::Malformed)),
    ];
    for (text, expected) in cases {
        for step in [1, text.len()] {
            let (mut response, mut buffer) = (ParsedResponse::default(), BytesMut::new());
            let mut pieces = text.as_bytes().chunks(step);
            let result = loop {
                match response.parse_cgi(&mut buffer, false, MAX_RESPONSE_HEAD) {
                    Ok(false) => buffer.extend_from_slice(pieces.next().expect("a whole head")),
                    Ok(true) => {
                        break Ok((
                            response.status(),
                            std::str::from_utf8(response.reason()).unwrap(),
                            response.framing(),
                        ));
                    }
                    Err(error) => break Err(error),
                }
            };
            assert_eq!(result, *expected, "{text:?} by {step}");
        }
    }
}
