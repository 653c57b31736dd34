//! `cache`: keeps answers that came from elsewhere.
//!
//! Answers of plugins that hold their names in memory (`kubernetes`) pass by and are not kept: they are found as fast
//! where they come from, and here they would only grow old. What a client can see of that, against CoreDNS: changes of
//! the cluster show at once instead of after up to `ttl` (or 5 s); such answers repeat the letter case of each client,
//! where CoreDNS repeats that of the first; and their TTL does not count down. The upper bound on TTLs holds for them
//! too; the lower bound, which spares upstreams, does not, so that `ttl 0` means 0. They count as misses.
//!
//! Of other answers these are kept differently, for the sake of RFC 2308: a denial lives no longer than the SOA's minimum
//! (§5); a CNAME to a name that is denied is a denial, too (§2.1), where CoreDNS gives it 5 s and does not keep it; and
//! what says neither yes nor no (no answer and no SOA) is not kept, where CoreDNS keeps it for 5 s.
//!
//! CoreDNS's `coredns_cache_drops_total` counts replies to another question than was asked. Here as there `forward`
//! turns these into FORMERR, so that none gets here and the counter, which CoreDNS shows once it has counted, is not.

mod entry;
mod metrics;
mod options;
mod table;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dns_wire::codes::{rcode, rtype};
use dns_wire::{Reply, Section};
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use crate::names::Zones;
use crate::plugin::{Answer, Flow, Plugin, Runner};
use crate::request::{Purpose, Request};
use crate::setup::{PluginEntry, PluginInstances, Setup, SetupErrors};
use entry::{AnswerKind, CacheKey, CachedAnswer};
use metrics::{CacheMetrics, TableMetrics};
use options::{CacheOptions, StaleMode, StaleOptions, TableOptions};
use table::{CacheTable, Stored, TableGuard};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "cache",
    about: "keeps answers that came from elsewhere",
    syntax: &[
        "cache",
        "cache 30",
        "cache 30 example.org",
        "cache {\n    success 10240 600 10\n    denial 5120 60 5\n    prefetch 10 1m 10%\n    serve_stale 1h verify 500ms 30s 5s\n    serve_stale_policy prefer_positive\n    servfail 1s\n    disable success cluster.local\n    disable denial cluster.local\n    keepttl\n}",
        "cache {\n    serve_stale\n}",
    ],
    setup,
};

/// Memory of a table per entry of its capacity. Most answers take a few hundred bytes, but an upstream can make one take
/// more than a megabyte: names are stored uncompressed.
const BYTES_PER_ENTRY: usize = 2048;
/// The least memory that a table may take.
const MIN_BYTES: usize = 8 << 20;

struct Cache {
    options: CacheOptions,
    success: CacheTable<CachedAnswer>,
    denial: CacheTable<CachedAnswer>,
    /// By key of the server block.
    metrics: Vec<Arc<CacheMetrics>>,
}

/// An entry that was found, and the kind it is kept as.
struct CacheHit {
    held: TableGuard<CachedAnswer>,
    denial: bool,
}

impl CacheHit {
    fn entry(&self) -> Option<&CachedAnswer> {
        self.held.as_deref()
    }

    fn is_failure(&self) -> bool {
        self.entry().is_some_and(|entry| entry.reply.rcode == rcode::SERVFAIL)
    }
}

impl Plugin for Cache {
    // Hot: 0 allocations, unless a refresh is due.
    fn query(&self, request: &Request, reply: &mut Reply) -> Flow {
        if !self.options.zones.hold(&request.query) {
            return Flow::Next;
        }
        self.metrics(request).requests.inc();
        let now = request.received;
        let found = self.find(request, now);
        let Some((found, entry)) = found.as_ref().and_then(|found| Some((found, found.entry()?))) else {
            self.metrics(request).misses.inc();
            return Flow::Next;
        };
        let left = entry.left(now);
        if left == 0 {
            return self.serve_stale(found, entry, request, reply);
        }
        self.kind_metrics(request, found.denial).hits.inc();
        serve(entry, request, reply, if self.options.keep_ttl { whole(entry) } else { left });
        let prefetch = self.options.prefetch.filter(|prefetch| prefetch.amount > 0);
        if prefetch.is_some_and(|prefetch| entry.wants_refresh(&prefetch, now)) && entry.begin_refresh(now) {
            self.metrics(request).prefetches.inc();
            return Flow::Refresh;
        }
        Flow::Done
    }

