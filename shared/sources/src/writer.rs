//! The writer: the one thread that applies events and publishes views.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster::{Cache, Current, Event, Kind, Kinds, ObjectChange, Projection, Snapshot};
use telemetry::metrics::Registry;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::metrics::{SourceMetrics, WriterMetrics, unix_now};
use crate::programming::{ProgrammingLatency, TriggerTimes};
use crate::source::{EventSink, Message, QueuedEvent};
use crate::watch_status::WatchStatuses;

/// Events that may wait for the writer before sources have to wait.
const QUEUE: usize = 1024;

/// The same for events in bursts, which are those of lists. It bounds the memory of decoded objects: with a thousand of them, a list would
/// take half a megabyte more.
const IN_BURSTS: usize = 256;

/// Events of a first list that are published together. A bound, so that other kinds never wait for a long list. As many as have been
/// published, within this range: a view costs as much as the objects that it has already, so that equal chunks would make the cost of all
/// views grow with the square of the list.
const CHUNK: RangeInclusive<usize> = 8192..=32_768;

/// A handle of a running cache, cheap to clone.
///
/// All events that are queued when the writer takes the next batch are applied together: a single event is published at
/// once, and a burst results in a few views. No timer is involved.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
    sink: EventSink,
}

struct Shared {
    /// Locked by the writer for each batch, and briefly when a projection is added.
    cache: Mutex<State>,
    wanted: watch::Sender<Kinds>,
}

#[derive(Default)]
struct State {
    cache: Cache,
    observers: Vec<Observer>,
    programming: Option<ProgrammingLatency>,
}

type Observer = Box<dyn FnMut(&Snapshot, &[ObjectChange]) + Send>;

impl Cluster {
    /// Starts the writer, its metrics in that registry. It ends when the last handle and the last sink are dropped.
    pub fn start(registry: &Registry) -> std::io::Result<Self> {
        let (events, queue) = mpsc::channel(QUEUE);
        let (wanted, wanted_now) = watch::channel(Kinds::default());
        let mut state = State::default();
        let wake = events.downgrade();
        state.cache.on_unused(move || {
            // If the queue is full, its events wake the writer; without a queue there is no writer.
            let _ = wake.upgrade().map(|events| events.try_send(Message::ViewDropped));
        });
        let sink = EventSink {
            events,
            in_bursts: Arc::new(Semaphore::new(IN_BURSTS)),
            wanted: wanted_now,
            statuses: watch::Sender::new(WatchStatuses::default()),
            metrics: SourceMetrics::new(registry),
        };
        let shared = Arc::new(Shared { cache: Mutex::new(state), wanted });
        let writer = Writer {
            queue,
            shared: shared.clone(),
            initial_lists: InitialLists::default(),
            metrics: WriterMetrics::new(registry),
        };
        std::thread::Builder::new().name("cluster".into()).spawn(move || writer.run())?;
        Ok(Self { shared, sink })
    }

    /// Keeps the view of a projection current from now on, until the last clone of the cell is dropped. The kinds it
    /// reads are watched for as long. Builds the first view on the calling thread, while the writer goes on.
    pub fn project<P: Projection + 'static>(&self, projection: P) -> Current<P::View> {
        let pending = self.shared.lock().cache.begin_projection(projection);
        let built = pending.build();
        let mut state = self.shared.lock();
        let current = state.cache.finish_projection(built);
        self.shared.set_wanted(state.cache.kinds());
        current
    }

    /// Calls `observer` after each batch that changed something, when its views are published. It runs on the writer's
    /// thread: it delays the next batch, and must not call this handle, which would wait for the writer.
    pub fn observe(&self, observer: impl FnMut(&Snapshot, &[ObjectChange]) + Send + 'static) {
        self.shared.lock().observers.push(Box::new(observer));
    }

    /// Registers all metrics of clusters and of their sources, so that they can be listed without a cluster.
    pub fn register_metrics(registry: &Registry) {
        SourceMetrics::new(registry);
        WriterMetrics::new(registry);
        ProgrammingLatency::new(registry);
    }

    /// Measures from now on how long a change of endpoints takes until it is visible in the views, in that registry.
    pub fn measure_programming(&self, registry: &Registry) {
        self.shared.lock().programming = Some(ProgrammingLatency::new(registry));
    }

    /// Reads the snapshot as of the last batch. The writer waits meanwhile, so `read` must be brief.
    pub fn read<T>(&self, read: impl FnOnce(&Snapshot) -> T) -> T {
        read(self.shared.lock().cache.snapshot())
    }

    /// The sink for the source of this cluster.
    pub fn sink(&self) -> EventSink {
        self.sink.clone()
    }

    /// The status of each kind, now and when it changes.
    pub fn statuses(&self) -> watch::Receiver<WatchStatuses> {
        self.sink.statuses.subscribe()
    }

    /// Waits until the writer stops. While a handle exists that means that it panicked, and views no longer change.
    pub async fn stopped(&self) {
        self.sink.stopped().await;
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("sink", &self.sink).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes to the source which kinds are read.
    fn set_wanted(&self, kinds: Kinds) {
        self.wanted.send_if_modified(|wanted| kinds != std::mem::replace(wanted, kinds));
    }
}

