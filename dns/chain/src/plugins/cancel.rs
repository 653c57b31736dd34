//! `cancel`: limits how long a query may wait.

use std::sync::Arc;
use std::time::Duration;

use crate::plugin::{Answer, Flow, Plugin};
use crate::request::Request;
use crate::run::DEADLINE;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "cancel",
    about: "limits how long a query may wait",
    syntax: &["cancel", "cancel 1s"],
    options: &[PluginOption {
        syntax: "[TIMEOUT]",
        default: "5001ms",
        about: "A query without an answer after this time gets SERVFAIL. The server itself allows 10s, so a longer time has no effect.",
    }],
    early: false,
    metrics: |_| {},
    setup,
};

struct Cancel {
    limit: Duration,
}

impl Plugin for Cancel {
    // Hot: 0 allocations.
    fn query(&self, request: &mut Request, _: &mut Answer) -> Flow {
        request.time_limit = Some(self.limit);
        Flow::Next
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let mut limit = Duration::from_millis(5001);
    // Of several directives the last one counts, as in CoreDNS.
    for directive in setup.directives.clone() {
        directive.no_block().map_err(|error| vec![error])?;
        limit = match directive.optional_arg("[TIMEOUT]").map_err(|error| vec![error])? {
            Some(word) => {
                let least = Duration::from_nanos(1);
                word.duration_in(least.., "longer than 0s").map_err(|error| vec![error])?
            }
            None => Duration::from_millis(5001),
        };
        if limit > DEADLINE {
            setup.warn(directive, format!("no query waits longer than {}", config::value::shown(DEADLINE)));
        }
    }
    Ok(vec![Arc::new(Cancel { limit })])
}
