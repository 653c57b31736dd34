//! Zones for which the cache is not searched, because none of their answers is stored.

use std::sync::{Arc, OnceLock};

use crate::names::{OwnedZones, Zones};
use crate::setup::{Setup, Wanted};

/// Plugins that may stand between `cache` and `kubernetes` and give no answers that are stored.
const STORE_NOTHING: [&str; 3] = ["header", "minimal", "hosts"];

/// The zones that `kubernetes` has in memory as a whole.
#[derive(Default)]
pub(super) struct InMemoryZones {
    source: Option<ZoneSource>,
    found: OnceLock<Zones>,
}

/// The inputs from which the zones are computed.
struct ZoneSource {
    wanted: Wanted<OwnedZones>,
    /// The plugins of the server block in order.
    linked: Arc<OnceLock<Vec<&'static str>>>,
}

impl InMemoryZones {
    /// The zones of a server block.
    pub(super) fn new(setup: &mut Setup<'_>) -> Self {
        let source = ZoneSource { wanted: setup.want(), linked: setup.linked.clone() };
        Self { source: Some(source), found: OnceLock::new() }
    }

    /// The zones, which are known once the whole server block has been set up.
    // Hot: 0 allocations after the first query.
    pub(super) fn get(&self) -> &Zones {
        self.found.get_or_init(|| {
            let mut zones = Zones::default();
            let Some(ZoneSource { wanted, linked }) = &self.source else { return zones };
            let names = linked.get().map(Vec::as_slice).unwrap_or_default();
            let between = names.iter().skip_while(|name| **name != super::ENTRY.name).skip(1);
            let mut between = between.take_while(|name| **name != crate::plugins::kubernetes::ENTRY.name);
            if between.all(|name| STORE_NOTHING.contains(name)) {
                wanted.get().iter().for_each(|owned| zones.extend(owned.0.clone()));
            }
            zones
        })
    }
}
