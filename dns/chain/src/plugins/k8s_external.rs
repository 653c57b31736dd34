//! `k8s_external`: the names of Services outside of the cluster, from `spec.externalIPs` and the addresses and names of load
//! balancers.
//!
//! The lookup is in `dns-zone`, in the view of the plugin `kubernetes` of the same server block.

use std::sync::{Arc, OnceLock};

use config::{ConfigError, Directive};
use dns_wire::codes::{class, rcode, rtype};
use dns_wire::{Name, Owner, Section};
use dns_zone::{ExternalZones, ZoneVerdict};
use futures_util::future::BoxFuture;

use crate::cluster_names::ClusterNames;
use crate::names::Zones;
use crate::plugin::{Answer, Flow, Plugin, QueryFailure, Runner};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors, Wanted, each_line};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "k8s_external",
    about: "answers for Services that are reached from outside of the cluster",
    syntax: &[
        "kubernetes cluster.local\nk8s_external example.org",
        "kubernetes cluster.local\nk8s_external example.org in-addr.arpa {\n    apex edge\n    ttl 60\n    headless\n    fallthrough in-addr.arpa\n}",
    ],
    options: &[
        PluginOption {
            syntax: "[ZONE…]",
            default: "the zones of the server block",
            about: "Zones with the names `SERVICE.NAMESPACE.ZONE`. External addresses have PTR records if their reverse zone is among them.",
        },
        PluginOption {
            syntax: "apex NAME",
            default: "dns",
            about: "The subdomain of the name server, `ns1.NAME.ZONE`, and of `hostmaster.NAME.ZONE` in the SOA record.",
        },
        PluginOption {
            syntax: "ttl SECONDS",
            default: "5",
            about: "TTL of the records, 0 to 3600. SRV and CNAME records have that of `kubernetes`, as in CoreDNS.",
        },
        PluginOption {
            syntax: "headless",
            default: "",
            about: "Answers with the endpoints of headless Services that have no external addresses.",
        },
        PluginOption {
            syntax: "fallthrough [ZONE…]",
            default: "",
            about: "Passes queries for names that do not exist to the next plugin, for these zones or for all.",
        },
    ],
    early: false,
    metrics: |_| {},
    setup,
};

/// The most names of load balancers that are resolved for an answer.
const MAX_TARGETS: usize = 16;

struct External {
    zones: ExternalZones,
    cluster: Wanted<ClusterNames>,
    /// What the plugin `kubernetes` offers, once it has been looked up.
    found: OnceLock<Option<Arc<ClusterNames>>>,
    fallthrough: Option<Zones>,
}

impl Plugin for External {
    // Hot: 0 allocations.
    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        if request.query.qclass != class::IN {
            return Flow::Next;
        }
        match self.answer(request, answer) {
            ZoneVerdict::Chase => Flow::Wait,
            verdict => self.flow(verdict, request, answer),
        }
    }

    /// Resolves the names of load balancers through the whole server. As in CoreDNS a name without an answer leaves its CNAME or
    /// SRV record.
    fn wait<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        Box::pin(async move {
            let verdict = self.answer(request, answer);
            if verdict != ZoneVerdict::Chase {
                // The zone has changed since `query`.
                return self.flow(verdict, request, answer);
            }
            for target in unresolved(request, answer) {
                let (section, types): (_, &[u16]) = match request.query.qtype {
                    rtype::SRV => (Section::Additional, &[rtype::A, rtype::AAAA]),
                    _ => (Section::Answer, std::slice::from_ref(&request.query.qtype)),
                };
                for qtype in types {
                    let mut found = Answer::default();
                    let Some(query) = runner.resolve(request, &target, *qtype, &mut found).await else {
                        continue;
                    };
                    answer.reply.truncated |= found.reply.truncated && section == Section::Answer;
                    for record in found.reply.section(Section::Answer) {
                        let mut rdata = Vec::new();
                        found.reply.copy_rdata(record, &query, &mut rdata);
                        let owner = found.reply.owner(record, &query);
                        let kind = (record.rtype, record.class);
                        answer.reply.push_class(section, Owner::Name(owner.wire()), kind, record.ttl, &rdata);
                    }
                }
            }
            Flow::Done
        })
    }

    fn in_memory(&self) -> bool {
        true
    }
}

