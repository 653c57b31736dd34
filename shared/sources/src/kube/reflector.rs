//! Lists one kind and then watches it, over and over.

mod burst;
mod reporting;

use std::time::Duration;

use cluster::{CompactString, Event, Kind};
use telemetry::{Problem, Reports};
use tokio::time::Instant;

use super::SCOPE;
use super::api::ApiClient;
use super::backoff::Backoff;
use super::next_request::{ListMethod, NextRequest};
use super::object_problems::ObjectProblems;
use super::scope::ResourceScope;
use super::server_state::{FAILURES, ServerState};
use crate::source::{EventSink, QueuedEvent, WriterStopped};
use crate::watch_status::WatchStatus;
use crate::watch_stream::{
    ApiError, LineSplitter, ListSplitter, WatchMessage, read_item, read_message, read_page,
};

/// Seconds after which the server ends a watch, chosen at random from this range. Replicas thus reconnect periodically and
/// spread over the API servers.
const WATCH_SECONDS: std::ops::Range<u64> = 300..600;

/// A watch that receives nothing for this time, plus or minus a fifth, is requested again. TCP keep-alive detects an
/// unreachable machine sooner; this is for load balancers that keep a dead connection open. Bookmarks usually arrive every
/// minute, but a server may send none for a kind that has not changed since it started.
const SILENCE: Duration = Duration::from_secs(100);

/// The same for the pages of a list.
const PAGE_SILENCE: Duration = Duration::from_secs(30);

/// A watch that ends sooner than this is a failure if it brought no events. So a server that ends watches at once does not
/// receive requests in a tight loop.
const SHORT: Duration = Duration::from_secs(1);
/// More short watches in a row than this are a failure even with events.
const SHORT_WATCHES: u32 = 3;

/// A version that expires sooner than this after its list counts as a failure in a row.
const FRESH: Duration = Duration::from_secs(30);

/// Keeps one kind current for as long as the writer runs.
pub(super) struct Reflector {
    api: ApiClient,
    server: ServerState,
    scope: ResourceScope,
    /// The scope that is read where `scope` is forbidden; the two are swapped while that is so.
    fallback: Option<ResourceScope>,
    is_fallback: bool,
    sink: EventSink,
    /// Events that were not sent to the writer yet.
    burst: Vec<QueuedEvent>,
    reports: Reports,
    problems: ObjectProblems,
    backoff: Backoff,
    /// Failed requests in a row.
    failures: u32,
    /// Watches in a row that ended too soon.
    short_watches: u32,
    /// Whether a request has failed, or a watch fell silent, since the last version that the server is known to have reached.
    is_interrupted: bool,
    /// When the last list ended.
    listed: Option<Instant>,
}

impl Reflector {
    pub(super) fn new(
        api: ApiClient,
        server: ServerState,
        (scope, fallback): (ResourceScope, Option<ResourceScope>),
        sink: EventSink,
        reports: Reports,
    ) -> Self {
        let is_fallback = false;
        let problems = ObjectProblems::new(scope.kind, reports.clone());
        let backoff = Backoff::default();
        let (failures, short_watches, is_interrupted, listed) = (0, 0, false, None);
        Self {
            api,
            server,
            scope,
            fallback,
            is_fallback,
            sink,
            burst: Vec::new(),
            reports,
            problems,
            backoff,
            failures,
            short_watches,
            is_interrupted,
            listed,
        }
    }

    /// Runs until the writer stops.
    pub(super) async fn run(mut self) -> WriterStopped {
        let mut next = NextRequest::List(ListMethod::Streaming);
        loop {
            let done = match &next {
                NextRequest::List(ListMethod::Streaming) => self.streaming_list(&mut next).await,
                NextRequest::List(method) => self.list(*method, &mut next).await,
                NextRequest::Watch { .. } => self.watch(&mut next).await,
            };
            let Err(error) = done else { continue };
            if error == ApiError::Stopped {
                return WriterStopped;
            }
            // A server that sends something else has not been away.
            self.is_interrupted |= !matches!(error, ApiError::Malformed(_));
            let at_once;
            (next, at_once) = next.after(&error);
            if error.is_missing() && self.scope.kind.custom() {
                next = NextRequest::List(ListMethod::Streaming);
                if self.missing(&error).await.is_err() {
                    return WriterStopped;
                }
            }
            // A kind that was listed stays with its scope: a server that restarts forbids everything for a moment.
            let is_refused = error.is_forbidden() && self.listed.is_none();
            if is_refused && !self.is_fallback && self.swap_scope() {
                next = NextRequest::List(ListMethod::Streaming);
                continue;
            }
            if at_once {
                tracing::debug!(kind = %self.scope.kind, "{error}; trying {next:?}");
                continue;
            }
            // An old version may expire while a server restarts; only one that expires soon after its list counts as a
            // repeated failure.
            if error == ApiError::Expired && self.listed.is_some_and(|listed| listed.elapsed() > FRESH) {
                self.backoff.reset();
            }
            let pause = self.backoff.pause(error.is_lasting(), error.retry_after(), fastrand::f64());
            self.failed(&error, &next);
            if error.is_unreachable() && self.failures >= FAILURES {
                next = next.after_outage();
            }
            if is_refused && self.is_fallback {
                self.swap_scope();
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.sink.stopped() => return WriterStopped,
            }
            if error.is_unauthorized() {
                self.api.renew().await;
            }
        }
    }

