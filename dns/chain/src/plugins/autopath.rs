//! `autopath`: follows the search list of a client itself, so that a name outside of the cluster takes one query and not four.
//!
//! A client asks for `NAME.FIRST`, where FIRST is the first zone of its search list. If that does not exist, the other zones are tried
//! here, and the first answer is returned behind a CNAME from the queried name.

use std::sync::{Arc, OnceLock};

use config::ConfigError;
use dns_wire::codes::{class, rcode, rtype};
use dns_wire::{Name, Owner, Section};
use futures_util::future::BoxFuture;
use telemetry::metrics::{Counter, Family, Registry};

use crate::names::Zones;
use crate::notes::Notes;
use crate::plugin::{After, Answer, Hooks, Plugin, QueryFailure, Runner};
use crate::request::Request;
use crate::search_path::{SearchPathOffer, is_below, search_list};
use crate::setup::{PluginEntry, PluginGuard, PluginInstances, PluginOption, Setup, SetupErrors, Wanted};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "autopath",
    about: "follows the search list of a client itself, so that a name outside of the cluster takes one query",
    syntax: &["autopath @kubernetes", "autopath example.org /etc/resolv.conf"],
    options: &[
        PluginOption {
            syntax: "[ZONE…]",
            default: "the zones of the server block",
            about: "Zones whose names are looked at.",
        },
        PluginOption {
            syntax: "RESOLV-CONF|@kubernetes",
            default: "",
            about: "The search list: of a file in resolv.conf format, or of the Pod that asks, which needs `pods verified`. It is `NAMESPACE.svc.ZONE`, `svc.ZONE`, `ZONE`, and the list of this host.",
        },
    ],
    early: false,
    metrics: |metrics| {
        successes(metrics);
    },
    setup,
};

/// The most zones of a search list that are tried for a query; resolvers use 6 to 32.
const MAX_ZONES: usize = 32;

struct AutoPath {
    zones: Zones,
    source: PathSource,
    /// By key of the server block.
    successes: Vec<Counter>,
}

enum PathSource {
    /// The list of a file.
    Fixed(Vec<Name>),
    /// That of a plugin of the server block.
    Plugin(PathOffers),
}

/// The offers of the plugins, which are found with the first query.
struct PathOffers {
    wanted: Wanted<SearchPathOffer>,
    found: OnceLock<Vec<Arc<SearchPathOffer>>>,
}

impl PathOffers {
    fn get(&self) -> &[Arc<SearchPathOffer>] {
        self.found.get_or_init(|| self.wanted.get())
    }
}

impl Plugin for AutoPath {
    fn hooks(&self) -> Hooks {
        Hooks::REPLY
    }

    // Hot: 0 allocations unless the name does not exist.
    fn reply(&self, request: &mut Request, answer: &mut Answer) -> After {
        if answer.dropped || !self.zones.contain(&request.query) {
            return After::Pass;
        }
        let is_missing = match &answer.failure {
            Some(failure) => !is_error(failure),
            None => answer.reply.rcode == rcode::NXDOMAIN,
        };
        if is_missing {
            return match self.rest_of_path(request) {
                Some(_) => After::Wait,
                None => After::Pass,
            };
        }
        if answer.failure.is_none() && self.is_below_first(request) {
            self.successes[request.key.min(self.successes.len() - 1)].inc();
        }
        After::Pass
    }

    fn explain(&self, request: &Request, notes: &mut Notes) {
        if !self.zones.contain(&request.query) {
            return;
        }
        notes.say(match self.rest_of_path(request) {
            Some((_, path)) => {
                let path: Vec<String> = path.iter().map(ToString::to_string).collect();
                format!(
                    "if the name does not exist, the rest of the client's search list is tried: {}",
                    path.join(" ")
                )
            }
            None => "the name does not end in the first zone of a known client's search list".to_owned(),
        });
    }

    /// Tries the other zones of the search list.
    fn finish<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some((base, path)) = self.rest_of_path(request) else { return };
            for zone in path {
                let Some(name) = joined(&base, &zone) else { continue };
                let (mut other, mut found) = (request.clone(), Answer::default());
                other.change_question(&name, request.query.qtype, request.query.qclass);
                runner.query_below(&mut other, &mut found).await;
                match &found.failure {
                    // The name may exist here: a denial would be wrong.
                    Some(failure) if is_error(failure) => {
                        *answer = found;
                        return;
                    }
                    Some(_) => continue,
                    None if found.dropped || found.reply.rcode == rcode::NXDOMAIN => continue,
                    None => {}
                }
                push_alias(request, &mut found);
                *answer = found;
                self.successes[request.key.min(self.successes.len() - 1)].inc();
                return;
            }
        })
    }
}

