//! gRPC over HTTP/2: the calls of a case, and the Pods that answer them.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream, client, server};
use http::{HeaderMap, Request, Response};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::client::ProxyAddress;
use crate::http::AcceptAnyCertificate;

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The field with which a call asks for a late answer, in seconds.
const DELAY: &str = "x-conformance-delay";

/// The outcome of a call.
struct CallOutcome {
    /// The name of the status: `OK`, `UNAVAILABLE`, …
    status: String,
    /// The message of the response, without its prefix.
    message: Vec<u8>,
}

impl CallOutcome {
    /// The first expectation that is not met. `seen` describes the last request that a Pod got.
    fn check(&self, expect: &Value, seen: Option<&Value>) -> Result<(), String> {
        super::known_keys(expect, &["status", "status_not", "message", "upstream_metadata"])?;
        let status = &self.status;
        if expect["status"].as_str().is_some_and(|wanted| wanted != status) {
            return Err(format!("status {status} instead of {}", expect["status"]));
        }
        if expect["status_not"].as_str().is_some_and(|refused| refused == status) {
            return Err(format!("status {status}"));
        }
        if let Some(wanted) = expect["message"].as_str()
            && wanted.as_bytes() != self.message
        {
            return Err(format!(
                "message {:?} instead of {wanted:?}",
                String::from_utf8_lossy(&self.message)
            ));
        }
        for (name, wanted) in expect["upstream_metadata"].as_object().into_iter().flatten() {
            let value = seen.map(|seen| &seen["headers"][name]).ok_or("no Pod has seen the call")?;
            if value != wanted {
                return Err(format!("the Pod got {name}: {value} instead of {wanted}"));
            }
        }
        Ok(())
    }
}

/// Makes the call of a step and checks its outcome. `seen` describes the last call that a Pod got.
pub(super) fn check(
    step: &Value,
    expect: &Value,
    proxy: ProxyAddress,
    seen: &dyn Fn() -> Option<Value>,
) -> Result<(), String> {
    call(step, proxy)?.check(expect, seen().as_ref())
}

/// Makes a unary call.
fn call(step: &Value, proxy: ProxyAddress) -> Result<CallOutcome, String> {
    super::known_keys(step, &["authority", "tls", "method", "metadata", "data", "delay_s"])?;
    let authority = step["authority"].as_str().ok_or("a call without authority")?;
    let is_tls = step["tls"] == true;
    let scheme = if is_tls { "https" } else { "http" };
    let mut request = Request::post(format!("{scheme}://{authority}/conformance.Echo/{}", method(step)))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in step["metadata"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().unwrap_or_default());
    }
    if let Some(delay) = step["delay_s"].as_u64() {
        request = request.header(DELAY, delay);
    }
    let request = request.body(()).map_err(|error| error.to_string())?;
    let message = step["data"].as_str().unwrap_or_default().as_bytes().to_vec();
    let port = if is_tls { proxy.https } else { proxy.http };
    let address = SocketAddr::new(proxy.ip, port);
    let outcome = block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await?;
        if !is_tls {
            return exchange(stream, request, &message).await;
        }
        let name = ServerName::try_from(authority.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(client_config()).connect(name, stream).await?;
        exchange(stream, request, &message).await
    });
    outcome.map_err(|error| error.to_string())
}

fn method(step: &Value) -> &str {
    step["method"].as_str().unwrap_or("unary")
}

fn client_config() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for every version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate::new(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// Runs a future on a runtime of this thread, within [`TIMEOUT`].
fn block_on<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(TIMEOUT, future).await? })
}

