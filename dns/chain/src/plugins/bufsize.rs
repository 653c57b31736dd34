//! `bufsize`: limits the size of UDP replies, so that they are not fragmented (RFC 9715).

use std::sync::Arc;

use crate::plugin::{Answer, Flow, Plugin};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "bufsize",
    about: "limits the size of UDP replies, so that they are not fragmented",
    syntax: &["bufsize", "bufsize 1400"],
    options: &[PluginOption {
        syntax: "[SIZE]",
        default: "1232",
        about: "The largest size in bytes that a client's EDNS record may announce, 512 to 4096. A larger one is lowered, also in queries to upstreams.",
    }],
    early: false,
    metrics: |_| {},
    setup,
};

struct BufferSize {
    size: u16,
}

impl Plugin for BufferSize {
    // Hot: 0 allocations.
    fn query(&self, request: &mut Request, _: &mut Answer) -> Flow {
        if let Some(edns) = &mut request.query.edns {
            edns.udp_size = edns.udp_size.min(self.size);
        }
        Flow::Next
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    // Further directives are ignored, as in CoreDNS.
    let directive = setup.directives[0];
    directive.no_block().map_err(|error| vec![error])?;
    let size = match directive.optional_arg("[SIZE]").map_err(|error| vec![error])? {
        Some(word) => word.integer(512..=4096).map_err(|error| vec![error])?,
        None => 1232,
    };
    Ok(vec![Arc::new(BufferSize { size })])
}
