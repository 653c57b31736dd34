//! The plugins of one server block in order, and the loops over them.

use std::sync::Arc;

use dns_wire::codes::rcode;

use crate::plugin::{Answer, Flow, Plugin, QueryFailure};
use crate::request::Request;

/// The plugins of a server block. A query passes them from first to last until one answers; the answer passes those
/// before it in reverse.
#[derive(Default)]
pub struct Chain {
    links: Box<[Link]>,
}

/// A plugin and its name.
pub struct Link {
    /// The name of the directive.
    pub name: &'static str,
    /// The plugin.
    pub plugin: Arc<dyn Plugin>,
    /// See [`Answer::from_memory`].
    in_memory: bool,
}

/// Where a query stopped. The number is the index of the link; the links before it have seen the query and get the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The answer is complete.
    Done(usize),
    /// The answer is complete, and the query runs through the links below again in the background.
    Refresh(usize),
    /// The link has to wait, for example for an upstream.
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

    /// The links in the order in which a query passes them.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Passes the query to the links from index `from` on.
    // Hot: 0 allocations.
    pub(crate) fn query(&self, request: &Request, answer: &mut Answer, from: usize) -> Step {
        for (at, link) in self.links.iter().enumerate().skip(from) {
            match link.plugin.query(request, &mut answer.reply) {
                Flow::Next => {}
                flow => return self.proceed(request, answer, at, flow),
            }
        }
        let Some(last) = self.links.last() else {
            // A zone without plugins serves nothing (coredns, core/dnsserver/server.go).
            answer.fail(QueryFailure::silent(rcode::REFUSED));
            return Step::Done(0);
        };
        let why = format!("plugin/{}: no next plugin found", last.name);
        answer.fail(QueryFailure::new(rcode::SERVFAIL, why));
        Step::Done(self.links.len())
    }

    /// Continues according to the decision of link `at`.
    pub(crate) fn proceed(&self, request: &Request, answer: &mut Answer, at: usize, flow: Flow) -> Step {
        let link = &self.links[at];
        let step = match flow {
            Flow::Next => return self.query(request, answer, at + 1),
            Flow::Wait => return Step::Wait(at),
            Flow::Done => Step::Done(at),
            Flow::Refresh => Step::Refresh(at),
            Flow::Fail(failure) => {
                answer.fail(failure);
                return Step::Done(at);
            }
        };
        answer.by = link.name;
        answer.from_memory = link.in_memory && step == Step::Done(at);
        step
    }

    /// Passes the answer to the links `from..to`, the last one first.
    // Hot: 0 allocations.
    pub(crate) fn reply(&self, request: &Request, answer: &mut Answer, from: usize, to: usize) {
        for link in self.links[from..to].iter().rev() {
            link.plugin.reply(request, answer);
        }
    }

    /// Calls [`Plugin::sent`] of the first `to` links, the last one first.
    // Hot: 0 allocations.
    pub(crate) fn sent(&self, request: &Request, answer: &Answer, to: usize, size: usize) {
        for link in self.links[..to].iter().rev() {
            link.plugin.sent(request, answer, size);
        }
    }
}
