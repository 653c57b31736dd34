//! One kind: its list, then its changes, over and over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{CompactString, Event, Kind};
use telemetry::{Problem, Reports};

use super::api::ApiClient;
use super::backoff::Backoff;
use super::error::ApiError;
use super::event::{self, ObjectEvent, WatchMessage};
use super::next_request::{ListMethod, NextRequest};
use super::scope::ResourceScope;
use super::split::{LineSplitter, ListSplitter};
use crate::source::{EventSink, WriterStopped};
use crate::watch_status::WatchStatus;

/// The server ends a watch by itself after so long, give or take; it makes replicas change connections now and then, and
/// with them the server that they talk to.
const TERM: (u64, u64) = (300, 600);

/// A watch on which nothing came for so long is asked for again, give or take a fifth. A connection whose other end is
/// gone is noticed sooner, by TCP's keep-alive; this is for what lies between and keeps it up. Mostly bookmarks come
/// every minute, but a server may not send any for a kind that has not changed since it started.
const SILENCE: Duration = Duration::from_secs(100);

/// The same for the pages of a list.
const PAGE_SILENCE: Duration = Duration::from_secs(30);

/// A watch that ended sooner than this and brought nothing counts as a failure, or it would be asked for in a circle.
const SHORT: Duration = Duration::from_secs(1);

/// A list is fresh for so long.
const FRESH: Duration = Duration::from_secs(30);

/// The scope of its reports.
const REPORTS: &str = "kube";

/// Follows one kind for as long as the writer runs.
pub(super) struct Reflector {
    api: ApiClient,
    scope: ResourceScope,
    sink: EventSink,
    reports: Reports,
    backoff: Backoff,
    /// When the last list ended.
    listed: Option<Instant>,
}

impl Reflector {
    pub(super) fn new(api: ApiClient, scope: ResourceScope, sink: EventSink, reports: Reports) -> Self {
        Self { api, scope, sink, reports, backoff: Backoff::default(), listed: None }
    }

