//! `siit`: makes A records from the AAAA records of names that have no others, for clients with IPv4 behind a translator (RFC 7915):
//! by explicit mappings (RFC 7757), or from addresses that embed one (RFC 6052).

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use config::{ConfigError, Directive, Word};
use dns_wire::codes::{class, rcode, rtype};
use dns_wire::{Owner, Query, Reply, Section};
use futures_util::future::BoxFuture;
use ipnet::Ipv6Net;
use telemetry::metrics::{Counter, Family, Registry};

use crate::plugin::{After, Answer, Hooks, Plugin, QueryFailure, Runner};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors, each_line};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "siit",
    about: "makes A records from the AAAA records of names that have no others (RFC 7915)",
    syntax: &[
        "siit",
        "siit {\n    ipv6_prefix 64:1337::/96\n    eam 192.0.2.1 2001:db8::1\n    eam 192.0.2.2 2001:db8::2\n}",
    ],
    options: &[
        PluginOption {
            syntax: "ipv6_prefix PREFIX",
            default: "64:ff9b::/96",
            about: "The prefix of addresses that embed an IPv4 address: 32, 40, 48, 56, 64 or 96 bits (RFC 6052).",
        },
        PluginOption {
            syntax: "eam IPV4 IPV6",
            default: "",
            about: "A pair of addresses (RFC 7757); several lines are accepted. These come before the prefix.",
        },
    ],
    early: false,
    metrics: |metrics| {
        translated(metrics);
    },
    setup,
};

/// The longest TTL of a made record if the answer has no SOA (RFC 6147 §5.1.7).
const MAX_TTL: u32 = 600;

struct Siit {
    prefix: Ipv6Net,
    mappings: HashMap<Ipv6Addr, Ipv4Addr>,
    /// By key of the server block.
    translated: Vec<Counter>,
}

/// Marks the lookup of the AAAA records, and what `dns64` looks up for it, so that the two do not call each other.
struct Synthesis;

impl Plugin for Siit {
    fn hooks(&self) -> Hooks {
        Hooks::REPLY
    }

    // Hot: 0 allocations.
    fn reply(&self, request: &mut Request, answer: &mut Answer) -> After {
        let (query, reply) = (&request.query, &answer.reply);
        let is_asked = query.qtype == rtype::A && query.qclass == class::IN;
        if !is_asked || answer.dropped || answer.failure.is_some() || reply.truncated {
            return After::Pass;
        }
        let has_addresses = reply.section(Section::Answer).any(|record| record.rtype == rtype::A);
        if has_addresses || reply.rcode == rcode::NXDOMAIN || request.extensions.get::<Synthesis>().is_some()
        {
            return After::Pass;
        }
        After::Wait
    }

    /// Asks for the AAAA records of the name.
    fn finish<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let (name, mut marked) = (request.query.to_name(), request.clone());
            marked.extensions.insert(Arc::new(Synthesis));
            let mut found = Answer::default();
            let resolved = runner.resolve(&marked, &name, rtype::AAAA, &mut found).await;
            let Some(query) = resolved.filter(|_| !found.dropped) else {
                let why = "plugin/siit: the lookup of the AAAA records has no answer";
                return answer.fail(QueryFailure::new(rcode::SERVFAIL, why));
            };
            let mut made = Reply::default();
            if found.reply.rcode != rcode::NOERROR {
                // As in CoreDNS the client gets the response code of a failed lookup.
                self.copy(&found.reply, &query, None, &mut made);
            } else {
                let authority = answer.reply.section(Section::Authority);
                let soa = authority.filter(|record| record.rtype == rtype::SOA).last();
                let most = soa.map_or(MAX_TTL, |soa| soa.ttl);
                if !self.copy(&found.reply, &query, Some(most), &mut made) {
                    return;
                }
                self.translated[request.key.min(self.translated.len() - 1)].inc();
            }
            answer.reply = made;
            answer.from_memory = false;
        })
    }
}

