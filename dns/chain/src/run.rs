//! The way of one query through the server: routed, asked, told, and where it takes time, finished later.

use std::sync::Arc;

use dns_wire::codes::rcode;
use dns_wire::{Name, Query, Reply};
use futures_util::future::BoxFuture;

use crate::chain::{Chain, Step, fail};
use crate::plugin::{Answer, Flow, QueryFailure, Runner};
use crate::request::{Purpose, Request};
use crate::routes::Routes;

/// Re-entries that may lead from one to the next for one query: a chain of CNAMEs across the zones of this server.
const MAX_DEPTH: u8 = 10;

/// A query that could not be answered at once.
pub struct PendingQuery {
    running: Running,
    step: Step,
}

/// Asks the chain that the query belongs to. When the answer is complete, `write` makes a message of it and says how
/// long that is. Otherwise what is left is returned, to be finished on the async runtime.
// Hot: 0 allocations, unless the query has to wait.
pub fn answer(
    routes: &Arc<Routes>,
    request: &Request,
    answer: &mut Answer,
    write: impl FnOnce(&mut Reply) -> usize,
) -> Option<PendingQuery> {
    answer.clear();
    let Some(chain) = routes.find(&request.query) else {
        refuse(routes, request, answer, write);
        return None;
    };
    let (step, at) = match chain.ask(request, answer, 0) {
        step @ (Step::Done(at) | Step::Refresh(at)) => (step, at),
        step => {
            let running = Running { routes: routes.clone(), chain: chain.clone() };
            return Some(PendingQuery { running, step });
        }
    };
    chain.tell(request, answer, 0, at);
    let size = write(&mut answer.reply);
    chain.sent(request, answer, at, size);
    if let Step::Refresh(at) = step {
        Running { routes: routes.clone(), chain: chain.clone() }.refresh_later(at, request);
    }
    None
}

impl PendingQuery {
    /// Completes the answer; `write` makes a message of it and says how long that is.
    pub async fn finish(
        self,
        request: &Request,
        answer: &mut Answer,
        write: impl FnOnce(&mut Reply) -> usize,
    ) {
        let at = self.running.drive(request, answer, 0, self.step).await;
        let size = write(&mut answer.reply);
        self.running.chain.sent(request, answer, at, size);
    }
}

/// No zone takes the query (coredns, core/dnsserver/server.go).
fn refuse(routes: &Routes, request: &Request, answer: &mut Answer, write: impl FnOnce(&mut Reply) -> usize) {
    fail(answer, QueryFailure { rcode: rcode::REFUSED, why: "".into() });
    let size = write(&mut answer.reply);
    routes.dropped.count(request, answer, size);
}

/// A query that has left the fast path.
#[derive(Clone)]
struct Running {
    routes: Arc<Routes>,
    chain: Arc<Chain>,
}

impl Running {
    /// Goes on from `step` until there is an answer, then tells the links from `first` on that were asked. Returns
    /// where the asking ended.
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
                        let runner = Lower { running: self, at };
                        let flow =
                            self.chain.links()[at].plugin.wait(request, &mut answer.reply, &runner).await;
                        // Waiting twice for the same plugin would be for ever.
                        let flow = if flow == Flow::Wait { Flow::Next } else { flow };
                        step = self.chain.settle(request, answer, at, flow);
                    }
                }
            };
            self.chain.tell(request, answer, first, end);
            end
        })
    }

    /// Asks the links from `first` on, and tells them. Returns where the asking ended.
    async fn ask_from(&self, first: usize, request: &Request, answer: &mut Answer) -> usize {
        let step = self.chain.ask(request, answer, first);
        self.drive(request, answer, first, step).await
    }

    /// Asks those below `at` once more for its own sake.
    fn refresh_later(&self, at: usize, request: &Request) {
        let mut request = request.clone();
        request.purpose = Purpose::Refresh;
        let running = self.clone();
        self.routes.runtime.spawn(async move {
            let mut answer = Answer::default();
            running.ask_from(at + 1, &request, &mut answer).await;
            running.chain.links()[at].plugin.reply(&request, &mut answer);
        });
    }
}

/// Those below a link that waits.
struct Lower<'r> {
    running: &'r Running,
    at: usize,
}

impl Runner for Lower<'_> {
    fn ask_below<'a>(&'a self, request: &'a Request, answer: &'a mut Answer) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.running.ask_from(self.at + 1, request, answer).await;
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
            let mut further = request.clone();
            further.query.ask(name, request.query.qtype);
            further.purpose = Purpose::Resolve(depth + 1);
            let Running { routes, .. } = self.running;
            let Some(chain) = routes.find(&further.query).cloned() else {
                // As in CoreDNS that is an answer, too: the CNAME stands, and the client may ask elsewhere.
                refuse(routes, &further, answer, |reply| {
                    reply.encode(&further.query, further.limit(), &mut vec![0; further.limit()])
                });
                return Some(further.query);
            };
            let running = Running { routes: routes.clone(), chain };
            let end = running.ask_from(0, &further, answer).await;
            // It is counted and logged as a query of its own, as in CoreDNS.
            let size = answer.reply.encode(&further.query, further.limit(), &mut vec![0; further.limit()]);
            running.chain.sent(&further, answer, end, size);
            Some(further.query)
        })
    }
}
