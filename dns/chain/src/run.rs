//! The way of one query through the server: routed, asked, told, and where it takes time, finished later.

use std::sync::Arc;

use dns_wire::codes::rcode;
use dns_wire::{Name, Query, Reply};
use futures_util::future::BoxFuture;

use crate::asked::{Asked, Purpose};
use crate::chain::{Chain, Step, fail};
use crate::plugin::{Answer, Failure, Flow, Runner};
use crate::routes::Routes;

/// Re-entries that may lead from one to the next for one query: a chain of CNAMEs across the zones of this server.
const MAX_DEPTH: u8 = 10;

/// A query that could not be answered at once.
pub struct Unfinished {
    running: Running,
    step: Step,
}

/// Asks the chain that the query belongs to. When the answer is complete, `write` makes a message of it and says how
/// long that is. Otherwise what is left is returned, to be finished on the async runtime.
// Hot: 0 allocations, unless the query has to wait.
pub fn answer(
    routes: &Arc<Routes>,
    asked: &Asked,
    answer: &mut Answer,
    write: impl FnOnce(&mut Reply) -> usize,
) -> Option<Unfinished> {
    answer.clear();
    let Some(chain) = routes.find(&asked.query) else {
        refuse(routes, asked, answer, write);
        return None;
    };
    let (step, at) = match chain.ask(asked, answer, 0) {
        step @ (Step::Done(at) | Step::Refresh(at)) => (step, at),
        step => {
            let running = Running { routes: routes.clone(), chain: chain.clone() };
            return Some(Unfinished { running, step });
        }
    };
    chain.tell(asked, answer, 0, at);
    let size = write(&mut answer.reply);
    chain.sent(asked, answer, at, size);
    if let Step::Refresh(at) = step {
        Running { routes: routes.clone(), chain: chain.clone() }.refresh_later(at, asked);
    }
    None
}

impl Unfinished {
    /// Completes the answer; `write` makes a message of it and says how long that is.
    pub async fn finish(self, asked: &Asked, answer: &mut Answer, write: impl FnOnce(&mut Reply) -> usize) {
        let at = self.running.drive(asked, answer, 0, self.step).await;
        let size = write(&mut answer.reply);
        self.running.chain.sent(asked, answer, at, size);
    }
}

/// No zone takes the query (coredns, core/dnsserver/server.go).
fn refuse(routes: &Routes, asked: &Asked, answer: &mut Answer, write: impl FnOnce(&mut Reply) -> usize) {
    fail(answer, Failure { rcode: rcode::REFUSED, why: "".into() });
    let size = write(&mut answer.reply);
    routes.dropped.count(asked, answer, size);
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
        asked: &'a Asked,
        answer: &'a mut Answer,
        first: usize,
        mut step: Step,
    ) -> BoxFuture<'a, usize> {
        Box::pin(async move {
            let end = loop {
                match step {
                    Step::Done(at) => break at,
                    Step::Refresh(at) => {
                        self.refresh_later(at, asked);
                        break at;
                    }
                    Step::Wait(at) => {
                        let runner = Lower { running: self, at };
                        let flow =
                            self.chain.links()[at].plugin.wait(asked, &mut answer.reply, &runner).await;
                        // Waiting twice for the same plugin would be for ever.
                        let flow = if flow == Flow::Wait { Flow::Next } else { flow };
                        step = self.chain.settle(asked, answer, at, flow);
                    }
                }
            };
            self.chain.tell(asked, answer, first, end);
            end
        })
    }

    /// Asks the links from `first` on, and tells them. Returns where the asking ended.
    async fn ask_from(&self, first: usize, asked: &Asked, answer: &mut Answer) -> usize {
        let step = self.chain.ask(asked, answer, first);
        self.drive(asked, answer, first, step).await
    }

    /// Asks those below `at` once more for its own sake.
    fn refresh_later(&self, at: usize, asked: &Asked) {
        let mut asked = asked.clone();
        asked.purpose = Purpose::Refresh;
        let running = self.clone();
        self.routes.runtime.spawn(async move {
            let mut answer = Answer::default();
            running.ask_from(at + 1, &asked, &mut answer).await;
            running.chain.links()[at].plugin.reply(&asked, &mut answer);
        });
    }
}

/// Those below a link that waits.
struct Lower<'r> {
    running: &'r Running,
    at: usize,
}

impl Runner for Lower<'_> {
    fn ask_below<'a>(&'a self, asked: &'a Asked, answer: &'a mut Answer) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.running.ask_from(self.at + 1, asked, answer).await;
        })
    }

    fn resolve<'a>(
        &'a self,
        asked: &'a Asked,
        name: &'a Name,
        answer: &'a mut Answer,
    ) -> BoxFuture<'a, Option<Query>> {
        Box::pin(async move {
            let depth = match asked.purpose {
                Purpose::Resolve(depth) => depth,
                Purpose::Client | Purpose::Refresh => 0,
            };
            if depth >= MAX_DEPTH {
                return None;
            }
            let mut further = asked.clone();
            further.query.ask(name, asked.query.qtype);
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
