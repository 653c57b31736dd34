//! A client for one HTTP/1.1 server, for the plugins that store or report something there.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use config::{ConfigError, HostPort, Word};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Connections that are kept for the next request.
const MAX_IDLE: usize = 8;

/// How long the addresses of a host name are used.
const RESOLVED: Duration = Duration::from_secs(30);

/// How long a connection may take, so that the next address can be tried.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// The place of a server: `http://HOST[:PORT]`, `https://…`, or without a scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpServer {
    pub is_tls: bool,
    pub authority: HostPort,
}

impl HttpServer {
    /// Parses a word of the Corefile, of which it may be the beginning, and returns the path behind it as well.
    pub(crate) fn read<'w>(
        word: &Word,
        text: &'w str,
        default_port: u16,
    ) -> Result<(Self, &'w str), ConfigError> {
        let wrong = || word.error(format!("invalid address {word}"), "http://HOST:PORT or https://HOST:PORT");
        let (is_tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            None => (false, text),
            Some(_) => return Err(wrong()),
        };
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let authority = HostPort::read(host, Some(default_port)).filter(|authority| {
            let host = authority.host.as_str();
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@".contains(&byte))
        });
        Ok((Self { is_tls, authority: authority.ok_or_else(wrong)? }, path))
    }
}

/// A client of one server with a few kept connections.
pub(crate) struct HttpClient {
    server: HttpServer,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    host: HeaderValue,
    idle: Mutex<Vec<Sender>>,
    /// The addresses of a host name, and when they were looked up. Held while they are, so that one thread at most waits for the
    /// system's resolver.
    resolved: tokio::sync::Mutex<Option<(Instant, Vec<SocketAddr>)>>,
}

type Sender = SendRequest<Full<Bytes>>;

/// A connection with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The response to a request.
pub(crate) struct HttpResponse {
    pub status: StatusCode,
    pub body: Bytes,
}

impl HttpClient {
    /// A client; `tls` applies to `https://`.
    pub(crate) fn new(server: HttpServer, tls: &Arc<ClientConfig>) -> Result<Self, String> {
        let text = server.authority.to_string();
        let connector = match server.is_tls {
            true => {
                let name = ServerName::try_from(server.authority.host.clone());
                let name = name.map_err(|_| format!("{text} has no name that a certificate can have"))?;
                Some((TlsConnector::from(tls.clone()), name))
            }
            false => None,
        };
        let host = HeaderValue::from_str(&text).map_err(|error| format!("{text}: {error}"))?;
        let (idle, resolved) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { server, tls: connector, host, idle, resolved })
    }

    /// The server's host and port.
    pub(crate) fn name(&self) -> &HostPort {
        &self.server.authority
    }

    /// Sends a JSON document and reads at most `limit` bytes of the response. The caller limits the time.
    pub(crate) async fn post(
        &self,
        path: &str,
        authorization: Option<&str>,
        body: Bytes,
        limit: usize,
    ) -> io::Result<HttpResponse> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = authorization {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(token).map_err(io::Error::other)?);
        }
        // A kept connection may have been closed by the server, so the request is repeated on a new one.
        while let Some(mut sender) = self.take_idle() {
            if sender.ready().await.is_ok() {
                let sent = sender.send_request(request(path, &headers, &body)?).await;
                if let Ok(response) = sent {
                    return self.finish(sender, response, limit).await;
                }
                break;
            }
        }
        let mut sender = self.connect().await?;
        let response =
            sender.send_request(request(path, &headers, &body)?).await.map_err(io::Error::other)?;
        self.finish(sender, response, limit).await
    }

    async fn finish(
        &self,
        sender: Sender,
        response: http::Response<hyper::body::Incoming>,
        limit: usize,
    ) -> io::Result<HttpResponse> {
        let status = response.status();
        let body = Limited::new(response.into_body(), limit).collect().await.map_err(io::Error::other)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(sender);
        }
        Ok(HttpResponse { status, body: body.to_bytes() })
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        idle.pop()
    }

    async fn connect(&self) -> io::Result<Sender> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no addresses");
        for address in self.addresses().await? {
            let connected = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await;
            match connected.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => return self.begin(stream).await,
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn begin(&self, stream: TcpStream) -> io::Result<Sender> {
        stream.set_nodelay(true)?;
        // One type for both, so that the code of a connection is in the program once.
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
        };
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if let Some(address) = self.server.authority.socket_addr() {
            return Ok(vec![address]);
        }
        let mut resolved = self.resolved.lock().await;
        if let Some((at, addresses)) = &*resolved
            && at.elapsed() < RESOLVED
        {
            return Ok(addresses.clone());
        }
        let HostPort { host, port } = &self.server.authority;
        let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), *port)).await?.collect();
        *resolved = Some((Instant::now(), found.clone()));
        Ok(found)
    }
}

fn request(path: &str, headers: &HeaderMap, body: &Bytes) -> io::Result<Request<Full<Bytes>>> {
    let mut request = Request::post(path).body(Full::new(body.clone())).map_err(io::Error::other)?;
    *request.headers_mut() = headers.clone();
    Ok(request)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_has_a_scheme_a_host_and_a_port() {
        let at = config::SourceLocation::unread("Corefile");
        for (text, wanted) in [
            ("http://localhost:2379", Some((false, "localhost:2379", ""))),
            ("https://etcd.test", Some((true, "etcd.test:1", ""))),
            ("10.0.0.1:80/api", Some((false, "10.0.0.1:80", "/api"))),
            ("http://[fd00::1]:80", Some((false, "[fd00::1]:80", ""))),
            ("ftp://a", None),
            ("http://", None),
            ("http://a b", None),
            ("http://user@a", None),
        ] {
            let word = Word::new(text, &at);
            let read = HttpServer::read(&word, text, 1).ok();
            let read = read.map(|(server, path)| (server.is_tls, server.authority.to_string(), path));
            assert_eq!(read.as_ref().map(|(tls, host, path)| (*tls, host.as_str(), *path)), wanted, "{text}");
        }
    }

    /// A server that answers each request with `{}`, and closes the first connection after its first response.
    async fn serve(listener: TcpListener) {
        let mut is_first = true;
        while let Ok((mut stream, _)) = listener.accept().await {
            let closes = std::mem::take(&mut is_first);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while let Ok(1..) = stream.read(&mut request).await {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
                    if closes {
                        return;
                    }
                }
            });
        }
    }

    #[tokio::test]
    async fn no_more_connections_are_kept_than_allowed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = HostPort::read(&listener.local_addr().unwrap().to_string(), None).unwrap();
        tokio::spawn(serve(listener));
        let tls = Arc::new(crate::authorities::client_config(None, None).unwrap());
        let client = HttpClient::new(HttpServer { is_tls: false, authority }, &tls).unwrap();
        let post = || client.post("/", None, Bytes::from_static(b"{}"), 100);
        // The kept connection is closed by the server, which the second request notices.
        for _ in 0..3 {
            assert_eq!(post().await.unwrap().body, "{}");
        }
        assert!(join_all((0..20).map(|_| post())).await.iter().all(Result::is_ok));
        assert_eq!(client.idle.lock().unwrap().len(), MAX_IDLE);
        assert!(client.post("/", None, Bytes::new(), 1).await.is_err(), "a response may be too long");
    }
}
