//! Runs a query: routing, the chain, and the part that is finished later on the async runtime.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use dns_wire::codes::rcode;
use dns_wire::{Name, Query, Reply};
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

/// How long a query may wait in all. `forward` gives up after 5 s, and the next one may follow it.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A query that could not be answered at once. It counts as waiting until it is dropped.
pub struct PendingQuery {
    run: ChainRun,
    step: Step,
    _permit: WaitingPermit,
}

/// Answers a query from memory if that is possible: `write` encodes the reply and returns its length. Otherwise returns
/// the rest of the work, to be finished on the async runtime. If too many queries wait already, the answer is SERVFAIL.
// Hot: 0 allocations, unless the query has to wait.
pub fn answer(
    routes: &Arc<ZoneRoutes>,
    request: &mut Request,
    answer: &mut Answer,
    write: impl FnOnce(&Request, &mut Reply) -> usize,
) -> Option<PendingQuery> {
    answer.clear();
    let Some(ZoneRoute { chain, key }) = routes.find(&request.query) else {
        refuse(routes, request, answer, |reply| write(request, reply));
        return None;
    };
    request.key = *key;
    let (step, at) = match chain.query(request, answer, 0) {
        step @ (Step::Done(at) | Step::Refresh(at)) => (step, at),
        step @ Step::Wait(at) => {
            if let Some(permit) = routes.limits.waiting.enter() {
                let run = ChainRun { routes: routes.clone(), chain: chain.clone() };
                return Some(PendingQuery { run, step, _permit: permit });
            }
            if chain.links()[at].plugin.overloaded(request, &mut answer.reply) {
                (chain.proceed(request, answer, at, Flow::Done), at)
            } else {
                answer.fail(QueryFailure::overloaded());
                (Step::Done(at), at)
            }
        }
    };
    chain.reply(request, answer, 0, at);
    let size = write(request, &mut answer.reply);
    chain.sent(request, answer, at, size);
    if let Step::Refresh(at) = step {
        ChainRun { routes: routes.clone(), chain: chain.clone() }.refresh_later(at, request);
    }
    None
}

impl PendingQuery {
    /// Completes the answer within [`DEADLINE`]; `write` encodes the reply and returns its length.
    pub async fn finish(
        self,
        request: &Request,
        answer: &mut Answer,
        write: impl FnOnce(&mut Reply) -> usize,
    ) {
        let Self { run, step, _permit } = &self;
        let end = timeout(DEADLINE, run.drive(request, answer, 0, *step)).await;
        let at = end.unwrap_or_else(|_elapsed| {
            let (Step::Done(at) | Step::Refresh(at) | Step::Wait(at)) = *step;
            answer.by = "";
            answer.fail(QueryFailure::new(rcode::SERVFAIL, "no answer within 10s"));
            run.chain.reply(request, answer, 0, at);
            at
        });
        let size = write(&mut answer.reply);
        run.chain.sent(request, answer, at, size);
    }
}

/// Refuses a query outside all zones (coredns, core/dnsserver/server.go).
fn refuse(
    routes: &ZoneRoutes,
    request: &Request,
    answer: &mut Answer,
    write: impl FnOnce(&mut Reply) -> usize,
) {
    answer.fail(QueryFailure::silent(rcode::REFUSED));
    let size = write(&mut answer.reply);
    routes.dropped.count(request, answer, size);
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
        request: &'a Request,
        answer: &'a mut Answer,
        first: usize,
        mut step: Step,
    ) -> BoxFuture<'a, usize> {
        Box::pin(async move {
            let end = loop {
                match step {
                    Step::Done(at) => break at,
                    Step::Refresh(at) => {
                        self.refresh_later(at, request);
                        break at;
                    }
                    Step::Wait(at) => {
                        let runner = BelowRunner { run: self, at };
                        let plugin = &self.chain.links()[at].plugin;
                        let flow = plugin.wait(request, &mut answer.reply, &runner).await;
                        // A second wait for the same plugin would never end.
                        let flow = if flow == Flow::Wait { Flow::Next } else { flow };
                        step = self.chain.proceed(request, answer, at, flow);
                    }
                }
            };
            self.chain.reply(request, answer, first, end);
            end
        })
    }

    /// Runs the query through the links from `first` on, and passes the answer to them. Returns where the query stopped.
    async fn run_from(&self, first: usize, request: &Request, answer: &mut Answer) -> usize {
        let step = self.chain.query(request, answer, first);
        self.drive(request, answer, first, step).await
    }

    /// Runs the query through the links below `at` once more in the background, and passes the answer to link `at`. A
    /// refresh counts as a waiting query; if too many wait, it is skipped. A panic counts as SERVFAIL.
    fn refresh_later(&self, at: usize, request: &Request) {
        let Some(permit) = self.routes.limits.waiting.enter() else { return };
        let mut request = request.clone();
        request.purpose = Purpose::Refresh;
        let run = self.clone();
        self.routes.runtime.spawn(async move {
            let _permit = permit;
            let mut answer = Answer::default();
            let refreshed = AssertUnwindSafe(run.run_from(at + 1, &request, &mut answer)).catch_unwind();
            match timeout(DEADLINE, refreshed).await {
                Ok(Ok(_)) => {}
                Ok(Err(_panic)) => {
                    run.routes.limits.panics.inc();
                    answer.clear();
                    answer.fail(QueryFailure::silent(rcode::SERVFAIL));
                }
                Err(_elapsed) => {
                    answer.clear();
                    answer.fail(QueryFailure::silent(rcode::SERVFAIL));
                }
            }
            run.chain.links()[at].plugin.reply(&request, &mut answer);
        });
    }
}

/// The runner of a waiting link.
struct BelowRunner<'r> {
    run: &'r ChainRun,
    at: usize,
}

impl Runner for BelowRunner<'_> {
    fn query_below<'a>(&'a self, request: &'a Request, answer: &'a mut Answer) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.run.run_from(self.at + 1, request, answer).await;
        })
    }

    fn resolve<'a>(
        &'a self,
        request: &'a Request,
        name: &'a Name,
        answer: &'a mut Answer,
    ) -> BoxFuture<'a, Option<Query>> {
        Box::pin(async move {
            let depth = match request.purpose {
                Purpose::Resolve(depth) => depth,
                Purpose::Client | Purpose::Refresh => 0,
            };
            if depth >= MAX_DEPTH {
                return None;
            }
            let mut nested = request.clone();
            nested.query.set_question(name, request.query.qtype);
            nested.purpose = Purpose::Resolve(depth + 1);
            let routes = &self.run.routes;
            let Some(ZoneRoute { chain, key }) = routes.find(&nested.query).cloned() else {
                // As in CoreDNS REFUSED is an answer: the CNAME is returned, and the client may resolve its target elsewhere.
                refuse(routes, &nested, answer, |reply| {
                    reply.encode(&nested.query, nested.limit(), &mut vec![0; nested.limit()])
                });
                return Some(nested.query);
            };
            nested.key = key;
            let run = ChainRun { routes: routes.clone(), chain };
            let end = run.run_from(0, &nested, answer).await;
            // Counted and logged as a query of its own, as in CoreDNS.
            let size = answer.reply.encode(&nested.query, nested.limit(), &mut vec![0; nested.limit()]);
            run.chain.sent(&nested, answer, end, size);
            Some(nested.query)
        })
    }
}

#[cfg(test)]
mod tests;
