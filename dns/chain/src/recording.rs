//! Records what the plugins of a chain do with one query, for `portolan explain`.
//!
//! The chain that serves is not changed: its plugins, with their state, are put into a chain of their own, each behind a
//! [`RecordedPlugin`]. Queries of clients never pass it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dns_wire::Reply;
use futures_util::future::BoxFuture;

use crate::codes::{Rcode, Type};
use crate::notes::Notes;
use crate::plugin::{After, Answer, EncodedReply, Flow, Hooks, Plugin, QueryFailure, Runner};
use crate::presentation::record_text;
use crate::request::Request;

/// Plugins that only observe queries. They are not called, so that an explanation is not counted, logged or traced.
const OBSERVERS: [&str; 4] = ["prometheus", "errors", "log", "trace"];

/// The plugin that keeps answers.
const CACHE: &str = "cache";

/// One thing that a plugin did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedStep {
    /// How many plugins wait for the outcome of this.
    pub depth: usize,
    /// The plugin; empty for the choice of a server block.
    pub plugin: &'static str,
    /// Name and type of the question, before the plugin.
    pub question: String,
    /// The effect of the plugin; empty if it passed the query on without a note.
    pub text: String,
    /// The reasons for it.
    pub notes: Notes,
}

/// What happened to one query.
pub(crate) struct Recorder {
    /// Whether plugins may ask other servers.
    sends: bool,
    state: Mutex<RecorderState>,
}

#[derive(Default)]
struct RecorderState {
    depth: usize,
    steps: Vec<RecordedStep>,
    /// A plugin would have asked other servers.
    is_unsent: bool,
}

impl Recorder {
    pub(crate) fn new(sends: bool) -> Self {
        Self { sends, state: Mutex::default() }
    }

    /// The steps so far, and whether the answer depends on a server that was not asked.
    pub(crate) fn finish(&self) -> (Vec<RecordedStep>, bool) {
        let mut state = self.state();
        (std::mem::take(&mut state.steps), state.is_unsent)
    }

    fn state(&self) -> MutexGuard<'_, RecorderState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, plugin: &'static str, question: String, text: String, notes: Notes) {
        let mut state = self.state();
        let depth = state.depth;
        state.steps.push(RecordedStep { depth, plugin, question, text, notes });
    }

    /// Counts a plugin that waits until the returned value is dropped.
    fn enter(&self) -> EnteredPlugin<'_> {
        self.state().depth += 1;
        EnteredPlugin(self)
    }
}

struct EnteredPlugin<'r>(&'r Recorder);

impl Drop for EnteredPlugin<'_> {
    fn drop(&mut self) {
        self.0.state().depth -= 1;
    }
}

/// The first link of a recorded chain: records the server block that the query came to.
pub(crate) struct RecordedBlock {
    pub(crate) recorder: Arc<Recorder>,
    /// The text of its step.
    pub(crate) text: String,
}

impl Plugin for RecordedBlock {
    fn query(&self, request: &mut Request, _: &mut Answer) -> Flow {
        self.recorder.push("", question(request), self.text.clone(), Notes::default());
        Flow::Next
    }
}

/// Calls a plugin and records what it does.
pub(crate) struct RecordedPlugin {
    pub(crate) name: &'static str,
    pub(crate) plugin: Arc<dyn Plugin>,
    pub(crate) recorder: Arc<Recorder>,
}

impl RecordedPlugin {
    fn record(&self, question: String, text: impl Into<String>, notes: Notes) {
        self.recorder.push(self.name, question, text.into(), notes);
    }

    /// Records a flow that ends the way down, or continues it.
    fn record_flow(&self, flow: &Flow, before: String, request: &Request, answer: &Answer, notes: Notes) {
        let after = question(request);
        let text = match flow {
            Flow::Next if after != before => format!("changes the question to {after}"),
            // A plugin that waited says that it goes on.
            Flow::Next => String::new(),
            Flow::Done | Flow::FromBelow | Flow::Refresh => format!("answers: {}", summary(&answer.reply)),
            Flow::Wait => "looks further".to_owned(),
            Flow::Drop => "drops the query: the client gets no answer".to_owned(),
            Flow::Fail(failure) => format!("fails: {}", failure_text(failure)),
        };
        self.record(before, text, notes);
    }

