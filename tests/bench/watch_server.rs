//! The HTTP side of the benchmarks' API servers: TLS, heads of requests, watches whose events are chunks of a response.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tests::credentials::{self, CertificateAuthority};

use crate::testbed::write;

/// Bytes of a chunk of a list.
pub(crate) const CHUNK: usize = 32 << 10;

pub(crate) type TlsStream = StreamOwned<ServerConnection, TcpStream>;

/// Answers requests.
pub(crate) trait WatchApi: Send + Sync + 'static {
    /// Answers one request. Fails when the connection ends, as it does after a watch.
    fn respond(&self, stream: &mut TlsStream, target: &str) -> io::Result<()>;
}

/// Serves until the program ends, with a thread for each connection. Returns the path of a kubeconfig in `folder`.
pub(crate) fn serve(folder: &Path, api: Arc<impl WatchApi>) -> Result<PathBuf, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what} of the API server: {error}");
    let authority = CertificateAuthority::new("bench");
    let issued = authority.issue(&["127.0.0.1"]);
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes());
    let key = key.map_err(|error| failed("the key", &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(vec![issued.der], key))
        .map_err(|error| failed("TLS", &error))?;
    let tls = Arc::new(tls);
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| failed("a port", &error))?;
    let address = listener.local_addr().map_err(|error| failed("the port", &error))?;
    let (ca, kubeconfig) = (folder.join("ca.crt"), folder.join("kubeconfig"));
    write(&ca, &authority.pem())?;
    let text = credentials::kubeconfig(&format!("https://{address}"), &ca.to_string_lossy(), "token");
    write(&kubeconfig, &text)?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (api, tls) = (api.clone(), tls.clone());
            // A client that disconnects ends its thread.
            std::thread::spawn(move || answer(&*api, tls, stream));
        }
    });
    Ok(kubeconfig)
}

fn answer(api: &impl WatchApi, tls: Arc<ServerConfig>, stream: TcpStream) {
    let Ok(connection) = ServerConnection::new(tls) else { return };
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    while let Some(target) = read_target(&mut stream) {
        if api.respond(stream.get_mut(), &target).is_err() {
            return;
        }
    }
}

/// Reads the head of a request. Returns its target.
fn read_target(stream: &mut BufReader<TlsStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    head.split(' ').nth(1).map(str::to_owned)
}

/// Answers with a Status object.
pub(crate) fn respond_status(stream: &mut TlsStream, code: u16, reason: &str) -> io::Result<()> {
    let body = format!(
        r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"{reason}","reason":"{reason}","code":{code}}}"#
    );
    respond(stream, code, reason, &body)
}

/// Answers with the first page of a list, which tells the version of the server, without its objects.
pub(crate) fn respond_version(stream: &mut TlsStream, version: usize) -> io::Result<()> {
    let body = format!(
        r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"{version}","continue":"next"}},"items":[]}}"#
    );
    respond(stream, 200, "OK", &body)
}

fn respond(stream: &mut TlsStream, code: u16, reason: &str, body: &str) -> io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {code} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()
}

/// Begins the response to a watch.
pub(crate) fn begin_watch(stream: &mut TlsStream) -> io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
}

/// The event that ends the list at the beginning of a watch.
pub(crate) fn end_of_list(version: usize) -> String {
    format!(
        r#"{{"type":"BOOKMARK","object":{{"kind":"Any","metadata":{{"resourceVersion":"{version}","annotations":{{"k8s.io/initial-events-end":"true"}}}}}}}}"#
    ) + "\n"
}

/// Sends events.
pub(crate) fn send_chunk(stream: &mut TlsStream, text: &str) -> io::Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())?;
    stream.flush()
}
