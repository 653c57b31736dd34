//! `loadbalance`: changes the order of the addresses in each answer.

mod weights;

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use config::{Directive, Word};
use dns_wire::codes::{rcode, rtype};
use dns_wire::{Record, Reply, Section};
use ipnet::IpNet;

use crate::plugin::{After, Answer, Hooks, Plugin};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginGuard, PluginInstances, PluginOption, Setup, SetupErrors, each_line};
use weights::Weights;

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "loadbalance",
    about: "changes the order of the addresses in each answer",
    syntax: &[
        "loadbalance",
        "loadbalance round_robin",
        "loadbalance weighted weights.txt {\n    reload 10s\n}",
        "loadbalance {\n    prefer 10.9.20.0/24 10.9.30.0/24\n}",
    ],
    options: &[
        PluginOption {
            syntax: "[round_robin | weighted FILE]",
            default: "round_robin",
            about: "`round_robin` puts the addresses of each reply in a random order. `weighted` puts one address first, chosen by the weights in FILE.",
        },
        PluginOption {
            syntax: "reload DURATION",
            default: "30s",
            about: "How often the weight file is read; 0s reads it once. Only with `weighted`.",
        },
        PluginOption {
            syntax: "prefer CIDR…",
            default: "",
            about: "Addresses in these networks come first. Only with `round_robin`.",
        },
    ],
    early: false,
    metrics: |_| {},
    setup,
};

struct LoadBalance {
    weights: Option<Arc<ArcSwap<Weights>>>,
    prefer: Vec<IpNet>,
}

impl Plugin for LoadBalance {
    fn hooks(&self) -> Hooks {
        Hooks::REPLY
    }

    // Hot: 0 allocations if the CNAMEs come first.
    fn reply(&self, request: &mut Request, answer: &mut Answer) -> After {
        let Answer { reply, .. } = answer;
        let transfer = matches!(request.query.qtype, rtype::AXFR | rtype::IXFR);
        if reply.rcode != rcode::NOERROR || reply.records().len() < 2 || transfer {
            return After::Pass;
        }
        match &self.weights {
            None => round_robin(reply.records_mut()),
            Some(weights) => apply_weights(reply, request, &weights.load()),
        }
        if !self.prefer.is_empty() {
            self.prefer(reply);
        }
        After::Pass
    }
}

impl LoadBalance {
    /// Moves addresses in preferred networks to the front of each run of addresses. The order is otherwise kept.
    fn prefer(&self, reply: &mut Reply) {
        let mut records = std::mem::take(reply.records_mut());
        for run in records.chunk_by_mut(|a, b| a.section == b.section && is_address(a) && is_address(b)) {
            run.sort_by_cached_key(|record| {
                address(reply, record).is_some_and(|ip| !self.prefer.iter().any(|net| net.contains(&ip)))
            });
        }
        *reply.records_mut() = records;
    }
}

/// Shuffles addresses and mail exchangers (coredns, plugin/loadbalance/loadbalance.go).
fn round_robin(records: &mut [Record]) {
    sort(records);
    for run in records.chunk_by_mut(|a, b| place(a) == place(b)) {
        if rank(&run[0]) >= rank_of(rtype::A) {
            fastrand::shuffle(run);
        }
    }
}

/// Moves one address of the answers and one of the additional records to the front, chosen at random by weight. Addresses
/// and names that the file does not list have weight 1 (coredns, plugin/loadbalance/weighted.go).
fn apply_weights(reply: &mut Reply, request: &Request, weights: &Weights) {
    if !matches!(request.query.qtype, rtype::A | rtype::AAAA | rtype::SRV) {
        return;
    }
    sort(reply.records_mut());
    for section in [Section::Answer, Section::Additional] {
        let here = |record: &Record| record.section == section && is_address(record);
        let Some(first) = reply.records().iter().position(here) else { continue };
        let count = reply.records()[first..].iter().take_while(|record| here(record)).count();
        let weight = |at: usize| {
            let record = &reply.records()[at];
            let owner = reply.owner(record, &request.query).lower();
            let known = weights.of(owner.wire()).zip(address(reply, record));
            let found = known.and_then(|(known, ip)| known.iter().find(|(known, _)| *known == ip));
            found.map_or(1, |(_, weight)| usize::from(*weight))
        };
        let run = first..first + count;
        let total: usize = run.clone().map(weight).sum();
        let mut left = fastrand::usize(..total);
        let chosen = run.clone().find(|at| {
            let weight = weight(*at);
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        });
        if let Some(chosen) = chosen {
            reply.records_mut().swap(first, chosen);
        }
    }
}

/// Sorts CNAMEs first, then other types, addresses, and mail exchangers.
fn sort(records: &mut [Record]) {
    if !records.is_sorted_by_key(place) {
        records.sort_by_key(place);
    }
}

fn place(record: &Record) -> (Section, u8) {
    (record.section, rank(record))
}

fn is_address(record: &Record) -> bool {
    matches!(record.rtype, rtype::A | rtype::AAAA)
}

