//! An API server with the objects that a benchmark gives it, in memory. It serves lists and watches.
//!
//! A real API server takes many minutes to store 20,000 objects, and its work in a benchmark of changes is several times that of the
//! server that is measured.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

use crate::watch_server::{
    self, CHUNK, TlsStream, WatchApi, begin_watch, end_of_list, respond_status, send_chunk,
};

/// A running server. Its threads end with the program.
pub(crate) struct ObjectServer {
    pub(crate) kubeconfig: PathBuf,
    objects: Arc<Objects>,
}

#[derive(Default)]
struct Objects(Mutex<State>);

#[derive(Default)]
struct State {
    version: usize,
    /// By plural of the kind, then by namespace and name: the object as JSON.
    kinds: HashMap<String, BTreeMap<(String, String), Arc<str>>>,
    watches: Vec<Watch>,
}

struct Watch {
    selector: Selector,
    events: Sender<WatchEvent>,
}

#[derive(Clone)]
struct WatchEvent {
    text: Arc<str>,
    /// Gets the time when the event had been written.
    written: Sender<Instant>,
}

/// Which objects a watch has.
struct Selector {
    plural: String,
    namespace: Option<String>,
    name: Option<String>,
}

impl ObjectServer {
    /// Starts the server. `folder` gets its kubeconfig.
    pub(crate) fn start(folder: &Path) -> Result<Self, String> {
        let objects = Arc::<Objects>::default();
        Ok(Self { kubeconfig: watch_server::serve(folder, objects.clone())?, objects })
    }

    /// Adds objects, or replaces those with the same names. Returns when all watches have written the events.
    pub(crate) fn put(&self, objects: impl IntoIterator<Item = Value>) -> Instant {
        let (written, times) = channel();
        {
            let mut state = self.objects.state();
            for object in objects {
                state.put(object, &written);
            }
        }
        drop(written);
        times.iter().last().unwrap_or_else(Instant::now)
    }
}

impl State {
    fn put(&mut self, mut object: Value, written: &Sender<Instant>) {
        self.version += 1;
        let version = self.version;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = version.to_string().into();
        metadata["uid"] = format!("b3b5c1c2-7a7e-4b4e-9d58-{version:012x}").into();
        metadata["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        metadata["managedFields"] = json!([{ "manager": "bench", "operation": "Update", "fieldsType": "FieldsV1",
            "fieldsV1": { "f:metadata": { "f:annotations": {} }, "f:spec": { "f:rules": {}, "f:ingressClassName": {} } } }]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = (text(&metadata["namespace"]), text(&metadata["name"]));
        let kind = text(&object["kind"]).to_lowercase();
        let plural = kind.clone() + if kind.ends_with('s') { "es" } else { "s" };
        let object: Arc<str> = object.to_string().into();
        let before = self.kinds.entry(plural.clone()).or_default().insert(key.clone(), object.clone());
        let event = if before.is_some() { "MODIFIED" } else { "ADDED" };
        let event = WatchEvent {
            text: format!("{{\"type\":\"{event}\",\"object\":{object}}}\n").into(),
            written: written.clone(),
        };
        // A watch that has ended is removed.
        self.watches.retain(|watch| {
            let is_selected = watch.selector.plural == plural && watch.selector.selects(&key);
            !is_selected || watch.events.send(event.clone()).is_ok()
        });
    }
}

impl Selector {
    /// That of a request: `/api/v1/namespaces/NAMESPACE/configmaps?fieldSelector=metadata.name%3DNAME`.
    fn of(target: &str) -> Option<Self> {
        let (path, query) = target.split_once('?')?;
        query.contains("watch=true").then_some(())?;
        let mut segments: Vec<&str> = path.split('/').collect();
        let plural = segments.pop()?.to_owned();
        let namespace = segments.iter().position(|segment| *segment == "namespaces");
        let namespace = namespace.and_then(|at| segments.get(at + 1)).map(|name| (*name).to_owned());
        // Other selectors, such as `metadata.name!=kube-root-ca.crt`, leave out objects that a benchmark does not make.
        let name = query.split('&').find_map(|field| field.strip_prefix("fieldSelector=metadata.name%3D"));
        let name = name.map(str::to_owned);
        Some(Self { plural, namespace, name })
    }

    fn selects(&self, (namespace, name): &(String, String)) -> bool {
        self.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
            && self.name.as_ref().is_none_or(|wanted| wanted == name)
    }
}

impl Objects {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The objects of a watch, the version of the list, and the events after it.
    fn watch(&self, selector: Selector) -> (Vec<Arc<str>>, usize, Receiver<WatchEvent>) {
        let (events, receiver) = channel();
        let mut state = self.state();
        let known = state.kinds.get(&selector.plural).into_iter().flatten();
        let selected = known.filter(|(key, _)| selector.selects(key));
        let objects = selected.map(|(_, object)| object.clone()).collect();
        state.watches.push(Watch { selector, events });
        (objects, state.version, receiver)
    }
}

impl WatchApi for Objects {
    fn respond(&self, stream: &mut TlsStream, target: &str) -> io::Result<()> {
        let Some(selector) = Selector::of(target) else { return respond_status(stream, 404, "NotFound") };
        // Events of the past are not kept.
        if target.split(['?', '&']).any(|field| field.starts_with("resourceVersion=")) {
            return respond_status(stream, 410, "Expired");
        }
        let (objects, version, events) = self.watch(selector);
        begin_watch(stream)?;
        let mut text = String::new();
        for object in objects {
            text.push_str(&format!("{{\"type\":\"ADDED\",\"object\":{object}}}\n"));
            if text.len() > CHUNK {
                send_chunk(stream, &text)?;
                text.clear();
            }
        }
        text.push_str(&end_of_list(version));
        send_chunk(stream, &text)?;
        for WatchEvent { text, written } in events {
            send_chunk(stream, &text)?;
            let _ = written.send(Instant::now());
        }
        Ok(())
    }
}