async fn exchange<S>(stream: S, request: Request<()>, message: &[u8]) -> io::Result<CallOutcome>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = client::handshake(stream).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let mut sender = sender.ready().await.map_err(io::Error::other)?;
    let (response, mut stream) = sender.send_request(request, false).map_err(io::Error::other)?;
    stream.send_data(framed(message), true).map_err(io::Error::other)?;
    let (head, mut body) = match response.await {
        Ok(response) => response.into_parts(),
        Err(error) => return Ok(CallOutcome::reset(&error)),
    };
    if head.status != 200 {
        return Ok(CallOutcome {
            status: status_of_http(head.status.as_u16()).to_owned(),
            message: Vec::new(),
        });
    }
    let received = match read_all(&mut body).await {
        Ok(received) => received,
        Err(error) => return Ok(CallOutcome::reset(&error)),
    };
    let trailers = body.trailers().await.map_err(io::Error::other)?;
    let code = trailers.as_ref().unwrap_or(&head.headers).get("grpc-status");
    let code = code.and_then(|code| code.to_str().ok()).and_then(|code| code.parse::<usize>().ok());
    let status = code.and_then(|code| STATUS.get(code)).unwrap_or(&"UNKNOWN");
    let message = received.get(PREFIX..).unwrap_or_default().to_vec();
    Ok(CallOutcome { status: (*status).to_owned(), message })
}

impl CallOutcome {
    /// A call whose stream was reset, as gRPC clients report it.
    fn reset(error: &h2::Error) -> Self {
        let status = match error.reason() {
            Some(Reason::REFUSED_STREAM) => "UNAVAILABLE",
            Some(Reason::CANCEL) => "CANCELLED",
            Some(Reason::ENHANCE_YOUR_CALM) => "RESOURCE_EXHAUSTED",
            Some(Reason::INADEQUATE_SECURITY) => "PERMISSION_DENIED",
            _ => "INTERNAL",
        };
        Self { status: status.to_owned(), message: Vec::new() }
    }
}

async fn read_all(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut received = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        received.extend_from_slice(&data);
    }
    Ok(received)
}

/// Compressed flag and length before each message.
const PREFIX: usize = 5;

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("messages of cases are short");
    [&[0][..], &length.to_be_bytes(), message].concat().into()
}

/// The names of the status codes.
const STATUS: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The status of a response without `grpc-status` (`doc/http-grpc-status-mapping.md` of gRPC).
fn status_of_http(status: u16) -> &'static str {
    match status {
        400 => "INTERNAL",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "UNIMPLEMENTED",
        429 | 502..=504 => "UNAVAILABLE",
        _ => "UNKNOWN",
    }
}

/// Serves a connection of a Pod: each call gets its message back. `report` records a description of each.
pub(super) fn serve(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    report: impl Fn(Value) + Clone + Send + 'static,
) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::from_std(stream)?;
        let Some(tls) = tls else { return serve_calls(stream, false, report).await };
        let mut tls = ServerConfig::clone(&tls);
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TlsAcceptor::from(Arc::new(tls)).accept(stream).await?;
        serve_calls(stream, true, report).await
    })
}

async fn serve_calls<S>(
    stream: S,
    is_tls: bool,
    report: impl Fn(Value) + Clone + Send + 'static,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = server::handshake(stream).await.map_err(io::Error::other)?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call.map_err(io::Error::other)?;
        let report = report.clone();
        tokio::spawn(async move {
            // A call may be cancelled at any time.
            let _ = answer(request, respond, is_tls, report).await;
        });
    }
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: server::SendResponse<Bytes>,
    is_tls: bool,
    report: impl Fn(Value),
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let message = read_all(&mut body).await?;
    let mut fields = serde_json::Map::new();
    for (name, value) in &head.headers {
        fields.insert(name.to_string(), String::from_utf8_lossy(value.as_bytes()).into());
    }
    report(json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "host": head.uri.authority().map(|authority| authority.as_str()),
        "headers": fields,
        "http_version": "HTTP/2",
        "tls": is_tls,
        "body_length": message.len(),
    }));
    if let Some(delay) = head.headers.get(DELAY).and_then(|delay| delay.to_str().ok()?.parse().ok()) {
        tokio::time::sleep(Duration::from_secs(delay)).await;
    }
    let response = Response::builder().header("content-type", "application/grpc").body(());
    let mut stream = respond.send_response(response.expect("a valid head"), false)?;
    stream.send_data(message.into(), false)?;
    let status = ("grpc-status".parse().expect("a name"), "0".parse().expect("a value"));
    stream.send_trailers(HeaderMap::from_iter([status]))
}