    /// `serve_stale verify`: a fresh answer if one comes in time, else the old one.
    fn wait<'a>(
        &'a self,
        request: &'a Request,
        reply: &'a mut Reply,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        Box::pin(async move {
            let Some(stale @ StaleOptions { mode: StaleMode::Verify(patience), .. }) = self.options.stale
            else {
                return Flow::Next;
            };
            let mut fresh = Answer::default();
            let in_time = timeout(patience, runner.ask_below(request, &mut fresh)).await.is_ok();
            if in_time {
                let better = self.is_better(request, &fresh);
                self.refreshed(request, &mut fresh);
                if better {
                    reply.clone_from(&fresh.reply);
                    return Flow::Done;
                }
            }
            let found = self.find(request, request.received);
            let Some((found, entry)) = found.as_ref().and_then(|found| Some((found, found.entry()?))) else {
                return Flow::Next;
            };
            self.serve_old(found, entry, request, reply);
            // An answer that takes longer than this client waits is good for the next one.
            if in_time || !stale.one_at_a_time() { Flow::Done } else { Flow::Refresh }
        })
    }

    /// Serves the old answer if no fresh one can be waited for.
    fn overloaded(&self, request: &Request, reply: &mut Reply) -> bool {
        let found = self.find(request, request.received);
        let Some((found, entry)) = found.as_ref().and_then(|found| Some((found, found.entry()?))) else {
            return false;
        };
        entry.end_refresh(request.received, Duration::ZERO);
        self.serve_old(found, entry, request, reply);
        true
    }

    fn reply(&self, request: &Request, answer: &mut Answer) {
        if !self.options.zones.hold(&request.query) {
            return;
        }
        if request.purpose == Purpose::Refresh {
            self.refreshed(request, answer);
        } else if answer.from_memory {
            self.cap(&mut answer.reply);
        } else {
            self.keep(request, answer, request.received);
        }
    }
}

impl Cache {
    /// What is kept for a query and may still be served; fresh before stale, denials first, as in CoreDNS.
    // Hot: 0 allocations.
    fn find(&self, request: &Request, now: Instant) -> Option<CacheHit> {
        let question = CacheKey::of(&request.query);
        let hash = question.hash();
        let mut stale: Option<CacheHit> = None;
        for (table, denial) in [(&self.denial, true), (&self.success, false)] {
            let Some(held) = table.find(hash, |entry| entry.answers(&question)) else { continue };
            let Some(entry) = held.as_deref() else { continue };
            let fresh = entry.left(now) > 0;
            // That the server could not is worth less than an answer which may still be given.
            let kept_back = fresh && entry.reply.rcode == rcode::SERVFAIL;
            let servable = self.options.stale.is_some_and(|stale| entry.age(now) < entry.life + stale.up_to);
            // With `prefer_positive` an old success is better than any denial or failure.
            let preferred = self.options.prefer_positive && !denial && servable;
            if fresh && !(denial && (kept_back || self.options.prefer_positive)) {
                return Some(CacheHit { held, denial });
            }
            let over_failure = stale.as_ref().is_some_and(|stale| stale.is_failure()) && servable;
            if fresh || preferred || over_failure || (servable && stale.is_none()) {
                stale = Some(CacheHit { held, denial });
            }
        }
        stale
    }

    /// An answer whose time is over.
    fn serve_stale(
        &self,
        found: &CacheHit,
        entry: &CachedAnswer,
        request: &Request,
        reply: &mut Reply,
    ) -> Flow {
        let Some(stale) = self.options.stale else {
            self.metrics(request).misses.inc();
            return Flow::Next;
        };
        let refresh = !stale.one_at_a_time() || entry.begin_refresh(request.received);
        if refresh && matches!(stale.mode, StaleMode::Verify(_)) {
            return Flow::Wait;
        }
        self.serve_old(found, entry, request, reply);
        if refresh { Flow::Refresh } else { Flow::Done }
    }

