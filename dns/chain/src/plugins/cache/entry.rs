//! A cached answer, and the rules for what is cached and for how long.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dns_wire::codes::{class, rcode, rtype};
use dns_wire::{Name, Query, Record, Reply, Section};

use super::options::PrefetchOptions;

/// The lifetime of an answer without records.
const NO_TTL: Duration = Duration::from_secs(5);

/// The longest chain of CNAMEs in an answer that is cached. Resolvers follow 8 to 16 of them.
const MAX_CNAMES: usize = 16;

/// A refresh that has not ended after this time is considered lost: its task panicked, was dropped, or never began. Longer
/// than a query may wait.
const REFRESH_LEASE: Duration = Duration::from_secs(11);

/// The kind of an answer, which decides how it is cached (coredns, plugin/pkg/response/typify.go and plugin/cache/cache.go).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerKind {
    /// Records that answer the question.
    Success,
    /// A referral to other servers. Cached like a success, for a short time.
    Delegation,
    /// NXDOMAIN or NODATA with a SOA, which limits the lifetime (RFC 2308).
    Denial,
    /// The server failed.
    Failure,
    /// An incomplete answer: truncated, or a denial without a SOA. Not cached.
    Partial,
    /// Not cached.
    Other,
}

impl AnswerKind {
    pub(super) fn is_denial(self) -> bool {
        matches!(self, Self::Denial | Self::Failure)
    }

    pub(super) fn is_cacheable(self) -> bool {
        !matches!(self, Self::Partial | Self::Other)
    }
}

/// The key of a cached answer. Besides the question it has the DO and CD bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CacheKey<'a> {
    pub name: &'a [u8],
    qtype: u16,
    class: u16,
    bits: u8,
}

/// A cached answer, and how often it was served.
pub(super) struct CachedAnswer {
    name: Box<[u8]>,
    qtype: u16,
    class: u16,
    bits: u8,
    pub reply: Reply,
    stored: Instant,
    pub life: Duration,
    hits: AtomicU32,
    /// When it was last served, in milliseconds since it was stored.
    last_hit: AtomicU64,
    /// When the next refresh may begin, in milliseconds since it was stored. During a refresh, the end of its lease.
    next_refresh: AtomicU64,
}

impl<'a> CacheKey<'a> {
    // Hot: 0 allocations.
    pub(super) fn of(query: &'a Query) -> Self {
        let bits = u8::from(query.dnssec_ok()) | u8::from(query.checking_disabled()) << 1;
        Self { name: query.lower(), qtype: query.qtype, class: query.qclass, bits }
    }

    // Hot: 0 allocations.
    pub(super) fn hash(&self) -> u64 {
        let rest = u64::from(self.qtype) << 32 | u64::from(self.class) << 8 | u64::from(self.bits);
        // The hash of the name is keyed; an odd factor spreads the rest over all bits.
        (dns_wire::hash(self.name) ^ rest).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl CachedAnswer {
    pub(super) fn new(question: CacheKey<'_>, reply: Reply, life: Duration, now: Instant) -> Self {
        Self {
            name: question.name.into(),
            qtype: question.qtype,
            class: question.class,
            bits: question.bits,
            reply,
            stored: now,
            life,
            hits: AtomicU32::new(0),
            last_hit: AtomicU64::new(0),
            next_refresh: AtomicU64::new(0),
        }
    }

    // Hot: 0 allocations.
    pub(super) fn answers(&self, question: &CacheKey<'_>) -> bool {
        self.qtype == question.qtype
            && self.class == question.class
            && self.bits == question.bits
            && *self.name == *question.name
    }

    /// The bytes of memory that it takes.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.reply.memory()
    }

    /// The time since it was stored.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stored)
    }

    /// The remaining lifetime in seconds. A second that has begun counts in full, as in CoreDNS.
    pub(super) fn left(&self, now: Instant) -> u32 {
        let left = self.life.as_secs().saturating_sub(self.age(now).as_secs());
        left.try_into().unwrap_or(u32::MAX)
    }

    /// Counts a hit. Returns whether the entry is popular enough to be refreshed before it expires.
    // Hot: 0 allocations.
    pub(super) fn is_refresh_due(&self, prefetch: &PrefetchOptions, now: Instant) -> bool {
        let at = self.age(now).as_millis() as u64;
        let gap = at.saturating_sub(self.last_hit.swap(at, Relaxed));
        let hits = if u128::from(gap) > prefetch.gap.as_millis() {
            self.hits.store(1, Relaxed);
            1
        } else {
            self.hits.fetch_add(1, Relaxed) + 1
        };
        let threshold = (self.life.as_secs() * u64::from(prefetch.percent)).div_ceil(100);
        hits >= prefetch.amount && u64::from(self.left(now)) <= threshold
    }

    /// Copies the hits of the entry that this one replaces.
    pub(super) fn copy_hits(&self, other: &Self) {
        self.hits.fetch_max(other.hits.load(Relaxed), Relaxed);
    }

    /// Whether the caller has to refresh the entry: only one does at a time, and none soon after a failed refresh.
    // Hot: 0 allocations.
    pub(super) fn begin_refresh(&self, now: Instant) -> bool {
        let (age, next) = (self.age(now), self.next_refresh.load(Relaxed));
        let lease = (age + REFRESH_LEASE).as_millis() as u64;
        age.as_millis() as u64 >= next
            && self.next_refresh.compare_exchange(next, lease, Relaxed, Relaxed).is_ok()
    }

