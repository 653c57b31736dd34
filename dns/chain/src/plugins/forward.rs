//! `forward`: forwards queries to upstream servers.

mod connect;
mod https;
mod letter_case;
mod metrics;
mod pool;
mod transport;
mod option_list;
mod options;
mod policy;
mod quic;
mod resolv;
mod shared_connection;
mod address;
mod tls;
mod upstream;
mod upstreams;
mod exchange;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use dns_wire::codes::rcode;
use dns_wire::{InvalidName, Name, Reply, Section};
use futures_util::future::BoxFuture;

use crate::limits::{LimitReached, Throttle, WARNING_INTERVAL};
use crate::names::{Zones, contains};
use crate::notes::Notes;
use crate::plugin::{Answer, Flow, Plugin, QueryFailure, Runner};
use crate::request::Request;
use crate::setup::{ListenAddress, PluginEntry, PluginGuard, PluginInstances, Setup, SetupErrors};
use connect::failure_text;
use metrics::ForwardMetrics;
use options::ForwardOptions;
use policy::SelectionPolicy;
use upstreams::{UpstreamList, Upstreams};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "forward",
    about: "forwards queries to upstream servers",
    syntax: &[
        "forward . /etc/resolv.conf",
        "forward example.org 10.0.0.10:5353 10.0.0.11 {\n    except internal.example.org\n    policy sequential\n    health_check 2s no_rec domain example.org\n    max_fails 3\n    expire 10s\n    max_age 5m\n    max_idle_conns 100\n    read_timeout 1s\n    max_connect_attempts 4\n    prefer_udp\n    randomize_case\n    max_concurrent 1000\n    next NXDOMAIN\n    next_on_nodata\n    failover SERVFAIL REFUSED\n    failfast_all_unhealthy_upstreams\n    source_address 10.0.0.1\n    resolver 10.0.0.53\n}",
        "forward . tls://9.9.9.9%dns.quad9.net tls://149.112.112.112 {\n    tls\n    tls_servername dns.quad9.net\n    health_check 5s\n}",
        "forward . https://1.1.1.1 {\n    tls_servername cloudflare-dns.com\n    doh_method GET\n}",
        "forward . quic://94.140.14.14%dns.adguard-dns.com\nforward example.net 10.0.0.12 {\n    force_tcp\n}",
    ],
    options: option_list::OPTIONS,
    early: false,
    metrics: metrics::register,
    setup,
};

/// How long all attempts to forward a query may take together.
const DEADLINE: Duration = Duration::from_secs(5);

/// The pause before all upstreams are tried again.
const PAUSE: Duration = Duration::from_millis(10);

struct Forward {
    from: Name,
    except: Zones,
    upstreams: Arc<UpstreamList>,
    policy: SelectionPolicy,
    options: ForwardOptions,
    /// Zones whose answers are cached for all clients. Queries for them are sent with AD, because some clients may set it
    /// (RFC 6840 §5.7).
    cached: Zones,
    /// Whether another `forward` of the server block follows.
    has_next: bool,
    busy: AtomicUsize,
    warning: Throttle,
    metrics: ForwardMetrics,
}

impl Plugin for Forward {
    fn query(&self, request: &mut Request, _: &mut Answer) -> Flow {
        let query = &request.query;
        let matches =
            contains(&self.from, query) && (query.lower() == self.from.wire() || !self.except.contain(query));
        if !matches {
            return Flow::Next;
        }
        // Checked here as well as in `wait`, so that under overload a query is rejected on the fast path.
        if let Some(limit) = self.options.max_concurrent.filter(|limit| self.busy.load(Relaxed) >= *limit) {
            return self.reject(limit);
        }
        let upstreams = self.upstreams.load();
        if upstreams.iter().all(|upstream| upstream.is_busy()) {
            if let Some(missed) = self.warning.due(request.received) {
                let names: Vec<&str> = upstreams.iter().map(|upstream| upstream.to()).collect();
                tracing::warn!(
                    target: "plugin/forward",
                    "too many queries wait for {}: further ones get SERVFAIL ({missed} since the last warning)",
                    names.join(", "),
                );
            }
            return Flow::Fail(QueryFailure::overloaded());
        }
        Flow::Wait
    }

