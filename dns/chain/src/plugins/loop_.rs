//! `loop`: detects at the start whether forwarded queries come back.
//!
//! The plugin sends a query for an unpredictable name to its own server (CVE-2026-26018). If an upstream forwards it back to
//! this server, the same query arrives again; at its third arrival the plugin requests shutdown of the process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use dns_wire::codes::rtype;
use dns_wire::{Name, Query};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout};

use crate::names::contains;
use crate::plugin::{Answer, Flow, Plugin};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, Setup, SetupErrors};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "loop",
    about: "detects at the start whether forwarded queries come back",
    syntax: &["loop"],
    options: &[],
    early: false,
    metrics: |_| {},
    setup,
};

/// How often the probe may arrive: once as sent, and once more if a retry overlaps with it.
const MAX_ARRIVALS: u32 = 2;
/// How long the probe is sent again if there is no reply.
const PROBE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the plugin watches after the probe has been answered.
const WATCH_TIME: Duration = Duration::from_secs(2);

struct Loop {
    zone: Name,
    probe: Name,
    seen: AtomicU32,
    finished: AtomicBool,
    fatal: Arc<dyn Fn(String) + Send + Sync>,
    label: String,
}

impl Plugin for Loop {
    fn query(&self, request: &mut Request, _: &mut Answer) -> Flow {
        let query = &request.query;
        if query.qtype != rtype::HINFO || self.finished.load(Relaxed) || !contains(&self.zone, query) {
            return Flow::Next;
        }
        if query.lower() == self.probe.wire() && self.seen.fetch_add(1, Relaxed) + 1 > MAX_ARRIVALS {
            self.finished.store(true, Relaxed);
            let Self { zone, probe, label, .. } = self;
            (self.fatal)(format!(
                "Loop ({} -> {label}) detected for zone \"{zone}\": queries that are forwarded come back here. \
                 Usually /etc/resolv.conf names this server or a local stub such as 127.0.0.53; configure \
                 the real upstream servers. See https://coredns.io/plugins/loop#troubleshooting. \
                 Query: \"HINFO {probe}\"",
                request.client,
            ));
        }
        Flow::Next
    }
}

impl Loop {
    /// Sends the probe until there is a reply, and then watches a little longer.
    async fn probe(&self, to: SocketAddr) {
        let end = Instant::now() + PROBE_TIMEOUT;
        let mut pause = Duration::from_secs(1);
        while Instant::now() < end && !self.finished.load(Relaxed) {
            if exchange(to, &self.probe).await.is_ok() {
                sleep(WATCH_TIME).await;
                break;
            }
            // Without a reply, earlier arrivals may be retries of the probe and not a loop.
            self.seen.store(0, Relaxed);
            sleep(pause.min(end - Instant::now())).await;
            pause *= 2;
        }
        self.finished.store(true, Relaxed);
    }
}

async fn exchange(to: SocketAddr, probe: &Name) -> std::io::Result<()> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    let (id, mut message) = (rand::random(), [0; 512]);
    let length = Query::new(id, probe, rtype::HINFO).encode(id, &mut message);
    socket.send(&message[..length]).await?;
    timeout(Duration::from_secs(5), socket.recv(&mut message)).await??;
    Ok(())
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    directive.no_args().and_then(|()| directive.no_block()).map_err(|error| vec![error])?;
    // As in CoreDNS only the first zone of the block is probed.
    let key = setup.first_key()?;
    let bad_name =
        |_| vec![directive.error(format!("loop: zone {:?} is too long", key.zone), "a shorter zone")];
    let zone = key.zone.trim_end_matches('.');
    let probe = format!("{}.{}.{zone}", rand::random::<u64>(), rand::random::<u64>());
    let link = Arc::new(Loop {
        zone: key.zone.parse().map(|zone: Name| zone.lower()).map_err(bad_name)?,
        probe: probe.parse().map(|probe: Name| probe.lower()).map_err(bad_name)?,
        seen: AtomicU32::new(0),
        finished: AtomicBool::new(false),
        fatal: setup.context.fatal.clone(),
        label: match key.listen.bound {
            Some(address) => address.to_string(),
            None => format!(":{}", key.listen.port),
        },
    });
    let watching = Arc::downgrade(&link);
    setup.on_serving(key.listen, move |addresses| async move {
        let (Some(link), Some(mut address)) = (watching.upgrade(), addresses.first().copied()) else {
            return;
        };
        if address.ip().is_unspecified() {
            let local =
                if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
            address.set_ip(local);
        }
        tokio::spawn(async move { link.probe(address).await });
    });
    Ok(vec![link])
}
