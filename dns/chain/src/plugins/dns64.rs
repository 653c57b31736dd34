//! `dns64`: makes AAAA records from the A records of names that have no others (RFC 6147), with the prefix of a NAT64.

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
    name: "dns64",
    about: "makes AAAA records from the A records of names that have no others (RFC 6147)",
    syntax: &[
        "dns64",
        "dns64 64:1337::/96",
        "dns64 {\n    prefix 64:1337::/96\n    translate_all\n    allow_ipv4\n}",
    ],
    options: &[
        PluginOption { syntax: "[PREFIX]", default: "64:ff9b::/96", about: "The same as `prefix`." },
        PluginOption {
            syntax: "prefix PREFIX",
            default: "64:ff9b::/96",
            about: "The prefix of the addresses: 32, 40, 48, 56, 64 or 96 bits (RFC 6052).",
        },
        PluginOption {
            syntax: "translate_all",
            default: "",
            about: "Also replaces the AAAA records of names that have some.",
        },
        PluginOption { syntax: "allow_ipv4", default: "", about: "Also for clients that ask over IPv4." },
    ],
    early: false,
    metrics: |metrics| {
        translated(metrics);
    },
    setup,
};

/// The longest TTL of a made record if the answer has no SOA (RFC 6147 §5.1.7).
const MAX_TTL: u32 = 600;

struct Dns64 {
    prefix: Ipv6Net,
    translate_all: bool,
    allow_ipv4: bool,
    /// By key of the server block.
    translated: Vec<Counter>,
}

impl Plugin for Dns64 {
    fn hooks(&self) -> Hooks {
        Hooks::REPLY
    }

    // Hot: 0 allocations.
    fn reply(&self, request: &mut Request, answer: &mut Answer) -> After {
        let query = &request.query;
        let is_asked = query.qtype == rtype::AAAA
            && query.qclass == class::IN
            && (self.allow_ipv4 || request.client.ip().to_canonical().is_ipv6());
        let reply = &answer.reply;
        // Another code of a reply is like an answer without records (RFC 6147 §5.1.2 and §5.1.3). As in CoreDNS a query that no
        // plugin answered is none.
        if !is_asked || answer.dropped || answer.failure.is_some() || reply.rcode == rcode::NXDOMAIN {
            return After::Pass;
        }
        let has_addresses = reply.section(Section::Answer).any(|record| record.rtype == rtype::AAAA);
        if has_addresses && !self.translate_all { After::Pass } else { After::Wait }
    }

    /// Asks for the A records of the name.
    fn finish<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let name = request.query.to_name();
            let mut found = Answer::default();
            let resolved = runner.resolve(request, &name, rtype::A, &mut found).await;
            // As in CoreDNS the client gets the response code of a failed lookup: an answer without records would deny the name.
            let Some(query) = resolved.filter(|_| !found.dropped) else {
                let why = "plugin/dns64: the lookup of the A records has no answer";
                return answer.fail(QueryFailure::new(rcode::SERVFAIL, why));
            };
            let soa = answer.reply.section(Section::Authority).find(|record| record.rtype == rtype::SOA);
            let most = soa.map_or(MAX_TTL, |soa| soa.ttl);
            let mut made = Reply::default();
            self.translate(&found.reply, &query, most, &mut made);
            self.translated[request.key.min(self.translated.len() - 1)].inc();
            answer.reply = made;
            answer.from_memory = false;
        })
    }
}

impl Dns64 {
    /// Copies a reply with the A records of its answers as AAAA records.
    fn translate(&self, from: &Reply, query: &Query, most: u32, to: &mut Reply) {
        to.rcode = from.rcode;
        to.truncated = from.truncated;
        to.recursion_available = from.recursion_available;
        for record in from.section(Section::Answer) {
            let owner = from.owner(record, query);
            let owner = Owner::Name(owner.wire());
            let address = <[u8; 4]>::try_from(from.rdata(record)).ok().filter(|_| record.rtype == rtype::A);
            match address {
                Some(address) => {
                    let address = embed(self.prefix, address.into()).octets();
                    let kind = (rtype::AAAA, record.class);
                    to.push_class(Section::Answer, owner, kind, record.ttl.min(most), &address);
                }
                None => {
                    let mut data = Vec::new();
                    from.copy_rdata(record, query, &mut data);
                    to.push_class(Section::Answer, owner, (record.rtype, record.class), record.ttl, &data);
                }
            }
        }
        to.append_section(Section::Authority, from, query);
        to.append_section(Section::Additional, from, query);
    }
}

/// The IPv6 address of an IPv4 address (RFC 6052 §2.2): bits 64 to 71 stay zero.
fn embed(prefix: Ipv6Net, address: Ipv4Addr) -> Ipv6Addr {
    let mut octets = prefix.network().octets();
    let mut at = usize::from(prefix.prefix_len()) / 8;
    for octet in address.octets() {
        if at == 8 {
            at += 1;
        }
        octets[at] = octet;
        at += 1;
    }
    octets.into()
}

fn translated(metrics: &Registry) -> Family<Counter, 1> {
    metrics.counters(
        "coredns_dns64_requests_translated_total",
        "Counter of DNS requests translated by dns64.",
        ["server"],
    )
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let at = &setup.directives[0].name.at;
    let family = translated(&setup.context.metrics);
    let mut plugin = Dns64 {
        prefix: prefix(&Word::new("64:ff9b::/96", at)).map_err(|error| vec![error])?,
        translate_all: false,
        allow_ipv4: false,
        translated: setup.served_keys().iter().map(|key| family.with([&key.server])).collect(),
    };
    for directive in &setup.directives {
        if let Some(word) = directive.optional_arg("[PREFIX]").map_err(|error| vec![error])? {
            plugin.prefix = prefix(word).map_err(|error| vec![error])?;
        }
        each_line(directive, |line| plugin.line(line))?;
    }
    Ok(vec![Arc::new(plugin)])
}

impl Dns64 {
    fn line(&mut self, line: &Directive) -> Result<(), ConfigError> {
        match line.name.text.as_str() {
            "prefix" => self.prefix = prefix(line.arg("PREFIX")?)?,
            "translate_all" => {
                line.no_args()?;
                self.translate_all = true;
            }
            "allow_ipv4" => {
                line.no_args()?;
                self.allow_ipv4 = true;
            }
            _ => return Err(line.unknown(&["prefix", "translate_all", "allow_ipv4"])),
        }
        Ok(())
    }
}

fn prefix(word: &Word) -> Result<Ipv6Net, ConfigError> {
    let wanted = "an IPv6 prefix of 32, 40, 48, 56, 64 or 96 bits";
    let net: Ipv6Net =
        word.text.parse().map_err(|_| word.error(format!("invalid prefix {:?}", word.text), wanted))?;
    if ![32, 40, 48, 56, 64, 96].contains(&net.prefix_len()) || net.network() != net.addr() {
        return Err(word.error(format!("invalid prefix {net}"), wanted));
    }
    Ok(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_embedded_as_in_the_table_of_rfc_6052() {
        for (prefix, wanted) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::c000:221"),
        ] {
            let address = embed(prefix.parse().unwrap(), Ipv4Addr::new(192, 0, 2, 33));
            assert_eq!(address, wanted.parse::<Ipv6Addr>().unwrap(), "{prefix}");
        }
    }
}
