//! An API server that streams the objects of a cluster, and events of one EndpointSlice.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tests::credentials::{self, CertificateAuthority};

use super::manifests;
use crate::testbed::write;

/// Bytes of a chunk of a response.
const CHUNK: usize = 32 << 10;

/// The kinds that are listed: their plurals in paths.
const KINDS: [&str; 3] = ["namespaces", "services", "endpointslices"];

/// The version of the lists before and after [`ScaledApiServer::force_relist`].
const VERSION: usize = 1_000_000;

/// A running server. Its threads end with the program.
pub(crate) struct ScaledApiServer {
    pub(crate) kubeconfig: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    services: usize,
    tls: Arc<ServerConfig>,
    /// How often all objects must be listed. Watches of earlier lists have ended.
    generation: AtomicUsize,
    /// Lists that were sent completely.
    sent: AtomicUsize,
    slice_watch: Mutex<Option<Sender<AddressChange>>>,
}

/// A new address of the changing Service.
struct AddressChange {
    address: Ipv4Addr,
    /// Gets the time when the event had been written.
    written: Sender<Instant>,
}

type TlsStream = StreamOwned<ServerConnection, TcpStream>;

impl ScaledApiServer {
    /// Starts the server. `folder` gets its kubeconfig.
    pub(crate) fn start(folder: &Path, services: usize) -> Result<Self, String> {
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
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| failed("a port", &error))?;
        let address = listener.local_addr().map_err(|error| failed("the port", &error))?;
        let (ca, kubeconfig) = (folder.join("ca.crt"), folder.join("kubeconfig"));
        write(&ca, &authority.pem())?;
        let text = credentials::kubeconfig(&format!("https://{address}"), &ca.to_string_lossy(), "token");
        write(&kubeconfig, &text)?;
        let shared = Arc::new(Shared {
            services,
            tls: Arc::new(tls),
            generation: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            slice_watch: Mutex::default(),
        });
        let server = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                // A client that disconnects ends its thread.
                std::thread::spawn(move || server.serve(stream));
            }
        });
        Ok(Self { kubeconfig, shared })
    }

    /// Gives the changing Service this address. Returns when the event had been written.
    pub(crate) fn change(&self, address: Ipv4Addr) -> Result<Instant, String> {
        let (sender, written) = channel();
        let watch = self.shared.slice_watch();
        let watch = watch.as_ref().ok_or("EndpointSlices are not watched")?;
        watch
            .send(AddressChange { address, written: sender })
            .map_err(|_| "the watch of EndpointSlices has ended".to_owned())?;
        written.recv_timeout(Duration::from_secs(5)).map_err(|_| "an event could not be sent".to_owned())
    }

    /// Ends all watches, answers that their version has expired, and waits until all objects were listed again.
    pub(crate) fn force_relist(&self) -> Result<(), String> {
        let wanted = self.shared.sent.load(SeqCst) + KINDS.len();
        self.shared.generation.fetch_add(1, SeqCst);
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.shared.sent.load(SeqCst) < wanted {
            if Instant::now() > deadline {
                return Err("the objects were not listed again".to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Shared {
    fn slice_watch(&self) -> MutexGuard<'_, Option<Sender<AddressChange>>> {
        self.slice_watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) {
        let Ok(connection) = ServerConnection::new(self.tls.clone()) else { return };
        let _ = stream.set_nodelay(true);
        let mut stream = BufReader::new(StreamOwned::new(connection, stream));
        while let Some(target) = read_target(&mut stream) {
            if self.respond(stream.get_mut(), &target).is_err() {
                return;
            }
        }
    }

    /// Answers one request. Fails when the connection ends, as it does after a watch.
    fn respond(&self, stream: &mut TlsStream, target: &str) -> std::io::Result<()> {
        let path = target.split('?').next().unwrap_or_default();
        let kind = KINDS.into_iter().find(|kind| path.ends_with(kind));
        let Some(kind) = kind.filter(|_| target.contains("watch=true")) else {
            return respond_status(stream, 404, "NotFound");
        };
        let generation = self.generation.load(SeqCst);
        let since = target.split(['?', '&']).find_map(|field| field.strip_prefix("resourceVersion="));
        let version = VERSION + generation;
        if since.is_some_and(|since| since != version.to_string()) {
            return respond_status(stream, 410, "Expired");
        }
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        )?;
        let (sender, changes) = channel();
        if kind == "endpointslices" {
            *self.slice_watch() = Some(sender);
        }
        if since.is_none() {
            self.send_list(stream, kind, version)?;
            self.sent.fetch_add(1, SeqCst);
        }
        self.send_changes(stream, &changes, generation)
    }

    fn send_list(&self, stream: &mut TlsStream, kind: &str, version: usize) -> std::io::Result<()> {
        let mut text = String::new();
        let count = if kind == "namespaces" { manifests::namespaces(self.services) } else { self.services };
        for number in 0..=count {
            text.push_str(r#"{"type":"ADDED","object":"#);
            match kind {
                "namespaces" => manifests::put_namespace(&mut text, number.min(count - 1)),
                "services" if number < count => manifests::put_service(&mut text, number),
                "services" => manifests::put_changing_service(&mut text),
                _ if number < count => manifests::put_slice(&mut text, number),
                _ => manifests::put_changing_slice(&mut text, Ipv4Addr::new(10, 0, 0, 1)),
            }
            text.push_str("}\n");
            if text.len() > CHUNK {
                send_chunk(stream, &text)?;
                text.clear();
            }
        }
        text.push_str(&format!(
            r#"{{"type":"BOOKMARK","object":{{"kind":"Any","metadata":{{"resourceVersion":"{version}","annotations":{{"k8s.io/initial-events-end":"true"}}}}}}}}"#
        ));
        text.push('\n');
        send_chunk(stream, &text)
    }

    /// Sends events until the generation ends.
    fn send_changes(
        &self,
        stream: &mut TlsStream,
        changes: &Receiver<AddressChange>,
        generation: usize,
    ) -> std::io::Result<()> {
        while self.generation.load(SeqCst) == generation {
            let AddressChange { address, written } = match changes.recv_timeout(Duration::from_millis(100)) {
                Ok(change) => change,
                Err(RecvTimeoutError::Timeout) => continue,
                // The kind has no changes.
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            let mut text = r#"{"type":"MODIFIED","object":"#.to_owned();
            manifests::put_changing_slice(&mut text, address);
            text.push_str("}\n");
            send_chunk(stream, &text)?;
            let _ = written.send(Instant::now());
        }
        Err(std::io::ErrorKind::ConnectionAborted.into())
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

fn respond_status(stream: &mut TlsStream, code: u16, reason: &str) -> std::io::Result<()> {
    let body = format!(
        r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"{reason}","reason":"{reason}","code":{code}}}"#
    );
    write!(
        stream,
        "HTTP/1.1 {code} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()
}

fn send_chunk(stream: &mut TlsStream, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())?;
    stream.flush()
}
