//! `minimal`: leaves out the authority and additional records of positive answers, which clients do not need.

use std::sync::Arc;

use dns_wire::Section;
use dns_wire::codes::{rcode, rtype};

use crate::plugin::{After, Answer, Hooks, Plugin};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, Setup, SetupErrors};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "minimal",
    about: "leaves out the authority and additional records of positive answers",
    syntax: &["minimal"],
    options: &[],
    early: false,
    metrics: |_| {},
    setup,
};

struct Minimal;

impl Plugin for Minimal {
    fn hooks(&self) -> Hooks {
        Hooks::REPLY
    }

    /// Denials, errors, referrals and zone transfers stay whole.
    // Hot: 0 allocations.
    fn reply(&self, request: &mut Request, answer: &mut Answer) -> After {
        let reply = &mut answer.reply;
        let is_transfer = matches!(request.query.qtype, rtype::AXFR | rtype::IXFR);
        let is_positive = reply.rcode == rcode::NOERROR && reply.section(Section::Answer).next().is_some();
        if is_positive && !is_transfer {
            reply.records_mut().retain(|record| record.section == Section::Answer);
        }
        After::Pass
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.directives[0];
    directive.no_args().and_then(|()| directive.no_block()).map_err(|error| vec![error])?;
    Ok(vec![Arc::new(Minimal)])
}