    /// Ends when the writer does.
    pub(super) async fn run(mut self) -> WriterStopped {
        let mut place = NextRequest::List(ListMethod::Streaming);
        loop {
            let done = match &place {
                NextRequest::List(ListMethod::Streaming) => self.stream(&mut place).await,
                NextRequest::List(way) => self.list(*way, &mut place).await,
                NextRequest::Watch { .. } => self.watch(&mut place).await,
            };
            let Err(failure) = done else { continue };
            if failure == ApiError::WriterStopped {
                return WriterStopped;
            }
            let (next, at_once) = place.after(&failure);
            place = next;
            if failure.is_missing() && self.scope.kind.custom() {
                place = NextRequest::List(ListMethod::Streaming);
                if self.missing(&failure).await.is_err() {
                    return WriterStopped;
                }
            }
            if at_once {
                tracing::debug!(kind = %self.scope.kind, "{failure}; trying {place:?}");
                continue;
            }
            // A version expires while a server restarts; a list that expires as soon as it is there is another matter.
            if failure == ApiError::Expired && self.listed.is_some_and(|listed| listed.elapsed() > FRESH) {
                self.backoff.reset();
            }
            let pause = self.backoff.pause(failure.is_lasting(), failure.wait(), rand::random());
            self.tell(&failure, &place);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.sink.stopped() => return WriterStopped,
            }
            if failure.is_unauthorized() {
                self.api.renew().await;
            }
        }
    }

    /// A streaming list, which goes on as a watch.
    async fn stream(&mut self, place: &mut NextRequest) -> Result<(), ApiError> {
        self.begin();
        let path = self.scope.watch(None, term());
        self.events(&path, None, ListMethod::Streaming, place).await
    }

    async fn watch(&mut self, place: &mut NextRequest) -> Result<(), ApiError> {
        let NextRequest::Watch { since, again } = place.clone() else { return Ok(()) };
        let path = self.scope.watch(Some(&since), term());
        self.events(&path, Some(since), again, place).await
    }

    /// Reads a watch to its end. `since` is the version that is known; without one the watch begins with a list. `place`
    /// follows along, so that the next watch begins where this one ends, however it ends.
    async fn events(
        &mut self,
        path: &str,
        since: Option<CompactString>,
        again: ListMethod,
        place: &mut NextRequest,
    ) -> Result<(), ApiError> {
        let kind = self.scope.kind;
        let begun = Instant::now();
        let mut answer = self.api.get(path, SILENCE.mul_f64(0.8 + 0.4 * rand::random::<f64>())).await?;
        let mut listed = since.is_some();
        if listed {
            self.well("following again");
        } else {
            self.restart().await?;
        }
        let (mut lines, mut said, mut any) = (LineSplitter::default(), Vec::new(), false);
        loop {
            let piece = match answer.piece().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                // A quiet kind or a dead connection: asking again tells.
                Err(ApiError::Silent(_)) if listed => return Ok(()),
                Err(failure) => return Err(failure),
            };
            lines.push(&piece, |line| said.push(event::read(kind, line)))?;
            for said in said.drain(..) {
                any = true;
                let (version, synced) = match said? {
                    WatchMessage::Object(news) => (self.pass(news).await?, false),
                    WatchMessage::Bookmark { version, synced } => (version, synced),
                    WatchMessage::Undecodable(version) => (version, false),
                };
                if synced && !listed {
                    self.send(Event::Synced(kind)).await?;
                    self.well("listed");
                    (listed, self.listed) = (true, Some(Instant::now()));
                }
                // Before the list is complete its versions are those of single objects, in no order.
                if listed && !version.is_empty() {
                    *place = NextRequest::Watch { since: version, again };
                    self.backoff.reset();
                }
            }
        }
        if !listed {
            return Err(ApiError::Broken("the server ended a list before its end".into()));
        }
        if any || begun.elapsed() > SHORT {
            Ok(())
        } else {
            Err(ApiError::Broken("the server ends watches at once".into()))
        }
    }

    /// A list in pages, or in one. Its version is that of its first page.
    async fn list(&mut self, way: ListMethod, place: &mut NextRequest) -> Result<(), ApiError> {
        let kind = self.scope.kind;
        self.begin();
        let mut next = String::new();
        let mut restarted = false;
        loop {
            let mut answer = self.api.get(&self.scope.list(way, &next), PAGE_SILENCE).await?;
            if !std::mem::replace(&mut restarted, true) {
                self.restart().await?;
            }
            let (mut items, mut found) = (ListSplitter::default(), Vec::new());
            while let Some(piece) = answer.piece().await? {
                items.push(&piece, |item| found.extend(event::read_item(kind, item)))?;
                for news in found.drain(..) {
                    self.pass(news).await?;
                }
            }
            let page = event::read_page(items.envelope())?;
            if page.next.is_empty() {
                self.send(Event::Synced(kind)).await?;
                self.well("listed");
                self.backoff.reset();
                self.listed = Some(Instant::now());
                // From here on pages will do again, should this have been a list in one piece.
                *place = NextRequest::Watch { since: page.version, again: ListMethod::Paged };
                return Ok(());
            }
            next = page.next;
        }
    }

    async fn send(&self, event: Event) -> Result<(), ApiError> {
        self.sink.send(event).await.map_err(|WriterStopped| ApiError::WriterStopped)
    }

    /// Tells of an object. Returns its version.
    async fn pass(
        &self,
        ObjectEvent { event, version, triggered }: ObjectEvent,
    ) -> Result<CompactString, ApiError> {
        let sent = self.sink.send_triggered(event, triggered).await;
        sent.map(|()| version).map_err(|WriterStopped| ApiError::WriterStopped)
    }

    /// A list is asked for. While it fails, the failure is the status.
    fn begin(&self) {
        if !self.fails() {
            self.report(WatchStatus::Listing);
        }
    }

    /// The server has begun to answer with a list.
    async fn restart(&self) -> Result<(), ApiError> {
        self.report(WatchStatus::Listing);
        self.send(Event::Restart(self.scope.kind)).await
    }

    fn fails(&self) -> bool {
        let status = self.sink.status(self.scope.kind);
        matches!(status, WatchStatus::Retrying(_) | WatchStatus::Forbidden { .. } | WatchStatus::Missing(_))
    }

    fn report(&self, status: WatchStatus) -> bool {
        self.sink.report(self.scope.kind, status)
    }

    /// The kind is complete and followed.
    fn well(&self, how: &str) {
        if self.report(WatchStatus::Synced) {
            tracing::info!(kind = %self.scope.kind, server = self.api.host, "{how}");
        }
        self.problem(None);
    }

    /// The resource is not installed, or no longer: its list is empty, and who waits for it can go on. While a server
    /// starts it says 503 of what it may know later, so this is not said too soon.
    async fn missing(&self, failure: &ApiError) -> Result<(), ApiError> {
        let resource = self.scope.resource();
        if !self.report(WatchStatus::Missing(resource.as_str().into())) {
            return Ok(());
        }
        self.problem(Some(Problem {
            kind: self.scope.kind.name().into(),
            key: String::new(),
            field: "list".into(),
            what: failure.to_string(),
            wanted: format!(
                "the CustomResourceDefinition {resource}; as long as there is none, nor are objects of it"
            ),
            severity: None,
        }));
        self.send(Event::Restart(self.scope.kind)).await?;
        self.send(Event::Synced(self.scope.kind)).await
    }

    /// Says what is wrong: once, while it goes on.
    fn tell(&self, failure: &ApiError, place: &NextRequest) {
        let (kind, server) = (self.scope.kind, &self.api.host);
        let verb = match place {
            NextRequest::List(ListMethod::Paged | ListMethod::Unpaged) => "list",
            NextRequest::List(ListMethod::Streaming) | NextRequest::Watch { .. } => "watch",
        };
        // What could be read before is most likely forbidden because the server has just started: it is given a second
        // chance before anybody is told to change roles.
        if failure.is_forbidden() && (self.listed.is_none() || self.backoff.lasts()) {
            let resource = self.scope.resource();
            self.problem(Some(Problem {
                kind: kind.name().into(),
                key: String::new(),
                field: verb.into(),
                what: failure.to_string(),
                wanted: format!("a role that may list and watch {resource}{}", self.place_of_role()),
                severity: None,
            }));
            let (resource, namespace) = (resource.into(), self.scope.namespace.as_str().into());
            self.report(WatchStatus::Forbidden { verb, resource, namespace });
            return;
        }
        if *failure == ApiError::Expired {
            tracing::info!(%kind, server, "listing anew: {failure}");
            return;
        }
        if matches!(self.sink.status(kind), WatchStatus::Missing(_)) && failure.is_missing() {
            return;
        }
        let went_on = self.fails();
        if !self.report(WatchStatus::Retrying(Arc::from(failure.to_string()))) {
            return;
        }
        if went_on {
            tracing::debug!(%kind, server, "{verb} still fails: {failure}");
        } else {
            tracing::warn!(%kind, server, "{verb} failed, trying again: {failure}");
        }
    }

    fn place_of_role(&self) -> String {
        match self.scope.namespace.as_str() {
            "" => " in the whole cluster".into(),
            namespace => format!(" in namespace {namespace}"),
        }
    }

    fn problem(&self, problem: Option<Problem>) {
        self.reports.replace_object(REPORTS, self.scope.kind.name(), "", problem);
    }
}

/// Takes back what was wrong with a kind: nobody follows it any more.
pub(super) fn forget(reports: &Reports, kind: Kind) {
    reports.replace_object(REPORTS, kind.name(), "", None);
}

fn term() -> u64 {
    rand::random_range(TERM.0..TERM.1)
}
