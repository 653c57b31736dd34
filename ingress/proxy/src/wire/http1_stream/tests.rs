use std::task::Waker;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A connection: the client's side, and the stream with input that was read already.
async fn connection(input: &[u8]) -> (TcpStream, Http1Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, accepted) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let stream = ClientStream::Plain(accepted.unwrap().0);
    (client.unwrap(), Http1Stream::new(stream, BytesMut::from(input)))
}

async fn next_head(stream: &Http1Stream) -> (ParsedRequest, NextHead) {
    let mut request = ParsedRequest::default();
    let next = std::future::poll_fn(|cx| stream.poll_head(cx, &mut request)).await;
    (request, next.unwrap())
}

async fn head(stream: &Http1Stream) -> ParsedRequest {
    match next_head(stream).await {
        (request, NextHead::Complete) => request,
        (_, other) => panic!("{other:?}"),
    }
}

async fn piece(stream: &Http1Stream) -> Option<Result<BodyPiece, BrokenBody>> {
    std::future::poll_fn(|cx| stream.poll_body(cx)).await
}

/// The data and the trailers of a body.
async fn body(stream: &Http1Stream) -> Result<(String, String), BrokenBody> {
    let (mut data, mut trailers) = (Vec::new(), Vec::new());
    while let Some(piece) = piece(stream).await {
        match piece? {
            BodyPiece::Data(more) => data.extend_from_slice(&more),
            BodyPiece::Trailers(lines) => trailers = lines,
        }
    }
    Ok((String::from_utf8(data).unwrap(), String::from_utf8(trailers).unwrap()))
}

const CHUNKS: &str = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n";

#[tokio::test]
async fn requests_are_read_one_after_the_other_however_their_bytes_arrive() {
    let post = |rest: &str| format!("\r\nPOST / HTTP/1.1\r\nHost: a\r\n{rest}");
    let text = [post("Content-Length: 5\r\n\r\nhello"), post(CHUNKS), post("\r\n")].concat();
    for step in [1, 2, 7, 30, text.len()] {
        let (mut client, stream) = connection(&[]).await;
        let sending = async {
            for piece in text.as_bytes().chunks(step) {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let reading = async {
            for (data, trailers, bytes) in [("hello", "", 5), ("hello", "x: y\r\n", 21), ("", "", 0)] {
                assert_eq!(head(&stream).await.line(), b"POST / HTTP/1.1");
                assert_eq!(body(&stream).await, Ok((data.into(), trailers.into())), "by {step}");
                assert_eq!(stream.body_bytes(), bytes);
                assert!(!stream.is_body_due());
            }
        };
        tokio::join!(sending, reading);
        assert!(!stream.has_input() && !stream.has_begun());
    }
}

#[tokio::test]
async fn a_body_is_discarded_as_far_as_it_was_received() {
    let post = |rest: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{rest}");
    for (rest, is_whole) in [
        ("\r\n", true),
        ("Content-Length: 5\r\n\r\nhello", true),
        ("Content-Length: 6\r\n\r\nhello", false),
        (CHUNKS, true),
        (&CHUNKS[..CHUNKS.len() - 1], false),
        ("Transfer-Encoding: chunked\r\n\r\nnonsense", false),
    ] {
        let next = if is_whole { post("\r\n") } else { String::new() };
        let (_client, stream) = connection((post(rest) + &next).as_bytes()).await;
        head(&stream).await;
        assert_eq!(stream.is_body_due(), !is_whole, "{rest:?}");
        assert_eq!(stream.discard_body(), is_whole, "{rest:?}");
        assert!(!is_whole || head(&stream).await.line() == b"POST / HTTP/1.1", "{rest:?}");
        assert!(is_whole || piece(&stream).await == Some(Err(BrokenBody)), "{rest:?}");
    }
}

#[tokio::test]
async fn an_incomplete_or_malformed_body_fails_at_every_further_read() {
    for rest in [
        "Content-Length: 6\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n6\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\nx",
    ] {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{rest}");
        let (client, stream) = connection(text.as_bytes()).await;
        drop(client);
        head(&stream).await;
        assert_eq!(body(&stream).await, Err(BrokenBody), "{rest:?}");
        assert_eq!(piece(&stream).await, Some(Err(BrokenBody)), "{rest:?}");
        assert!(stream.is_body_due() && !stream.discard_body());
    }
}

#[tokio::test]
async fn continue_is_sent_once_and_only_when_the_body_is_read() {
    let text = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let (mut client, stream) = connection(text.as_bytes()).await;
    head(&stream).await;
    let mut response = [0; CONTINUE.len()];
    assert!(client.try_read(&mut response).is_err());
    assert!(stream.poll_body(&mut Context::from_waker(Waker::noop())).is_pending());
    client.read_exact(&mut response).await.unwrap();
    assert_eq!(response, CONTINUE);
    client.write_all(b"ok").await.unwrap();
    assert_eq!(body(&stream).await, Ok(("ok".into(), String::new())));
    drop(stream);
    assert_eq!(client.read(&mut response).await.unwrap(), 0);
}

#[tokio::test]
async fn a_client_that_has_gone_is_noticed_after_its_request() {
    let closed = async |stream: &Http1Stream| std::future::poll_fn(|cx| stream.poll_closed(cx)).await;
    let noop = &mut Context::from_waker(Waker::noop());
    let (client, stream) = connection(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    head(&stream).await;
    assert!(stream.poll_closed(noop).is_pending());
    drop(client);
    closed(&stream).await;
    // What was sent ahead is the next request.
    let (mut client, stream) = connection(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    head(&stream).await;
    client.write_all(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    drop(client);
    std::future::poll_fn(|cx| {
        assert!(stream.poll_closed(cx).is_pending());
        if stream.has_begun() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    assert_eq!(head(&stream).await.line(), b"GET /next HTTP/1.1");
    closed(&stream).await;
}

#[tokio::test]
async fn a_refused_head_keeps_its_first_line() {
    let (_client, stream) = connection(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await;
    let (_, next) = next_head(&stream).await;
    assert!(matches!(next, NextHead::Refused(HeadError::Malformed, line) if line == "GET / HTTP/1.1"));
}

#[tokio::test]
async fn the_input_buffer_is_reused_from_request_to_request() {
    let (mut client, stream) = connection(&[]).await;
    let mut places = Vec::new();
    for _ in 0..100 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        places.push(head(&stream).await.head().bytes().as_ptr().addr());
    }
    let (first, last) = (places.iter().min().unwrap(), places.iter().max().unwrap());
    assert!(last - first < HEAD_BUFFER, "one buffer");
    stream.release_buffer();
    assert_eq!(stream.0.borrow().input.capacity(), 0);
}