struct Writer {
    queue: mpsc::Receiver<Message>,
    shared: Arc<Shared>,
    initial_lists: InitialLists,
    metrics: WriterMetrics,
}

impl Writer {
    fn run(mut self) {
        let mut messages = Vec::with_capacity(QUEUE);
        while self.queue.blocking_recv_many(&mut messages, QUEUE) > 0 {
            self.apply(&mut messages);
        }
    }

    fn apply(&mut self, messages: &mut Vec<Message>) {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        let State { cache, observers, programming } = &mut *state;
        let mut batch = Vec::with_capacity(messages.len());
        let mut triggered = TriggerTimes::default();
        let mut oldest = None;
        for message in messages.drain(..) {
            let (single, burst) = match message {
                Message::Event(event) => (Some(event), Vec::new()),
                Message::Burst { events, .. } => (None, events),
                Message::ViewDropped => continue,
            };
            for QueuedEvent { event, at, triggered: since } in single.into_iter().chain(burst) {
                self.metrics.received();
                oldest.get_or_insert(at);
                if programming.is_some() && !since.is_empty() {
                    triggered.add(&event, &since, cache.snapshot());
                }
                self.initial_lists.pass(event, cache.snapshot(), &mut batch);
            }
        }
        if !batch.is_empty() {
            let now = unix_now().as_secs();
            let touched = cache.apply(batch, now);
            self.metrics.published(oldest, cache.snapshot(), &touched, now);
            if let Some(programming) = programming {
                triggered.measure(programming, cache.snapshot(), &touched);
            }
            if !touched.is_empty() {
                observers.iter_mut().for_each(|observer| observer(cache.snapshot(), &touched));
            }
        }
        // The last reader of a view may have been the last one of a kind.
        cache.release();
        shared.set_wanted(cache.kinds());
    }
}

/// Delays the objects of a kind until its first list is complete: no view may be built of a part of the objects, and a view
/// per page of a long list would be wasted work. Later lists are not delayed, because unchanged objects cost nothing and
/// changed ones should be visible immediately.
#[derive(Default)]
struct InitialLists(BTreeMap<Kind, Vec<Event>>);

impl InitialLists {
    /// Delays an event, or adds it and the delayed ones to `batch`.
    fn pass(&mut self, event: Event, snapshot: &Snapshot, batch: &mut Vec<Event>) {
        let kind = event.kind();
        if matches!(event, Event::Forget(_)) {
            self.0.remove(&kind);
        }
        if matches!(event, Event::Restart(_)) && !snapshot.synced(Kinds::of(&[kind])) {
            self.0.entry(kind).or_default();
        }
        let Some(waiting) = self.0.get_mut(&kind) else {
            batch.push(event);
            return;
        };
        let last = matches!(event, Event::Synced(_));
        waiting.push(event);
        if last || waiting.len() >= snapshot.count(kind).clamp(*CHUNK.start(), *CHUNK.end()) {
            batch.append(waiting);
        }
        if last {
            self.0.remove(&kind);
        }
    }
}

#[cfg(test)]
mod tests;