    /// Ends a refresh that did not replace the entry. The next one may begin after the pause.
    pub(super) fn end_refresh(&self, now: Instant, pause: Duration) {
        self.next_refresh.store((self.age(now) + pause).as_millis() as u64, Relaxed);
    }
}

/// The kind of a reply. `unix` is the current time, for signatures.
pub(super) fn kind(query: &Query, reply: &Reply, unix: u64) -> AnswerKind {
    let has = |section, rtype| reply.section(section).any(|record| record.rtype == rtype);
    let denied = has(Section::Authority, rtype::SOA);
    let mut answers = reply.section(Section::Answer).peekable();
    let answered = answers.peek().is_some();
    let kind = match reply.rcode {
        _ if matches!(query.qtype, rtype::AXFR | rtype::IXFR) => AnswerKind::Other,
        _ if query.dnssec_ok()
            && reply.records().iter().any(|record| is_outside_validity(record, reply, unix)) =>
        {
            AnswerKind::Other
        }
        rcode::NOERROR if answered => match (answers_question(query, reply), denied) {
            (true, _) => AnswerKind::Success,
            (false, true) => AnswerKind::Denial,
            (false, false) => AnswerKind::Partial,
        },
        rcode::NXDOMAIN if answered && !denied => AnswerKind::Other,
        rcode::NXDOMAIN if answers.any(|record| record.rtype != rtype::CNAME) => AnswerKind::Other,
        rcode::NOERROR | rcode::NXDOMAIN if denied => AnswerKind::Denial,
        rcode::NOERROR if has(Section::Authority, rtype::NS) => AnswerKind::Delegation,
        rcode::NOERROR | rcode::NXDOMAIN => AnswerKind::Partial,
        rcode::SERVFAIL | rcode::NOTIMP => AnswerKind::Failure,
        _ => AnswerKind::Other,
    };
    if reply.truncated && kind.is_cacheable() { AnswerKind::Partial } else { kind }
}

/// The shortest TTL of the records; for a denial also the SOA's minimum (RFC 2308 §5).
pub(super) fn shortest_ttl(kind: AnswerKind, reply: &Reply) -> Duration {
    if matches!(kind, AnswerKind::Delegation | AnswerKind::Other) {
        return NO_TTL;
    }
    let ttls = reply.records().iter().map(|record| match record.rtype {
        rtype::SOA if kind == AnswerKind::Denial => record.ttl.min(minimum(reply.rdata(record))),
        _ => record.ttl,
    });
    ttls.min().map_or(NO_TTL, |ttl| Duration::from_secs(ttl.into()))
}

/// Whether the answers contain a record of the queried type for the name at the end of the CNAME chain that begins at the
/// question (RFC 1034 §3.6.2). False if a name has two different CNAMEs, if the chain is a loop, or if it is longer than
/// [`MAX_CNAMES`].
///
/// Takes linear time for any content of a 64 KiB message, apart from sorting.
pub(super) fn answers_question(query: &Query, reply: &Reply) -> bool {
    let has_class = |record: &&Record| record.class == query.qclass || query.qclass == class::ANY;
    let hash = |name: &Name| dns_wire::hash(name.wire());
    let owner = |record: &Record| reply.owner(record, query).lower();
    let records: Vec<&Record> = reply.section(Section::Answer).filter(has_class).collect();
    let mut by_owner: Vec<(u64, &Record)> =
        records.into_iter().map(|record| (hash(&owner(record)), record)).collect();
    by_owner.sort_by_key(|(hash, _)| *hash);

    let is_queried = |rtype| rtype == query.qtype || query.qtype == rtype::ANY;
    let mut name = query.to_name().lower();
    let mut seen = Vec::new();
    while seen.len() <= MAX_CNAMES {
        let known = hash(&name);
        let first = by_owner.partition_point(|(hash, _)| *hash < known);
        let same_hash = by_owner[first..].iter().take_while(|(hash, _)| *hash == known);
        let own: Vec<&Record> =
            same_hash.map(|(_, record)| *record).filter(|record| owner(record) == name).collect();
        let mut targets = own.iter().filter(|record| record.rtype == rtype::CNAME);
        let target = |record: &&Record| reply.target(record, query).map(Name::lower);
        let first = targets.next().and_then(target);
        if targets.any(|record| target(record) != first) {
            return false;
        }
        match first {
            Some(target) if !is_queried(rtype::CNAME) => {
                if seen.contains(&target) || target == name {
                    return false;
                }
                seen.push(std::mem::replace(&mut name, target));
            }
            _ => return own.iter().any(|record| is_queried(record.rtype)),
        }
    }
    false
}

/// Whether the record is a signature that has expired or is not valid yet (RFC 4034 §3.1.5: both times are serial numbers).
fn is_outside_validity(record: &Record, reply: &Reply, unix: u64) -> bool {
    let time = |at: usize| {
        let data = reply.rdata(record).get(at..at + 4)?;
        Some(u32::from_be_bytes(data.try_into().ok()?))
    };
    let (Some(expiration), Some(inception)) = (time(8), time(12)) else { return false };
    let now = unix as u32;
    record.rtype == rtype::RRSIG
        && ((expiration.wrapping_sub(now) as i32) < 0 || (now.wrapping_sub(inception) as i32) < 0)
}

/// The last field of a SOA (RFC 1035 §3.3.13).
fn minimum(data: &[u8]) -> u32 {
    data.last_chunk().map_or(0, |minimum| u32::from_be_bytes(*minimum))
}
