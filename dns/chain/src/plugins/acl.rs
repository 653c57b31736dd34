//! `acl`: allows, blocks, filters and drops queries by the client's address and the type.

use std::sync::Arc;

use config::{ConfigError, Directive, Word};
use dns_wire::codes::rcode;
use ipnet::IpNet;
use telemetry::metrics::{Counter, Family, Registry};

use crate::codes::Type;
use crate::names::Zones;
use crate::plugin::{Answer, Flow, Plugin};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "acl",
    about: "allows, blocks, filters and drops queries by the client's address and the type",
    syntax: &[
        "acl {\n    allow net 10.0.0.0/8 192.168.0.0/16\n    block\n}",
        "acl example.org {\n    block type A AAAA net 10.1.0.0/16\n    filter type HINFO\n    drop net 203.0.113.7\n}",
    ],
    options: &[
        PluginOption {
            syntax: "[ZONE…]",
            default: "the zones of the server block",
            about: "Zones whose queries are checked. Of each directive the first line that matches takes effect; without one, and after `allow`, the query is answered.",
        },
        PluginOption {
            syntax: "allow [type TYPE…] [net CIDR…]",
            default: "all types, all clients",
            about: "Answers the query, whatever later directives say.",
        },
        PluginOption {
            syntax: "block [type TYPE…] [net CIDR…]",
            default: "",
            about: "REFUSED, with the extended error Blocked (RFC 8914).",
        },
        PluginOption {
            syntax: "filter [type TYPE…] [net CIDR…]",
            default: "",
            about: "NOERROR without records, with the extended error Filtered.",
        },
        PluginOption { syntax: "drop [type TYPE…] [net CIDR…]", default: "", about: "No reply at all." },
    ],
    early: false,
    metrics: |metrics| {
        AclFamilies::new(metrics);
    },
    setup,
};

/// The EDNS option of extended errors, and its codes (RFC 8914 §2, §4).
const EXTENDED_ERROR: u16 = 15;
const BLOCKED: u16 = 15;
const FILTERED: u16 = 17;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Allow,
    Block,
    Filter,
    Drop,
}

/// A line of the block.
struct Policy {
    action: Action,
    /// Empty for all types.
    types: Vec<u16>,
    /// Empty for all clients.
    nets: Vec<IpNet>,
}

/// A directive.
struct ZonePolicies {
    zones: Zones,
    /// The zones as metrics show them.
    labels: Vec<String>,
    policies: Vec<Policy>,
}

struct Acl {
    rules: Vec<ZonePolicies>,
    families: AclFamilies,
    /// Server and view by key of the server block.
    keys: Vec<[String; 2]>,
    allowed: Vec<Counter>,
}

struct AclFamilies {
    blocked: Family<Counter, 3>,
    filtered: Family<Counter, 3>,
    dropped: Family<Counter, 3>,
    allowed: Family<Counter, 2>,
}

impl AclFamilies {
    fn new(metrics: &Registry) -> Self {
        let labels = ["server", "zone", "view"];
        let by_zone = |name, help| metrics.counters(name, help, labels);
        Self {
            blocked: by_zone("coredns_acl_blocked_requests_total", "Counter of DNS requests being blocked."),
            filtered: by_zone(
                "coredns_acl_filtered_requests_total",
                "Counter of DNS requests being filtered.",
            ),
            dropped: by_zone("coredns_acl_dropped_requests_total", "Counter of DNS requests being dropped."),
            allowed: metrics.counters(
                "coredns_acl_allowed_requests_total",
                "Counter of DNS requests being allowed.",
                ["server", "view"],
            ),
        }
    }
}

