//! An API server that streams the objects of a cluster, and events of one EndpointSlice.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::manifests;
use crate::watch_server::{
    self, CHUNK, TlsStream, WatchApi, begin_watch, end_of_list, respond_status, respond_version, send_chunk,
};

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

impl ScaledApiServer {
    /// Starts the server. `folder` gets its kubeconfig.
    pub(crate) fn start(folder: &Path, services: usize) -> Result<Self, String> {
        let shared = Arc::new(Shared {
            services,
            generation: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            slice_watch: Mutex::default(),
        });
        Ok(Self { kubeconfig: watch_server::serve(folder, shared.clone())?, shared })
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
        text.push_str(&end_of_list(version));
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

impl WatchApi for Shared {
    fn respond(&self, stream: &mut TlsStream, target: &str) -> std::io::Result<()> {
        let path = target.split('?').next().unwrap_or_default();
        let kind = KINDS.into_iter().find(|kind| path.ends_with(kind));
        let Some(kind) = kind else { return respond_status(stream, 404, "NotFound") };
        let generation = self.generation.load(SeqCst);
        let since = target.split(['?', '&']).find_map(|field| field.strip_prefix("resourceVersion="));
        let version = VERSION + generation;
        // After a watch that broke off, the server is asked for its version before the next one.
        if !target.contains("watch=true") {
            return respond_version(stream, version);
        }
        if since.is_some_and(|since| since != version.to_string()) {
            return respond_status(stream, 410, "Expired");
        }
        begin_watch(stream)?;
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
}
