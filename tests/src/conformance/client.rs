//! The requests of a case over HTTP/1.1, sent as they are written.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;

use crate::http::{AcceptAnyCertificate, Connection, Response};

/// How long a step waits for one response.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A request as written on the connection.
pub(super) struct CaseRequest {
    address: SocketAddr,
    /// The PROXY protocol line, sent before everything else.
    preface: String,
    tls: Option<Arc<TlsClient>>,
    head: String,
    parts: Vec<BodyPart>,
    is_head: bool,
    /// The values of the headers that differ between repetitions.
    pub(super) varying: BTreeMap<String, String>,
}

struct TlsClient {
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    verifier: Arc<AcceptAnyCertificate>,
}

enum BodyPart {
    Bytes(Vec<u8>),
    Wait(Duration),
}

/// What a client saw.
pub(super) struct Exchange {
    /// The response, or the error that ended the connection before it.
    pub(super) response: io::Result<Response>,
    /// The server's certificates.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// The OCSP response that was stapled to the certificate; empty without one.
    pub(super) ocsp: Vec<u8>,
    /// The protocol that ALPN selected.
    pub(super) alpn: Option<String>,
    /// From connecting to the end of the response.
    pub(super) duration: Duration,
}

/// Where the proxy listens.
#[derive(Clone, Copy)]
pub(super) struct ProxyAddress {
    /// Its address.
    pub(super) ip: IpAddr,
    /// Its port for HTTP.
    pub(super) http: u16,
    /// Its port for HTTPS.
    pub(super) https: u16,
}

impl CaseRequest {
    /// Repetition `number` of a request step.
    pub(super) fn new(
        step: &Value,
        proxy: ProxyAddress,
        identity: impl Fn(&str) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String>,
        number: usize,
    ) -> Result<CaseRequest, String> {
        super::known_keys(
            step,
            &[
                "method",
                "scheme",
                "host",
                "path",
                "headers",
                "auth",
                "body",
                "body_bytes",
                "body_parts",
                "chunked",
                "cookies",
                "repeat",
                "concurrency",
                "within_ms",
                "path_bytes",
                "sni",
                "client_cert",
                "tls",
                "proxy_protocol",
                "port",
            ],
        )?;
        let text = |key: &str| step[key].as_str();
        let is_tls = text("scheme") == Some("https");
        let port = match &step["port"] {
            Value::Null if is_tls => proxy.https,
            Value::Null => proxy.http,
            port => port
                .as_u64()
                .and_then(|port| u16::try_from(port).ok())
                .ok_or_else(|| format!("port {port}"))?,
        };
        let address = SocketAddr::new(proxy.ip, port);
        let host = text("host").map_or_else(|| proxy.ip.to_string(), str::to_owned);
        let tls = match is_tls {
            true => Some(Arc::new(TlsClient::new(step, &host, identity)?)),
            false => None,
        };
        let method = text("method").unwrap_or("GET");
        let mut path = text("path").unwrap_or("/").to_owned();
        if let Some(length) = step["path_bytes"].as_u64() {
            path = format!("/{}", "a".repeat(usize::try_from(length).unwrap_or(1).max(1) - 1));
        }
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        let mut varying = BTreeMap::new();
        let mut has_agent = false;
        for (name, value) in step["headers"].as_object().into_iter().flatten() {
            has_agent |= name.eq_ignore_ascii_case("user-agent");
            let value = header_value(value, number).ok_or_else(|| format!("header {name}: {value}"))?;
            if step["headers"][name].get("sequence").is_some() {
                varying.insert(name.clone(), value.clone());
            }
            head += &format!("{name}: {value}\r\n");
        }
        if !has_agent {
            head += "User-Agent: conformance\r\n";
        }
        if let Some(cookies) = step["cookies"].as_object() {
            let pairs =
                cookies.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
            head += &format!("Cookie: {}\r\n", pairs.collect::<Vec<_>>().join("; "));
        }
        if let Some(credentials) = text("auth") {
            let encoded = base64::engine::general_purpose::STANDARD.encode(credentials);
            head += &format!("Authorization: Basic {encoded}\r\n");
        }
        let parts = body_parts(step)?;
        let length: usize =
            parts.iter().map(|part| if let BodyPart::Bytes(bytes) = part { bytes.len() } else { 0 }).sum();
        let chunked = step["chunked"] == true;
        if chunked {
            head += "Transfer-Encoding: chunked\r\n";
        } else if length > 0 || matches!(method, "POST" | "PUT" | "PATCH") {
            head += &format!("Content-Length: {length}\r\n");
        }
        head += "\r\n";
        let preface = text("proxy_protocol").map(|line| format!("PROXY {line}\r\n")).unwrap_or_default();
        let parts = if chunked { in_chunks(parts) } else { parts };
        Ok(CaseRequest { address, preface, tls, head, parts, is_head: method == "HEAD", varying })
    }

