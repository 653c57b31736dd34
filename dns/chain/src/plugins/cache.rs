//! `cache`: caches answers that come from upstreams.
//!
//! Answers of plugins that hold their records in memory (`kubernetes`) are not cached: the plugin finds them as fast, and a
//! cached copy would only become stale. Compared with CoreDNS a client sees three differences: changes of the cluster are
//! visible at once instead of after up to `ttl` (or 5 s); such answers repeat the letter case of each client's query instead
//! of the first one's; and their TTL does not count down. The upper bound on TTLs applies to them, the lower bound, which
//! protects upstreams, does not, so that `ttl 0` means 0. They count as misses.
//!
//! Three more differences follow RFC 2308: a denial is cached no longer than the SOA's minimum (§5); a CNAME to a denied name
//! is a denial (§2.1), where CoreDNS gives it 5 s and does not cache it; and a reply without answer and SOA is not cached,
//! where CoreDNS caches it for 5 s.
//!
//! CoreDNS's `coredns_cache_drops_total` counts replies whose question differs from that of the query. In both servers
//! `forward` turns such replies into FORMERR before they reach the cache, so the counter would always be zero and is left
//! out.

mod entry;
mod in_memory;
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
use crate::notes::Notes;
use crate::plugin::{After, Answer, Flow, Hooks, Plugin, Runner};
use crate::request::{Purpose, Request};
use crate::setup::{PluginEntry, PluginInstances, ServedKey, Setup, SetupErrors};
use entry::{AnswerKind, CacheKey, CachedAnswer};
use in_memory::InMemoryZones;
use metrics::{CacheMetrics, TableMetrics};
use options::{CacheOptions, StaleMode, StaleOptions, TableOptions};
use table::{CacheTable, Stored, TableGuard};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "cache",
    about: "caches answers that come from upstreams",
    syntax: &[
        "cache",
        "cache 30",
        "cache 30 example.org",
        "cache {\n    success 10240 600 10\n    denial 5120 60 5\n    prefetch 10 1m 10%\n    serve_stale 1h verify 500ms 30s 5s\n    serve_stale_policy prefer_positive\n    servfail 1s\n    disable success cluster.local\n    disable denial cluster.local\n    keepttl\n}",
        "cache {\n    serve_stale\n}",
    ],
    options: options::OPTIONS,
    early: false,
    metrics: |metrics| {
        CacheMetrics::new(metrics, [""; 3]);
    },
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
    in_memory: InMemoryZones,
}

/// An entry that was found, and the table that it was found in.
struct CacheHit {
    guard: TableGuard<CachedAnswer>,
    denial: bool,
}

impl CacheHit {
    fn entry(&self) -> Option<&CachedAnswer> {
        self.guard.as_deref()
    }

    fn is_failure(&self) -> bool {
        self.entry().is_some_and(|entry| entry.reply.rcode == rcode::SERVFAIL)
    }
}

impl Plugin for Cache {
    fn hooks(&self) -> Hooks {
        Hooks::QUERY.and(Hooks::REPLY)
    }

