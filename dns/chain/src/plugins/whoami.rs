//! `whoami`: answers with the client's own address, port and protocol.

use std::net::IpAddr;
use std::sync::Arc;

use dns_wire::codes::rtype;
use dns_wire::{Owner, Reply, Section};

use crate::plugin::{Answer, Flow, Plugin};
use crate::request::{Request, Transport};
use crate::setup::{PluginEntry, PluginInstances, Setup, SetupErrors};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "whoami",
    about: "answers with the client's own address, port and protocol",
    syntax: &["whoami"],
    options: &[],
    early: false,
    metrics: |_| {},
    setup,
};

struct Whoami;

impl Plugin for Whoami {
    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        let (reply, qclass) = (&mut answer.reply, request.query.qclass);
        let mut push = |owner: Owner<'_>, rtype, data: &[u8]| {
            reply.push_class(Section::Additional, owner, (rtype, qclass), 0, data);
        };
        match request.client.ip() {
            IpAddr::V4(ip) => push(Owner::Question, rtype::A, &ip.octets()),
            IpAddr::V6(ip) => push(Owner::Question, rtype::AAAA, &ip.octets()),
        }
        // An SRV record of `_udp.` and the queried name, with the client's port and the root as target.
        let label = match request.transport {
            Transport::Udp => b"\x04_udp",
            Transport::Tcp => b"\x04_tcp",
        };
        let [high, low] = request.client.port().to_be_bytes();
        let mut owner = [0; 7];
        owner[..5].copy_from_slice(label);
        owner[5..].copy_from_slice(&Reply::parent(0));
        let data = [0, 0, 0, 0, high, low, 0];
        push(Owner::Name(&owner), rtype::SRV, &data);
        reply.authoritative = true;
        Flow::Done
    }

    fn in_memory(&self) -> bool {
        true
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    // Further directives are ignored, as in CoreDNS.
    let directive = setup.directives[0];
    directive.no_args().and_then(|()| directive.no_block()).map_err(|error| vec![error])?;
    Ok(vec![Arc::new(Whoami)])
}
