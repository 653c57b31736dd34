//! One answer that is kept, and the rules for what is kept how long.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dns_wire::codes::{class, rcode, rtype};
use dns_wire::{Name, Query, Record, Reply, Section};

use super::options::PrefetchOptions;

/// The life of what names none.
const NO_TTL: Duration = Duration::from_secs(5);

/// What a reply is, as far as keeping it goes (coredns, plugin/pkg/response/typify.go and plugin/cache/cache.go).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerKind {
    /// Records that answer the question.
    Success,
    /// Where to ask instead. It is kept as a success, and shortly.
    Delegation,
    /// NXDOMAIN or NODATA, with the SOA that says for how long (RFC 2308).
    Denial,
    /// The server could not.
    Failure,
    /// Part of an answer: cut, or without what would say for how long there is no more. Not kept.
    Partial,
    /// Nothing that could be kept.
    Other,
}

impl AnswerKind {
    pub(super) fn is_denial(self) -> bool {
        matches!(self, Self::Denial | Self::Failure)
    }

    pub(super) fn is_kept(self) -> bool {
        !matches!(self, Self::Partial | Self::Other)
    }
}

/// What an answer is an answer to. DO and CD make other answers of the same question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CacheKey<'a> {
    pub name: &'a [u8],
    qtype: u16,
    class: u16,
    bits: u8,
}

/// An answer, and how it has been asked for since.
pub(super) struct CachedAnswer {
    name: Box<[u8]>,
    qtype: u16,
    class: u16,
    bits: u8,
    pub reply: Reply,
    stored: Instant,
    pub life: Duration,
    hits: AtomicU32,
    /// When it was asked for last, in milliseconds of its life; and before when no refresh is tried.
    last_hit: AtomicU64,
    not_before: AtomicU64,
    refreshing: AtomicBool,
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
            not_before: AtomicU64::new(0),
            refreshing: AtomicBool::new(false),
        }
    }

    // Hot: 0 allocations.
    pub(super) fn answers(&self, question: &CacheKey<'_>) -> bool {
        self.qtype == question.qtype
            && self.class == question.class
            && self.bits == question.bits
            && *self.name == *question.name
    }

    /// How long it has been kept.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stored)
    }

    /// The seconds that are left of its life; one that has begun counts in full, as in CoreDNS.
    pub(super) fn left(&self, now: Instant) -> u32 {
        let left = self.life.as_secs().saturating_sub(self.age(now).as_secs());
        left.try_into().unwrap_or(u32::MAX)
    }

    /// Counts that it is asked for, and says whether that is often enough to be asked for anew before its end.
    // Hot: 0 allocations.
    pub(super) fn wants_refresh(&self, prefetch: &PrefetchOptions, now: Instant) -> bool {
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

    /// Counts as its own how often another was asked for.
    pub(super) fn take_hits(&self, other: &Self) {
        self.hits.fetch_max(other.hits.load(Relaxed), Relaxed);
    }

    /// Whether the caller is the one to refresh it: one at a time, and none soon after one that failed.
    // Hot: 0 allocations.
    pub(super) fn begin_refresh(&self, now: Instant) -> bool {
        let due = self.age(now).as_millis() as u64 >= self.not_before.load(Relaxed);
        due && !self.refreshing.swap(true, Relaxed)
    }

    /// A refresh is over, and this is what there is: the next may be tried after a pause.
    pub(super) fn end_refresh(&self, now: Instant, pause: Duration) {
        self.not_before.store((self.age(now) + pause).as_millis() as u64, Relaxed);
        self.refreshing.store(false, Relaxed);
    }
}

/// What a reply is. `unix` is the time, for the signatures in it.
pub(super) fn kind(query: &Query, reply: &Reply, unix: u64) -> AnswerKind {
    let has = |section, rtype| reply.section(section).any(|record| record.rtype == rtype);
    let denied = has(Section::Authority, rtype::SOA);
    let mut answers = reply.section(Section::Answer).peekable();
    let answered = answers.peek().is_some();
    let kind = match reply.rcode {
        _ if matches!(query.qtype, rtype::AXFR | rtype::IXFR) => AnswerKind::Other,
        _ if query.dnssec_ok() && reply.records().iter().any(|record| is_over(record, reply, unix)) => {
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
    if reply.truncated && kind.is_kept() { AnswerKind::Partial } else { kind }
}

/// The shortest life that any of its records has; for a denial also the SOA's minimum (RFC 2308 §5).
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

/// Whether the answers lead from the question over CNAMEs to a record of its type (RFC 1034 §3.6.2). A name with two
/// CNAMEs, or in a ring of them, leads nowhere.
pub(super) fn answers_question(query: &Query, reply: &Reply) -> bool {
    let mut name = query.to_name().lower();
    let is_ours = |record: &&Record| record.class == query.qclass || query.qclass == class::ANY;
    let records = || reply.section(Section::Answer).filter(is_ours);
    for _ in records().map(Some).chain([None]) {
        let own = || records().filter(|record| reply.owner(record, query).lower() == name);
        let is_asked = |rtype| rtype == query.qtype || query.qtype == rtype::ANY;
        let mut targets = own().filter(|record| record.rtype == rtype::CNAME);
        let target = |record: &Record| reply.target(record, query).map(Name::lower);
        let first = targets.next().and_then(target);
        if targets.any(|record| target(record) != first) {
            return false;
        }
        match first {
            Some(target) if !is_asked(rtype::CNAME) => name = target,
            _ => return own().any(|record| is_asked(record.rtype)),
        }
    }
    false
}

/// Whether this is a signature that does not hold any more, or not yet (RFC 4034 §3.1.5: both times are serial numbers).
fn is_over(record: &Record, reply: &Reply, unix: u64) -> bool {
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
