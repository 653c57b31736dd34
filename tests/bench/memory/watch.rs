//! A watch by the benchmark itself: records when the API server sends an event.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::memory::cluster::Cluster;

/// Arrival times of EndpointSlice events.
pub(crate) struct SliceWatch {
    arrivals: Receiver<(Instant, String)>,
}

impl SliceWatch {
    /// Opens the watch and waits for the first bytes of the response.
    pub(crate) fn open(cluster: &Cluster) -> Result<Self, String> {
        let mut stream = connect(cluster).map_err(|error| format!("the benchmark's watch: {error}"))?;
        let (sender, arrivals) = channel();
        let (started_sender, started) = channel();
        std::thread::spawn(move || {
            let (mut buffer, mut text) = (vec![0; 64 << 10], String::new());
            while let Ok(got @ 1..) = stream.read(&mut buffer) {
                let now = Instant::now();
                let _ = started_sender.send(());
                text.push_str(&String::from_utf8_lossy(&buffer[..got]));
                // Each event is one line. Chunks end at the end of a line.
                while let Some(end) = text.find('\n') {
                    let line: String = text.drain(..=end).collect();
                    if sender.send((now, line)).is_err() {
                        return;
                    }
                }
            }
        });
        started
            .recv_timeout(Duration::from_secs(10))
            .map_err(|_| "the benchmark's watch: no response".to_owned())?;
        Ok(Self { arrivals })
    }

    /// The arrival time of the event that gives an endpoint this address.
    pub(crate) fn arrival(&self, address: &str) -> Result<Instant, String> {
        let wanted = format!("\"{address}\"");
        loop {
            let next = self.arrivals.recv_timeout(Duration::from_secs(10));
            let (arrived, line) =
                next.map_err(|_| format!("no event with {address} on the benchmark's watch"))?;
            if line.contains(&wanted) {
                return Ok(arrived);
            }
        }
    }
}

fn connect(
    cluster: &Cluster,
) -> Result<StreamOwned<ClientConnection, TcpStream>, Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    for certificate in rustls::pki_types::CertificateDer::pem_file_iter(cluster.authority())? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost")?)?;
    let socket = TcpStream::connect(cluster.api_server())?;
    socket.set_nodelay(true)?;
    let mut stream = StreamOwned::new(connection, socket);
    let target = format!(
        "/apis/discovery.k8s.io/v1/endpointslices?watch=1&resourceVersion={}",
        cluster.version("EndpointSlice")
    );
    write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer admin-token\r\n\r\n")?;
    stream.flush()?;
    Ok(stream)
}
