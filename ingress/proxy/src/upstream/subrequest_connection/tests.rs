use tokio::io::{DuplexStream, duplex};

use super::*;

pub(crate) fn server(last: u8) -> ServerIdentity {
    ServerIdentity { address: SocketAddr::from(([192, 0, 2, last], 80)), tls_name: None }
}

/// A connection, and the server's side of it.
pub(crate) fn connection(server: ServerIdentity) -> (SubrequestConnection, DuplexStream) {
    let (near, far) = duplex(256 * 1024);
    (SubrequestConnection::new(server, Box::new(near), None, 0), far)
}

/// The status and body of what a server answers before it closes the connection, or the error.
async fn answer(text: &str, is_head: bool) -> Result<(u16, String, bool), String> {
    let (mut connection, mut far) = connection(server(1));
    far.write_all(text.replace('\n', "\r\n").as_bytes()).await.unwrap();
    far.shutdown().await.unwrap();
    let response = connection.send(b"GET / HTTP/1.1\r\n\r\n", b"", is_head).await;
    let response = response.map_err(|error| error.to_string())?;
    let body = String::from_utf8(response.body.to_vec()).unwrap();
    Ok((response.status.as_u16(), body, connection.is_reusable))
}

#[tokio::test]
async fn responses_of_every_framing_are_read() {
    let long = "x".repeat(70_000);
    for (text, status, body, is_reusable) in [
        ("HTTP/1.1 204 No Content\n\n", 204, "", true),
        ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200, "ok", true),
        ("HTTP/1.1 200 OK\nContent-Length: 2\n\nokrest", 200, "ok", false),
        ("HTTP/1.1 200 OK\nContent-Length: 2\nConnection: close\n\nok", 200, "ok", false),
        ("HTTP/1.1 401 Unauthorized\nTransfer-Encoding: chunked\n\n2\nok\n1\n!\n0\n\n", 401, "ok!", true),
        ("HTTP/1.0 200 OK\n\nuntil the end", 200, "until the end", false),
        (
            "HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Early Hints\n\nHTTP/1.1 403 Forbidden\nContent-Length: 0\n\n",
            403,
            "",
            true,
        ),
        (&format!("HTTP/1.1 200 OK\nContent-Length: 70000\n\n{long}"), 200, &long[..MAX_BODY], false),
        (&format!("HTTP/1.0 200 OK\n\n{long}"), 200, &long[..MAX_BODY], false),
    ] {
        assert_eq!(answer(text, false).await, Ok((status, body.to_owned(), is_reusable)), "{text:.60}");
    }
    let head = "HTTP/1.1 200 OK\nContent-Length: 5\n\n";
    assert_eq!(answer(head, true).await, Ok((200, String::new(), true)));
}

#[tokio::test]
async fn incomplete_and_malformed_responses_are_errors() {
    for (text, error) in [
        ("", "the connection was closed before the response"),
        ("HTTP/1.1 200 OK\n", "the connection was closed within the head of the response"),
        ("HTTP/1.1 200 OK\nContent-Length: 5\n\nok", "the connection was closed within the body"),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nok", "the connection was closed within the body"),
        ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nx\n", "malformed chunks"),
        ("nonsense\n\n", "the endpoint sent an invalid response: malformed head"),
        (&"HTTP/1.1 100 Continue\n\n".repeat(20), "too many interim responses"),
    ] {
        assert_eq!(answer(text, false).await, Err(error.to_owned()), "{text:.60}");
    }
}

#[tokio::test]
async fn the_fields_of_the_connection_are_left_out() {
    let (mut connection, mut far) = connection(server(1));
    let text = "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-User: ann\r\nX-Accel-Expires: 5\r\nServer: x\r\n\
                Content-Length: 0\r\n\r\n";
    far.write_all(text.as_bytes()).await.unwrap();
    let response = connection.send(b"GET / HTTP/1.1\r\n\r\n", b"", false).await.unwrap();
    let mut names: Vec<_> = response.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "x-accel-expires", "x-user"]);
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let (mut connection, mut far) = connection(server(1));
    for _ in 0..2 {
        assert!(connection.is_quiet());
        far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        assert_eq!(connection.send(b"GET / HTTP/1.1\r\n\r\n", b"", false).await.unwrap().body, "ok");
        assert!(connection.is_reusable);
    }
    assert_eq!(connection.served, 2);
    drop(far);
    assert!(!connection.is_quiet());
    let error = connection.send(b"GET / HTTP/1.1\r\n\r\n", b"", false).await.unwrap_err();
    assert!(matches!(error, SubrequestError::Closed), "{error}");
    assert!(!connection.is_reusable);
}
