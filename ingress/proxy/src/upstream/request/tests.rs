use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// The largest piece of a response of 8 MiB that comes faster than it is taken.
async fn largest_piece(stream: bool) -> usize {
    const SIZE: usize = 8 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let near = TcpStream::connect(address).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    tokio::spawn(async move {
        far.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes()).await.unwrap();
        far.write_all(&vec![b'x'; SIZE]).await.unwrap();
        // Closing with the request unread would reset the connection.
        far.read_exact(&mut [0; REQUEST.len()]).await.unwrap();
    });
    let clock = Rc::new(Clock::new(jiff::tz::TimeZone::UTC));
    let minute = Duration::from_secs(60);
    let timeouts = UpstreamTimeouts { send: minute, read: minute, body: minute, client_send: minute };
    let timer = UpstreamTimer { timer: clock.timer(), clock, timeouts, is_stream: stream };
    let connection = UpstreamConnection::new(near, address, None, "endpoint".into(), 0);
    let request = Bytes::from_static(REQUEST);
    let mut request = UpstreamRequest::new(connection, request, RequestBody::none(), (false, false), timer);
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
async fn a_stream_of_http2_gets_pieces_that_a_slow_client_takes_in_time() {
    let (stream, connection) = (largest_piece(true).await, largest_piece(false).await);
    assert!(stream <= 2 * READ, "{stream}");
    assert!(connection > 2 * READ, "{connection}");
}
