//! `local`: answers for `localhost` and the reverse zones of the addresses that never leave a host (RFC 6761 §6.3, RFC 6303).

use std::sync::Arc;

use config::Directive;
use dns_wire::codes::{rcode, rtype};
use dns_wire::{Owner, Reply, Section};
use telemetry::metrics::{Counter, Registry};

use crate::names::Zones;
use crate::plugin::{Answer, Flow, Plugin};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors, each_line};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "local",
    about: "answers for localhost and the reverse zones of addresses that never leave a host",
    syntax: &["local", "local {\n    localhost_prefix off\n}"],
    options: &[PluginOption {
        syntax: "localhost_prefix on|off",
        default: "on",
        about: "Whether names that begin with `localhost.`, as search lists make them, are answered like `localhost`. With `off` they go to the next plugin.",
    }],
    early: false,
    metrics: |metrics| {
        localhost_requests(metrics);
    },
    setup,
};

/// TTL of all records: a week, as in CoreDNS.
const TTL: u32 = 604_800;
const LOCALHOST: &[u8] = b"\x09localhost\0";
const ZONES: [&str; 4] = ["localhost.", "0.in-addr.arpa.", "127.in-addr.arpa.", "255.in-addr.arpa."];
/// MNAME `localhost.`, RNAME `root.localhost.`, serial 1, no times, and the TTL as minimum.
const SOA: &[u8] = b"\x09localhost\0\x04root\x09localhost\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x09\x3a\x80";

struct Local {
    zones: Zones,
    /// Whether names that begin with `localhost.` are answered.
    prefix: bool,
    localhost: Counter,
}

impl Plugin for Local {
    // Hot: 0 allocations.
    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        let (query, reply) = (&request.query, &mut answer.reply);
        let name = query.lower();
        let below = name.len() > LOCALHOST.len() && name.ends_with(LOCALHOST);
        let begins = self.prefix && name.len() > LOCALHOST.len() && name.starts_with(&LOCALHOST[..10]);
        if (below && self.zones.find(query) == Some(0)) || begins {
            self.localhost.inc();
            if !push_loopback(reply, query.qtype) {
                reply.push(Section::Authority, Owner::Question, rtype::SOA, TTL, SOA);
            }
            return Flow::Done;
        }
        let Some(zone) = self.zones.find(query) else { return Flow::Next };
        let length = self.zones.names()[zone].wire().len();
        let apex = name.len() == length;
        match query.qtype {
            rtype::A | rtype::AAAA if apex && zone == 0 => {
                push_loopback(reply, query.qtype);
            }
            rtype::SOA if apex => reply.push(Section::Answer, Owner::Question, rtype::SOA, TTL, SOA),
            rtype::NS if apex => reply.push(Section::Answer, Owner::Question, rtype::NS, TTL, LOCALHOST),
            rtype::PTR if is_loopback_reverse(name) => {
                reply.push(Section::Answer, Owner::Question, rtype::PTR, TTL, LOCALHOST);
            }
            _ => {
                if !apex && !is_loopback_reverse(name) {
                    reply.rcode = rcode::NXDOMAIN;
                }
                let owner = Owner::Parent((name.len() - length) as u8);
                reply.push(Section::Authority, owner, rtype::SOA, TTL, SOA);
            }
        }
        Flow::Done
    }

    fn in_memory(&self) -> bool {
        true
    }
}

fn is_loopback_reverse(name: &[u8]) -> bool {
    name == b"\x011\x010\x010\x03127\x07in-addr\x04arpa\0"
}

/// Adds the loopback address of the type, if it is one of addresses.
fn push_loopback(reply: &mut Reply, qtype: u16) -> bool {
    match qtype {
        rtype::A => reply.push(Section::Answer, Owner::Question, qtype, TTL, &[127, 0, 0, 1]),
        rtype::AAAA => {
            let ip = std::net::Ipv6Addr::LOCALHOST.octets();
            reply.push(Section::Answer, Owner::Question, qtype, TTL, &ip);
        }
        _ => return false,
    }
    true
}

fn localhost_requests(metrics: &Registry) -> Counter {
    metrics.counter("coredns_local_localhost_requests_total", "Counter of localhost.<domain> requests.")
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let mut prefix = true;
    let mut read = |line: &Directive| match line.name.text.as_str() {
        "localhost_prefix" => {
            let word = line.arg("on|off")?;
            prefix = match word.text.as_str() {
                "on" => true,
                "off" => false,
                other => {
                    let what = format!("localhost_prefix expects 'on' or 'off', got {other:?}");
                    return Err(word.error(what, "on or off"));
                }
            };
            Ok(())
        }
        _ => Err(line.unknown(&["localhost_prefix"])),
    };
    for directive in &setup.directives {
        directive.no_args().map_err(|error| vec![error])?;
        each_line(directive, &mut read)?;
    }
    let localhost = localhost_requests(&setup.context.metrics);
    Ok(vec![Arc::new(Local { zones: Zones::new(ZONES), prefix, localhost })])
}
