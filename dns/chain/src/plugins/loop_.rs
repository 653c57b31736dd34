//! `loop`: detects at the start whether forwarded queries come back.
//!
//! The plugin sends a query for an unpredictable name to its own server (CVE-2026-26018). If an upstream forwards it back to
//! this server, the same query arrives again. From its third arrival on the plugin answers queries that would be forwarded
//! with SERVFAIL, so that each of them costs one answer and not thousands, and reports a problem. From then on it probes again
//! every 30 s, and forwards while no query comes back. With `exit` it requests shutdown of the process, as CoreDNS does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use dns_wire::codes::{rcode, rtype};
use dns_wire::{InvalidName, Name, Query};
use telemetry::{Problem, Reports, Severity};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout};

use crate::names::contains;
use crate::plugin::{Answer, Flow, Plugin, QueryFailure};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors, each_line};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "loop",
    about: "detects at the start whether forwarded queries come back",
    syntax: &["loop", "loop {\n    exit\n}"],
    options: &[PluginOption {
        syntax: "exit",
        default: "",
        about: "Of Portolan: ends the process when queries come back, as CoreDNS does. By default the process goes on: names that would be forwarded are SERVFAIL and a problem is reported, until a probe every 30 s does not come back.",
    }],
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
/// The pause before a server whose queries come back is probed again.
const NEXT_PROBE: Duration = Duration::from_secs(30);

/// The scope of the problem.
const SCOPE: &str = "loop";
const KIND: &str = "Corefile";

struct Loop {
    zone: Name,
    /// The name of the current probe.
    probe: ArcSwap<Name>,
    seen: AtomicU32,
    /// Whether a probe is on its way.
    probing: AtomicBool,
    /// Whether the last probe came back.
    found: AtomicBool,
    exits: bool,
    fatal: Arc<dyn Fn(String) + Send + Sync>,
    reports: Reports,
    /// The text of the reported problem.
    reported: ArcSwapOption<String>,
    /// The line of the Corefile.
    at: String,
    label: String,
}

impl Plugin for Loop {
    fn query(&self, request: &mut Request, _: &mut Answer) -> Flow {
        let (found, probing) = (self.found.load(Relaxed), self.probing.load(Relaxed));
        let query = &request.query;
        if !(found || (probing && query.qtype == rtype::HINFO)) || !contains(&self.zone, query) {
            return Flow::Next;
        }
        let is_probe = probing && query.qtype == rtype::HINFO && query.lower() == self.probe.load().wire();
        if is_probe && self.seen.fetch_add(1, Relaxed) < MAX_ARRIVALS {
            return Flow::Next;
        }
        if is_probe {
            self.detected(request);
        } else if !found {
            return Flow::Next;
        }
        Flow::Fail(QueryFailure::new(rcode::SERVFAIL, "loop: queries that are forwarded come back here"))
    }
}

impl Loop {
    /// Records that the probe has come back.
    fn detected(&self, request: &Request) {
        // The probe has ended, or another thread has detected the same.
        if !self.probing.swap(false, Relaxed) {
            return;
        }
        self.found.store(true, Relaxed);
        let Self { zone, label, .. } = self;
        let what = format!(
            "Loop ({} -> {label}) detected for zone \"{zone}\": queries that are forwarded come back here. \
             Usually /etc/resolv.conf names this server or a local stub such as 127.0.0.53; configure \
             the real upstream servers. See https://coredns.io/plugins/loop#troubleshooting. \
             Query: \"HINFO {}\"",
            request.client,
            self.probe.load(),
        );
        if self.exits {
            return (self.fatal)(what);
        }
        let problem = Problem {
            kind: KIND.to_owned(),
            key: self.at.clone(),
            what: what + "; names that would be forwarded are SERVFAIL",
            severity: Some(Severity::Closed),
            ..Problem::default()
        };
        self.reported.store(Some(Arc::new(problem.what.clone())));
        self.reports.replace_object(SCOPE, KIND, &self.at, Some(problem));
    }

    /// Removes the reported problem, unless the plugin of a newer configuration has reported its own since.
    fn clear(&self) {
        if let Some(what) = self.reported.swap(None) {
            self.reports.remove_object(SCOPE, KIND, &self.at, |known| known.what == *what);
        }
    }