/// Whether a query could not be answered because something went wrong. CoreDNS's plugins return an error then; otherwise, as a
/// `template` with `rcode SERVFAIL`, they refuse to answer, and the next zone is tried.
fn is_error(failure: &QueryFailure) -> bool {
    failure.overloaded || !failure.why.is_empty()
}

impl AutoPath {
    // Hot: 0 allocations.
    fn is_below_first(&self, request: &Request) -> bool {
        match &self.source {
            PathSource::Fixed(path) => path.first().is_some_and(|zone| is_below(request, zone)),
            PathSource::Plugin(offers) => offers.get().iter().any(|offer| offer.1.is_below_first(request)),
        }
    }

    /// The labels before the first zone of the client's search list, and the zones after it; `None` if the name does not end in the
    /// first.
    fn rest_of_path(&self, request: &Request) -> Option<(Vec<u8>, Vec<Name>)> {
        let mut path = match &self.source {
            PathSource::Fixed(path) => path.clone(),
            PathSource::Plugin(offers) => {
                offers.get().iter().find_map(|offer| offer.1.search_path(request))?
            }
        };
        path.truncate(MAX_ZONES);
        let first = path.first()?.wire();
        let query = &request.query;
        let at = query.lower().len().checked_sub(first.len()).filter(|at| *at > 0)?;
        let is_label = query.offsets().iter().any(|offset| usize::from(*offset) == at);
        if !is_label || query.lower()[at..] != *first {
            return None;
        }
        let base = query.name()[..at].to_vec();
        path.remove(0);
        // In the end the name itself is tried.
        path.push(Name::ROOT);
        Some((base, path))
    }
}

/// A name of labels and a zone; `None` if it is too long.
fn joined(base: &[u8], zone: &Name) -> Option<Name> {
    Name::from_wire(&[base, zone.wire()].concat())
}

/// Puts a CNAME from the queried name to the name that was found before the answers.
fn push_alias(request: &Request, found: &mut Answer) {
    let reply = &mut found.reply;
    let Some(first) = reply.section(Section::Answer).next().copied() else { return };
    let owner = reply.owner(&first, &request.query);
    if owner.wire().eq_ignore_ascii_case(request.query.name()) {
        return;
    }
    let kind = (rtype::CNAME, class::IN);
    reply.push_class(Section::Answer, Owner::Question, kind, first.ttl, owner.wire());
    reply.records_mut().rotate_right(1);
}

fn successes(metrics: &Registry) -> Family<Counter, 1> {
    metrics.counters("coredns_autopath_success_total", "Counter of requests that did autopath.", ["server"])
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    // Of several directives the last one counts, as in CoreDNS.
    let directive = setup.directives[setup.directives.len() - 1];
    let single = |error: ConfigError| vec![error];
    directive.no_block().map_err(single)?;
    let args = directive.args_from(1, "[ZONE…] RESOLV-CONF|@kubernetes").map_err(single)?;
    let (zones, source) = args.split_at(args.len() - 1);
    let zones = Zones::read_or_keys(zones, setup.block)?;
    let word = &source[0];
    let source = match word.strip_prefix('@') {
        Some("kubernetes") => {
            let (wanted, at) = (setup.want::<SearchPathOffer>(), word.at.clone());
            setup.on_start(move || async move {
                if wanted.get().is_empty() {
                    tracing::warn!(
                        target: "plugin/autopath",
                        "{at} - autopath has no effect: it needs kubernetes with pods verified in the same server block"
                    );
                }
                Ok(Box::new(()) as PluginGuard)
            });
            PathSource::Plugin(PathOffers { wanted: setup.want(), found: OnceLock::new() })
        }
        Some(_) => {
            return Err(single(word.error(format!("{word} has no search paths"), "@kubernetes or a file")));
        }
        None => {
            let text = std::fs::read_to_string(setup.path(word)).map_err(|error| {
                single(word.error(format!("autopath: {word}: {error}"), "a file such as /etc/resolv.conf"))
            })?;
            PathSource::Fixed(search_list(&text))
        }
    };
    let family = successes(&setup.context.metrics);
    let successes = setup.served_keys().iter().map(|key| family.with([&key.server])).collect();
    Ok(vec![Arc::new(AutoPath { zones, source, successes })])
}
