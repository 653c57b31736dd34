//! The plugin interface: each plugin sees the query on its way in and the answer on its way out.

use std::borrow::Cow;

use dns_wire::codes::rcode;
use dns_wire::{Name, Query, Reply};
use futures_util::future::BoxFuture;

use crate::notes::Notes;
use crate::request::Request;

/// A plugin's decision about a query.
#[derive(Debug, PartialEq, Eq)]
pub enum Flow {
    /// The plugin does not answer, and the query goes to the next one. Also used for `fallthrough`.
    Next,
    /// The reply is complete.
    Done,
    /// The answer is the one that the plugins below gave to [`Runner::query_below`]. It keeps the name of the plugin that gave
    /// it, and its failure.
    FromBelow,
    /// The reply is complete. The query runs through the plugins below once more in the background, and their answer is
    /// passed to this plugin's [`Plugin::reply`].
    Refresh,
    /// The plugin has to wait: the query continues with [`Plugin::wait`] on the async runtime.
    Wait,
    /// The client gets no reply at all.
    Drop,
    /// The plugin cannot answer: the client gets an error reply.
    Fail(QueryFailure),
}

/// A plugin's decision about an answer on its way to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The answer goes to the plugins above.
    Pass,
    /// The plugin needs time: the answer continues with [`Plugin::finish`] on the async runtime.
    Wait,
}

/// The methods of a plugin that a chain calls. The lists of them are computed when the chain is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hooks(u8);

impl Hooks {
    /// [`Plugin::query`], and with it [`Plugin::wait`] and [`Plugin::overloaded`].
    pub const QUERY: Self = Self(1);
    /// [`Plugin::reply`], and with it [`Plugin::finish`].
    pub const REPLY: Self = Self(2);
    /// [`Plugin::seal`].
    pub const SEAL: Self = Self(4);
    /// [`Plugin::sent`].
    pub const SENT: Self = Self(8);
    /// No method, but [`Request::message`] is filled.
    pub const MESSAGE: Self = Self(16);

    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` are among them.
    pub const fn contain(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
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
    /// The place of that plugin in the registry, for its counters.
    pub(crate) by_place: Option<usize>,
    /// Why the reply is an error reply, if a plugin could not answer.
    pub failure: Option<QueryFailure>,
    /// Whether the answering plugin holds its records in memory, so that caching them would save no time.
    pub from_memory: bool,
    /// Whether no reply is sent.
    pub dropped: bool,
}

impl Answer {
    /// Resets the answer and keeps its buffers.
    pub fn clear(&mut self) {
        self.reply.clear();
        self.by = "";
        self.by_place = None;
        self.failure = None;
        self.from_memory = false;
        self.dropped = false;
    }

    /// Turns the answer into an error reply.
    pub(crate) fn fail(&mut self, failure: QueryFailure) {
        self.reply.clear();
        self.reply.rcode = failure.rcode;
        self.failure = Some(failure);
    }
}

/// An encoded reply before it is sent.
pub struct EncodedReply<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> EncodedReply<'a> {
    /// The message in the first `length` bytes of a buffer.
    pub(crate) fn new(buffer: &'a mut [u8], length: usize) -> Self {
        Self { buffer, length }
    }

    /// The message.
    pub fn message(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.length]
    }

    /// Appends bytes. Returns false, and changes nothing, if they do not fit.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let Some(room) = self.buffer.get_mut(self.length..self.length + bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        self.length += bytes.len();
        true
    }

    /// The length of the message.
    pub(crate) fn length(&self) -> usize {
        self.length
    }
}

/// Operations of the chain runner that a waiting plugin can use.
pub trait Runner: Send + Sync {
    /// Runs the query through the plugins below the waiting one, and passes the answer back up to it. A question that the plugin
    /// has changed for this is restored.
    fn query_below<'a>(&'a self, request: &'a mut Request, answer: &'a mut Answer) -> BoxFuture<'a, ()>;

    /// Resolves another name and type, such as the target of a CNAME, starting at the routing of the server. Returns the query
    /// for that name. If no zone contains the name, the answer is REFUSED. Returns `None` if resolutions are nested too
    /// deeply.
    fn resolve<'a>(
        &'a self,
        request: &'a Request,
        name: &'a Name,
        qtype: u16,
        answer: &'a mut Answer,
    ) -> BoxFuture<'a, Option<Query>>;
}

/// A plugin of a chain. It has no reference to the next plugin and reaches the plugins below only through the runner.
pub trait Plugin: Send + Sync {
    /// The methods that the chain calls. A method that is not among them is never called.
    fn hooks(&self) -> Hooks {
        Hooks::QUERY
    }

    /// The query on its way in. May change the question ([`Request::change_question`]), EDNS and the flags, attach values, and
    /// answer. Hot: runs on the thread that read the packet, so it must not block, lock or allocate.
    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        let (_, _) = (request, answer);
        Flow::Next
    }

    /// Continues a query for which `query` returned [`Flow::Wait`], with an empty answer. Returning that again counts as
    /// [`Flow::Next`].
    fn wait<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        let (_, _, _) = (request, answer, runner);
        Box::pin(std::future::ready(Flow::Next))
    }

    /// Called instead of `wait` if too many queries wait already. Returns whether the plugin put an answer into the reply;
    /// otherwise the client gets SERVFAIL.
    fn overloaded(&self, request: &Request, answer: &mut Answer) -> bool {
        let (_, _) = (request, answer);
        false
    }

    /// Called instead of a refresh that `query` or `wait` has asked for and that is not made, so that the next query may ask for it.
    fn cancel_refresh(&self, request: &Request) {
        let _ = request;
    }

    /// The answer on its way out. Called for each plugin that saw the query and did not answer, the last one first. The
    /// question is the one that the plugin passed on. Hot, as `query` is.
    fn reply(&self, request: &mut Request, answer: &mut Answer) -> After {
        let (_, _) = (request, answer);
        After::Pass
    }

    /// Continues an answer for which `reply` returned [`After::Wait`]. If too many queries wait already, the client gets
    /// SERVFAIL instead.
    fn finish<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, ()> {
        let (_, _, _) = (request, answer, runner);
        Box::pin(std::future::ready(()))
    }

    /// The encoded reply, which the plugin may change. For signatures.
    fn seal(&self, request: &Request, reply: &mut EncodedReply<'_>) {
        let (_, _) = (request, reply);
    }

    /// The reply is about to be sent as this message; empty if none is sent. For plugins that count and log.
    fn sent(&self, request: &Request, answer: &Answer, message: &[u8]) {
        let (_, _, _) = (request, answer, message);
    }

    /// Whether the plugin answers from its own memory (see [`Answer::from_memory`]).
    fn in_memory(&self) -> bool {
        false
    }

    /// Whether [`Self::wait`] asks other servers. An explanation does so only on request.
    fn asks_others(&self) -> bool {
        false
    }

    /// Says what decided over the query that [`Self::query`] has just seen. Called for explanations only.
    fn explain(&self, request: &Request, notes: &mut Notes) {
        let (_, _) = (request, notes);
    }

    /// Whether the plugin accepts queries of classes other than IN. Queries of other classes are refused on an address
    /// where no plugin does.
    fn any_class(&self) -> bool {
        false
    }
}
