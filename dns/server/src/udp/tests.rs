//! Panics in plugins: no Corefile causes one, so a test plugin does.

use std::net::UdpSocket;
use std::time::Duration;

use dns_chain::{Chain, ChainLimits, Flow, Link, Plugin, QueryMetrics, ZoneRoute};
use dns_wire::codes::rtype;
use dns_wire::{Name, Query};
use telemetry::metrics::{Counter, Registry};

use super::*;
use crate::name_samples::NameSamples;
use crate::tcp_connections::{TcpConnectionTable, TcpLimits};

/// Panics on names that begin with `p` (at once) or `w` (after waiting).
struct Panics;

impl Plugin for Panics {
    fn query(&self, request: &mut Request, _: &mut Answer) -> Flow {
        match request.query.name()[1] {
            b'p' => panic!("deliberate panic"),
            b'w' => Flow::Wait,
            _ => Flow::Done,
        }
    }

    fn wait<'a>(
        &'a self,
        _: &'a mut Request,
        _: &'a mut Answer,
        _: &'a dyn dns_chain::plugin::Runner,
    ) -> futures_util::future::BoxFuture<'a, Flow> {
        Box::pin(async { panic!("deliberate panic") })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_affects_only_one_query_and_is_counted() {
    let runtime = tokio::runtime::Handle::current();
    let chain = Arc::new(Chain::new(vec![Link::new("whoami", Arc::new(Panics))]));
    let dropped = QueryMetrics::new(&Registry::new(), ["dns://:0", "dropped", ""], 0);
    let limits = ChainLimits::new(&Registry::new());
    let route = ZoneRoute { chain, key: 0, filter: None };
    let routes = ZoneRoutes::new(vec![(Name::ROOT, route)], dropped, runtime.clone(), limits);
    let connections = Arc::new(TcpConnectionTable::new(TcpLimits::default(), &Registry::new()));
    let names = NameSamples::default();
    let shared = ListenerState::new(Arc::new(routes), Counter::default(), runtime, connections, names);
    let shared = Arc::new(shared);
    let udp = UdpSockets::bind("127.0.0.1:0".parse().unwrap(), 1, false).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.connect(udp.address()).unwrap();
    // All packets are queued before the first is read, so they form one batch.
    let mut packet = [0; 512];
    for (id, name) in (0..).zip(["a.", "panic.", "b.", "panic.", "panic.", "c.", "wait.", "d."]) {
        let length = Query::new(id, &name.parse().unwrap(), rtype::A).encode(id, &mut packet);
        client.send(&packet[..length]).unwrap();
    }
    let mut threads = udp.serve(&shared).unwrap();
    let mut codes = [None; 8];
    for _ in 0..codes.len() {
        client.recv(&mut packet).unwrap();
        codes[usize::from(packet[1])] = Some(packet[3] & 15);
    }
    assert_eq!(codes, [0, 2, 0, 2, 2, 0, 2, 0].map(Some));
    assert_eq!(shared.panics.value(), 4);
    assert_eq!(shared.names.top(9).len(), 1, "one query of the batch is sampled");
    tokio::task::block_in_place(|| threads.stop());
}