impl Siit {
    /// Copies a reply. With a longest TTL its AAAA records become A records, or are left out. Returns whether one did.
    fn copy(&self, from: &Reply, query: &Query, most: Option<u32>, to: &mut Reply) -> bool {
        (to.rcode, to.truncated) = (from.rcode, from.truncated);
        (to.authoritative, to.recursion_available) = (from.authoritative, from.recursion_available);
        let mut is_translated = false;
        for record in from.section(Section::Answer) {
            let owner = from.owner(record, query);
            let owner = Owner::Name(owner.wire());
            if let Some(most) = most.filter(|_| record.rtype == rtype::AAAA) {
                let address = <[u8; 16]>::try_from(from.rdata(record)).ok();
                let Some(address) = address.and_then(|octets| self.mapped(octets.into())) else { continue };
                is_translated = true;
                let (kind, ttl) = ((rtype::A, record.class), record.ttl.min(most));
                to.push_class(Section::Answer, owner, kind, ttl, &address.octets());
                continue;
            }
            let mut data = Vec::new();
            from.copy_rdata(record, query, &mut data);
            to.push_class(Section::Answer, owner, (record.rtype, record.class), record.ttl, &data);
        }
        to.append_section(Section::Authority, from, query);
        to.append_section(Section::Additional, from, query);
        is_translated
    }

    /// The IPv4 address of an IPv6 address.
    fn mapped(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        if address.to_ipv4_mapped().is_some() {
            return None;
        }
        let mapped = self.mappings.get(&address).copied();
        mapped.or_else(|| self.prefix.contains(&address).then(|| extract(self.prefix, address)).flatten())
    }
}

/// The IPv4 address that an IPv6 address embeds (RFC 6052 §2.2); `None` if bits 64 to 71 are not zero.
fn extract(prefix: Ipv6Net, address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    let first = usize::from(prefix.prefix_len()) / 8;
    let embedded = (first..16).filter(|at| *at != 8).take(4).map(|at| octets[at]);
    let embedded: [u8; 4] = embedded.collect::<Vec<_>>().try_into().ok()?;
    (octets[8] == 0).then(|| embedded.into())
}

fn translated(metrics: &Registry) -> Family<Counter, 1> {
    metrics.counters(
        "coredns_siit_requests_translated_total",
        "Counter of DNS requests translated by siit.",
        ["server"],
    )
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    directive.no_args().map_err(|error| vec![error])?;
    let family = translated(&setup.context.metrics);
    let mut plugin = Siit {
        prefix: prefix(&Word::new("64:ff9b::/96", &directive.name.at)).map_err(|error| vec![error])?,
        mappings: HashMap::new(),
        translated: setup.served_keys().iter().map(|key| family.with([&key.server])).collect(),
    };
    each_line(directive, |line| plugin.line(line))?;
    Ok(vec![Arc::new(plugin)])
}

impl Siit {
    fn line(&mut self, line: &Directive) -> Result<(), ConfigError> {
        match line.name.text.as_str() {
            "ipv6_prefix" => self.prefix = prefix(line.arg("PREFIX")?)?,
            "eam" => {
                let [v4, v6] = line.args::<2>("IPV4 IPV6")?;
                let wanted = "an IPv4 address and an IPv6 address";
                let invalid = |word: &Word| word.error(format!("invalid address {word}"), wanted);
                let address: Ipv4Addr = v4.text.parse().map_err(|_| invalid(v4))?;
                let key: Ipv6Addr = v6.text.parse().map_err(|_| invalid(v6))?;
                self.mappings.insert(key, address);
            }
            _ => return Err(line.unknown(&["ipv6_prefix", "eam"])),
        }
        Ok(())
    }
}

fn prefix(word: &Word) -> Result<Ipv6Net, ConfigError> {
    let wanted = "an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits, in which bits 64 to 71 are zero";
    let net: Ipv6Net =
        word.text.parse().map_err(|_| word.error(format!("invalid prefix {:?}", word.text), wanted))?;
    let net = net.trunc();
    if ![32, 40, 48, 56, 64, 96].contains(&net.prefix_len()) || net.network().octets()[8] != 0 {
        return Err(word.error(format!("invalid prefix {net}"), wanted));
    }
    Ok(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_extracted_as_in_the_table_of_rfc_6052() {
        let wanted = Some(Ipv4Addr::new(192, 0, 2, 33));
        for (prefix, address, wanted) in [
            ("2001:db8::/32", "2001:db8:c000:221::", wanted),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::", wanted),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::", wanted),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::", wanted),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::", wanted),
            ("2001:db8:122:344::/96", "2001:db8:122:344::c000:221", wanted),
            ("2001:db8:122:344::/64", "2001:db8:122:344:1c0:2:2100::", None),
        ] {
            assert_eq!(extract(prefix.parse().unwrap(), address.parse().unwrap()), wanted, "{address}");
        }
    }
}
