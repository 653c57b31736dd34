//! Sends the events of lists and watches to the writer, in bursts.

use cluster::{CompactString, Event};
use tokio::time::Instant;

use super::Reflector;
use crate::source::{QueuedEvent, WriterStopped};
use crate::watch_stream::{ApiError, ObjectEvent, Undecodable};

/// Events that are sent to the writer together, at most.
const BURST: usize = 64;

impl Reflector {
    /// Sends an event to the writer, after those of the burst.
    pub(super) async fn send(&mut self, event: Event) -> Result<(), ApiError> {
        self.queue(event, CompactString::default()).await?;
        self.flush().await
    }

    /// Adds an event to the burst, which is flushed at the end of each piece of a response.
    async fn queue(&mut self, event: Event, triggered: CompactString) -> Result<(), ApiError> {
        let at = self.burst.last().map_or_else(|| Instant::now().into_std(), |last| last.at);
        self.burst.push(QueuedEvent { event, at, triggered });
        if self.burst.len() < BURST { Ok(()) } else { self.flush().await }
    }

    /// Sends the events of the burst to the writer.
    pub(super) async fn flush(&mut self) -> Result<(), ApiError> {
        self.sink.send_burst(&mut self.burst).await.map_err(|WriterStopped| ApiError::Stopped)
    }

    /// Adds a change of an object to the burst. Returns its version.
    pub(super) async fn pass(&mut self, event: ObjectEvent) -> Result<CompactString, ApiError> {
        let ObjectEvent { event, version, triggered, defects } = event;
        match &event {
            Event::Apply(object) => self.problems.set(Some(object.key()), defects),
            Event::Remove(_, key) => self.problems.clear(key),
            _ => {}
        }
        self.queue(event, triggered).await?;
        Ok(version)
    }

    /// Keeps the last valid version of an object. Returns its current resource version.
    pub(super) async fn keep(&mut self, undecodable: Box<Undecodable>) -> Result<CompactString, ApiError> {
        let Undecodable { key, version, reason } = *undecodable;
        self.problems.set(key.as_ref(), vec![reason]);
        if let Some(key) = key {
            self.queue(Event::Keep(self.scope.kind, key), CompactString::default()).await?;
        }
        Ok(version)
    }
}
