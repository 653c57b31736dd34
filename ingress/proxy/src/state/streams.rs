//! The state of TCP and UDP services in a worker.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use cluster::Protocol;
use foldhash::fast::RandomState;

use crate::observe::metrics::StreamMetrics;
use crate::state::open_streams::OpenStreams;
use crate::state::udp_sessions::SessionTable;

/// State of the streams of one worker.
pub(crate) struct WorkerStreams {
    pub(crate) open: OpenStreams,
    pub(crate) sessions: Rc<SessionTable>,
    pub(crate) metrics: StreamMetrics,
    /// The position of each round robin.
    turns: RefCell<HashMap<(Protocol, u16), usize, RandomState>>,
}

impl WorkerStreams {
    pub(crate) fn new(metrics: StreamMetrics) -> Self {
        let (open, sessions) = <(OpenStreams, Rc<SessionTable>)>::default();
        Self { open, sessions, metrics, turns: RefCell::default() }
    }

    /// The position of a port's round robin, which advances with each call. It starts at a random one, as in ingress-nginx: otherwise all
    /// workers would start at the same endpoint.
    pub(crate) fn turn(&self, protocol: Protocol, port: u16, random: impl FnOnce() -> usize) -> usize {
        let mut turns = self.turns.borrow_mut();
        let turn = turns.entry((protocol, port)).or_insert_with(random);
        *turn = turn.wrapping_add(1);
        *turn
    }

    /// Finds the streams whose port leads elsewhere now, and ends those of which the time is up. `keep` is `worker-shutdown-timeout`. Returns
    /// whether one has to end. Once a second.
    pub(crate) fn sweep(
        &self,
        streams: &std::sync::Arc<ingress_routes::Streams>,
        now: u64,
        keep: std::time::Duration,
    ) -> bool {
        self.turns.borrow_mut().retain(|(protocol, port), _| streams.get(*protocol, *port).is_some());
        self.open.sweep(streams, now, keep)
    }
}