    /// Sends it over a new connection.
    pub(super) fn send(&self) -> Exchange {
        let start = Instant::now();
        let mut exchange = Exchange {
            response: Err(io::ErrorKind::NotConnected.into()),
            certificates: Vec::new(),
            ocsp: Vec::new(),
            alpn: None,
            duration: Duration::ZERO,
        };
        exchange.response = self.attempt(&mut exchange);
        exchange.duration = start.elapsed();
        exchange
    }

    fn attempt(&self, exchange: &mut Exchange) -> io::Result<Response> {
        let mut stream = connect(self.address)?;
        stream.write_all(self.preface.as_bytes())?;
        let mut connection = match &self.tls {
            None => Connection::over(stream),
            Some(tls) => {
                let client =
                    ClientConnection::new(tls.config.clone(), tls.name.clone()).map_err(io::Error::other)?;
                let mut stream = StreamOwned::new(client, stream);
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                exchange.certificates = stream.conn.peer_certificates().unwrap_or_default().to_vec();
                exchange.ocsp = tls.verifier.ocsp();
                exchange.alpn =
                    stream.conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
                if exchange.alpn.as_deref() == Some("h2") {
                    return Err(io::Error::other("HTTP/2 was negotiated; the harness speaks HTTP/1.1"));
                }
                Connection::over(stream)
            }
        };
        // A server may answer before it has read the whole body, and then close the connection.
        let sent = self.write(&mut connection);
        connection.receive_final(self.is_head).map_err(|error| sent.err().unwrap_or(error))
    }

    fn write(&self, connection: &mut Connection) -> io::Result<()> {
        connection.write(self.head.as_bytes())?;
        for part in &self.parts {
            match part {
                BodyPart::Bytes(bytes) => connection.write(bytes)?,
                BodyPart::Wait(time) => std::thread::sleep(*time),
            }
        }
        Ok(())
    }
}

impl TlsClient {
    fn new(
        step: &Value,
        host: &str,
        identity: impl Fn(&str) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String>,
    ) -> Result<TlsClient, String> {
        super::known_keys(&step["tls"], &["alpn"])?;
        let name = step["sni"].as_str().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|error| format!("{name}: {error}"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Arc::new(AcceptAnyCertificate::new(provider.clone()));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let mut config = match step["client_cert"].as_str() {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let (chain, key) = identity(certificate)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
            }
        };
        let protocols = step["tls"]["alpn"].as_array().into_iter().flatten();
        config.alpn_protocols =
            protocols.filter_map(|name| Some(name.as_str()?.as_bytes().to_vec())).collect();
        Ok(TlsClient { name, config: Arc::new(config), verifier })
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Text, or `{bytes: n}`, or `{sequence: "user-%d", count: n}`.
fn header_value(value: &Value, number: usize) -> Option<String> {
    if let Some(length) = value["bytes"].as_u64() {
        return Some("x".repeat(usize::try_from(length).ok()?));
    }
    if let Some(sequence) = value["sequence"].as_str() {
        let count = usize::try_from(value["count"].as_u64()?).ok()?;
        return Some(sequence.replace("%d", &(number % count).to_string()));
    }
    value.as_str().map(str::to_owned)
}

fn body_parts(step: &Value) -> Result<Vec<BodyPart>, String> {
    let zeros = |length: u64| BodyPart::Bytes(vec![b'b'; usize::try_from(length).unwrap_or_default()]);
    if let Some(body) = step["body"].as_str() {
        return Ok(vec![BodyPart::Bytes(body.as_bytes().to_vec())]);
    }
    if let Some(length) = step["body_bytes"].as_u64() {
        return Ok(vec![zeros(length)]);
    }
    let parts = step["body_parts"].as_array().into_iter().flatten().map(|part| {
        match (part["bytes"].as_u64(), part["wait_ms"].as_u64(), part["text"].as_str()) {
            (Some(length), ..) => Ok(zeros(length)),
            (_, Some(time), _) => Ok(BodyPart::Wait(Duration::from_millis(time))),
            (.., Some(text)) => Ok(BodyPart::Bytes(text.as_bytes().to_vec())),
            _ => Err(format!("body part {part}")),
        }
    });
    parts.collect()
}

fn in_chunks(parts: Vec<BodyPart>) -> Vec<BodyPart> {
    let mut chunks: Vec<BodyPart> = parts
        .into_iter()
        .map(|part| match part {
            BodyPart::Bytes(bytes) => {
                BodyPart::Bytes([format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat())
            }
            wait => wait,
        })
        .collect();
    chunks.push(BodyPart::Bytes(b"0\r\n\r\n".to_vec()));
    chunks
}

/// Sends bytes and returns what arrives until the server closes or is silent for a second.
pub(super) fn raw_exchange(stream: &mut TcpStream, send: &str) -> io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(send.as_bytes())?;
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(size @ 1..) = stream.read(&mut buffer) {
        received.extend_from_slice(&buffer[..size]);
    }
    Ok(String::from_utf8_lossy(&received).into_owned())
}
