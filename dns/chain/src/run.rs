//! Runs a query: routing, the chain, and the part that is finished later on the async runtime.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use dns_wire::codes::rcode;
use dns_wire::{Name, Query};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use crate::chain::{Chain, Step};
use crate::limits::WaitingPermit;
use crate::plugin::{Answer, Flow, QueryFailure, Runner};
use crate::request::{Purpose, Request};
use crate::routes::{ZoneRoute, ZoneRoutes};

/// Nested resolutions for one query: a chain of CNAMEs across the zones of this server.
const MAX_DEPTH: u8 = 10;

/// How long a query may wait in all. `forward` gives up after 5 s, and the next one may follow it. A plugin may limit it further.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Encodes the reply at the start of a buffer and returns its length. Called once.
pub type EncodeReply<'a> = &'a mut dyn FnMut(&mut [u8]) -> usize;

thread_local! {
    /// Scratch buffer for replies of nested resolutions, which are reported to plugins and not sent.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A query that could not be answered at once. It counts as waiting until it is dropped.
pub struct PendingQuery {
    run: ChainRun,
    step: Step,
    /// The answer that a plugin needs time for.
    answer: Option<Answer>,
    _permit: WaitingPermit,
}

/// Answers a query from memory if that is possible, and passes the encoder of the reply to `write`; not if no reply is sent.
/// Otherwise returns the rest of the work, to be finished on the async runtime. If too many queries wait already, the answer is
/// SERVFAIL.
// Hot: 0 allocations, unless the query has to wait.
pub fn answer(
    routes: &Arc<ZoneRoutes>,
    request: &mut Request,
    answer: &mut Answer,
    write: impl FnOnce(EncodeReply<'_>),
) -> Option<PendingQuery> {
    answer.clear();
    request.begin();
    let Some(ZoneRoute { chain, key, .. }) = routes.find(request) else {
        refuse(routes, request, answer, write);
        return None;
    };
    request.key = *key;
    let mut step = chain.query(request, answer, 0);
    // The refresh asks the question as it is here, which is the client's again once the answer has passed the links above.
    let refreshed = matches!(step, Step::Refresh(_)).then(|| request.clone());
    loop {
        let (Step::Wait(at) | Step::Finish { at, .. }) = step else {
            let end = step.end();
            let Some(at) = chain.reply(request, answer, 0, end) else { break };
            step = Step::Finish { at, end };
            continue;
        };
        if let Some(permit) = routes.limits.waiting.enter() {
            let run = ChainRun { routes: routes.clone(), chain: chain.clone() };
            if let Some(refreshed) = refreshed {
                run.refresh_later(step.end(), refreshed);
            }
            let answer = matches!(step, Step::Finish { .. }).then(|| std::mem::take(answer));
            return Some(PendingQuery { run, step, answer, _permit: permit });
        }
        if let Step::Wait(at) = step
            && chain.links()[at].plugin.overloaded(request, answer)
        {
            step = chain.proceed(request, answer, at, Flow::Done);
        } else {
            answer.fail(QueryFailure::overloaded());
            chain.reply_at_once(request, answer, at);
            break;
        }
    }
    conclude(chain, request, answer, step.end(), write);
    if let Some(refreshed) = refreshed {
        ChainRun { routes: routes.clone(), chain: chain.clone() }.refresh_later(step.end(), refreshed);
    }
    None
}

impl PendingQuery {
    /// Completes the answer within [`DEADLINE`], and passes the encoder of the reply to `write`; not if no reply is sent.
    pub async fn finish(
        mut self,
        request: &mut Request,
        answer: &mut Answer,
        write: impl FnOnce(EncodeReply<'_>),
    ) {
        answer.clear();
        if let Some(given) = self.answer.take() {
            *answer = given;
        }
        let Self { run, step, .. } = &self;
        let limit = request.time_limit.map_or(DEADLINE, |limit| limit.min(DEADLINE));
        let end = timeout(limit, run.drive(request, answer, 0, *step)).await;
        let end = end.unwrap_or_else(|_elapsed| {
            let (Step::Done(at) | Step::Refresh(at) | Step::Wait(at) | Step::Finish { at, .. }) = *step;
            let why = format!("no answer within {}", config::value::shown(limit));
            (answer.by, answer.by_place) = ("", None);
            (answer.dropped, answer.from_memory) = (false, false);
            answer.fail(QueryFailure::new(rcode::SERVFAIL, why));
            run.chain.reply_at_once(request, answer, at);
            step.end()
        });
        conclude(&run.chain, request, answer, end, write);
    }
}

/// Lets `write` encode the reply, if there is one, and reports it to the first `end` links.
// Hot: 0 allocations.
fn conclude(
    chain: &Chain,
    request: &Request,
    answer: &mut Answer,
    end: usize,
    write: impl FnOnce(EncodeReply<'_>),
) {
    if answer.dropped {
        chain.sent(request, answer, end, &[]);
    } else {
        write(&mut |buffer| chain.encode(request, answer, end, buffer));
    }
}

/// Refuses a query outside all zones (coredns, core/dnsserver/server.go).
fn refuse(routes: &ZoneRoutes, request: &Request, answer: &mut Answer, write: impl FnOnce(EncodeReply<'_>)) {
    answer.fail(QueryFailure::silent(rcode::REFUSED));
    write(&mut |buffer| {
        let size = answer.reply.encode(&request.query, request.limit(), buffer);
        routes.dropped.count(request, answer, size);
        size
    });
}

/// Encodes the reply of a nested resolution into scratch memory: it is not sent.
fn discard(encode: EncodeReply<'_>) {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(usize::from(u16::MAX), 0);
        encode(scratch);
    });
}

/// The chain that a query runs through, and the routes it was found by.
#[derive(Clone)]
struct ChainRun {
    routes: Arc<ZoneRoutes>,
    chain: Arc<Chain>,
}

impl ChainRun {
    /// Continues from `step` until there is an answer, and passes it to the links from `first` on that saw the query.
    /// Returns where the query stopped.
    fn drive<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        first: usize,
        mut step: Step,
    ) -> BoxFuture<'a, usize> {
        Box::pin(async move {
            loop {
                // The answer goes up from here.
                let from = match step {
                    Step::Done(at) => at,
                    Step::Refresh(at) => {
                        self.refresh_later(at, request.clone());
                        at
                    }
                    Step::Wait(at) => {
                        answer.clear();
                        let plugin = &self.chain.links()[at].plugin;
                        let flow = plugin.wait(request, answer, &BelowRunner { run: self, at }).await;
                        // A second wait for the same plugin would never end.
                        let flow = if flow == Flow::Wait { Flow::Next } else { flow };
                        step = self.chain.proceed(request, answer, at, flow);
                        continue;
                    }
                    Step::Finish { at, .. } => {
                        let plugin = &self.chain.links()[at].plugin;
                        plugin.finish(request, answer, &BelowRunner { run: self, at }).await;
                        at
                    }
                };
                let end = step.end();
                match self.chain.reply(request, answer, first, from) {
                    Some(at) => step = Step::Finish { at, end },
                    None => return end,
                }
            }
        })
    }

    /// Runs the query through the links from `first` on, and passes the answer to them. Returns where the query stopped.
    async fn run_from(&self, first: usize, request: &mut Request, answer: &mut Answer) -> usize {
        let step = self.chain.query(request, answer, first);
        self.drive(request, answer, first, step).await
    }

    /// Runs the query through the links below `at` once more in the background, and passes the answer to link `at`. A
    /// refresh counts as a waiting query; if too many wait, it is skipped. A panic counts as SERVFAIL.
    fn refresh_later(&self, at: usize, mut request: Request) {
        let Some(permit) = self.routes.limits.waiting.enter() else { return };
        request.purpose = Purpose::Refresh;
        let run = self.clone();
        self.routes.runtime.spawn(async move {
            let _permit = permit;
            let mut answer = Answer::default();
            let refreshed = AssertUnwindSafe(run.run_from(at + 1, &mut request, &mut answer)).catch_unwind();
            match timeout(DEADLINE, refreshed).await {
                Ok(Ok(_)) => {}
                failed => {
                    if failed.is_ok() {
                        run.routes.limits.panics.inc();
                    }
                    answer.clear();
                    answer.fail(QueryFailure::silent(rcode::SERVFAIL));
                    request.undo_changes(at + 1, &mut answer.reply);
                }
            }
            run.chain.links()[at].plugin.reply(&mut request, &mut answer);
        });
    }
}

/// The runner of a waiting link.
struct BelowRunner<'r> {
    run: &'r ChainRun,
    at: usize,
}

