//! The open connections of one listener, and the choice of the connection to close when the table is full.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::admin::request_state::RequestState;
use crate::metrics::Counter;

/// Accepts every new connection and evicts an old one when the table is full, so that connections without requests
/// cannot block probes. The oldest idle connection of the client with the most connections is evicted: a single client
/// evicts only its own.
pub(super) struct ConnectionTable {
    /// Oldest first.
    open: Mutex<Vec<Arc<Entry>>>,
    limit: usize,
    evicted: Counter,
}

struct Entry {
    client: Client,
    request: Arc<RequestState>,
    evict: CancellationToken,
}

/// An IPv4 address, or the first 64 bits of an IPv6 address: one host may use all addresses of a /64 network.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Client(u64);

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(u64::from(v4.to_bits())),
            IpAddr::V6(v6) => Self((v6.to_bits() >> 64) as u64),
        }
    }
}

/// Guard of a table entry: the entry is removed when this is dropped.
pub(super) struct AdminConnection {
    table: Arc<ConnectionTable>,
    entry: Arc<Entry>,
}

impl ConnectionTable {
    pub(super) fn new(limit: usize, evicted: Counter) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), limit, evicted })
    }

    /// Adds a connection. Evicts another one if the table is full.
    pub(super) fn insert(self: &Arc<Self>, peer: IpAddr) -> AdminConnection {
        let entry = Arc::new(Entry {
            client: peer.into(),
            request: Arc::new(RequestState::new()),
            evict: CancellationToken::new(),
        });
        let mut open = self.open();
        if open.len() >= self.limit {
            let index = victim(&open);
            open.remove(index).evict.cancel();
            self.evicted.inc();
        }
        open.push(entry.clone());
        drop(open);
        AdminConnection { table: self.clone(), entry }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The index of the entry to evict. The table is not empty.
fn victim(open: &[Arc<Entry>]) -> usize {
    let mut counts: HashMap<Client, usize> = HashMap::new();
    open.iter().for_each(|entry| *counts.entry(entry.client).or_default() += 1);
    let most = counts.values().copied().max().unwrap_or_default();
    let candidates = open.iter().enumerate().filter(|(_, entry)| counts[&entry.client] == most);
    let idle_first = candidates.min_by_key(|(index, entry)| (!entry.request.is_idle(), *index));
    idle_first.map_or(0, |(index, _)| index)
}

impl AdminConnection {
    /// The state of its current request.
    pub(super) fn request(&self) -> &Arc<RequestState> {
        &self.entry.request
    }

    /// Waits until the connection is evicted.
    pub(super) async fn evicted(&self) {
        self.entry.evict.cancelled().await;
    }
}

impl Drop for AdminConnection {
    fn drop(&mut self) {
        self.table.open().retain(|entry| !Arc::ptr_eq(entry, &self.entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREEDY: [u8; 4] = [10, 0, 0, 1];
    const PROBE: [u8; 4] = [10, 0, 0, 2];

    #[tokio::test]
    async fn the_oldest_idle_connection_of_the_greediest_client_is_evicted() {
        let evicted = Counter::default();
        let table = ConnectionTable::new(4, evicted.clone());
        let probe = table.insert(PROBE.into());
        let busy = table.insert(GREEDY.into());
        busy.request().begin().await;
        let [oldest, second] = [(); 2].map(|()| table.insert(GREEDY.into()));
        let newest = table.insert(GREEDY.into());
        let gone = |connection: &AdminConnection| connection.entry.evict.is_cancelled();
        assert_eq!([&probe, &busy, &oldest, &second, &newest].map(gone), [false, false, true, false, false]);
        let _more = [(); 2].map(|()| table.insert(GREEDY.into()));
        assert!(gone(&second) && gone(&newest) && !gone(&busy), "idle ones are evicted first");
        assert_eq!((evicted.value(), table.open().len()), (3, 4));
    }

    #[tokio::test]
    async fn if_all_are_busy_the_oldest_is_evicted() {
        let table = ConnectionTable::new(2, Counter::default());
        let busy = [(); 2].map(|()| table.insert(GREEDY.into()));
        for connection in &busy {
            connection.request().begin().await;
        }
        let _probe = table.insert(PROBE.into());
        assert!(busy[0].entry.evict.is_cancelled() && !busy[1].entry.evict.is_cancelled());
    }

    #[test]
    fn a_connection_that_ends_is_removed() {
        let table = ConnectionTable::new(2, Counter::default());
        drop(table.insert(GREEDY.into()));
        assert!(table.open().is_empty());
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        let client = |text: &str| Client::from(text.parse::<IpAddr>().unwrap());
        assert!(client("2001:db8::1") == client("2001:db8::ffff:2"));
        assert!(client("2001:db8::1") != client("2001:db8:0:1::1"));
        assert!(client("::ffff:10.0.0.1") == client("10.0.0.1"));
    }
}
