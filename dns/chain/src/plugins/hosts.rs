//! `hosts`: answers from a hosts file and from entries in the Corefile.

mod file;
mod metrics;
mod options;
mod table;

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cluster::{Current, Kind};
use config::Directive;
use dns_wire::codes::{class, rcode, rtype};
use dns_wire::{Owner, Query, Reply, Section};
use dns_zone::NodeNames;

use crate::names::Zones;
use crate::notes::Notes;
use crate::plugin::{Answer, Flow, Plugin, QueryFailure};
use crate::request::Request;
use crate::setup::{ApiConnection, PluginEntry, PluginGuard, PluginInstances, Setup, SetupErrors};
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
        "hosts {\n    nodes\n    ttl 60\n    fallthrough\n}",
        "hosts example.hosts example.org {\n    10.0.0.1 example.org www.example.org\n    10.0.0.2 *.apps.example.org\n    no_reverse\n    fallthrough\n    fallthrough_unsupported\n}",
    ],
    options: options::OPTIONS,
    early: false,
    metrics: |metrics| {
        HostsMetrics::new(metrics);
    },
    setup,
};

/// How long the start waits for the list of nodes, and how often it looks.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

struct Hosts {
    /// The entries of the file, replaced when it has changed.
    file: Arc<ArcSwap<HostTable>>,
    /// The file.
    path: Option<PathBuf>,
    /// The entries in the Corefile.
    inline: HostTable,
    /// The nodes of the cluster, if they are served.
    nodes: Option<Current<NodeNames>>,
    /// Whether nodes have PTR records.
    reverse: bool,
    zones: Zones,
    ttl: u32,
    fallthrough: Option<Zones>,
    fallthrough_unsupported: bool,
}

impl Plugin for Hosts {
    // Hot: 0 allocations.
    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        let (query, reply) = (&request.query, &mut answer.reply);
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
        let view = self.nodes.as_ref().map(|nodes| nodes.load());
        let nodes = view.as_ref().map_or(&[][..], |view| view.addresses(query));
        match query.qtype {
            rtype::A | rtype::AAAA => {
                let v4 = query.qtype == rtype::A;
                let nodes = nodes.iter().copied().filter(|address| address.is_ipv4() == v4);
                for address in tables.iter().flat_map(|table| table.addresses(query, v4)).chain(nodes) {
                    self.push_address(address, reply);
                }
            }
            _ if self.fallthrough_unsupported && self.falls_through(query) => return Flow::Next,
            _ => {}
        }
        let exists = !nodes.is_empty() || tables.iter().any(|table| table.contains(query));
        if reply.records().is_empty() && !exists {
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

    fn explain(&self, request: &Request, notes: &mut Notes) {
        let query = &request.query;
        if query.qtype != rtype::PTR && !self.zones.contain(query) {
            return notes.say("the name is outside of its zones");
        }
        let address = dns_zone::reversed(query).filter(|_| query.qtype == rtype::PTR);
        let has = |table: &HostTable| match address {
            Some(address) => !table.names_of(address.to_canonical()).is_empty(),
            None => table.contains(query),
        };
        let from = notes.lines.len();
        if has(&self.file.load())
            && let Some(path) = &self.path
        {
            notes.say(match file::line_of(path, query, address) {
                Some(line) => format!("{}:{line}", path.display()),
                None => format!("{}, as it was read last", path.display()),
            });
        }
        if has(&self.inline) {
            notes.say("an entry in the Corefile");
        }
        if let Some(nodes) = self.nodes.as_ref().map(|nodes| nodes.load())
            && !nodes.addresses(query).is_empty()
        {
            notes.say("a Node of the cluster");
        }
        if notes.lines.len() == from {
            notes.say("no entry");
        }
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
        if let Some(nodes) = self.nodes.as_ref().filter(|_| self.reverse) {
            for name in nodes.load().names_of(address) {
                reply.push(Section::Answer, Owner::Question, rtype::PTR, self.ttl, name);
            }
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
        && let Err(error) = std::fs::metadata(setup.path(word))
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
    let HostsOptions { path, table, ttl, reload, fallthrough, fallthrough_unsupported, nodes, .. } = options;
    let (zones, reverse) = (table.zones.clone(), table.reverse);
    let nodes = match nodes {
        true => Some(follow_nodes(setup, directive)?),
        false => None,
    };
    let (mut shown, shown_path) = (Arc::default(), path.clone());
    if let Some(path) = path {
        let metrics = HostsMetrics::new(&setup.context.metrics);
        let file = HostsFile::new(path, table, inline.len(), metrics);
        shown = file.table.clone();
        setup.on_start(move || async move {
            let file = file.refreshed().await.map_err(|error| format!("hosts: {error}"))?;
            let task = (!reload.is_zero()).then(|| super::Task(tokio::spawn(file.follow(reload))));
            Ok(Box::new(task) as PluginGuard)
        });
    }
    Ok(vec![Arc::new(Hosts {
        file: shown,
        path: shown_path,
        inline,
        nodes,
        reverse,
        zones,
        ttl,
        fallthrough,
        fallthrough_unsupported,
    })])
}

/// The names of the nodes. The start waits a while until they are known.
fn follow_nodes(setup: &mut Setup<'_>, directive: &Directive) -> Result<Current<NodeNames>, SetupErrors> {
    let connection = ApiConnection::default();
    let cluster = setup.context.cluster.clone();
    let nodes = cluster.nodes(&connection).map_err(|why| {
        vec![directive.property("nodes").error(format!("hosts: nodes: {why}"), "access to the API server")]
    })?;
    let view = nodes.clone();
    setup.on_start(move || async move {
        let known = async {
            while !view.load().synced() && !cluster.refused(&connection).contains(Kind::Node) {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        };
        if tokio::time::timeout(STARTUP_TIMEOUT, known).await.is_err() || !view.load().synced() {
            tracing::warn!(target: "plugin/hosts", "starting server without the nodes of the cluster: their names are answered once they are listed");
        }
        Ok(Box::new(()) as PluginGuard)
    });
    Ok(nodes)
}