    fn serve_old(&self, found: &CacheHit, entry: &CachedAnswer, request: &Request, reply: &mut Reply) {
        self.kind_metrics(request, found.denial).hits.inc();
        self.metrics(request).stale.inc();
        // A TTL that is not set leaves the entry's own where `keepttl` says so, as in CoreDNS.
        let ttl = match self.options.stale.map_or(0, |stale| stale.ttl) {
            0 if self.options.keep_ttl => whole(entry),
            ttl => ttl,
        };
        serve(entry, request, reply, ttl);
    }

    /// Whether a fresh answer is given instead of an old one (RFC 8767 §4).
    fn is_better(&self, request: &Request, fresh: &Answer) -> bool {
        let good = match entry::kind(&request.query, &fresh.reply, unix()) {
            AnswerKind::Success => true,
            AnswerKind::Other | AnswerKind::Failure => false,
            _ => !self.options.prefer_positive,
        };
        good && fresh.failure.is_none() && !fresh.reply.truncated
    }

    /// Takes in the answer of a refresh.
    fn refreshed(&self, request: &Request, answer: &mut Answer) {
        let (question, now) = (CacheKey::of(&request.query), Instant::now());
        let (hash, same) = (question.hash(), |entry: &CachedAnswer| entry.answers(&question));
        if answer.from_memory {
            // The name is served here by now, and what was kept of it would only hide that.
            self.cap(&mut answer.reply);
            self.success.remove(hash, same);
            self.denial.remove(hash, same);
            return self.count_entries(request);
        }
        if let AnswerKind::Success | AnswerKind::Denial = entry::kind(&request.query, &answer.reply, unix()) {
            self.keep(request, answer, now);
        }
        // What is still there was refreshed in vain, or for an answer of the other kind: this may be tried again.
        let pause = self.options.stale.map_or(Duration::ZERO, |stale| stale.recheck);
        self.each_kept(hash, same, |entry| entry.end_refresh(now, pause));
    }

    /// Shows what is kept of a question, of either kind.
    fn each_kept(&self, hash: u64, same: impl Fn(&CachedAnswer) -> bool, show: impl Fn(&CachedAnswer)) {
        for table in [&self.success, &self.denial] {
            if let Some(entry) = table.find(hash, &same).as_deref().and_then(Option::as_deref) {
                show(entry);
            }
        }
    }

    /// Keeps an answer if it can be kept, and gives all of its records the one life that it has here.
    fn keep(&self, request: &Request, answer: &mut Answer, now: Instant) {
        let Answer { reply, .. } = answer;
        let kind = entry::kind(&request.query, reply, unix());
        // What an upstream says on EDNS is for the one who asked it (RFC 6891 §6.1.1).
        reply.clear_options();
        let life = match kind {
            AnswerKind::Failure => self.options.servfail,
            kind => self.share(kind).life(entry::shortest_ttl(kind, reply)),
        };
        if life.as_secs() > 0 && kind.is_kept() {
            self.store(request, kind, reply, life, now);
        }
        let ttl = life.as_secs() as u32;
        reply.records_mut().iter_mut().for_each(|record| record.ttl = ttl);
        if !request.query.dnssec_ok() && !request.query.authentic_data() {
            reply.authentic_data = false;
        }
    }

