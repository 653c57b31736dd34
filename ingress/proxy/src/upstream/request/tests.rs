use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// The size of the largest piece of an 8 MiB response that the endpoint sends faster than the client reads.
async fn largest_piece(stream: bool) -> usize {
    const SIZE: usize = 8 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream_to_endpoint = TcpStream::connect(address).await.unwrap();
    let (mut endpoint, _) = listener.accept().await.unwrap();
    tokio::spawn(async move {
        endpoint
            .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        endpoint.write_all(&vec![b'x'; SIZE]).await.unwrap();
        // Closing with the request unread would reset the connection.
        endpoint.read_exact(&mut [0; REQUEST.len()]).await.unwrap();
    });
    let clock = Rc::new(Clock::new(jiff::tz::TimeZone::UTC));
    let minute = Duration::from_secs(60);
    let timeouts = UpstreamTimeouts { send: minute, read: minute, body: minute, client_send: minute };
    let timer = UpstreamTimer { timer: clock.timer(), clock, timeouts, is_stream: stream };
    let connection = UpstreamConnection::new(stream_to_endpoint, address, None, "endpoint".into(), 0);
    let request = Bytes::from_static(REQUEST);
    let traits = RequestTraits { is_head: false, is_once: false, head_limit: 4096 };
    let mut request = UpstreamRequest::new(connection, request, RequestBody::none(), traits, timer);
    let mut headers = HeaderMap::new();
    std::future::poll_fn(|cx| request.poll_head(cx, &mut headers)).await.unwrap();
    let mut largest = 0;
    while request.left() != Some(0) {
        request.connection.stream.readable().await.unwrap();
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
