//! `metadata`: enables the metadata of queries, which other plugins publish and use.

use std::sync::Arc;

use crate::metadata::MetadataSources;
use crate::names::Zones;
use crate::plugin::{Answer, Flow, Plugin};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "metadata",
    about: "enables the metadata of queries, which other plugins publish and use",
    syntax: &["metadata", "metadata example.org"],
    options: &[PluginOption {
        syntax: "[ZONE…]",
        default: "the zones of the server block",
        about: "Queries for other names have no metadata. The values are found only when a plugin asks for them: `{/LABEL}` in `log`, `.Meta` in `template`, `{LABEL}` in `rewrite`, `metadata('LABEL')` in expressions. Labels: `kubernetes/kind`, `…/namespace`, `…/service`, `…/endpoint`, `…/port-name`, `…/protocol`, `…/parse-error`, in zones of `multicluster` `…/cluster`, with `zonal` `…/zone`, with `pods verified` `…/client-namespace`; `view/name`.",
    }],
    early: false,
    metrics: |_| {},
    setup,
};

struct Metadata(Arc<MetadataSources>);

impl Plugin for Metadata {
    // Hot: 0 allocations once the list of attached values has grown.
    fn query(&self, request: &mut Request, _: &mut Answer) -> Flow {
        if self.0.cover(request) {
            request.extensions.insert(self.0.clone());
        }
        Flow::Next
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    directive.no_block().map_err(|error| vec![error])?;
    let zones = Zones::read_or_keys(&directive.args, setup.block)?;
    let sources = Arc::new(MetadataSources::new(zones, setup.want()));
    setup.offer(sources.clone());
    Ok(vec![Arc::new(Metadata(sources))])
}
