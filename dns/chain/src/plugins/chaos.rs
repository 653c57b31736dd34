//! `chaos`: answers the TXT queries of class CH that ask a server for its version and its name (RFC 4892).

use std::sync::Arc;

use dns_wire::codes::{class, rtype};
use dns_wire::{Owner, Section};

use crate::host;
use crate::plugin::{Answer, Flow, Plugin};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "chaos",
    about: "answers queries of class CH for the version and the name of the server",
    syntax: &["chaos", "chaos \"Portolan 1\" \"The DNS team\" dns@example.org"],
    options: &[
        PluginOption {
            syntax: "[VERSION]",
            default: "Portolan-VERSION",
            about: "The answer to `version.bind` and `version.server`. `hostname.bind` and `id.server` are answered with the name of the host.",
        },
        PluginOption {
            syntax: "[AUTHORS…]",
            default: "The Portolan authors",
            about: "The answer to `authors.bind`: a record for each, in random order.",
        },
    ],
    early: false,
    metrics: |_| {},
    setup,
};

/// The most bytes of a character string (RFC 1035 §3.3).
const MAX_TEXT: usize = 255;

struct Chaos {
    version: Box<[u8]>,
    authors: Vec<Box<[u8]>>,
    hostname: Box<[u8]>,
}

impl Plugin for Chaos {
    // Hot: 0 allocations, but for the order of the authors.
    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        let query = &request.query;
        if query.qclass != class::CH || query.qtype != rtype::TXT {
            return Flow::Next;
        }
        let mut push = |text: &[u8]| {
            let reply = &mut answer.reply;
            reply.push_class(Section::Answer, Owner::Question, (rtype::TXT, class::CH), 0, text);
        };
        match query.lower() {
            b"\x07authors\x04bind\0" => {
                let mut authors: Vec<_> = self.authors.iter().collect();
                fastrand::shuffle(&mut authors);
                authors.into_iter().for_each(|author| push(author));
            }
            b"\x07version\x04bind\0" | b"\x07version\x06server\0" => push(&self.version),
            b"\x08hostname\x04bind\0" | b"\x02id\x06server\0" => push(&self.hostname),
            _ => return Flow::Next,
        }
        Flow::Done
    }

    fn in_memory(&self) -> bool {
        true
    }

    fn any_class(&self) -> bool {
        true
    }
}

/// A character string, cut at its largest length.
fn text(text: &str) -> Box<[u8]> {
    let text = &text.as_bytes()[..text.len().min(MAX_TEXT)];
    [&[text.len() as u8], text].concat().into()
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    // Further directives are ignored, as in CoreDNS.
    let directive = setup.directives[0];
    directive.no_block().map_err(|error| vec![error])?;
    let version = match directive.args.first() {
        Some(version) => text(version),
        None => text(&format!("Portolan-{}", setup.context.version)),
    };
    let authors = directive.args.get(1..).unwrap_or_default();
    let authors = match authors {
        [] => vec![text("The Portolan authors")],
        authors => authors.iter().map(|author| text(author)).collect(),
    };
    Ok(vec![Arc::new(Chaos { version, authors, hostname: text(&host::name()) })])
}
