//! The plugins of one server block in order, and the loops over them.

use std::sync::Arc;

use dns_wire::codes::rcode;

use crate::plugin::{After, Answer, EncodedReply, Flow, Hooks, Plugin, QueryFailure};
use crate::recording::{RecordedBlock, RecordedPlugin, Recorder};
use crate::request::Request;

/// The plugins of a server block. A query passes them from first to last until one answers; the answer passes those
/// before it in reverse.
#[derive(Default)]
pub struct Chain {
    links: Box<[Link]>,
    queries: Box<[Hook]>,
    replies: Box<[Hook]>,
    seals: Box<[Hook]>,
    sents: Box<[Hook]>,
}

/// A plugin and its name.
pub struct Link {
    /// The name of the directive.
    pub name: &'static str,
    /// The plugin.
    pub plugin: Arc<dyn Plugin>,
    /// Its place in the registry, if it is there.
    place: Option<usize>,
    /// See [`Answer::from_memory`].
    in_memory: bool,
}

/// A plugin that has a certain method, and the index of its link.
struct Hook {
    at: usize,
    plugin: Arc<dyn Plugin>,
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
    /// The answer of link `end` has come up to link `at`, which needs time for it.
    Finish {
        /// The link that needs time.
        at: usize,
        /// Where the query stopped.
        end: usize,
    },
}

impl Step {
    /// The link at which the query stopped.
    pub(crate) fn end(self) -> usize {
        match self {
            Self::Done(at) | Self::Refresh(at) | Self::Wait(at) | Self::Finish { end: at, .. } => at,
        }
    }
}

impl Link {
    /// A plugin under its name.
    pub fn new(name: &'static str, plugin: Arc<dyn Plugin>) -> Self {
        let in_memory = plugin.in_memory();
        Self { name, plugin, place: None, in_memory }
    }

    /// Sets the place of the plugin in the registry.
    #[must_use]
    pub(crate) fn at_place(self, place: usize) -> Self {
        Self { place: Some(place), ..self }
    }
}

impl Chain {
    /// A chain of these links.
    pub fn new(links: Vec<Link>) -> Self {
        let with = |hook: Hooks| -> Box<[Hook]> {
            let links = links.iter().enumerate().filter(|(_, link)| link.plugin.hooks().contain(hook));
            links.map(|(at, link)| Hook { at, plugin: link.plugin.clone() }).collect()
        };
        let (queries, replies) = (with(Hooks::QUERY), with(Hooks::REPLY));
        let (seals, sents) = (with(Hooks::SEAL), with(Hooks::SENT));
        Self { links: links.into(), queries, replies, seals, sents }
    }

    /// A chain of the same plugins that records what they do with a query. `text` says which server block it is. An empty chain stays
    /// empty.
    pub(crate) fn recorded(&self, recorder: &Arc<Recorder>, text: String) -> Self {
        if self.links.is_empty() {
            return Self::default();
        }
        let block = RecordedBlock { recorder: recorder.clone(), text };
        let recorded = self.links.iter().map(|link| {
            let (plugin, recorder) = (link.plugin.clone(), recorder.clone());
            let plugin = RecordedPlugin { name: link.name, plugin, recorder };
            Link { plugin: Arc::new(plugin), ..*link }
        });
        Self::new(std::iter::once(Link::new("", Arc::new(block))).chain(recorded).collect())
    }

    /// The links in the order in which a query passes them.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Passes the query to the links from index `from` on.
    // Hot: 0 allocations.
    pub(crate) fn query(&self, request: &mut Request, answer: &mut Answer, from: usize) -> Step {
        for hook in self.queries.iter().filter(|hook| hook.at >= from) {
            let changes = request.change_count();
            let flow = hook.plugin.query(request, answer);
            if request.change_count() > changes {
                request.attribute_changes(changes, hook.at);
            }
            match flow {
                Flow::Next => {}
                flow => return self.proceed(request, answer, hook.at, flow),
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
    pub(crate) fn proceed(&self, request: &mut Request, answer: &mut Answer, at: usize, flow: Flow) -> Step {
        let link = &self.links[at];
        let step = match flow {
            Flow::Next => return self.query(request, answer, at + 1),
            Flow::Wait => return Step::Wait(at),
            Flow::FromBelow => return Step::Done(at),
            Flow::Done => Step::Done(at),
            Flow::Refresh => Step::Refresh(at),
            Flow::Drop => {
                answer.reply.clear();
                answer.dropped = true;
                // Nothing was written, so no plugin counts as the author.
                (answer.by, answer.by_place) = ("", None);
                return Step::Done(at);
            }
            Flow::Fail(failure) => {
                answer.fail(failure);
                return Step::Done(at);
            }
        };
        (answer.by, answer.by_place) = (link.name, link.place);
        answer.from_memory = link.in_memory && step == Step::Done(at);
        step
    }

    /// Passes the answer to the links `from..to`, the last one first, and undoes what the links from `from` on changed in the
    /// question. Returns the link that needs time for the answer; the pass then continues from there.
    // Hot: 0 allocations.
    pub(crate) fn reply(
        &self,
        request: &mut Request,
        answer: &mut Answer,
        from: usize,
        to: usize,
    ) -> Option<usize> {
        for hook in self.replies.iter().rev().filter(|hook| (from..to).contains(&hook.at)) {
            request.undo_changes(hook.at + 1, &mut answer.reply);
            if hook.plugin.reply(request, answer) == After::Wait {
                return Some(hook.at);
            }
        }
        request.undo_changes(from, &mut answer.reply);
        None
    }

    /// Passes an answer to all links `0..to` without waiting for any.
    pub(crate) fn reply_at_once(&self, request: &mut Request, answer: &mut Answer, mut to: usize) {
        while let Some(waiting) = self.reply(request, answer, 0, to) {
            request.undo_changes(waiting, &mut answer.reply);
            to = waiting;
        }
    }

    /// Encodes the answer, lets the plugins seal it and reports it to the first `to` links. Returns the length.
    // Hot: 0 allocations.
    pub(crate) fn encode(
        &self,
        request: &Request,
        answer: &mut Answer,
        to: usize,
        buffer: &mut [u8],
    ) -> usize {
        let mut length = answer.reply.encode(&request.query, request.limit(), buffer);
        if !self.seals.is_empty() {
            let mut encoded = EncodedReply::new(buffer, length);
            for hook in self.seals.iter().rev().filter(|hook| hook.at < to) {
                hook.plugin.seal(request, &mut encoded);
            }
            length = encoded.length();
        }
        self.sent(request, answer, to, &buffer[..length]);
        length
    }

    /// Calls [`Plugin::sent`] of the first `to` links, the last one first.
    // Hot: 0 allocations.
    pub(crate) fn sent(&self, request: &Request, answer: &Answer, to: usize, message: &[u8]) {
        for hook in self.sents.iter().rev().filter(|hook| hook.at < to) {
            hook.plugin.sent(request, answer, message);
        }
    }

    /// Whether an answer of link `to` is reported to a plugin.
    pub(crate) fn is_reported(&self, to: usize) -> bool {
        self.sents.iter().any(|hook| hook.at < to)
    }
}
