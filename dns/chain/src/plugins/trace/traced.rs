//! A plugin whose part in a query is a span.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::spans::QuerySpans;
use crate::notes::Notes;
use crate::plugin::{After, Answer, EncodedReply, Flow, Hooks, Plugin, Runner};
use crate::request::Request;

/// Calls another plugin. The span begins when a query reaches the plugin, and ends when it answers or when the answer of one below
/// has passed it.
pub(super) struct TracedPlugin {
    pub name: &'static str,
    pub plugin: Arc<dyn Plugin>,
}

impl TracedPlugin {
    /// Ends the span, unless the query goes on.
    fn end_unless(&self, goes_on: bool, request: &Request) {
        if !goes_on && let Some(spans) = request.extensions.get::<QuerySpans>() {
            spans.exit_named(self.name);
        }
    }
}

impl Plugin for TracedPlugin {
    fn hooks(&self) -> Hooks {
        self.plugin.hooks().and(Hooks::QUERY).and(Hooks::REPLY)
    }

    // Hot: 0 allocations for a query that is not traced.
    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        let Some(spans) = request.extensions.get::<QuerySpans>() else {
            return self.plugin.query(request, answer);
        };
        spans.enter(self.name);
        let flow = self.plugin.query(request, answer);
        self.end_unless(matches!(flow, Flow::Next | Flow::Wait), request);
        flow
    }

    fn wait<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        if request.extensions.get::<QuerySpans>().is_none() {
            return self.plugin.wait(request, answer, runner);
        }
        Box::pin(async move {
            let flow = self.plugin.wait(request, answer, runner).await;
            self.end_unless(matches!(flow, Flow::Next | Flow::Wait), request);
            flow
        })
    }

    fn overloaded(&self, request: &Request, answer: &mut Answer) -> bool {
        let has_answer = self.plugin.overloaded(request, answer);
        self.end_unless(false, request);
        has_answer
    }

    fn cancel_refresh(&self, request: &Request) {
        self.plugin.cancel_refresh(request);
    }

    // Hot: 0 allocations for a query that is not traced.
    fn reply(&self, request: &mut Request, answer: &mut Answer) -> After {
        let after = self.plugin.reply(request, answer);
        self.end_unless(after == After::Wait, request);
        after
    }

    fn finish<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, ()> {
        if request.extensions.get::<QuerySpans>().is_none() {
            return self.plugin.finish(request, answer, runner);
        }
        Box::pin(async move {
            self.plugin.finish(request, answer, runner).await;
            self.end_unless(false, request);
        })
    }

    fn seal(&self, request: &Request, reply: &mut EncodedReply<'_>) {
        self.plugin.seal(request, reply);
    }

    fn sent(&self, request: &Request, answer: &Answer, message: &[u8]) {
        self.plugin.sent(request, answer, message);
    }

    fn asks_others(&self) -> bool {
        self.plugin.asks_others()
    }

    fn explain(&self, request: &Request, notes: &mut Notes) {
        self.plugin.explain(request, notes);
    }

    fn in_memory(&self) -> bool {
        self.plugin.in_memory()
    }

    fn any_class(&self) -> bool {
        self.plugin.any_class()
    }
}