    /// Reads the other scope from now on; false if there is none.
    fn swap_scope(&mut self) -> bool {
        let Some(other) = &mut self.fallback else { return false };
        std::mem::swap(&mut self.scope, other);
        self.is_fallback = !self.is_fallback;
        true
    }

    /// A streaming list, which continues as a watch.
    async fn streaming_list(&mut self, next: &mut NextRequest) -> Result<(), ApiError> {
        self.begin();
        let path = self.scope.watch(None, fastrand::u64(WATCH_SECONDS));
        self.events(&path, None, ListMethod::Streaming, next).await
    }

    async fn watch(&mut self, next: &mut NextRequest) -> Result<(), ApiError> {
        let NextRequest::Watch { since, list_method } = next.clone() else { return Ok(()) };
        if self.is_interrupted {
            if self.is_behind(&since).await? {
                let (kind, server) = (self.scope.kind, &self.api.url);
                tracing::warn!(
                    %kind,
                    server,
                    "listing again: the server's version is earlier than {since}, as after a restore from a backup"
                );
                *next = NextRequest::List(list_method);
                return Ok(());
            }
            self.is_interrupted = false;
        }
        let path = self.scope.watch(Some(&since), fastrand::u64(WATCH_SECONDS));
        self.events(&path, Some(since), list_method, next).await
    }

