//! TCP services.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::Protocol;
use ingress_routes::{ProxiedConnection, StreamService};
use ingress_wire::proxy_protocol::write_v1;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::endpoint::{Attempts, is_own_port};
use super::record::{StreamAttempt, StreamRecord};
use crate::exchange::open::{ConnectError, open};
use crate::io::relay::relay;
use crate::listener::accept::{accept_until, admit};
use crate::listener::proxy_header;
use crate::state::client_table::ClientEntry;
use crate::state::worker::Worker;
use crate::upstream::limit::UpstreamSlot;

/// How long connecting to an endpoint may take: nginx's default for streams, for which ingress-nginx has no key.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// Accepts the streams of a port until it is closed or the proxy stops.
pub(super) async fn listen(worker: Rc<Worker>, socket: TcpListener, port: u16, closed: CancellationToken) {
    // Its last connections are accepted before the proxy may stop.
    let _accepting = worker.drain.track();
    let stop = async {
        tokio::select! {
            () = closed.cancelled() => {}
            () = worker.drain.stopping() => {}
        }
    };
    accept_until(&worker, socket, stop, |stream, peer| {
        admit(&worker, peer, |entry| Box::pin(serve(worker.clone(), stream, peer, port, entry)));
    })
    .await;
}

/// Serves a stream until it ends.
async fn serve(
    worker: Rc<Worker>,
    mut stream: TcpStream,
    peer: SocketAddr,
    port: u16,
    entry: Rc<ClientEntry>,
) {
    worker.connections.handled.inc();
    // Its entry may have been removed since the kernel has accepted it.
    let Some(service) = worker.views.streams.load().get(Protocol::Tcp, port).cloned() else { return };
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], port)));
    let mut record = StreamRecord::new(&worker, service.clone(), peer, local);
    record.status = copy(&worker, &mut stream, &service, &entry, &mut record).await;
    record.finish(&worker);
}

/// Passes a stream on. Returns its status.
async fn copy(
    worker: &Rc<Worker>,
    stream: &mut TcpStream,
    service: &Arc<StreamService>,
    entry: &Rc<ClientEntry>,
    record: &mut StreamRecord,
) -> u16 {
    let Some(_permit) = worker.passthrough.enter(worker.clients.limit()) else {
        worker.limits.refused.inc();
        tracing::debug!(port = service.port, "a stream is refused: there are too many");
        return 503;
    };
    if service.decodes_proxy {
        let timeout = worker.settings().identity.proxy_header_timeout;
        match proxy_header::read(worker, stream, timeout).await {
            Ok(proxied) => record.identify(worker, proxied),
            Err(error) => {
                tracing::debug!(client = %record.peer, port = service.port, %error, "a stream has no valid PROXY header");
                return 400;
            }
        }
    }
    // As in nginx: anyone may write a PROXY header, so that its address counts only with `enable-real-ip`.
    let checked = if worker.settings().identity.real_ip { record.client } else { record.peer };
    if !service.rules.admit(checked.ip()) {
        return 403;
    }
    // Never idle by the rules for requests.
    let late = entry.begin_request();
    let status = match connect(worker, service, record).await {
        None => 502,
        Some((mut endpoint, slot)) => {
            let (timer, idle) = (worker.clock.timer(), worker.settings().stream.timeout);
            let open = worker.streams.open.add(service.clone());
            let _shown = worker.streams.metrics.open(Protocol::Tcp);
            let (client, endpoint) = ((stream, Bytes::new()), (&mut endpoint, Bytes::new()));
            let is_cut = || worker.is_forced() || open.is_cut();
            let copied = relay(client, endpoint, (&worker.clock, &timer, idle), is_cut).await;
            record.copied(copied);
            drop(slot);
            200
        }
    };
    entry.end_request(late, worker.clock.now());
    status
}

/// A connection to an endpoint, on which the PROXY header was sent if the service has one.
async fn connect(
    worker: &Worker,
    service: &StreamService,
    record: &mut StreamRecord,
) -> Option<(TcpStream, UpstreamSlot)> {
    let mut attempts = Attempts::new(&worker.settings().stream, record.started);
    let header = service.encodes_proxy.then(|| proxy_header(record.client, record.local, record.proxied));
    while let Some(address) = attempts.next(worker, service).await {
        record.attempts.push(StreamAttempt::new(address));
        match connect_to(worker, address, header.as_deref()).await {
            Ok(connection) => {
                record.connected(header.as_ref().map_or(0, Vec::len));
                return Some(connection);
            }
            Err(error) => {
                record.attempt_failed();
                worker.upstream_log.failed(&service.upstream_name(), &address, &error);
            }
        }
    }
    None
}

async fn connect_to(
    worker: &Worker,
    address: SocketAddr,
    header: Option<&[u8]>,
) -> Result<(TcpStream, UpstreamSlot), ConnectError> {
    let (mut stream, slot) = open(worker, address, CONNECT_TIMEOUT).await?;
    let local = stream.local_addr().map_err(ConnectError::Failed)?;
    if is_own_port(worker, Protocol::Tcp, local, address) {
        return Err(ConnectError::OwnListener);
    }
    if let Some(header) = header {
        stream.write_all(header).await.map_err(ConnectError::Failed)?;
    }
    Ok((stream, slot))
}

/// The header for the endpoint: the client, and as in nginx the address of this proxy. If they are of different families, what the client
/// has connected to by the header that was received.
fn proxy_header(client: SocketAddr, local: SocketAddr, proxied: Option<ProxiedConnection>) -> Vec<u8> {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (client, local) = (canonical(client), canonical(local));
    let destination = match proxied {
        Some(proxied) if client.is_ipv4() != local.is_ipv4() => canonical(proxied.destination),
        _ => local,
    };
    let mut header = Vec::new();
    write_v1(client, destination, &mut header);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_one_family() {
        let proxied = ProxiedConnection {
            source: "[2001:db8::1]:5".parse().unwrap(),
            destination: "[2001:db8::2]:6".parse().unwrap(),
        };
        for (client, proxied, header) in [
            ("192.0.2.1:5", None, "PROXY TCP4 192.0.2.1 10.0.0.1 5 80\r\n"),
            ("[::ffff:192.0.2.1]:5", None, "PROXY TCP4 192.0.2.1 10.0.0.1 5 80\r\n"),
            ("[2001:db8::1]:5", Some(proxied), "PROXY TCP6 2001:db8::1 2001:db8::2 5 6\r\n"),
            ("[2001:db8::1]:5", None, "PROXY UNKNOWN\r\n"),
        ] {
            let written = proxy_header(client.parse().unwrap(), "10.0.0.1:80".parse().unwrap(), proxied);
            assert_eq!(String::from_utf8(written).unwrap(), header, "{client}");
        }
    }
}
