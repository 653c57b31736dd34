//! `shed`: drops what the server cannot take, so that clients ask another server at once.
//!
//! CoreDNS's plugin bounds the replies that wait for a socket. No reply waits here: a thread reads as many datagrams as it can
//! answer, and what waits is bounded with and without `shed`. What is left is how a query over the bounds ends: without a reply
//! instead of SERVFAIL.

use std::sync::Arc;

use dns_wire::codes::rcode;
use telemetry::metrics::{Counter, Family, Registry};

use crate::plugin::{After, Answer, Hooks, Plugin};
use crate::request::{Purpose, Request, Transport};
use crate::setup::{PluginEntry, PluginInstances, Setup, SetupErrors};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "shed",
    about: "drops queries over UDP that would get SERVFAIL because too many wait",
    syntax: &["shed"],
    options: &[],
    early: false,
    metrics: |metrics| {
        dropped(metrics);
    },
    setup,
};

struct Shed {
    /// By key of the server block.
    dropped: Vec<Counter>,
}

impl Plugin for Shed {
    fn hooks(&self) -> Hooks {
        Hooks::REPLY
    }

    // Hot: 0 allocations.
    fn reply(&self, request: &mut Request, answer: &mut Answer) -> After {
        let is_overloaded = answer.failure.as_ref().is_some_and(|failure| failure.overloaded);
        // REFUSED is the answer of `max_concurrent`.
        let is_shed = is_overloaded
            && answer.reply.rcode == rcode::SERVFAIL
            && request.transport == Transport::Udp
            && request.purpose == Purpose::Client;
        if is_shed {
            answer.reply.clear();
            answer.dropped = true;
            self.dropped[request.key.min(self.dropped.len() - 1)].inc();
        }
        After::Pass
    }
}

fn dropped(metrics: &Registry) -> Family<Counter, 2> {
    metrics.counters(
        "coredns_shed_dropped_total",
        "Counter of queries and responses dropped, per server, by reason.",
        ["server", "reason"],
    )
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    directive.no_args().and_then(|()| directive.no_block()).map_err(|error| vec![error])?;
    let family = dropped(&setup.context.metrics);
    let dropped = setup.served_keys().iter().map(|key| family.with([&*key.server, "query"])).collect();
    Ok(vec![Arc::new(Shed { dropped })])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::QueryFailure;

    #[test]
    fn only_a_query_over_udp_that_is_over_a_limit_is_dropped() {
        let overloaded = QueryFailure::overloaded();
        let refused = QueryFailure { rcode: rcode::REFUSED, ..QueryFailure::overloaded() };
        let failed = QueryFailure::silent(rcode::SERVFAIL);
        for (transport, purpose, failure, is_dropped) in [
            (Transport::Udp, Purpose::Client, Some(&overloaded), true),
            (Transport::Tcp, Purpose::Client, Some(&overloaded), false),
            (Transport::Udp, Purpose::Resolve(1), Some(&overloaded), false),
            (Transport::Udp, Purpose::Client, Some(&refused), false),
            (Transport::Udp, Purpose::Client, Some(&failed), false),
            (Transport::Udp, Purpose::Client, None, false),
        ] {
            let plugin = Shed { dropped: vec![Counter::default()] };
            let mut request = Request::new(transport, ([127, 0, 0, 1], 53).into());
            request.purpose = purpose;
            let mut answer = Answer::default();
            if let Some(failure) = failure {
                answer.fail(failure.clone());
            }
            assert_eq!(plugin.reply(&mut request, &mut answer), After::Pass);
            assert_eq!((answer.dropped, plugin.dropped[0].value()), (is_dropped, is_dropped.into()));
        }
    }
}