    /// Whether the server has not reached a version that it has sent before. A server restored from a backup has not: it accepts a
    /// watch from there, and sends nothing until its versions have caught up.
    async fn is_behind(&self, known: &str) -> Result<bool, ApiError> {
        let mut response = match self.api.get(&self.scope.first(), PAGE_SILENCE).await {
            Ok(response) => response,
            // Streaming lists need no permission to list.
            Err(error) if error.is_forbidden() => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut items = ListSplitter::default();
        while let Some(piece) = response.piece().await? {
            items.push(&piece, |_| {})?;
        }
        Ok(is_before(&read_page(items.envelope())?.version, known))
    }

    /// Reads a watch to its end. `since` is the version that is known; without one the watch begins with a list. `next`
    /// is updated with each event, so that the next watch begins where this one ends, whatever ended it.
    async fn events(
        &mut self,
        path: &str,
        since: Option<CompactString>,
        list_method: ListMethod,
        next: &mut NextRequest,
    ) -> Result<(), ApiError> {
        let kind = self.scope.kind;
        let begun = Instant::now();
        let mut response = self.api.get(path, SILENCE.mul_f64(0.8 + 0.4 * fastrand::f64())).await?;
        self.answered();
        let mut listed = since.is_some();
        if !listed {
            self.restart().await?;
        } else if self.short_watches == 0 {
            self.synced();
        }
        let mut reached = since.unwrap_or_default();
        let (mut lines, mut messages, mut any) = (LineSplitter::default(), Vec::new(), false);
        loop {
            let piece = match response.piece().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                // Either there are no changes or the connection is dead: the next request shows which.
                Err(ApiError::Silent(_)) if listed => {
                    self.is_interrupted = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            self.sink.received(kind);
            if listed && self.short_watches > 0 && begun.elapsed() > SHORT {
                self.short_watches = 0;
                self.synced();
            }
            lines.push(&piece, |line| messages.push(read_message(kind, line)));
            for message in messages.drain(..) {
                let message = match message {
                    Ok(message) => message,
                    Err(error) => {
                        // The next watch begins after the events before this one.
                        self.flush().await?;
                        return Err(error);
                    }
                };
                let (version, synced) = match message {
                    WatchMessage::Object(event) => (self.pass(event).await?, false),
                    WatchMessage::Bookmark { version, synced } => (version, synced),
                    WatchMessage::Undecodable(undecodable) => (self.keep(undecodable).await?, false),
                };
                if synced && !listed {
                    self.end_list().await?;
                    (listed, any) = (true, true);
                }
                // Until the list is complete, the versions are those of single objects in arbitrary order.
                if listed && !version.is_empty() {
                    any |= version != reached;
                    reached = version.clone();
                    *next = NextRequest::Watch { since: version, list_method };
                    self.backoff.reset();
                }
            }
            self.flush().await?;
        }
        if !listed {
            return Err(ApiError::Malformed("the server ended a list early".into()));
        }
        self.short_watches = if begun.elapsed() > SHORT { 0 } else { self.short_watches + 1 };
        match self.short_watches {
            0 => Ok(()),
            1..=SHORT_WATCHES if any => Ok(()),
            _ => Err(ApiError::Malformed("the server ends watches at once".into())),
        }
    }

    /// A list in pages, or in one. Its version is that of its first page.
    async fn list(&mut self, method: ListMethod, next: &mut NextRequest) -> Result<(), ApiError> {
        let kind = self.scope.kind;
        self.begin();
        let mut token = String::new();
        let mut restarted = false;
        loop {
            let mut response = self.api.get(&self.scope.list(method, &token), PAGE_SILENCE).await?;
            self.answered();
            if !std::mem::replace(&mut restarted, true) {
                self.restart().await?;
            }
            let (mut items, mut found) = (ListSplitter::default(), Vec::new());
            while let Some(piece) = response.piece().await? {
                self.sink.received(kind);
                items.push(&piece, |item| found.push(read_item(kind, item)))?;
                for item in found.drain(..) {
                    match item {
                        Ok(Some(event)) => _ = self.pass(event).await?,
                        Ok(None) => {}
                        Err(undecodable) => _ = self.keep(undecodable).await?,
                    }
                }
                self.flush().await?;
            }
            let page = read_page(items.envelope())?;
            if page.next.is_empty() {
                self.end_list().await?;
                self.backoff.reset();
                // Further lists are paged again, even if this one was not.
                *next = NextRequest::Watch { since: page.version, list_method: ListMethod::Paged };
                return Ok(());
            }
            if page.next == token {
                return Err(ApiError::Malformed("a page of a list whose continue token is its own".into()));
            }
            token = page.next;
        }
    }

    /// Begins a list: its response has begun.
    async fn restart(&mut self) -> Result<(), ApiError> {
        self.problems.begin_list();
        self.report(WatchStatus::Listing);
        self.send(Event::Restart(self.scope.kind)).await
    }

    /// Ends a list that is complete.
    async fn end_list(&mut self) -> Result<(), ApiError> {
        self.send(Event::Synced(self.scope.kind)).await?;
        self.problems.end_list();
        self.server.listed();
        self.is_interrupted = false;
        if self.listed.replace(Instant::now()).is_none() {
            let part = if self.is_fallback { "the only one that may be read" } else { "all" };
            tracing::info!(kind = %self.scope.kind, server = self.api.url, part, "listed");
        }
        self.synced();
        Ok(())
    }

    /// Reports a resource that is not installed, and sends an empty list, so that no projection waits for it. While a server
    /// starts, it answers 503 instead of 404, so this is not reported too soon.
    async fn missing(&mut self, error: &ApiError) -> Result<(), ApiError> {
        let resource = self.scope.resource();
        if !self.report(WatchStatus::Missing(resource.as_str().into())) {
            return Ok(());
        }
        self.problem(Some(Problem {
            kind: self.scope.kind.name().into(),
            key: String::new(),
            field: "list".into(),
            what: error.to_string(),
            wanted: format!(
                "the CustomResourceDefinition {resource}; without it there are no objects of this kind"
            ),
            severity: None,
        }));
        self.send(Event::Restart(self.scope.kind)).await?;
        self.send(Event::Synced(self.scope.kind)).await
    }
}

/// Whether one version precedes another. Versions are numbers that grow with each change; others cannot be compared.
fn is_before(version: &str, other: &str) -> bool {
    matches!((version.parse::<u64>(), other.parse::<u64>()), (Ok(version), Ok(other)) if version < other)
}

/// Removes the problem reports of a kind that is no longer read.
pub(super) fn forget(reports: &Reports, server: &ServerState, kind: Kind) {
    reports.replace_object(SCOPE, kind.name(), "", None);
    server.forget(kind);
}

#[cfg(test)]
mod tests;
