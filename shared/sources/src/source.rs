//! The interface of a source, and the sink through which it sends events to the writer.

use std::sync::Arc;
use std::time::Instant;

use cluster::{CompactString, Event, Kind, Kinds};
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::metrics::SourceMetrics;
use crate::watch_status::{WatchStatus, WatchStatuses};

/// A source of cluster objects. It never fails: it retries and reports through [`EventSink::report`].
///
/// For each list it sends `Restart(kind)`, the objects, and `Synced(kind)`; then `Apply` or `Remove` for each change. It
/// never sends `Synced` for a list that it did not read to its end. It ends when the sink returns [`WriterStopped`].
pub trait Source: Send + 'static {
    /// Sends events until the writer stops.
    fn run(self: Box<Self>, sink: EventSink) -> BoxFuture<'static, ()>;
}

/// The sending end of the writer's queue. When the queue is full the source waits, so memory stays bounded.
///
/// Each kind must have only one source, because the end of a list removes all objects of the kind that were not in it.
#[derive(Clone, Debug)]
pub struct EventSink {
    pub(crate) events: mpsc::Sender<Message>,
    /// A permit for each event of a [`Message::Burst`].
    pub(crate) in_bursts: Arc<Semaphore>,
    pub(crate) wanted: watch::Receiver<Kinds>,
    pub(crate) statuses: watch::Sender<WatchStatuses>,
    pub(crate) metrics: SourceMetrics,
}

/// A message to the writer.
#[derive(Debug)]
pub(crate) enum Message {
    Event(QueuedEvent),
    /// Events that arrived together. One message for all of them: on one processor the writer may otherwise be woken for each.
    Burst {
        events: Vec<QueuedEvent>,
        _permit: OwnedSemaphorePermit,
    },
    /// A view lost its last reader.
    ViewDropped,
}

/// An event in the queue.
#[derive(Debug)]
pub(crate) struct QueuedEvent {
    pub(crate) event: Event,
    /// When it was received.
    pub(crate) at: Instant,
    /// When the change happened in the cluster (RFC 3339); empty where that is not known.
    pub(crate) triggered: CompactString,
}

/// The writer has stopped. A source then ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterStopped;

impl EventSink {
    /// Queues an event for the writer. Waits while the queue is full.
    pub async fn send(&self, event: Event) -> Result<(), WriterStopped> {
        self.send_triggered(event, CompactString::default()).await
    }

    /// As [`EventSink::send`], with the time of the change that caused the event (RFC 3339).
    pub async fn send_triggered(&self, event: Event, triggered: CompactString) -> Result<(), WriterStopped> {
        let arrival = QueuedEvent { event, at: Instant::now(), triggered };
        self.events.send(Message::Event(arrival)).await.map_err(|_| WriterStopped)
    }

    /// Queues events that arrived together, in order, and empties the list. Waits while the queue is full or holds too many events
    /// of such lists.
    pub(crate) async fn send_burst(&self, events: &mut Vec<QueuedEvent>) -> Result<(), WriterStopped> {
        let message = match events.len() {
            0 => return Ok(()),
            1 => events.pop().map(Message::Event),
            count => {
                let permit = self.in_bursts.clone().acquire_many_owned(count as u32).await;
                let permit = permit.map_err(|_| WriterStopped)?;
                Some(Message::Burst { events: std::mem::take(events), _permit: permit })
            }
        };
        match message {
            Some(message) => self.events.send(message).await.map_err(|_| WriterStopped),
            None => Ok(()),
        }
    }

    /// The kinds that projections read, now and when that changes. For a kind that is no longer read the source sends
    /// `Forget`, and nothing more until it is read again.
    pub fn wanted(&self) -> watch::Receiver<Kinds> {
        self.wanted.clone()
    }

    /// Waits until the writer stops.
    pub async fn stopped(&self) {
        self.events.closed().await;
    }

    /// Removes everything about a kind: objects, status and metrics.
    pub async fn forget(&self, kind: Kind) -> Result<(), WriterStopped> {
        self.report(kind, WatchStatus::Waiting);
        self.metrics.forget(kind);
        self.send(Event::Forget(kind)).await
    }

    /// The status of a kind as last reported.
    pub fn status(&self, kind: Kind) -> WatchStatus {
        self.statuses.borrow().get(kind).clone()
    }

    /// Reports the status of a kind. Returns whether it changed.
    pub fn report(&self, kind: Kind, status: WatchStatus) -> bool {
        self.statuses.send_if_modified(|statuses| statuses.set(kind, status))
    }

    /// Sets the metric of whether changes of a kind arrive.
    pub fn set_connected(&self, kind: Kind, connected: bool) {
        self.metrics.set_connected(kind, connected);
    }

    /// Sets the metric of when the source last received data about a kind, even if nothing changed.
    pub fn received(&self, kind: Kind) {
        self.metrics.received(kind);
    }
}
