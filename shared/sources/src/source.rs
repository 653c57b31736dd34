//! The way from a source to the writer.

use std::time::Instant;

use cluster::{Event, Kind, Kinds};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::metrics::SourceMetrics;
use crate::watch_status::{WatchStatus, WatchStatuses};

/// Where the picture of the cluster comes from. Never fails: it retries and reports through [`EventSink::report`].
///
/// It sends `Restart(kind)`, the objects, `Synced(kind)` for each list, and `Apply` or `Remove` for what happens
/// later; never `Synced` for a list that it did not see to its end. It ends when the feed says [`WriterStopped`].
pub trait Source: Send + 'static {
    /// Feeds the cluster until the writer stops.
    fn run(self: Box<Self>, sink: EventSink) -> BoxFuture<'static, ()>;
}

/// The sending end of the writer's queue. A full queue holds the source back, so memory stays bounded.
///
/// One kind has one source: a list sweeps what it did not name, whoever named it before.
#[derive(Clone, Debug)]
pub struct EventSink {
    pub(crate) events: mpsc::Sender<Message>,
    pub(crate) wanted: watch::Receiver<Kinds>,
    pub(crate) statuses: watch::Sender<WatchStatuses>,
    pub(crate) metrics: SourceMetrics,
}

/// What the writer is told.
#[derive(Debug)]
pub(crate) enum Message {
    Event(QueuedEvent),
    /// A view has no reader any more.
    ViewDropped,
}

/// An event with the moment at which it came.
#[derive(Debug)]
pub(crate) struct QueuedEvent {
    pub(crate) event: Event,
    pub(crate) at: Instant,
    /// When what it tells happened in the cluster, where that is known.
    pub(crate) triggered: Option<Timestamp>,
}

/// The writer is gone; a source that meets this ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterStopped;

impl EventSink {
    /// Queues an event for the writer, waiting while the queue is full.
    pub async fn send(&self, event: Event) -> Result<(), WriterStopped> {
        self.send_triggered(event, None).await
    }

    /// The same, for an event that says when the change happened which it follows.
    pub async fn send_triggered(
        &self,
        event: Event,
        triggered: Option<Timestamp>,
    ) -> Result<(), WriterStopped> {
        let arrival = QueuedEvent { event, at: Instant::now(), triggered };
        self.events.send(Message::Event(arrival)).await.map_err(|_| WriterStopped)
    }

    /// The kinds that somebody reads, as projections come and go. Of one that is no longer among them the source sends
    /// `Forget`, and nothing more until it is wanted again.
    pub fn wanted(&self) -> watch::Receiver<Kinds> {
        self.wanted.clone()
    }

    /// Ends when the writer does.
    pub async fn stopped(&self) {
        self.events.closed().await;
    }

    /// Has everything about a kind forgotten.
    pub async fn forget(&self, kind: Kind) -> Result<(), WriterStopped> {
        self.report(kind, WatchStatus::Waiting);
        self.metrics.forget(kind);
        self.send(Event::Forget(kind)).await
    }

    /// How the source stands with a kind, as last reported.
    pub fn status(&self, kind: Kind) -> WatchStatus {
        self.statuses.borrow().get(kind).clone()
    }

    /// Says how the source stands with a kind. True when that is news, and so worth a line in the log.
    pub fn report(&self, kind: Kind, status: WatchStatus) -> bool {
        self.statuses.send_if_modified(|statuses| statuses.set(kind, status))
    }

    /// Shows in the metrics whether the source is connected for a kind: changes arrive, or would.
    pub fn set_connected(&self, kind: Kind, connected: bool) {
        self.metrics.set_connected(kind, connected);
    }

    /// Shows in the metrics that the source received something about a kind just now, if only that nothing changed.
    pub fn received(&self, kind: Kind) {
        self.metrics.received(kind);
    }
}
