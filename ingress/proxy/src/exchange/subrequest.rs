//! Sends the requests that the proxy makes itself, such as those of external authentication.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Uri};
use ingress_routes::plan::subrequest::{Subrequest, SubrequestResponse};
use ingress_wire::chunked::{ChunkEvent, ChunkedDecoder};
use ingress_wire::framing::MessageFraming;
use ingress_wire::head_writer::HeadWriter;
use ingress_wire::known_header::{KnownHeader, KnownSet};
use ingress_wire::response::{HIDDEN, MAX_RESPONSE_HEAD, ParsedResponse, ResponseError};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::exchange::open::open;
use crate::state::worker::Worker;
use crate::upstream::error::UpstreamError;
use crate::upstream::limit::UpstreamSlot;

/// How much of a response's body is kept. Of a longer body only the beginning is.
const MAX_BODY: usize = 64 * 1024;
/// How many interim responses (1xx) are skipped.
const MAX_INTERIM: usize = 16;

/// Why a subrequest has no response.
#[derive(Debug)]
enum FetchError {
    Url(&'static str),
    Failed(String),
    Timeout,
}

impl std::fmt::Display for FetchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(what) => f.write_str(what),
            Self::Failed(what) => f.write_str(what),
            Self::Timeout => f.write_str("the response took too long"),
        }
    }
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The response to a subrequest. The error is 502 or 504, with the reason in the log under the name of the upstream that the request
/// was meant for.
pub(crate) async fn fetch(
    worker: &Worker,
    upstream: &str,
    request: &Subrequest,
) -> Result<SubrequestResponse, StatusCode> {
    let fetched = tokio::time::timeout(request.timeout, exchange(worker, request)).await;
    fetched.unwrap_or(Err(FetchError::Timeout)).map_err(|error| {
        worker.upstream_log.failed(upstream, &format_args!("subrequest to {}", request.url), &error);
        match error {
            FetchError::Timeout => StatusCode::GATEWAY_TIMEOUT,
            FetchError::Url(_) | FetchError::Failed(_) => StatusCode::BAD_GATEWAY,
        }
    })
}

async fn exchange(worker: &Worker, request: &Subrequest) -> Result<SubrequestResponse, FetchError> {
    let host = request.url.host().ok_or(FetchError::Url("the URL has no host"))?;
    let is_tls = match request.url.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(FetchError::Url("the URL is neither http nor https")),
    };
    let port = request.url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = worker.resolver.addresses(bare, port).await;
    let addresses = addresses.map_err(|error| FetchError::Failed(error.to_string()))?;
    let head = head(request);
    let is_head = request.method == Method::HEAD;
    let (stream, _slot) = connect(worker, &addresses, request).await?;
    if !is_tls {
        return send(stream, &head, is_head).await;
    }
    let name =
        ServerName::try_from(bare.to_owned()).map_err(|_| FetchError::Url("the host is no TLS name"))?;
    let stream = TlsConnector::from(worker.subrequest_tls.clone()).connect(name, stream).await?;
    send(stream, &head, is_head).await
}

/// A connection to the first address that accepts one.
async fn connect(
    worker: &Worker,
    addresses: &[SocketAddr],
    request: &Subrequest,
) -> Result<(TcpStream, UpstreamSlot), FetchError> {
    let mut last = FetchError::Failed("the host has no address".to_owned());
    for address in addresses {
        match open(worker, *address, request.timeout).await {
            Ok(opened) => return Ok(opened),
            Err(error) => last = FetchError::Failed(format!("{address}: {error}")),
        }
    }
    Err(last)
}

/// The encoded head. The connection is closed after the response, as nginx does without `keepalive`.
fn head(request: &Subrequest) -> Bytes {
    let Subrequest { method, url, headers, .. } = request;
    let mut head = BytesMut::with_capacity(1024);
    head.put_slice(method.as_str().as_bytes());
    head.put_slice(b" ");
    head.put_slice(target(url).as_bytes());
    head.put_slice(b" HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| *name == http::header::HOST) {
        let authority = url.authority().map_or("", |authority| authority.as_str());
        head.put_slice(b"Host: ");
        head.put_slice(authority.rsplit_once('@').map_or(authority, |(_, host)| host).as_bytes());
        head.put_slice(b"\r\n");
    }
    for (name, value) in headers {
        head.put_slice(name.as_str().as_bytes());
        head.put_slice(b": ");
        head.put_slice(value.as_bytes());
        head.put_slice(b"\r\n");
    }
    head.put_slice(b"Connection: close\r\n\r\n");
    head.freeze()
}

fn target(url: &Uri) -> &str {
    url.path_and_query().map_or("/", |target| target.as_str())
}

/// Sends a head and reads the response.
async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    head: &[u8],
    is_head: bool,
) -> Result<SubrequestResponse, FetchError> {
    stream.write_all(head).await?;
    stream.flush().await?;
    let (mut buffer, mut response) = (BytesMut::new(), ParsedResponse::default());
    read_head(&mut stream, &mut buffer, is_head, &mut response).await?;
    let body = read_body(&mut stream, buffer, response.framing()).await?;
    let status = StatusCode::from_u16(response.status())
        .map_err(|_| FetchError::Failed("the endpoint sent no such status".to_owned()))?;
    Ok(SubrequestResponse { status, headers: fields(&response), body })
}

/// The fields without those that concern the connection only or are instructions to nginx.
fn fields(response: &ParsedResponse) -> HeaderMap {
    let mut writer = HeadWriter::default();
    writer.remove_set(HIDDEN);
    writer.remove_listed(response.head(), response.connection(), KnownSet::of(&[KnownHeader::ContentLength]));
    response.head().map_of(|field| !writer.removes(field))
}

