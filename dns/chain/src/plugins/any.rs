//! `any`: answers queries of type ANY with one HINFO record (RFC 8482 §4.2).

use std::sync::Arc;

use dns_wire::codes::rtype;
use dns_wire::{Owner, Section};

use crate::plugin::{Answer, Flow, Plugin};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, Setup, SetupErrors};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "any",
    about: "answers queries of type ANY with one HINFO record (RFC 8482)",
    syntax: &["any"],
    options: &[],
    early: false,
    metrics: |_| {},
    setup,
};

/// The texts and the TTL are those of CoreDNS.
const DATA: &[u8] = b"\x0dANY obsoleted\x0cSee RFC 8482";
const TTL: u32 = 8482;

struct Any;

impl Plugin for Any {
    // Hot: 0 allocations.
    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        if request.query.qtype != rtype::ANY {
            return Flow::Next;
        }
        answer.reply.push(Section::Answer, Owner::Question, rtype::HINFO, TTL, DATA);
        Flow::Done
    }

    fn in_memory(&self) -> bool {
        true
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.directives[0];
    directive.no_args().and_then(|()| directive.no_block()).map_err(|error| vec![error])?;
    Ok(vec![Arc::new(Any)])
}
