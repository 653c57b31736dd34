//! The plugin interface: each plugin sees the query on its way in and the answer on its way out.

use std::borrow::Cow;

use dns_wire::codes::rcode;
use dns_wire::{Name, Query, Reply};
use futures_util::future::BoxFuture;

use crate::request::Request;

/// What a plugin decides about a query.
#[derive(Debug, PartialEq, Eq)]
pub enum Flow {
    /// The plugin does not answer, and the query goes to the next one. Also used for `fallthrough`.
    Next,
    /// The reply is complete.
    Done,
    /// The reply is complete. The query runs through the plugins below once more in the background, and their answer is
    /// passed to this plugin's [`Plugin::reply`].
    Refresh,
    /// The plugin has to wait: the query continues with [`Plugin::wait`] on the async runtime.
    Wait,
    /// The plugin cannot answer: the client gets an error reply.
    Fail(QueryFailure),
}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryFailure {
    /// The response code of the error reply (RFC 1035 §4.1.1).
    pub rcode: u16,
    /// The text that the `errors` plugin logs. Empty if the response code is explanation enough.
    pub why: Cow<'static, str>,
    /// Whether a limit of this process is the cause. Such a failure is not cached.
    pub overloaded: bool,
}

impl QueryFailure {
    /// A failure with a text for the log.
    pub fn new(rcode: u16, why: impl Into<Cow<'static, str>>) -> Self {
        Self { rcode, why: why.into(), overloaded: false }
    }

    /// SERVFAIL because a limit of this process is reached. Not logged, since the log would grow with the load.
    pub fn overloaded() -> Self {
        Self { overloaded: true, ..Self::silent(rcode::SERVFAIL) }
    }

    /// A failure that is not logged.
    pub fn silent(rcode: u16) -> Self {
        Self { rcode, why: Cow::Borrowed(""), overloaded: false }
    }
}

/// The DNS answer that a chain builds. Reused for the next query.
#[derive(Default)]
pub struct Answer {
    /// The reply as built so far.
    pub reply: Reply,
    /// The plugin that answered, for the `plugin` label; `""` if none did.
    pub by: &'static str,
    /// Why the reply is an error reply, if a plugin could not answer.
    pub failure: Option<QueryFailure>,
    /// Whether the answering plugin holds its records in memory, so that caching them would save no time.
    pub from_memory: bool,
}

impl Answer {
    /// Resets the answer and keeps its buffers.
    pub fn clear(&mut self) {
        self.reply.clear();
        self.by = "";
        self.failure = None;
        self.from_memory = false;
    }

    /// Turns the answer into an error reply.
    pub(crate) fn fail(&mut self, failure: QueryFailure) {
        self.reply.clear();
        self.reply.rcode = failure.rcode;
        self.failure = Some(failure);
    }
}

/// Operations of the chain runner that a waiting plugin can use.
pub trait Runner: Send + Sync {
    /// Runs the query through the plugins below the waiting one, and passes the answer back up to it.
    fn query_below<'a>(&'a self, request: &'a Request, answer: &'a mut Answer) -> BoxFuture<'a, ()>;

    /// Resolves another name, such as the target of a CNAME, with the same type, starting at the routing of the server.
    /// Returns the query for that name. If no zone contains the name, the answer is REFUSED. Returns `None` if resolutions
    /// are nested too deeply.
    fn resolve<'a>(
        &'a self,
        request: &'a Request,
        name: &'a Name,
        answer: &'a mut Answer,
    ) -> BoxFuture<'a, Option<Query>>;
}

/// A plugin of a chain. It has no reference to the next plugin and reaches the plugins below only through the runner.
pub trait Plugin: Send + Sync {
    /// The query on its way in. Hot: runs on the thread that read the packet, so it must not block, lock or allocate.
    fn query(&self, request: &Request, reply: &mut Reply) -> Flow {
        let (_, _) = (request, reply);
        Flow::Next
    }

    /// Continues a query for which `query` returned [`Flow::Wait`]. Returning that again counts as [`Flow::Next`].
    fn wait<'a>(
        &'a self,
        request: &'a Request,
        reply: &'a mut Reply,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        let (_, _, _) = (request, reply, runner);
        Box::pin(std::future::ready(Flow::Next))
    }

    /// Called instead of `wait` if too many queries wait already. Returns whether the plugin put an answer into the reply;
    /// otherwise the client gets SERVFAIL.
    fn overloaded(&self, request: &Request, reply: &mut Reply) -> bool {
        let (_, _) = (request, reply);
        false
    }

    /// The answer on its way out. Called for each plugin that saw the query and did not answer, the last one first.
    /// Hot, as `query` is.
    fn reply(&self, request: &Request, answer: &mut Answer) {
        let (_, _) = (request, answer);
    }

    /// The reply has been encoded as a message of `size` bytes. For plugins that count and log.
    fn sent(&self, request: &Request, answer: &Answer, size: usize) {
        let (_, _, _) = (request, answer, size);
    }

    /// Whether the plugin answers from its own memory (see [`Answer::from_memory`]).
    fn in_memory(&self) -> bool {
        false
    }

    /// Whether the plugin accepts queries of classes other than IN. Queries of other classes are refused on an address
    /// where no plugin does.
    fn any_class(&self) -> bool {
        false
    }
}
