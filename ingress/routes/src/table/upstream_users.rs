//! The Ingresses that use an upstream, and what they share.

use std::sync::Arc;

use cluster::Key;

use super::ingress_list::{IngressList, IngressSides};
use crate::affinity::Affinity;
use crate::annotations::{AffinitySettings, LoadBalance};

/// The Ingresses that use an upstream.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct UpstreamUsers {
    pub(super) all: IngressList,
    /// The affinity of the first Ingress that has one. Rules without an affinity read its cookie and set none.
    pub(super) shared_affinity: Option<Arc<Affinity>>,
    /// `None` if no Ingress has an annotation about balancing.
    pub(super) balance: Option<ServiceBalance>,
}

/// The annotations about balancing of the first Ingress with an upstream. They apply to the rules of all others.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServiceBalance {
    pub(super) ingress: Key,
    pub(super) settings: Option<LoadBalance>,
}

impl UpstreamUsers {
    /// The users of an upstream after a change; `None` if there is none left.
    pub(super) fn advance(last: Option<&Self>, sides: &IngressSides<'_>) -> Option<Self> {
        let empty = IngressList::default();
        let all = last.map_or(&empty, |last| &last.all);
        let all = all.with(sides.removed.iter().copied(), sides.added.iter().copied());
        if all.is_empty() {
            return None;
        }
        let first = all.first(|traits| traits.affinity);
        let shared_affinity = first
            .and_then(|parsed| parsed.settings.values.get::<AffinitySettings>())
            .and_then(|affinity| affinity.cookie.clone());
        let balance = all.first(|traits| traits.balances).and_then(|_| {
            let first = all.iter().next()?;
            let (ingress, settings) = (first.ingress.key.clone(), first.settings.values.get().cloned());
            Some(ServiceBalance { ingress, settings })
        });
        Some(Self { all, shared_affinity, balance })
    }

    /// The settings on which the rules of all users depend.
    pub(super) fn shared(&self) -> (Option<&Arc<Affinity>>, Option<&ServiceBalance>) {
        (self.shared_affinity.as_ref(), self.balance.as_ref())
    }
}