    // Hot: 0 allocations, unless a refresh is due.
    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        let reply = &mut answer.reply;
        if !self.options.zones.contain(&request.query) {
            return Flow::Next;
        }
        self.metrics(request).requests.inc();
        if self.in_memory.get().contain(&request.query) {
            self.metrics(request).misses.inc();
            return Flow::Next;
        }
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
        self.table_metrics(request, found.denial).hits.inc();
        serve(entry, request, reply, if self.options.keep_ttl { full_ttl(entry) } else { left });
        let prefetch = self.options.prefetch.filter(|prefetch| prefetch.amount > 0);
        if prefetch.is_some_and(|prefetch| entry.is_refresh_due(&prefetch, now)) && entry.begin_refresh(now) {
            self.metrics(request).prefetches.inc();
            return Flow::Refresh;
        }
        Flow::Done
    }

    /// `serve_stale verify`: gives a fresh answer if one arrives in time, otherwise the stale one.
    fn wait<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        Box::pin(async move {
            let reply = &mut answer.reply;
            let Some(stale @ StaleOptions { mode: StaleMode::Verify(limit), .. }) = self.options.stale else {
                return Flow::Next;
            };
            let mut fresh = Answer::default();
            let in_time = timeout(limit, runner.query_below(request, &mut fresh)).await.is_ok();
            if in_time {
                let better = self.is_better(request, &fresh);
                if fresh.dropped {
                    self.cancel_refresh(request);
                } else {
                    self.refreshed(request, &mut fresh);
                }
                if better {
                    reply.clone_from(&fresh.reply);
                    return Flow::Done;
                }
            }
            let found = self.find(request, request.received);
            let Some((found, entry)) = found.as_ref().and_then(|found| Some((found, found.entry()?))) else {
                return Flow::Next;
            };
            self.serve_expired(found, entry, request, reply);
            // The background refresh caches a late fresh answer for the next query.
            if in_time || !stale.one_at_a_time() { Flow::Done } else { Flow::Refresh }
        })
    }

    /// Serves the stale answer if the query cannot wait for a fresh one.
    fn overloaded(&self, request: &Request, answer: &mut Answer) -> bool {
        let found = self.find(request, request.received);
        let Some((found, entry)) = found.as_ref().and_then(|found| Some((found, found.entry()?))) else {
            return false;
        };
        entry.end_refresh(request.received, Duration::ZERO);
        self.serve_expired(found, entry, request, &mut answer.reply);
        true
    }

    fn cancel_refresh(&self, request: &Request) {
        let question = CacheKey::of(&request.query);
        let same = |entry: &CachedAnswer| entry.answers(&question);
        self.each_entry(question.hash(), same, |entry| entry.end_refresh(request.received, Duration::ZERO));
    }

    fn explain(&self, request: &Request, notes: &mut Notes) {
        if !self.options.zones.contain(&request.query) {
            return notes.say("the name is outside of the zones that are cached");
        }
        if self.in_memory.get().contain(&request.query) {
            return notes.say("not cached: a plugin below has the zone in memory");
        }
        let now = request.received;
        let found = self.find(request, now);
        let Some((found, entry)) = found.as_ref().and_then(|found| Some((found, found.entry()?))) else {
            return notes.say("no entry");
        };
        let (kind, life) = (if found.denial { "denial" } else { "answer" }, entry.life.as_secs());
        notes.say(match entry.left(now) {
            0 => format!("a stale {kind}: it was kept for {life}s, {}s ago", entry.age(now).as_secs()),
            left => format!("a {kind}, kept for {left}s more of {life}s"),
        });
    }

    fn reply(&self, request: &mut Request, answer: &mut Answer) -> After {
        if !self.options.zones.contain(&request.query) || answer.dropped {
            return After::Pass;
        }
        if request.purpose == Purpose::Refresh {
            self.refreshed(request, answer);
        } else if answer.failure.as_ref().is_some_and(|failure| failure.overloaded) {
            // Not cached: the next query may be below the limit.
        } else if answer.from_memory {
            self.cap_ttls(&mut answer.reply);
        } else {
            self.cache_answer(request, answer, request.received);
        }
        After::Pass
    }
}

impl Cache {
    /// The entry that may be served for a query: fresh entries before stale ones, denials first, as in CoreDNS.
    // Hot: 0 allocations.
    fn find(&self, request: &Request, now: Instant) -> Option<CacheHit> {
        let question = CacheKey::of(&request.query);
        let hash = question.hash();
        let mut stale: Option<CacheHit> = None;
        for (table, denial) in [(&self.denial, true), (&self.success, false)] {
            let Some(guard) = table.find(hash, |entry| entry.answers(&question)) else { continue };
            let Some(entry) = guard.as_deref() else { continue };
            let fresh = entry.left(now) > 0;
            // An answer that may still be served is preferred to a cached failure.
            let is_failure = fresh && entry.reply.rcode == rcode::SERVFAIL;
            let servable = self.options.stale.is_some_and(|stale| entry.age(now) < entry.life + stale.up_to);
            // With `prefer_positive` a stale success comes before any denial or failure.
            let preferred = self.options.prefer_positive && !denial && servable;
            if fresh && !(denial && (is_failure || self.options.prefer_positive)) {
                return Some(CacheHit { guard, denial });
            }
            let over_failure = stale.as_ref().is_some_and(|stale| stale.is_failure()) && servable;
            if fresh || preferred || over_failure || (servable && stale.is_none()) {
                stale = Some(CacheHit { guard, denial });
            }
        }
        stale
    }