impl Plugin for Acl {
    // Hot: 0 allocations for allowed queries.
    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        let query = &request.query;
        let found = self.rules.iter().find_map(|rule| {
            let zone = rule.zones.find(query)?;
            let policy = rule.policies.iter().find(|policy| policy.matches(request))?;
            Some((policy.action, rule.labels[zone].as_str()))
        });
        let key = request.key.min(self.keys.len() - 1);
        let Some((action, zone)) = found.filter(|(action, _)| *action != Action::Allow) else {
            self.allowed[key].inc();
            return Flow::Next;
        };
        let [server, view] = &self.keys[key];
        let (family, error) = match action {
            Action::Block => (&self.families.blocked, BLOCKED),
            Action::Filter => (&self.families.filtered, FILTERED),
            Action::Drop | Action::Allow => (&self.families.dropped, 0),
        };
        family.with([server, zone, view]).inc();
        if action == Action::Drop {
            return Flow::Drop;
        }
        if action == Action::Block {
            answer.reply.rcode = rcode::REFUSED;
        }
        answer.reply.push_option(EXTENDED_ERROR, &error.to_be_bytes());
        Flow::Done
    }

    fn in_memory(&self) -> bool {
        true
    }
}

impl Policy {
    // Hot: 0 allocations.
    fn matches(&self, request: &Request) -> bool {
        let ip = request.client.ip().to_canonical();
        (self.types.is_empty() || self.types.contains(&request.query.qtype))
            && (self.nets.is_empty() || self.nets.iter().any(|net| net.contains(&ip)))
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let (mut rules, mut errors) = (Vec::new(), SetupErrors::new());
    for directive in &setup.directives {
        match zone_policies(directive, setup) {
            Ok(rule) => rules.push(rule),
            Err(found) => errors.extend(found),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let families = AclFamilies::new(&setup.context.metrics);
    let keys: Vec<[String; 2]> = setup.served_keys().into_iter().map(|key| [key.server, key.view]).collect();
    let allowed = keys.iter().map(|[server, view]| families.allowed.with([server, view])).collect();
    Ok(vec![Arc::new(Acl { rules, families, keys, allowed })])
}

fn zone_policies(directive: &Directive, setup: &Setup<'_>) -> Result<ZonePolicies, SetupErrors> {
    let mut errors = SetupErrors::new();
    let labels = config::zones_or_keys(&directive.args, setup.block).unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    });
    let policies = directive.block.iter().filter_map(|line| {
        let read = policy(line, &mut errors);
        read.map_err(|error| errors.push(error)).ok()
    });
    let policies = policies.collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(ZonePolicies { zones: Zones::new(labels.iter().map(String::as_str)), labels, policies })
}

/// Reads a line; an error that ends it is returned, those of single values are added to `errors`.
fn policy(line: &Directive, errors: &mut SetupErrors) -> Result<Policy, ConfigError> {
    let action = match line.name.text.to_ascii_lowercase().as_str() {
        "allow" => Action::Allow,
        "block" => Action::Block,
        "filter" => Action::Filter,
        "drop" => Action::Drop,
        _ => return Err(line.unknown(&["allow", "block", "filter", "drop"])),
    };
    let mut policy = Policy { action, types: Vec::new(), nets: Vec::new() };
    let is_section = |word: &Word| ["type", "net"].iter().any(|name| word.text.eq_ignore_ascii_case(name));
    if let Some(first) = line.args.first().filter(|first| !is_section(first)) {
        return Err(first.error(format!("unexpected token '{first}'"), "type or net"));
    }
    let (mut any_type, mut any_net) = (false, false);
    for section in line.args.chunk_by(|_, next| !is_section(next)) {
        let (name, values) = section.split_at(1);
        if values.is_empty() {
            let what = format!("no token specified in '{}' section", name[0]);
            return Err(name[0].error(what, "at least one value"));
        }
        let is_type = name[0].text.eq_ignore_ascii_case("type");
        for value in values {
            match (is_type, value.text.as_str()) {
                (true, "*") => any_type = true,
                (false, "*") => any_net = true,
                (true, text) => match Type::named(text) {
                    Some(known) => policy.types.push(known.0),
                    None => {
                        let what = format!("unexpected token '{text}'; expect legal QTYPE");
                        errors.push(value.error(what, "a type such as AAAA"));
                    }
                },
                (false, _) => match value.cidr() {
                    Ok(net) => policy.nets.push(net),
                    Err(error) => errors.push(error),
                },
            }
        }
    }
    if any_type {
        policy.types.clear();
    }
    if any_net {
        policy.nets.clear();
    }
    Ok(policy)
}
