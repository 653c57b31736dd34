//! Entry points of the fuzz targets: any text as a zone file, as the block of a Corefile, as a document in etcd. They check
//! invariants of the result.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use config::{Corefile, Directive, ParseOptions};
use dns_wire::{Edns, Name, Query, Reply};
use tokio::runtime::{Builder, Runtime};

use crate::codes::Type;
use crate::plugin::Answer;
use crate::request::{Request, Transport};
use crate::setup::PluginContext;
use crate::{Servers, offline, run};

pub use crate::plugins::fuzz::{etcd_record, zone_file};

/// Plugins that answer or change queries without a file, another server or a wait.
const PLUGINS: [&str; 20] = [
    "metadata",
    "nsid",
    "bufsize",
    "errors",
    "log",
    "local",
    "dns64",
    "siit",
    "any",
    "chaos",
    "loadbalance",
    "rewrite",
    "acl",
    "cache",
    "header",
    "minimal",
    "template",
    "hosts",
    "whoami",
    "view",
];

/// Blocks after which the metrics and shared values of the context are dropped: they would grow with each new label.
const BLOCKS_PER_CONTEXT: usize = 256;

struct FuzzProcess {
    runtime: Runtime,
    context: PluginContext,
    blocks: usize,
}

impl FuzzProcess {
    fn new() -> Self {
        let runtime =
            Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let context = offline::context("fuzz", runtime.handle().clone());
        Self { runtime, context, blocks: 0 }
    }
}

thread_local! {
    static PROCESS: RefCell<FuzzProcess> = RefCell::new(FuzzProcess::new());
}

/// A question (`NAME TYPE [CLIENT]`) on the first line, and the directives of a server block on the others. If they are valid the
/// question is asked twice.
///
/// # Panics
/// When an error has no line, when a reply is not one to the question, or when building or asking panics.
pub fn plugin_rules(data: &str) {
    let (question, block) = data.split_once('\n').unwrap_or((data, ""));
    let mut words = question.split_whitespace();
    let Some(name) = words.next().and_then(|name| name.parse::<Name>().ok()) else { return };
    let Some(qtype) = words.next().and_then(Type::named) else { return };
    let client =
        words.next().and_then(|client| client.parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let Some(corefile) = corefile(block) else { return };
    PROCESS.with_borrow_mut(|process| {
        process.blocks += 1;
        if process.blocks > BLOCKS_PER_CONTEXT {
            *process = FuzzProcess::new();
        }
        match crate::build(&corefile, &process.context) {
            Ok(servers) => process.runtime.block_on(serve(servers, &name, qtype.0, client)),
            Err(errors) => {
                assert!(!errors.0.is_empty(), "an error without a message");
                errors.0.iter().for_each(|error| assert!(error.at.line() > 0, "{error}"));
            }
        }
    });
}

/// The Corefile of one block for all names; `None` if the text is not the inside of a block, or has other plugins.
fn corefile(block: &str) -> Option<Corefile> {
    let text = format!(".:53 {{\n{block}\n}}\n");
    let corefile = Corefile::parse("Corefile", &text, &BTreeMap::new(), &ParseOptions::default()).ok()?;
    let [only] = corefile.blocks.as_slice() else { return None };
    let is_fixed = only.keys.len() == 1 && only.keys[0].zone == ".";
    (is_fixed && only.directives.iter().all(is_in_memory)).then_some(corefile)
}

/// Whether a directive is one of [`PLUGINS`] and reads no file.
fn is_in_memory(directive: &Directive) -> bool {
    let reads_file = match directive.name.text.as_str() {
        // The first argument is a file.
        "hosts" => !directive.args.is_empty(),
        "loadbalance" => directive.args.iter().any(|arg| arg.text == "weighted"),
        _ => false,
    };
    PLUGINS.contains(&directive.name.text.as_str()) && !reads_file
}

async fn serve(mut servers: Servers, name: &Name, qtype: u16, client: IpAddr) {
    let _guards = servers.begin().await.expect("nothing is opened");
    let routes = servers.listeners[0].routes.clone();
    for (transport, edns) in [(Transport::Udp, None), (Transport::Tcp, Some(4096))] {
        let mut request = Request::new(transport, ([127, 0, 0, 1], 53).into());
        request.query = Query::new(7, name, qtype);
        request.query.edns = edns.map(|udp_size| Edns { udp_size, version: 0, dnssec_ok: true });
        request.client = (client, 40_212).into();
        let (sent, limit) = (request.query.clone(), request.limit());
        let (mut answer, mut buffer, mut length) = (Answer::default(), vec![0; usize::from(u16::MAX)], 0);
        let pending = run::answer(&routes, &mut request, &mut answer, |encode| length = encode(&mut buffer));
        if let Some(pending) = pending {
            pending.finish(&mut request, &mut answer, |encode| length = encode(&mut buffer)).await;
        }
        if answer.dropped {
            continue;
        }
        assert!((12..=limit).contains(&length), "a reply of {length} bytes");
        let header = Reply::default().parse(&buffer[..length], &sent);
        assert!(header.is_ok_and(|header| header.matches && header.id == 7), "{header:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_inputs_pass() {
        for (target, entry) in [
            ("zone_file", zone_file as fn(&str)),
            ("plugin_rules", plugin_rules),
            ("etcd_record", etcd_record),
        ] {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
            let files = std::fs::read_dir(format!("{folder}/{target}")).expect("a kept corpus");
            for file in files {
                let bytes = std::fs::read(file.expect("a file").path()).expect("bytes");
                entry(&String::from_utf8_lossy(&bytes));
            }
        }
    }
}
