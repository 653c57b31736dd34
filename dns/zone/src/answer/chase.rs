//! ExternalName Services: the CNAME record, and its target where it is in the zone.

use std::net::IpAddr;

use dns_wire::codes::rtype;
use dns_wire::{Name, Owner, Query, Reply, Section};
use smallvec::SmallVec;

use super::ZoneVerdict;
use super::resolved::{QuestionName, ResolvedName};
use crate::zone::Zone;

/// Maximum length of a CNAME chain within the zone.
const LONGEST: usize = 10;

impl Zone {
    /// Answers a query for the name of an ExternalName Service.
    pub(super) fn push_external(
        &self,
        question: &QuestionName<'_>,
        target: &[u8],
        own: &[IpAddr],
        reply: &mut Reply,
    ) -> ZoneVerdict {
        match question.query.qtype {
            rtype::CNAME => {
                reply.push(Section::Answer, Owner::Question, rtype::CNAME, self.plan.options.ttl, target);
                ZoneVerdict::Answered
            }
            rtype::A | rtype::AAAA => self.follow(question, target, own, reply).unwrap_or_else(|| {
                // As in CoreDNS, a CNAME whose target does not exist in the zone is left out.
                reply.records_mut().clear();
                ZoneVerdict::Answered
            }),
            _ => ZoneVerdict::Answered,
        }
    }

    /// Follows CNAMEs until there are addresses or the target is outside the zone. `None` for a loop or a missing target.
    fn follow(
        &self,
        question: &QuestionName<'_>,
        target: &[u8],
        own: &[IpAddr],
        reply: &mut Reply,
    ) -> Option<ZoneVerdict> {
        let (ttl, qtype) = (self.plan.options.ttl, question.query.qtype);
        let mut target = Name::from_wire(target)?;
        let mut name = question.query.to_name();
        let mut seen = SmallVec::<[Name; 2]>::new();
        reply.push(Section::Answer, Owner::Question, rtype::CNAME, ttl, target.wire());
        loop {
            if target.is_within(&name) || seen.len() > LONGEST || seen.contains(&target) {
                return None;
            }
            if !target.is_within(&question.origin.name) {
                return Some(ZoneVerdict::Chase);
            }
            seen.push(target);
            let step = Query::new(0, &target, qtype);
            let question = QuestionName::new(&step, question.origin);
            let resolved = self.resolve(&question);
            let owner = Owner::Name(target.wire());
            if let ResolvedName::External(next) = resolved {
                reply.push(Section::Answer, owner, rtype::CNAME, ttl, next);
                (name, target) = (target, Name::from_wire(next)?);
                continue;
            }
            let before = reply.records().len();
            self.push_addresses(&resolved, qtype, own, owner, reply);
            return (reply.records().len() > before).then_some(ZoneVerdict::Answered);
        }
    }
}