    fn wait<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        _: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        Box::pin(self.forward(request, &mut answer.reply))
    }

    fn asks_others(&self) -> bool {
        true
    }

    fn explain(&self, request: &Request, notes: &mut Notes) {
        if !contains(&self.from, &request.query) {
            return notes.say(format!("forwards only names of {}", self.from));
        }
        if self.except.contain(&request.query) && request.query.lower() != self.from.wire() {
            return notes.say("except: the name is not forwarded");
        }
        let upstreams = self.upstreams.load();
        if upstreams.len() > 1 {
            notes.say(format!("policy {}", self.policy.name()));
        }
        for upstream in upstreams.iter() {
            let state = if upstream.is_down() { ", down" } else { "" };
            notes.say(format!("to {}{state}", upstream.to()));
        }
    }
}

/// Counts a query in flight until it is dropped.
struct InFlight<'f>(&'f AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Forward {
    async fn forward(&self, request: &Request, reply: &mut Reply) -> Flow {
        let busy = self.busy.fetch_add(1, Relaxed) + 1;
        let _in_flight = InFlight(&self.busy);
        if let Some(most) = self.options.max_concurrent.filter(|most| busy > *most) {
            return self.reject(most);
        }
        let deadline = tokio::time::Instant::now() + DEADLINE;
        match tokio::time::timeout_at(deadline, self.try_upstreams(request, reply)).await {
            Ok(flow) => flow,
            Err(_elapsed) => {
                Flow::Fail(QueryFailure::new(rcode::SERVFAIL, "no upstream answered in 5s: i/o timeout"))
            }
        }
    }

    /// Rejects a query because `max_concurrent` is exceeded.
    fn reject(&self, limit: usize) -> Flow {
        self.metrics.rejected.inc();
        let why = format!("concurrent queries exceeded maximum {limit}");
        Flow::Fail(QueryFailure { overloaded: true, ..QueryFailure::new(rcode::REFUSED, why) })
    }

    /// Tries one upstream after the other until one gives an answer that is passed on.
    async fn try_upstreams(&self, request: &Request, reply: &mut Reply) -> Flow {
        let upstreams: Arc<Upstreams> = self.upstreams.load().clone();
        let most = self.options.attempts(upstreams.len());
        let start = self.policy.start(upstreams.len());
        let order = |step: usize| &upstreams[self.policy.nth(start, step, upstreams.len())];
        let (mut attempts, mut down, mut step, mut failed_over, mut busy) = (0, 0, 0, 0, 0);
        let (mut why, mut overloaded) = (None, false);
        while most.is_none_or(|most| attempts < most) {
            if step == upstreams.len() {
                (step, down) = (0, 0);
                // Attempts that fail at once never yield. Without a pause this loop would not notice the deadline.
                tokio::time::sleep(PAUSE).await;
            }
            let mut upstream = order(step);
            step += 1;
            if upstream.is_down() {
                down += 1;
                if down < upstreams.len() {
                    continue;
                }
                self.metrics.all_down.inc();
                if self.options.failfast {
                    break;
                }
                // Broken health checks are more likely than the failure of all upstreams, so any upstream is tried.
                upstream = &upstreams[fastrand::usize(..upstreams.len())];
            }
            attempts += 1;
            match self.exchange(upstream, request, reply).await {
                Err(error) if LimitReached::caused(&error) => {
                    // Not a failure of the upstream, so it is not checked. Another one may be below its limit.
                    busy += 1;
                    why = Some(failure_text(upstream.to(), &error));
                    if busy >= upstreams.len() {
                        overloaded = true;
                        break;
                    }
                }
                Err(error) => {
                    upstream.check();
                    why = Some(failure_text(upstream.to(), &error));
                    if down >= upstreams.len() {
                        break;
                    }
                }
                Ok(false) => {
                    reply.clear();
                    reply.rcode = rcode::FORMERR;
                    return Flow::Done;
                }
                Ok(true) => {
                    // The last upstream's answer is passed on whatever its code.
                    failed_over += 1;
                    if self.options.failover.contains(&reply.rcode) && failed_over < upstreams.len() {
                        continue;
                    }
                    return self.pass_on(reply);
                }
            }
        }
        let why = why.unwrap_or_else(|| "no healthy proxies".to_owned());
        Flow::Fail(QueryFailure { overloaded, ..QueryFailure::new(rcode::SERVFAIL, why) })
    }