async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    is_head: bool,
    response: &mut ParsedResponse,
) -> Result<(), FetchError> {
    let invalid =
        |error| FetchError::Failed(UpstreamError::Invalid(ResponseError::reason(error)).to_string());
    for _ in 0..=MAX_INTERIM {
        loop {
            if response.parse(buffer, is_head, MAX_RESPONSE_HEAD).map_err(invalid)? {
                if response.status() >= 200 {
                    return Ok(());
                }
                break;
            }
            if stream.read_buf(buffer).await? == 0 {
                return Err(FetchError::Failed("the connection was closed before the response".to_owned()));
            }
        }
    }
    Err(FetchError::Failed("too many interim responses".to_owned()))
}

/// The beginning of the body, up to [`MAX_BODY`].
async fn read_body<S: AsyncRead + Unpin>(
    stream: &mut S,
    mut buffer: BytesMut,
    framing: MessageFraming,
) -> Result<Bytes, FetchError> {
    let length = match framing {
        MessageFraming::None => 0,
        MessageFraming::Length(length) => usize::try_from(length).unwrap_or(MAX_BODY).min(MAX_BODY),
        MessageFraming::UntilClose => MAX_BODY,
        MessageFraming::Chunked => return read_chunks(stream, buffer).await,
    };
    while buffer.len() < length {
        if stream.read_buf(&mut buffer).await? == 0 {
            if framing == MessageFraming::UntilClose {
                break;
            }
            return Err(FetchError::Failed("the connection was closed within the body".to_owned()));
        }
    }
    buffer.truncate(length);
    Ok(buffer.freeze())
}

async fn read_chunks<S: AsyncRead + Unpin>(
    stream: &mut S,
    mut buffer: BytesMut,
) -> Result<Bytes, FetchError> {
    let (mut body, mut chunked) = (BytesMut::new(), ChunkedDecoder::default());
    while body.len() < MAX_BODY {
        let event = chunked.advance(&buffer);
        let (passed, event) = event.map_err(|_| FetchError::Failed("malformed chunks".to_owned()))?;
        buffer.advance(passed);
        match event {
            ChunkEvent::Data(length) => body.put(buffer.split_to(length)),
            ChunkEvent::End => break,
            ChunkEvent::More => {
                if stream.read_buf(&mut buffer).await? == 0 {
                    return Err(FetchError::Failed("the connection was closed within the body".to_owned()));
                }
            }
        }
    }
    body.truncate(MAX_BODY);
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// The status and body of what a server answers, or the error.
    async fn answer(text: &str, is_head: bool) -> Result<(u16, String), String> {
        let (near, mut far) = duplex(256 * 1024);
        far.write_all(text.replace('\n', "\r\n").as_bytes()).await.unwrap();
        far.shutdown().await.unwrap();
        let response =
            send(near, b"GET / HTTP/1.1\r\n\r\n", is_head).await.map_err(|error| error.to_string())?;
        Ok((response.status.as_u16(), String::from_utf8(response.body.to_vec()).unwrap()))
    }

    #[tokio::test]
    async fn responses_of_every_framing_are_read() {
        let long = "x".repeat(70_000);
        for (text, status, body) in [
            ("HTTP/1.1 204 No Content\n\n", 204, ""),
            ("HTTP/1.1 200 OK\nContent-Length: 2\n\nokrest", 200, "ok"),
            ("HTTP/1.1 401 Unauthorized\nTransfer-Encoding: chunked\n\n2\nok\n1\n!\n0\n\n", 401, "ok!"),
            ("HTTP/1.0 200 OK\n\nuntil the end", 200, "until the end"),
            (
                "HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Early Hints\n\nHTTP/1.1 403 Forbidden\nContent-Length: 0\n\n",
                403,
                "",
            ),
            (&format!("HTTP/1.1 200 OK\nContent-Length: 70000\n\n{long}"), 200, &long[..MAX_BODY]),
            (&format!("HTTP/1.0 200 OK\n\n{long}"), 200, &long[..MAX_BODY]),
        ] {
            assert_eq!(answer(text, false).await, Ok((status, body.to_owned())), "{text:.60}");
        }
        let head = "HTTP/1.1 200 OK\nContent-Length: 5\n\n";
        assert_eq!(answer(head, true).await, Ok((200, String::new())));
    }

    #[tokio::test]
    async fn incomplete_and_malformed_responses_are_errors() {
        for (text, error) in [
            ("", "the connection was closed before the response"),
            ("HTTP/1.1 200 OK\nContent-Length: 5\n\nok", "the connection was closed within the body"),
            (
                "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nok",
                "the connection was closed within the body",
            ),
            ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nx\n", "malformed chunks"),
            ("nonsense\n\n", "the endpoint sent an invalid response: malformed head"),
            (&"HTTP/1.1 100 Continue\n\n".repeat(20), "too many interim responses"),
        ] {
            assert_eq!(answer(text, false).await, Err(error.to_owned()), "{text:.60}");
        }
    }

    #[test]
    fn the_head_has_the_host_of_the_url_unless_one_is_given() {
        let mut request = Subrequest::get("http://user@auth.example:8080/check?a=b".parse().unwrap());
        assert_eq!(
            head(&request),
            "GET /check?a=b HTTP/1.1\r\nHost: auth.example:8080\r\nConnection: close\r\n\r\n"
        );
        request.headers.push((http::header::HOST, http::HeaderValue::from_static("other")));
        assert_eq!(head(&request), "GET /check?a=b HTTP/1.1\r\nhost: other\r\nConnection: close\r\n\r\n");
    }
}
