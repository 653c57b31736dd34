//! What a plugin is: a look at the query on its way in, a look at the answer on its way out.

use std::borrow::Cow;

use dns_wire::{Name, Query, Reply};
use futures_util::future::BoxFuture;

use crate::request::Request;

/// What becomes of a query after a plugin has looked at it.
#[derive(Debug, PartialEq, Eq)]
pub enum Flow {
    /// Not mine: ask the next one. `fallthrough` is this too.
    Next,
    /// The reply is complete.
    Done,
    /// As `Done`, and afterwards those below are asked again, off the fast path; this plugin's
    /// [`Plugin::reply`] sees what they say.
    Refresh,
    /// This takes time: go on with [`Plugin::wait`] on the async runtime.
    Wait,
    /// No answer; the runner makes an error reply of it.
    Fail(QueryFailure),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryFailure {
    /// The response code of the error reply (RFC 1035 §4.1.1).
    pub rcode: u16,
    /// What the `errors` plugin logs; empty where the code says it all.
    pub why: Cow<'static, str>,
}

impl QueryFailure {
    /// An error reply that the log has something to say about.
    pub fn new(rcode: u16, why: impl Into<Cow<'static, str>>) -> Self {
        Self { rcode, why: why.into() }
    }
}

/// What the chain has said so far. Reused for the next query.
#[derive(Default)]
pub struct Answer {
    /// The reply as it stands.
    pub reply: Reply,
    /// The plugin that answered; `""` where none did (the `plugin` label).
    pub by: &'static str,
    /// Why it is an error reply, if a plugin could not answer.
    pub failure: Option<QueryFailure>,
    /// It came out of a plugin's own memory, where it is as quick to find and more current than in any cache.
    pub from_memory: bool,
}

impl Answer {
    /// Forgets everything but the memory it holds.
    pub fn clear(&mut self) {
        self.reply.clear();
        self.by = "";
        self.failure = None;
        self.from_memory = false;
    }
}

/// What a plugin may ask of the runner while it waits.
pub trait Runner: Send + Sync {
    /// Asks those below the plugin, and tells them.
    fn ask_below<'a>(&'a self, request: &'a Request, answer: &'a mut Answer) -> BoxFuture<'a, ()>;

    /// Asks the whole server, from the routing on, for the same type at another name, such as the target of a CNAME.
    /// The query that this was is returned, also where no zone takes it (the answer is REFUSED then); nothing where
    /// too many led here already.
    fn resolve<'a>(
        &'a self,
        request: &'a Request,
        name: &'a Name,
        answer: &'a mut Answer,
    ) -> BoxFuture<'a, Option<Query>>;
}

/// One link of a chain. It never holds the next one: whatever concerns those below it is asked of the runner.
pub trait Plugin: Send + Sync {
    /// The query on its way in. Hot: runs on the thread that read the packet, so it must not block, lock or allocate.
    fn query(&self, request: &Request, reply: &mut Reply) -> Flow {
        let (_, _) = (request, reply);
        Flow::Next
    }

    /// Goes on with a query for which `query` said [`Flow::Wait`]; saying so again is [`Flow::Next`].
    fn wait<'a>(
        &'a self,
        request: &'a Request,
        reply: &'a mut Reply,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        let (_, _, _) = (request, reply, runner);
        Box::pin(std::future::ready(Flow::Next))
    }

    /// The answer on its way out, told to every plugin that was asked and did not answer itself, the last one first.
    /// Hot as `query` is.
    fn reply(&self, request: &Request, answer: &mut Answer) {
        let (_, _) = (request, answer);
    }

    /// The reply has been written as a message of so many bytes. For plugins that count and log.
    fn sent(&self, request: &Request, answer: &Answer, size: usize) {
        let (_, _, _) = (request, answer, size);
    }

    /// Whether it answers out of its own memory (see [`Answer::from_memory`]).
    fn in_memory(&self) -> bool {
        false
    }
}
