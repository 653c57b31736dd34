//! Explains a query: runs it through the chains that serve, with a record of what each plugin does.

use std::net::SocketAddr;
use std::sync::Arc;

use dns_wire::{Name, Query};

use crate::codes::Type;
use crate::plugin::Answer;
use crate::presentation::record_text;
use crate::recording::{RecordedStep, Recorder, code, failure_text};
use crate::request::{Request, Transport};
use crate::routes::ZoneRoutes;
use crate::run;

/// A query to explain.
#[derive(Clone, Copy, Debug)]
pub struct ExplainedQuery<'n> {
    /// The queried name.
    pub name: &'n Name,
    /// The queried type.
    pub qtype: u16,
    /// The address of the client.
    pub client: SocketAddr,
    /// Whether plugins may ask other servers.
    pub sends: bool,
}

/// What happened to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What the plugins did, in order.
    pub steps: Vec<RecordedStep>,
    /// The answer.
    pub outcome: QueryOutcome,
    /// The records that are known.
    pub records: Vec<String>,
}

/// The answer of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryOutcome {
    /// The response code, and why there is no answer.
    Answered {
        /// The code.
        rcode: u16,
        /// Its name, and the reason of a failure.
        text: String,
    },
    /// It depends on servers that were not asked.
    Unsent,
    /// No server block has the zone: REFUSED.
    NoZone,
    /// The client gets no answer.
    Dropped,
}

/// Runs a query through the chains of an address. Unless `sends` is set, no other server is asked. Plugins that only observe queries do not see it.
pub async fn explain(routes: &ZoneRoutes, query: ExplainedQuery<'_>) -> Explanation {
    let recorder = Arc::new(Recorder::new(query.sends));
    let routes = Arc::new(routes.recorded(&recorder));
    let mut request = Request::new(Transport::Udp, SocketAddr::from(([127, 0, 0, 1], 53)));
    request.query = Query::new(1, query.name, query.qtype);
    request.query.set_recursion_desired(true);
    request.client = query.client;
    let has_zone = routes.find(&request).is_some();
    let mut answer = Answer::default();
    if has_zone {
        // The message itself has no reader.
        let write = |encode: run::EncodeReply<'_>| {
            encode(&mut vec![0; usize::from(u16::MAX)]);
        };
        if let Some(pending) = run::answer(&routes, &mut request, &mut answer, write) {
            pending.finish(&mut request, &mut answer, write).await;
        }
    }
    let (steps, is_unsent) = recorder.finish();
    let reply = &answer.reply;
    let records = reply.records().iter().map(|record| record_text(reply, record, &request.query)).collect();
    let outcome = match () {
        () if !has_zone => QueryOutcome::NoZone,
        () if is_unsent => QueryOutcome::Unsent,
        () if answer.dropped => QueryOutcome::Dropped,
        () => QueryOutcome::Answered {
            rcode: reply.rcode,
            text: answer.failure.as_ref().map_or_else(|| code(reply.rcode), failure_text),
        },
    };
    Explanation { steps, outcome, records }
}

/// The type with a name such as `AAAA` or `TYPE65`.
pub fn type_named(name: &str) -> Option<u16> {
    Type::named(name).map(|found| found.0)
}

/// The name of a type.
pub fn type_name(qtype: u16) -> String {
    Type(qtype).to_string()
}
