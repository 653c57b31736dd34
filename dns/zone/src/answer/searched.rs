//! Recognises names that a resolver has made with the search list of a Pod.

use dns_wire::{Name, Query};

use super::resolved::QuestionName;
use crate::zone::{Zone, service};

/// A name that consists of another name and the first entry of a Pod's search list, `<namespace>.svc.<zone>`.
#[derive(Debug, PartialEq)]
pub struct SearchedName<'a> {
    /// The labels of the other name in wire form without the root, in the letter case of the query.
    pub labels: &'a [u8],
    /// The zone.
    pub zone: &'a Name,
}

impl Zone {
    /// Takes the name of a query that has no answer apart, if a resolver with the option `ndots` (resolv.conf(5)) would append a
    /// search list to the part in front. `None` also where that part
    ///
    /// - has one label: it is the name of a Service, and one that does not exist must stay denied;
    /// - ends in the name of a Service of the namespace: an endpoint or port that does not exist must stay denied.
    // Hot: 0 allocations.
    pub fn searched<'a>(&'a self, query: &'a Query, ndots: usize) -> Option<SearchedName<'a>> {
        let origin = self.plan.origin(query).filter(|origin| !origin.reverse && !origin.multicluster)?;
        let question = QuestionName::new(query, origin);
        let labels = question.left.checked_sub(2)?;
        // A name with `ndots` dots or more is tried as it is before the search list is.
        if !(2..=ndots).contains(&labels) || question.label(labels + 1) != b"svc" || !self.local.synced {
            return None;
        }
        let key = &query.lower()[question.start(labels - 1)..question.start(labels + 1)];
        if !self.has_namespace(question.label(labels)) || service(&self.services, key).is_some() {
            return None;
        }
        Some(SearchedName { labels: &query.name()[..question.start(labels)], zone: &origin.name })
    }
}
