//! The plugins of one zone of a server block, in order, and the loop that asks and tells them.

use std::sync::Arc;

use dns_wire::codes::rcode;

use crate::plugin::{Answer, Flow, Plugin, QueryFailure};
use crate::request::Request;

/// Asks in order until someone answers, then tells those asked, in reverse.
#[derive(Default)]
pub struct Chain {
    links: Box<[Link]>,
}

/// A plugin in its place.
pub struct Link {
    /// The name of the directive.
    pub name: &'static str,
    /// What it does with a query.
    pub plugin: Arc<dyn Plugin>,
    /// See [`Answer::from_memory`].
    in_memory: bool,
}

/// How far the asking has come. The number is the link it stopped at; those before it were asked and are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is an answer.
    Done(usize),
    /// There is an answer, and those below want to be asked again later.
    Refresh(usize),
    /// The link takes its time.
    Wait(usize),
}

impl Link {
    /// A plugin under its name.
    pub fn new(name: &'static str, plugin: Arc<dyn Plugin>) -> Self {
        let in_memory = plugin.in_memory();
        Self { name, plugin, in_memory }
    }
}

impl Chain {
    /// A chain of these links.
    pub fn new(links: Vec<Link>) -> Self {
        Self { links: links.into() }
    }

    /// The links in the order in which they are asked.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Asks the links from `from` on.
    // Hot: 0 allocations.
    pub(crate) fn ask(&self, request: &Request, answer: &mut Answer, from: usize) -> Step {
        for (at, link) in self.links.iter().enumerate().skip(from) {
            match link.plugin.query(request, &mut answer.reply) {
                Flow::Next => {}
                flow => return self.settle(request, answer, at, flow),
            }
        }
        let Some(last) = self.links.last() else {
            // A zone without plugins serves nothing (coredns, core/dnsserver/server.go).
            fail(answer, QueryFailure { rcode: rcode::REFUSED, why: "".into() });
            return Step::Done(0);
        };
        fail(
            answer,
            QueryFailure::new(rcode::SERVFAIL, format!("plugin/{}: no next plugin found", last.name)),
        );
        Step::Done(self.links.len())
    }

    /// Goes on after link `at` has looked at the query.
    pub(crate) fn settle(&self, request: &Request, answer: &mut Answer, at: usize, flow: Flow) -> Step {
        let link = &self.links[at];
        let step = match flow {
            Flow::Next => return self.ask(request, answer, at + 1),
            Flow::Wait => return Step::Wait(at),
            Flow::Done => Step::Done(at),
            Flow::Refresh => Step::Refresh(at),
            Flow::Fail(failure) => {
                fail(answer, failure);
                return Step::Done(at);
            }
        };
        answer.by = link.name;
        answer.from_memory = link.in_memory && step == Step::Done(at);
        step
    }

    /// Says to the first `to` links that the reply is on its way.
    // Hot: 0 allocations.
    pub(crate) fn sent(&self, request: &Request, answer: &Answer, to: usize, size: usize) {
        for link in self.links[..to].iter().rev() {
            link.plugin.sent(request, answer, size);
        }
    }

    /// Tells the links from `from` up to and without `to`, the last one first.
    // Hot: 0 allocations.
    pub(crate) fn tell(&self, request: &Request, answer: &mut Answer, from: usize, to: usize) {
        for link in self.links[from..to].iter().rev() {
            link.plugin.reply(request, answer);
        }
    }
}

/// Makes the answer an error reply.
pub(crate) fn fail(answer: &mut Answer, failure: QueryFailure) {
    answer.reply.clear();
    answer.reply.rcode = failure.rcode;
    answer.failure = Some(failure);
}