    /// Serves an expired entry if the options allow that.
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
        self.serve_expired(found, entry, request, reply);
        if !refresh {
            return Flow::Done;
        }
        self.metrics(request).prefetches.inc();
        Flow::Refresh
    }

    fn serve_expired(&self, found: &CacheHit, entry: &CachedAnswer, request: &Request, reply: &mut Reply) {
        self.table_metrics(request, found.denial).hits.inc();
        self.metrics(request).stale.inc();
        // Without a configured TTL, `keepttl` keeps the entry's own, as in CoreDNS.
        let ttl = match self.options.stale.map_or(0, |stale| stale.ttl) {
            0 if self.options.keep_ttl => full_ttl(entry),
            ttl => ttl,
        };
        serve(entry, request, reply, ttl);
    }

    /// Whether a fresh answer replaces a stale one (RFC 8767 §4).
    fn is_better(&self, request: &Request, fresh: &Answer) -> bool {
        let good = match entry::kind(&request.query, &fresh.reply, unix_seconds()) {
            AnswerKind::Success => true,
            AnswerKind::Other | AnswerKind::Failure => false,
            _ => !self.options.prefer_positive,
        };
        good && fresh.failure.is_none() && !fresh.reply.truncated
    }

    /// Handles the answer of a refresh.
    fn refreshed(&self, request: &Request, answer: &mut Answer) {
        let (question, now) = (CacheKey::of(&request.query), Instant::now());
        let (hash, same) = (question.hash(), |entry: &CachedAnswer| entry.answers(&question));
        if answer.from_memory {
            // A plugin now holds the name in memory, and the cached entry would hide that.
            self.cap_ttls(&mut answer.reply);
            self.success.remove(hash, same);
            self.denial.remove(hash, same);
            return self.count_entries(request);
        }
        if let AnswerKind::Success | AnswerKind::Denial =
            entry::kind(&request.query, &answer.reply, unix_seconds())
        {
            self.cache_answer(request, answer, now);
        }
        // An entry that is still there was not replaced by the refresh, so another one may begin.
        let pause = self.options.stale.map_or(Duration::ZERO, |stale| stale.recheck);
        self.each_entry(hash, same, |entry| entry.end_refresh(now, pause));
    }

    /// Calls `visit` with the entries of a question in both tables.
    fn each_entry(&self, hash: u64, same: impl Fn(&CachedAnswer) -> bool, visit: impl Fn(&CachedAnswer)) {
        for table in [&self.success, &self.denial] {
            if let Some(entry) = table.find(hash, &same).as_deref().and_then(Option::as_deref) {
                visit(entry);
            }
        }
    }

    /// Caches an answer if it can be cached, and sets the TTL of all its records to its lifetime.
    fn cache_answer(&self, request: &Request, answer: &mut Answer, now: Instant) {
        let Answer { reply, .. } = answer;
        let kind = entry::kind(&request.query, reply, unix_seconds());
        // EDNS options are hop-by-hop (RFC 6891 §6.1.1).
        reply.clear_options();
        let life = match kind {
            AnswerKind::Failure => self.options.servfail,
            kind => self.table_options(kind).life(entry::shortest_ttl(kind, reply)),
        };
        if life.as_secs() > 0 && kind.is_cacheable() {
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
        if self.table_options(kind).except.contain(&request.query) {
            return;
        }
        let hash = question.hash();
        let denial = kind.is_denial();
        let (table, metrics) =
            (if denial { &self.denial } else { &self.success }, self.table_metrics(request, denial));
        let same = |entry: &CachedAnswer| entry.answers(&question);
        let served = self.options.stale.map_or(Duration::ZERO, |stale| stale.up_to);
        let expired = |entry: &CachedAnswer| entry.age(now) >= entry.life + served;
        let entry = CachedAnswer::new(question, reply.clone(), life, now);
        if request.purpose == Purpose::Refresh {
            // The new entry inherits the hits of the one that it replaces, so that it is refreshed as well.
            self.each_entry(hash, same, |last| entry.copy_hits(last));
        }
        match table.store(hash, Arc::new(entry), same, expired) {
            Stored::Added => {}
            Stored::Evicted => metrics.evictions.inc(),
            Stored::EvictedForBytes(count) => metrics.evictions_for_bytes.add(count),
            Stored::TooLarge => metrics.evictions_for_bytes.inc(),
        }
        if !denial {
            // The denied name exists now.
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

    /// Applies the upper bound on TTLs to an answer from memory.
    // Hot: 0 allocations.
    fn cap_ttls(&self, reply: &mut Reply) {
        // An answer from memory with a SOA is a denial.
        let denied = reply.section(Section::Authority).any(|record| record.rtype == rtype::SOA);
        let options = if denied { &self.options.denial } else { &self.options.success };
        let most = options.longest.as_secs() as u32;
        reply.records_mut().iter_mut().for_each(|record| record.ttl = record.ttl.min(most));
    }

    fn table_options(&self, kind: AnswerKind) -> &TableOptions {
        if kind.is_denial() { &self.options.denial } else { &self.options.success }
    }

    /// The metrics of the server that received the query.
    fn metrics(&self, request: &Request) -> &CacheMetrics {
        &self.metrics[request.key.min(self.metrics.len() - 1)]
    }

    fn table_metrics(&self, request: &Request, denial: bool) -> &TableMetrics {
        let metrics = self.metrics(request);
        if denial { &metrics.denial } else { &metrics.success }
    }
}

/// The zones of a server block's cache; empty without a cache.
pub(super) fn zones(block: &config::ServerBlock) -> Zones {
    let words = block.all("cache").next().map(|directive| options::arguments(directive).1);
    words.and_then(|words| Zones::read_or_keys(words, block).ok()).unwrap_or_default()
}

/// The lifetime of an entry as a TTL.
fn full_ttl(entry: &CachedAnswer) -> u32 {
    entry.life.as_secs().try_into().unwrap_or(u32::MAX)
}

/// Seconds since 1970, to check signatures.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Copies a cached answer into the reply. AA stays as received (CoreDNS 1.15).
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
    let keys = setup.served_keys();
    let metrics =
        |key: &ServedKey| Arc::new(CacheMetrics::new(registry, [&key.server, &options.label, &key.view]));
    let metrics = keys.iter().map(metrics).collect();
    let (success, denial) = (table(&options.success), table(&options.denial));
    let in_memory = InMemoryZones::new(setup);
    Ok(vec![Arc::new(Cache { options, success, denial, metrics, in_memory })])
}

#[cfg(test)]
mod tests;
