use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::*;
use crate::io::clock::Clock;
use crate::io::transport_stream::TransportStream;
use crate::upstream::connection::ConnectionKey;
use crate::upstream::timer::UpstreamTimeouts;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// A request to an endpoint that sends this response.
async fn request_to(response: Vec<u8>, head_limit: usize, is_stream: bool) -> Box<StreamRequest> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut endpoint, _) = listener.accept().await.unwrap();
    tokio::spawn(async move {
        // Fails if the response is refused.
        let _ = endpoint.write_all(&response).await;
        // Closing with the request unread would reset the connection.
        let _ = endpoint.read_exact(&mut [0; REQUEST.len()]).await;
    });
    let clock = Rc::new(Clock::new(jiff::tz::TimeZone::UTC));
    let minute = Duration::from_secs(60);
    let timeouts = UpstreamTimeouts { send: minute, read: minute, body: minute, client_send: minute };
    let timer = UpstreamTimer::new(clock.clone(), clock.timer(), timeouts, is_stream);
    let key = ConnectionKey { address, tls: None };
    let connection = UpstreamConnection::new(TransportStream::Plain(stream), key, None, "endpoint".into(), 0);
    let traits = RequestTraits { is_head: false, is_once: false, forgets_body: false, head_limit };
    StreamRequest::new(connection, Bytes::from_static(REQUEST), RequestBody::none(), traits, timer)
}

async fn head(request: &mut StreamRequest) -> Result<ParsedResponse, UpstreamError> {
    let mut response = ParsedResponse::default();
    std::future::poll_fn(|cx| request.poll_head(cx, &mut response)).await.map(|()| response)
}

/// The size of the largest piece of an 8 MiB response that the endpoint sends faster than the client reads.
async fn largest_piece(is_stream: bool) -> usize {
    const SIZE: usize = 8 << 20;
    let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").into_bytes();
    response.resize(response.len() + SIZE, b'x');
    let mut request = request_to(response, 4096, is_stream).await;
    head(&mut request).await.unwrap();
    let mut largest = 0;
    while request.left() != Some(0) {
        let TransportStream::Plain(stream) = &request.connection.stream else { unreachable!("made above") };
        stream.readable().await.unwrap();
        let frame = std::future::poll_fn(|cx| request.poll_frame(cx, usize::MAX)).await.unwrap().unwrap();
        largest = largest.max(frame.data_ref().unwrap().len());
        tokio::task::yield_now().await;
    }
    largest
}

#[tokio::test]
async fn an_http2_stream_gets_smaller_pieces_than_an_http1_connection() {
    let (stream, connection) = (largest_piece(true).await, largest_piece(false).await);
    assert!(stream <= 2 * READ, "{stream}");
    assert!(connection > 2 * READ, "{connection}");
}

#[tokio::test]
async fn a_head_may_be_as_long_as_the_limit_and_never_longer_than_a_mebibyte() {
    for (length, limit, fits) in [
        (4096, 4096, true),
        (4097, 4096, false),
        (100_000, 128 << 10, true),
        (MAX_HEAD, usize::MAX, true),
        (MAX_HEAD + 1, usize::MAX, false),
    ] {
        let (start, end) = ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ", "\r\n\r\n");
        let text = format!("{start}{}{end}", "x".repeat(length - start.len() - end.len()));
        let mut request = request_to(text.into_bytes(), limit, false).await;
        match head(&mut request).await {
            Ok(response) => assert!(fits && response.head().bytes().len() == length, "{length} of {limit}"),
            Err(error) => {
                assert!(!fits && error.to_string().contains("proxy-buffer-size"), "{length}: {error}")
            }
        }
    }
}