impl Runner for BelowRunner<'_> {
    fn query_below<'a>(&'a self, request: &'a mut Request, answer: &'a mut Answer) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // The links below must not undo what this one has changed in the question.
            let first = request.attribute_new_changes(self.at);
            self.run.run_from(self.at + 1, request, answer).await;
            request.undo_changes_from(first, &mut answer.reply);
        })
    }

    fn resolve<'a>(
        &'a self,
        request: &'a Request,
        name: &'a Name,
        qtype: u16,
        answer: &'a mut Answer,
    ) -> BoxFuture<'a, Option<Query>> {
        Box::pin(async move {
            let depth = request.purpose.depth();
            if depth >= MAX_DEPTH {
                return None;
            }
            let mut nested = request.nested(name, qtype, depth + 1);
            let routes = &self.run.routes;
            let Some(ZoneRoute { chain, key, .. }) = routes.find(&nested).cloned() else {
                // As in CoreDNS REFUSED is an answer: the CNAME is returned, and the client may resolve its target elsewhere.
                refuse(routes, &nested, answer, discard);
                return Some(nested.query);
            };
            nested.key = key;
            let run = ChainRun { routes: routes.clone(), chain };
            let end = run.run_from(0, &mut nested, answer).await;
            // Counted and logged as a query of its own, as in CoreDNS.
            if run.chain.is_reported(end) {
                conclude(&run.chain, &nested, answer, end, discard);
            }
            Some(nested.query)
        })
    }
}

#[cfg(test)]
mod tests;