    /// Sends a probe until there is a reply, and then watches a little longer.
    async fn probe(&self, to: SocketAddr) {
        let end = Instant::now() + PROBE_TIMEOUT;
        let mut pause = Duration::from_secs(1);
        self.seen.store(0, Relaxed);
        self.probing.store(true, Relaxed);
        while Instant::now() < end && self.probing.load(Relaxed) {
            if exchange(to, &self.probe.load()).await.is_ok() {
                sleep(WATCH_TIME).await;
                break;
            }
            if !self.probing.load(Relaxed) {
                break;
            }
            // Without a reply, earlier arrivals may be retries of the probe and not a loop.
            self.seen.store(0, Relaxed);
            sleep(pause.min(end - Instant::now())).await;
            pause *= 2;
        }
        // It is false already if the probe has come back.
        if self.probing.swap(false, Relaxed) && self.found.swap(false, Relaxed) {
            self.clear();
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Probes once, and for ever once a probe has come back: the upstream may only have been away. Ends when the configuration, and with it the plugin, is dropped.
async fn watch(plugin: Weak<Loop>, to: SocketAddr) {
    let mut was_found = false;
    while let Some(plugin) = plugin.upgrade() {
        plugin.probe(to).await;
        was_found |= plugin.found.load(Relaxed);
        if !was_found {
            return;
        }
        // A new name: the answer to the last one may be cached.
        if let Ok(name) = probe_name(&plugin.zone.to_string()) {
            plugin.probe.store(Arc::new(name));
        }
        drop(plugin);
        sleep(NEXT_PROBE).await;
    }
}

/// A name in the zone that no client can guess.
fn probe_name(zone: &str) -> Result<Name, InvalidName> {
    let name = format!("{}.{}.{}", rand::random::<u64>(), rand::random::<u64>(), zone.trim_end_matches('.'));
    name.parse().map(|name: Name| name.lower())
}

async fn exchange(to: SocketAddr, probe: &Name) -> std::io::Result<()> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    let (id, mut message) = (rand::random(), [0; 512]);
    let length = Query::new(id, probe, rtype::HINFO).encode(id, &mut message);
    socket.send(&message[..length]).await?;
    timeout(Duration::from_secs(5), net::datagram::readable(&socket)).await?
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    directive.no_args().map_err(|error| vec![error])?;
    let mut exits = false;
    each_line(directive, |line| match line.name.text.as_str() {
        "exit" => {
            exits = true;
            line.no_args().map(|_| ())
        }
        _ => Err(line.unknown(&["exit"])),
    })?;
    // As in CoreDNS only the first zone of the block is probed.
    let key = setup.first_key()?;
    let bad_name =
        |_| vec![directive.error(format!("loop: zone {:?} is too long", key.zone), "a shorter zone")];
    let link = Arc::new(Loop {
        zone: key.zone.parse().map(|zone: Name| zone.lower()).map_err(bad_name)?,
        probe: ArcSwap::from_pointee(probe_name(&key.zone).map_err(bad_name)?),
        seen: AtomicU32::new(0),
        probing: AtomicBool::new(true),
        found: AtomicBool::new(false),
        exits,
        fatal: setup.context.fatal.clone(),
        reports: setup.context.reports.clone(),
        reported: ArcSwapOption::empty(),
        at: directive.name.at.to_string(),
        label: match key.listen.bound {
            Some(address) => address.to_string(),
            None => format!(":{}", key.listen.port),
        },
    });
    let watching = Arc::downgrade(&link);
    setup.on_serving(key.listen, move |addresses| async move {
        let Some(mut address) = addresses.first().copied() else { return };
        if address.ip().is_unspecified() {
            let local =
                if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
            address.set_ip(local);
        }
        tokio::spawn(watch(watching, address));
    });
    Ok(vec![link])
}

#[cfg(test)]
mod tests {
    use telemetry::metrics::Registry;

    use super::*;
    use crate::request::Transport;

    fn asked(plugin: &Loop, packet: &[u8]) -> Flow {
        let mut request = Request::new(Transport::Udp, ([192, 0, 2, 1], 53).into());
        request.query.parse(packet).unwrap();
        plugin.query(&mut request, &mut Answer::default())
    }

    fn www(plugin: &Loop) -> Flow {
        let mut packet = [0; 512];
        let length = Query::new(1, &"www.example.org.".parse().unwrap(), rtype::A).encode(1, &mut packet);
        asked(plugin, &packet[..length])
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_not_forwarded_while_queries_come_back() {
        let reports = Reports::new(&Registry::new());
        let plugin = Arc::new(Loop {
            zone: Name::ROOT,
            probe: ArcSwap::from_pointee(probe_name(".").unwrap()),
            seen: AtomicU32::new(0),
            probing: AtomicBool::new(true),
            found: AtomicBool::new(false),
            exits: false,
            fatal: Arc::new(|reason| panic!("{reason}")),
            reports: reports.clone(),
            reported: ArcSwapOption::empty(),
            at: "Corefile:2".to_owned(),
            label: ":53".to_owned(),
        });
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let (comes_back, served) = (Arc::new(AtomicBool::new(true)), plugin.clone());
        let forwards = comes_back.clone();
        tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, client)) = server.recv_from(&mut packet).await {
                // The upstream sends it back until the plugin ends this.
                while asked(&served, &packet[..length]) == Flow::Next && forwards.load(Relaxed) {}
                server.send_to(&packet[..length], client).await.unwrap();
            }
        });
        assert_eq!(www(&plugin), Flow::Next);
        tokio::spawn(watch(Arc::downgrade(&plugin), address));
        while !plugin.found.load(Relaxed) {
            sleep(Duration::from_millis(10)).await;
        }
        assert!(matches!(www(&plugin), Flow::Fail(failure) if failure.rcode == rcode::SERVFAIL));
        let problems = reports.current();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].1.what.contains("/etc/resolv.conf"), "{:?}", problems[0].1);

        // A probe that comes back again changes nothing.
        let first = plugin.probe.load_full();
        sleep(NEXT_PROBE * 2).await;
        assert_ne!(plugin.probe.load_full(), first);
        assert!(plugin.found.load(Relaxed));
        comes_back.store(false, Relaxed);
        while plugin.found.load(Relaxed) {
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(www(&plugin), Flow::Next);
        assert_eq!(reports.current(), []);

        // It is found again when the upstream sends queries back again, and a newer configuration keeps its problem.
        comes_back.store(true, Relaxed);
        while !plugin.found.load(Relaxed) {
            sleep(Duration::from_secs(1)).await;
        }
        let newer = Problem { what: "newer".to_owned(), ..reports.current()[0].1.clone() };
        reports.replace_object(SCOPE, KIND, &plugin.at, Some(newer));
        plugin.clear();
        assert_eq!(reports.current().len(), 1);
    }
}