impl External {
    // Hot: 0 allocations after the first query.
    fn answer(&self, request: &Request, answer: &mut Answer) -> ZoneVerdict {
        let found = self.found.get_or_init(|| self.cluster.get().into_iter().next());
        let Some(cluster) = found else { return ZoneVerdict::NotMine };
        let zone = cluster.zone.load();
        zone.answer_external(&self.zones, &request.query, &cluster.own, &mut answer.reply)
    }

    fn flow(&self, verdict: ZoneVerdict, request: &Request, answer: &mut Answer) -> Flow {
        match verdict {
            ZoneVerdict::NotMine => Flow::Next,
            ZoneVerdict::NameError | ZoneVerdict::NotSynced
                if self.fallthrough.as_ref().is_some_and(|zones| zones.contain(&request.query)) =>
            {
                answer.reply.clear();
                Flow::Next
            }
            ZoneVerdict::Refused => Flow::Fail(QueryFailure::silent(rcode::REFUSED)),
            _ => Flow::Done,
        }
    }
}

/// The targets of CNAME records, and those of SRV records without addresses, each once.
fn unresolved(request: &Request, answer: &Answer) -> Vec<Name> {
    let reply = &answer.reply;
    let mut names = Vec::new();
    for record in reply.section(Section::Answer) {
        if record.rtype != rtype::CNAME && record.rtype != rtype::SRV {
            continue;
        }
        let Some(target) = reply.target(record, &request.query) else { continue };
        let mut extra = reply.section(Section::Additional);
        let has_address = extra.any(|extra| reply.owner(extra, &request.query).lower() == target.lower());
        if !has_address && !names.contains(&target) && names.len() < MAX_TARGETS {
            names.push(target);
        }
    }
    names
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    let zones = Zones::read_or_keys(&directive.args, setup.block)?;
    let mut options =
        Options { apex: "dns".parse().unwrap_or(Name::ROOT), ttl: 5, headless: false, fallthrough: None };
    each_line(directive, |line| options.line(line))?;
    if setup.block.all("kubernetes").next().is_none() {
        let wanted = "kubernetes in the same server block";
        return Err(vec![directive.error("k8s_external: kubernetes plugin not loaded", wanted)]);
    }
    let Options { apex, ttl, headless, fallthrough } = options;
    let zones = ExternalZones::new(zones.names(), &apex, ttl, headless);
    let cluster = setup.want();
    Ok(vec![Arc::new(External { zones, cluster, found: OnceLock::new(), fallthrough })])
}

struct Options {
    apex: Name,
    ttl: u32,
    headless: bool,
    fallthrough: Option<Zones>,
}

impl Options {
    fn line(&mut self, line: &Directive) -> Result<(), ConfigError> {
        match line.name.text.as_str() {
            "apex" => {
                let word = line.arg("NAME")?;
                let name = word.text.trim_end_matches('.').parse().ok().filter(|name| *name != Name::ROOT);
                self.apex =
                    name.ok_or_else(|| word.error(format!("invalid apex {word}"), "a label such as dns"))?;
            }
            "ttl" => self.ttl = line.arg("SECONDS")?.integer(0..=3600)?,
            "headless" => {
                line.no_args()?;
                self.headless = true;
            }
            "fallthrough" => {
                let named = Zones::read(&line.args)?;
                self.fallthrough = Some(if named.is_empty() { Zones::new(["."]) } else { named });
            }
            _ => return Err(line.unknown(&["apex", "ttl", "headless", "fallthrough"])),
        }
        Ok(())
    }
}
