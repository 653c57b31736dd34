//! The query that a chain answers: the question and how it arrived.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dns_wire::{Name, Query, QuestionFields, Reply};

use crate::extensions::Extensions;

/// The protocol that a query arrived by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One datagram each way (RFC 1035 §4.2.1).
    Udp,
    /// Length-prefixed messages (RFC 1035 §4.2.2, RFC 7766).
    Tcp,
}

impl Transport {
    /// The name in logs and in the `proto` label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// The reason for a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A client waits for the reply.
    Client,
    /// A plugin resolves another name for its own answer. The number counts the nested resolutions so far.
    Resolve(u8),
    /// A plugin refreshes an answer that the client has already received.
    Refresh,
}

impl Purpose {
    /// The nested resolutions between the query of a client and this one.
    pub fn depth(self) -> u8 {
        match self {
            Self::Resolve(depth) => depth,
            Self::Client | Self::Refresh => 0,
        }
    }
}

/// A query on its way through a chain. A listener reuses one value for many queries, so nothing is allocated per query.
#[derive(Clone, Debug)]
pub struct Request {
    /// The question, the flags and EDNS, as the plugins above have changed them.
    pub query: Query,
    /// The address that the reply goes to.
    pub client: SocketAddr,
    /// The address that the query was sent to; unspecified if a wildcard socket does not report it.
    pub server: SocketAddr,
    /// The protocol that it arrived by.
    pub transport: Transport,
    /// Length of the message in bytes.
    pub size: usize,
    /// When it was received. Read once per batch; plugins use it as the current time.
    pub received: Instant,
    /// The reason for the query.
    pub purpose: Purpose,
    /// The key of the server block whose zone the query matched, with its address, as an index into the block's
    /// [served keys](crate::setup::Setup::served_keys). Set by routing. Plugins are shared by all keys of a block; what
    /// differs by key, such as metric labels, is found by this.
    pub key: usize,
    /// How long the query may wait, if a plugin limits that further than the server does.
    pub time_limit: Option<Duration>,
    /// The received message. Empty unless a plugin asks for it ([`Hooks::MESSAGE`](crate::plugin::Hooks::MESSAGE)).
    pub message: Vec<u8>,
    /// What plugins attach to the query.
    pub extensions: Extensions,
    /// The questions before each change, the first one first.
    changes: Vec<QuestionChange>,
}

/// [`QuestionChange::by`] until the chain records the link.
const NO_LINK: usize = usize::MAX;

/// A question that a plugin has replaced for the plugins below it.
#[derive(Clone, Debug)]
struct QuestionChange {
    /// The link that changed it.
    by: usize,
    before: QuestionFields,
    /// Whether records of the question become records of the one before.
    is_alias: bool,
}

impl Request {
    /// An empty request, to be filled by [`Query::parse`].
    pub fn new(transport: Transport, server: SocketAddr) -> Self {
        Self {
            query: Query::default(),
            client: SocketAddr::from(([0, 0, 0, 0], 0)),
            server,
            transport,
            size: 0,
            received: Instant::now(),
            purpose: Purpose::Client,
            key: 0,
            time_limit: None,
            message: Vec::new(),
            extensions: Extensions::default(),
            changes: Vec::new(),
        }
    }

    /// Forgets what plugins have attached to the query before.
    // Hot: 0 allocations.
    pub(crate) fn begin(&mut self) {
        self.time_limit = None;
        if !self.extensions.is_empty() {
            self.extensions.clear();
        }
        self.changes.clear();
    }

    /// Replaces the question for the plugins below. On the way out the question before is restored once the answer has passed
    /// the plugin that called this.
    // Hot: 0 allocations once the list has grown.
    pub fn change_question(&mut self, name: &Name, qtype: u16, qclass: u16) {
        self.change(name, qtype, qclass, false);
    }

    /// As [`change_question`](Self::change_question), but on the way out the records that the question owns become records of the
    /// question before.
    // Hot: 0 allocations once the list has grown.
    pub fn alias_question(&mut self, name: &Name, qtype: u16, qclass: u16) {
        self.change(name, qtype, qclass, true);
    }

    fn change(&mut self, name: &Name, qtype: u16, qclass: u16, is_alias: bool) {
        self.changes.push(QuestionChange { by: NO_LINK, before: self.query.question(), is_alias });
        self.query.set_question(name, qtype);
        self.query.qclass = qclass;
    }

    /// The question that the client sent.
    pub fn client_question(&self) -> QuestionFields {
        self.changes.first().map_or_else(|| self.query.question(), |change| change.before.clone())
    }

    /// Restores the question that the client sent. For error replies that do not pass the plugins.
    pub fn restore_client_question(&mut self) {
        if let Some(first) = self.changes.drain(..).next() {
            self.query.restore(&first.before);
        }
    }

    /// How many changes of the question are in effect.
    pub(crate) fn change_count(&self) -> usize {
        self.changes.len()
    }

    /// Records that link `at` made the changes from index `first` on.
    pub(crate) fn attribute_changes(&mut self, first: usize, at: usize) {
        self.changes[first..].iter_mut().for_each(|change| change.by = at);
    }

    /// Records that link `at` made the changes that no link has made so far. Returns the index of the first of them.
    pub(crate) fn attribute_new_changes(&mut self, at: usize) -> usize {
        let first = self.changes.iter().position(|change| change.by == NO_LINK).unwrap_or(self.changes.len());
        self.attribute_changes(first, at);
        first
    }

    /// Undoes the changes of the link `at` and those below it. The names of the reply become independent of the question.
    // Hot: 0 allocations once the buffers have grown.
    pub(crate) fn undo_changes(&mut self, at: usize, reply: &mut Reply) {
        while let Some(change) = self.changes.pop_if(|change| change.by >= at) {
            self.undo(&change, reply);
        }
    }

    /// Undoes the changes from index `first` on, as [`undo_changes`](Self::undo_changes) does.
    pub(crate) fn undo_changes_from(&mut self, first: usize, reply: &mut Reply) {
        while self.changes.len() > first
            && let Some(change) = self.changes.pop()
        {
            self.undo(&change, reply);
        }
    }

    fn undo(&mut self, change: &QuestionChange, reply: &mut Reply) {
        if self.query.name() != change.before.name.wire() {
            match change.is_alias {
                true => reply.complete_names_below(&self.query),
                false => reply.complete_names(&self.query),
            }
        }
        self.query.restore(&change.before);
    }

    /// The query for another name and type that a plugin resolves for its answer.
    pub(crate) fn nested(&self, name: &Name, qtype: u16, depth: u8) -> Self {
        let mut nested = self.clone();
        nested.changes.clear();
        nested.query.set_question(name, qtype);
        nested.purpose = Purpose::Resolve(depth);
        nested
    }

    /// The longest reply that the client accepts: 64 KiB over TCP, the EDNS size over UDP, and at least 512 bytes
    /// (RFC 1035 §4.2.1, RFC 6891 §6.2.3).
    pub fn limit(&self) -> usize {
        match self.transport {
            Transport::Tcp => usize::from(u16::MAX),
            Transport::Udp => self.query.udp_limit(),
        }
    }

    /// Whether the client asked for DNSSEC records (RFC 3225).
    pub fn dnssec_ok(&self) -> bool {
        self.query.dnssec_ok()
    }
}
