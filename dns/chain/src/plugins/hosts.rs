//! `hosts`: answers from a hosts file and from entries in the Corefile.

mod file;
mod metrics;
mod options;
mod table;

use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use dns_wire::codes::{class, rcode, rtype};
use dns_wire::{Owner, Query, Reply, Section};

use crate::names::Zones;
use crate::plugin::{Flow, Plugin, QueryFailure};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginGuard, PluginInstances, Setup, SetupErrors};
use file::HostsFile;
use metrics::HostsMetrics;
use options::HostsOptions;
use table::{HostTable, MAX_ENTRIES};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "hosts",
    about: "answers from a hosts file and from entries in the Corefile",
    syntax: &[
        "hosts",
        "hosts /etc/coredns/NodeHosts {\n    ttl 60\n    reload 15s\n    fallthrough\n}",
        "hosts example.hosts example.org {\n    10.0.0.1 example.org www.example.org\n    10.0.0.2 *.apps.example.org\n    no_reverse\n    fallthrough\n    fallthrough_unsupported\n}",
    ],
    options: options::OPTIONS,
    metrics: |metrics| {
        HostsMetrics::new(metrics);
    },
    setup,
};

struct Hosts {
    /// The entries of the file, replaced when it has changed.
    file: Arc<ArcSwap<HostTable>>,
    /// The entries in the Corefile.
    inline: HostTable,
    zones: Zones,
    ttl: u32,
    fallthrough: Option<Zones>,
    fallthrough_unsupported: bool,
}

impl Plugin for Hosts {
    // Hot: 0 allocations.
    fn query(&self, request: &Request, reply: &mut Reply) -> Flow {
        let query = &request.query;
        // CoreDNS ignores the class and answers with records of class IN.
        if query.qclass != class::IN {
            return Flow::Next;
        }
        if query.qtype == rtype::PTR {
            return self.names(query, reply);
        }
        if !self.zones.contain(query) {
            return Flow::Next;
        }
        let file = self.file.load();
        let tables = [&**file, &self.inline];
        match query.qtype {
            rtype::A | rtype::AAAA => {
                let v4 = query.qtype == rtype::A;
                for address in tables.iter().flat_map(|table| table.addresses(query, v4)) {
                    self.push_address(address, reply);
                }
            }
            _ if self.fallthrough_unsupported && self.falls_through(query) => return Flow::Next,
            _ => {}
        }
        if reply.records().is_empty() && !tables.iter().any(|table| table.contains(query)) {
            if self.falls_through(query) {
                return Flow::Next;
            }
            // A hosts file has no SOA record, so the name cannot be denied.
            return Flow::Fail(QueryFailure::silent(rcode::SERVFAIL));
        }
        reply.authoritative = true;
        Flow::Done
    }

    fn in_memory(&self) -> bool {
        true
    }
}

impl Hosts {
    /// Answers with the names of an address. An address without a name goes to the next plugin, with and without
    /// `fallthrough`, and also outside the zones, as in CoreDNS.
    // Hot: 0 allocations.
    fn names(&self, query: &Query, reply: &mut Reply) -> Flow {
        let Some(address) = dns_zone::reversed(query) else { return Flow::Next };
        let (address, file) = (address.to_canonical(), self.file.load());
        for name in [&**file, &self.inline].iter().flat_map(|table| table.names_of(address)) {
            reply.push(Section::Answer, Owner::Question, rtype::PTR, self.ttl, name);
        }
        if reply.records().is_empty() {
            return Flow::Next;
        }
        reply.authoritative = true;
        Flow::Done
    }

    fn push_address(&self, address: IpAddr, reply: &mut Reply) {
        match address {
            IpAddr::V4(ip) => reply.push(Section::Answer, Owner::Question, rtype::A, self.ttl, &ip.octets()),
            IpAddr::V6(ip) => {
                reply.push(Section::Answer, Owner::Question, rtype::AAAA, self.ttl, &ip.octets());
            }
        }
    }

    fn falls_through(&self, query: &Query) -> bool {
        self.fallthrough.as_ref().is_some_and(|zones| zones.contain(query))
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    let options = options::read(setup, directive)?;
    // CoreDNS checks only a file that is named.
    if let Some(word) = directive.args.first()
        && let Err(error) = std::fs::metadata(&options.path)
        && error.kind() != ErrorKind::NotFound
    {
        let what = format!("unable to access hosts file '{word}': {error}");
        return Err(vec![word.error(what, "a readable file, or one that does not exist yet")]);
    }
    let inline = HostTable::read(&options.inline, &options.table);
    // Lines that are no entries have been reported with their place in the Corefile.
    let (inline, _) = inline.map_err(|_| {
        vec![directive.error(format!("hosts: more than {MAX_ENTRIES} entries"), "entries in a file")]
    })?;
    let HostsOptions { path, table, ttl, reload, fallthrough, fallthrough_unsupported, .. } = options;
    let zones = table.zones.clone();
    let metrics = HostsMetrics::new(&setup.context.metrics);
    let file = HostsFile::new(path, table, inline.len(), metrics);
    let plugin = Hosts { file: file.table.clone(), inline, zones, ttl, fallthrough, fallthrough_unsupported };
    setup.on_start(move || async move {
        let file = file.refreshed().await.map_err(|error| format!("hosts: {error}"))?;
        let task = (!reload.is_zero()).then(|| super::Task(tokio::spawn(file.follow(reload))));
        Ok(Box::new(task) as PluginGuard)
    });
    Ok(vec![Arc::new(plugin)])
}
