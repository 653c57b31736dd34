//! Answers that are the same for all queries of a zone but for the queried name: they are made when the Corefile is read.

use dns_wire::codes::rtype;
use dns_wire::{Owner, Query, Reply, Section};

use super::RecordTemplate;
use crate::codes::Type;
use crate::presentation::{self, TextRecord};

/// The records of a template for the queries of one zone in class IN.
pub(super) struct FixedAnswer(Vec<FixedRecord>);

struct FixedRecord {
    section: Section,
    /// Whether the owner is the queried name, in lower case.
    own_name: bool,
    record: TextRecord,
}

impl FixedAnswer {
    /// The answer for a zone; `None` if it depends on more of the query, cannot be made, or has a CNAME, whose target is resolved.
    pub(super) fn new(records: &[RecordTemplate], zone: &str, qtype: Option<Type>) -> Option<Self> {
        let qtype = qtype.map(|qtype| qtype.to_string());
        let mut fixed = Vec::new();
        for RecordTemplate { section, text } in records {
            let text = text.fixed(zone, qtype.as_deref())?;
            let Some(record) = presentation::record(&text.text).ok()? else { continue };
            if record.rtype == rtype::CNAME {
                return None;
            }
            fixed.push(FixedRecord { section: *section, own_name: text.own_name, record });
        }
        Some(Self(fixed))
    }

    /// Adds the records to a reply.
    // Hot: 0 allocations once the reply's buffers have grown.
    pub(super) fn push(&self, query: &Query, reply: &mut Reply) {
        // Records of the queried name have it in lower case, as in CoreDNS.
        let own = if query.name() == query.lower() { Owner::Question } else { Owner::Name(query.lower()) };
        for FixedRecord { section, own_name, record } in &self.0 {
            let owner = if *own_name { own } else { Owner::Name(record.owner.wire()) };
            reply.push_class(*section, owner, (record.rtype, record.class), record.ttl, &record.rdata);
        }
    }
}