    /// Records how the answer has changed on its way out.
    fn record_change(&self, before: &[String], request: &Request, answer: &Answer) {
        let after = lines(request, answer);
        if after == before {
            return;
        }
        let sorted = |lines: &[String]| {
            let mut lines = lines.to_vec();
            lines.sort();
            lines
        };
        let mut notes = Notes::default();
        let text = match sorted(&after) == sorted(before) {
            true => "changes the order of the records on the way out",
            false => {
                notes.lines = after;
                "changes the answer on the way out"
            }
        };
        self.record(question(request), text, notes);
    }
}

impl Plugin for RecordedPlugin {
    fn hooks(&self) -> Hooks {
        self.plugin.hooks().without(Hooks::SENT).and(Hooks::QUERY)
    }

    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        let (before, mut notes) = (question(request), Notes::default());
        if OBSERVERS.contains(&self.name) {
            self.record(before, "", notes);
            return Flow::Next;
        }
        let sees = self.plugin.hooks().contain(Hooks::QUERY);
        let mut flow = if sees { self.plugin.query(request, answer) } else { Flow::Next };
        self.plugin.explain(request, &mut notes);
        if self.recorder.sends {
            self.record_flow(&flow, before, request, answer, notes);
            return flow;
        }
        if flow == Flow::Wait && self.plugin.asks_others() {
            self.record(before, "would ask other servers; nothing was sent", notes);
            self.recorder.state().is_unsent = true;
            // An answer that does not exist is neither changed nor kept by the plugins above.
            return Flow::Drop;
        }
        if flow == Flow::Refresh {
            self.plugin.cancel_refresh(request);
            notes.say("a query would refresh the entry in the background");
            flow = Flow::Done;
        }
        self.record_flow(&flow, before, request, answer, notes);
        flow
    }

    fn wait<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        Box::pin(async move {
            let entered = self.recorder.enter();
            let before = question(request);
            let flow = self.plugin.wait(request, answer, runner).await;
            drop(entered);
            self.record_flow(&flow, before, request, answer, Notes::default());
            flow
        })
    }

    fn overloaded(&self, request: &Request, answer: &mut Answer) -> bool {
        self.plugin.overloaded(request, answer)
    }

    fn reply(&self, request: &mut Request, answer: &mut Answer) -> After {
        // An answer that is incomplete because a server was not asked must not be cached.
        if OBSERVERS.contains(&self.name) || (self.name == CACHE && self.recorder.state().is_unsent) {
            return After::Pass;
        }
        let before = lines(request, answer);
        let after = self.plugin.reply(request, answer);
        if after == After::Wait {
            self.record(question(request), "looks further, because of this answer", Notes::default());
        } else {
            self.record_change(&before, request, answer);
        }
        after
    }

    fn finish<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let before = lines(request, answer);
            let entered = self.recorder.enter();
            self.plugin.finish(request, answer, runner).await;
            drop(entered);
            self.record_change(&before, request, answer);
        })
    }

    fn seal(&self, request: &Request, reply: &mut EncodedReply<'_>) {
        self.plugin.seal(request, reply);
    }

    fn in_memory(&self) -> bool {
        self.plugin.in_memory()
    }

    fn any_class(&self) -> bool {
        self.plugin.any_class()
    }
}

/// Name and type of the current question.
fn question(request: &Request) -> String {
    format!("{} {}", request.query.to_name(), Type(request.query.qtype))
}

/// The response code and the records of an answer.
fn lines(request: &Request, answer: &Answer) -> Vec<String> {
    let records = answer.reply.records().iter();
    let lines = records.map(|record| record_text(&answer.reply, record, &request.query));
    std::iter::once(code(answer.reply.rcode)).chain(lines).collect()
}

/// Such as `NOERROR, 2 records`.
fn summary(reply: &Reply) -> String {
    match reply.records().len() {
        0 => format!("{}, no records", code(reply.rcode)),
        1 => format!("{}, 1 record", code(reply.rcode)),
        count => format!("{}, {count} records", code(reply.rcode)),
    }
}

pub(crate) fn code(rcode: u16) -> String {
    Rcode(rcode).name().map_or_else(|| format!("response code {rcode}"), str::to_owned)
}

pub(crate) fn failure_text(failure: &QueryFailure) -> String {
    let why = if failure.why.is_empty() { "" } else { ": " };
    format!("{}{why}{}", code(failure.rcode), failure.why)
}