fn rank(record: &Record) -> u8 {
    rank_of(record.rtype)
}

fn rank_of(kind: u16) -> u8 {
    match kind {
        rtype::CNAME => 0,
        rtype::A | rtype::AAAA => 2,
        rtype::MX => 3,
        _ => 1,
    }
}

fn address(reply: &Reply, record: &Record) -> Option<IpAddr> {
    let data = reply.rdata(record);
    match record.rtype {
        rtype::A => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
        rtype::AAAA => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
        _ => None,
    }
}

/// One parsed directive. As in CoreDNS the directive may be repeated, and the last policy takes effect.
struct LoadBalanceDirective<'a> {
    directive: &'a Directive,
    /// `weighted`: the file and the interval at which it is read again.
    weighted: Option<(&'a Word, Duration)>,
    prefer: Vec<IpNet>,
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let (mut weighted, mut prefer) = (None, Vec::new());
    for (index, directive) in setup.directives.clone().into_iter().enumerate() {
        if index > 0 {
            setup.warn(directive, "loadbalance is repeated: the last policy takes effect");
        }
        let read = LoadBalanceDirective::new(directive)?;
        if read.weighted.is_some() {
            prefer.clear();
        }
        weighted = read.weighted.map(|(file, every)| (read.directive, file, every));
        prefer.extend(read.prefer);
    }
    let weights = match weighted {
        None => None,
        Some((directive, file, every)) => Some(read_weights(setup, directive, file, every)?),
    };
    Ok(vec![Arc::new(LoadBalance { weights, prefer })])
}

impl<'a> LoadBalanceDirective<'a> {
    fn new(directive: &'a Directive) -> Result<Self, SetupErrors> {
        let wanted = "round_robin, or weighted FILE";
        let wrong = |word: &Word, what: String| Err(vec![word.error(what, wanted)]);
        let file = match directive.args.as_slice() {
            [] => None,
            [policy] if **policy == *"round_robin" => None,
            [policy, file] if **policy == *"weighted" => Some(file),
            [policy] if **policy == *"weighted" => {
                return wrong(policy, "missing weight file argument".to_owned());
            }
            [policy, .., last] if matches!(&**policy, "round_robin" | "weighted") => {
                return wrong(last, format!("unexpected argument '{last}' of {policy}"));
            }
            [policy, ..] => return wrong(policy, format!("unknown policy: {policy}")),
        };
        let (mut reload, mut prefer) = (Duration::from_secs(30), Vec::new());
        each_line(directive, |line| match line.name.text.as_str() {
            "reload" if file.is_some() => {
                reload = line.arg("DURATION")?.duration()?;
                Ok(())
            }
            "prefer" if file.is_none() => {
                for word in &line.args {
                    prefer.push(word.cidr()?);
                }
                Ok(())
            }
            _ if file.is_some() => Err(line.unknown(&["reload"])),
            _ => Err(line.unknown(&["prefer"])),
        })?;
        Ok(Self { directive, weighted: file.map(|file| (file, reload)), prefer })
    }
}

/// Reads the weight file, and starts a task that reads it again when it has changed.
fn read_weights(
    setup: &mut Setup<'_>,
    directive: &Directive,
    file: &Word,
    every: Duration,
) -> Result<Arc<ArcSwap<Weights>>, SetupErrors> {
    let path = setup.path(file);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        // The file may be created later, as in CoreDNS.
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied)
                && !every.is_zero() =>
        {
            let file = path.display();
            tracing::warn!(target: "plugin/loadbalance", "{file}: {error}; all addresses have weight 1 until it can be read");
            String::new()
        }
        Err(error) => {
            let what = format!("loadbalance: {}: {error}", path.display());
            return Err(vec![directive.error(what, "a readable file")]);
        }
    };
    let weights = Weights::read(&text).map_err(|(line, what)| {
        vec![directive.error(format!("loadbalance: {}:{line}: {what}", path.display()), weights::WANTED)]
    })?;
    let shown = Arc::new(ArcSwap::from_pointee(weights));
    if every.is_zero() {
        return Ok(shown);
    }
    let current = shown.clone();
    setup.on_start(move || async move {
        let task = tokio::spawn(async move {
            let mut last = text;
            loop {
                tokio::time::sleep(every).await;
                last = reload_if_changed(&path, last, &current);
            }
        });
        Ok(Box::new(super::Task(task)) as PluginGuard)
    });
    Ok(shown)
}

/// Reads the file again and uses it if it has changed. Returns its text. The file is small enough to be read on the runtime.
fn reload_if_changed(path: &Path, last: String, current: &ArcSwap<Weights>) -> String {
    let file = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            tracing::warn!(target: "plugin/loadbalance", "{file}: {error}; the old weights stay in effect");
            return last;
        }
    };
    if text != last {
        match Weights::read(&text) {
            Ok(weights) => current.store(Arc::new(weights)),
            Err((line, what)) => {
                tracing::warn!(target: "plugin/loadbalance", "{file}:{line}: {what}; the old weights stay in effect");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests;