    /// Passes the answer to the client, or the query to the next `forward`.
    fn pass_on(&self, reply: &mut Reply) -> Flow {
        let no_data = reply.rcode == rcode::NOERROR && reply.section(Section::Answer).next().is_none();
        let next = self.options.next.contains(&reply.rcode) || (self.options.next_on_nodata && no_data);
        if next && self.has_next {
            reply.clear();
            return Flow::Next;
        }
        Flow::Done
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let (mut links, mut errors): (PluginInstances, _) = (Vec::new(), SetupErrors::new());
    let count = setup.directives.len();
    for (index, directive) in setup.directives.clone().into_iter().enumerate() {
        match setup_one(setup, directive, index + 1 < count) {
            Ok(forward) => links.push(forward),
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() { Ok(links) } else { Err(errors) }
}

fn setup_one(
    setup: &mut Setup<'_>,
    directive: &config::Directive,
    has_next: bool,
) -> Result<Arc<Forward>, SetupErrors> {
    let single = |error| vec![error];
    let args = directive.args_from(2, "FROM TO…").map_err(single)?;
    let from = args[0].zones().map_err(single)?;
    if from.len() > 1 {
        let what = format!(
            "Unsupported CIDR notation: '{}' expands to multiple zones. Using only '{}'.",
            args[0], from[0]
        );
        setup.warn(directive, what);
    }
    let zone: Name =
        from[0].parse().map_err(|error: InvalidName| single(args[0].error(error.to_string(), "")))?;
    let options = ForwardOptions::read(directive, setup.context)?;
    let sources = address::read(&args[1..], &options)?;
    let metrics = ForwardMetrics::new(&setup.context.metrics);
    if setup.context.legacy_metrics {
        metrics.upstreams.export_legacy(&setup.context.metrics);
    }
    let (max_concurrent, expire) = (options.max_concurrent, options.limits.expire);
    let at = directive.name.at.clone();
    let upstreams = UpstreamList::new(sources, options.clone(), metrics.upstreams.clone(), at);
    let upstreams = upstreams.map(Arc::new).map_err(|(name, what)| {
        let wanted = "TLS settings that can be used";
        vec![directive.property(name).error(format!("forward: {what}"), wanted)]
    })?;
    let forward = Arc::new(Forward {
        from: zone.lower(),
        except: options.except.clone(),
        policy: SelectionPolicy::new(options.policy),
        cached: super::cache::zones(setup.block),
        has_next,
        busy: AtomicUsize::new(0),
        warning: Throttle::new(WARNING_INTERVAL),
        metrics,
        options,
        upstreams: upstreams.clone(),
    });
    if let Some(most) = max_concurrent {
        setup.waiting(most);
    }
    let mut addresses: Vec<ListenAddress> = setup.served_keys().iter().map(|key| key.listen).collect();
    addresses.sort_unstable();
    addresses.dedup();
    for listen in addresses {
        let upstreams = upstreams.clone();
        setup.on_serving(listen, move |listening| async move { upstreams.listens_on(&listening) });
    }
    let every = expire.max(Duration::from_millis(100));
    setup.on_start(move || async move {
        let task = tokio::spawn(upstreams.follow(every));
        Ok(Box::new(super::Task(task)) as PluginGuard)
    });
    Ok(forward)
}