    fn store(&self, request: &Request, kind: AnswerKind, reply: &Reply, life: Duration, now: Instant) {
        let question = CacheKey::of(&request.query);
        if self.share(kind).except.hold(&request.query) {
            return;
        }
        let hash = question.hash();
        let denial = kind.is_denial();
        let (table, metrics) =
            (if denial { &self.denial } else { &self.success }, self.kind_metrics(request, denial));
        let same = |entry: &CachedAnswer| entry.answers(&question);
        let served = self.options.stale.map_or(Duration::ZERO, |stale| stale.up_to);
        let over = |entry: &CachedAnswer| entry.age(now) >= entry.life + served;
        let entry = CachedAnswer::new(question, reply.clone(), life, now);
        if request.purpose == Purpose::Refresh {
            // It is as busy as the one that it replaces, and so wants to be refreshed as well.
            self.each_kept(hash, same, |last| entry.take_hits(last));
        }
        match table.store(hash, Arc::new(entry), same, over) {
            Stored::Added => {}
            Stored::Evicted => metrics.evictions.inc(),
            Stored::EvictedForBytes(count) => metrics.evictions_for_bytes.add(count),
            Stored::TooLarge => metrics.evictions_for_bytes.inc(),
        }
        if !denial {
            // What was denied is there now.
            self.denial.remove(hash, same);
        }
        self.count_entries(request);
    }

    fn count_entries(&self, request: &Request) {
        let CacheMetrics { success, denial, .. } = self.metrics(request);
        for (table, metrics) in [(&self.success, success), (&self.denial, denial)] {
            metrics.entries.set(table.len() as f64);
            metrics.bytes.set(table.bytes() as f64);
        }
    }

    /// An answer from memory keeps its own life, up to the bound.
    // Hot: 0 allocations.
    fn cap(&self, reply: &mut Reply) {
        // From memory come answers, and denials with their SOA.
        let denied = reply.section(Section::Authority).any(|record| record.rtype == rtype::SOA);
        let share = if denied { &self.options.denial } else { &self.options.success };
        let most = share.longest.as_secs() as u32;
        reply.records_mut().iter_mut().for_each(|record| record.ttl = record.ttl.min(most));
    }

    fn share(&self, kind: AnswerKind) -> &TableOptions {
        if kind.is_denial() { &self.options.denial } else { &self.options.success }
    }

    /// The metrics of the server that the query came to.
    fn metrics(&self, request: &Request) -> &CacheMetrics {
        &self.metrics[request.key.min(self.metrics.len() - 1)]
    }

    fn kind_metrics(&self, request: &Request, denial: bool) -> &TableMetrics {
        let metrics = self.metrics(request);
        if denial { &metrics.denial } else { &metrics.success }
    }
}

/// The zones of a server block's cache; none without one.
pub(super) fn zones(block: &config::ServerBlock) -> Zones {
    let words = block.all("cache").next().map(|directive| options::arguments(directive).1);
    words.and_then(|words| Zones::read_or_keys(words, block).ok()).unwrap_or_default()
}

/// The TTL that an entry began with.
fn whole(entry: &CachedAnswer) -> u32 {
    entry.life.as_secs().try_into().unwrap_or(u32::MAX)
}

/// Seconds since 1970, for what is signed until then.
fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Puts a kept answer into the reply. It is as authoritative as it came (CoreDNS 1.15).
// Hot: 0 allocations once the reply's buffers have grown.
fn serve(entry: &CachedAnswer, request: &Request, reply: &mut Reply, ttl: u32) {
    reply.clone_from(&entry.reply);
    reply.authentic_data &= request.query.dnssec_ok() || request.query.authentic_data();
    reply.records_mut().iter_mut().for_each(|record| record.ttl = ttl);
}

/// The table for one kind of answers.
fn table(options: &TableOptions) -> CacheTable<CachedAnswer> {
    let max_bytes = options.capacity.saturating_mul(BYTES_PER_ENTRY).max(MIN_BYTES);
    CacheTable::new(options.capacity, max_bytes, CachedAnswer::weight)
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    let options = CacheOptions::read(directive, setup.block)?;
    let registry = &setup.context.metrics;
    let servers = setup.servers();
    let metrics = |server: &String| Arc::new(CacheMetrics::new(registry, server, &options.label));
    let metrics = servers.iter().map(metrics).collect();
    let (success, denial) = (table(&options.success), table(&options.denial));
    Ok(vec![Arc::new(Cache { options, success, denial, metrics })])
}

#[cfg(test)]
mod tests;
