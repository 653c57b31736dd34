//! Connections that are passed through to an endpoint without being decrypted (`ssl-passthrough`).

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ingress_routes::upstream::round_robin;
use ingress_routes::{BalancerState, Route, UpstreamAddress};
use smallvec::SmallVec;
use tokio::net::TcpStream;

use crate::exchange::open::open;
use crate::io::relay::relay;
use crate::state::client_table::ClientEntry;
use crate::state::worker::Worker;
use crate::upstream::limit::UpstreamSlot;

/// How long neither side may send anything. ingress-nginx sets no limit, and such a connection would never end.
const IDLE: Duration = Duration::from_secs(3600);
/// How many endpoints are tried where `proxy-next-upstream-tries` sets no limit.
const MAX_ATTEMPTS: usize = 100;

/// Copies bytes between a client and an endpoint of the route until either side ends. `hello` is what the client has sent already.
pub(crate) async fn serve(
    worker: &Worker,
    entry: &Rc<ClientEntry>,
    mut stream: TcpStream,
    hello: Bytes,
    route: &Arc<Route>,
) {
    let Some(_permit) = worker.passthrough.enter(worker.clients.limit()) else {
        worker.limits.refused.inc();
        return tracing::debug!(host = %route.host, "a connection is not passed through: there are too many");
    };
    // Never idle by the rules for requests.
    let late = entry.begin_request();
    if let Some((mut endpoint, slot)) = connect(worker, route).await {
        let timer = worker.clock.timer();
        let idle = worker.options.passthrough_idle.unwrap_or(IDLE);
        let client = (&mut stream, hello);
        let endpoint = (&mut endpoint, Bytes::new());
        let copied = relay(client, endpoint, (&worker.clock, &timer, idle), || worker.is_forced()).await;
        drop(slot);
        tracing::debug!(
            host = %route.host,
            received = copied.from_client,
            sent = copied.to_client,
            "a connection that was passed through has ended"
        );
    }
    entry.end_request(late, worker.clock.now());
}

/// A connection to an endpoint, without a PROXY header.
async fn connect(worker: &Worker, route: &Route) -> Option<(TcpStream, UpstreamSlot)> {
    let target = &route.upstream.as_ref()?.primary;
    let choice = target.without_request();
    let proxy = &route.plan.proxy;
    let attempts = match proxy.next_upstream_tries as usize {
        0 => MAX_ATTEMPTS,
        tries => tries,
    };
    let mut tried = SmallVec::<[SocketAddr; 3]>::new();
    while tried.len() < attempts {
        let picked = choice.next_endpoint(&worker.views.pools.load(), &tried, &mut worker.balancer())?;
        let address = match &picked.address {
            UpstreamAddress::Socket(address) => *address,
            UpstreamAddress::Host { host, port } => {
                let addresses = worker.resolver.addresses(host, *port, false).await;
                let addresses =
                    addresses.inspect_err(|error| worker.upstream_log.failed(&target.name, host, error));
                let turn = worker.balancer().round_robin_position(target);
                round_robin(&addresses.ok()?, &tried, turn)?
            }
        };
        if tried.contains(&address) {
            return None;
        }
        tried.push(address);
        match open(worker, address, proxy.connect_timeout).await {
            Ok(connection) => return Some(connection),
            Err(error) => worker.upstream_log.failed(&target.name, &address, &error),
        }
    }
    None
}
