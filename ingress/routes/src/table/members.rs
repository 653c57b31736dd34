//! Ingresses by precedence, where something holds for all that they share: a host, a Service.

use std::cmp::Ordering;
use std::sync::Arc;

use super::taken::ParsedIngress;
use crate::precedence::precedence;
use crate::sorted::{Ranked, Sorted};

/// Some Ingresses, the first in precedence first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct IngressList(Sorted<Member>);

#[derive(Clone, Debug, PartialEq)]
struct Member {
    taken: Arc<ParsedIngress>,
    traits: Traits,
}

/// What an Ingress says for all, kept beside the pointer to it so that a look at all Ingresses of a host stays
/// within the list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Traits {
    /// It is no canary and has rules, so it makes its hosts.
    pub(super) makes_hosts: bool,
    /// It makes its hosts, and has a `tls` section.
    pub(super) tls: bool,
    /// It makes its hosts, and has an `app-root`.
    pub(super) app_root: bool,
    /// It is no canary, and has an affinity.
    pub(super) affinity: bool,
}

impl IngressList {
    /// Those without some and with others.
    pub(super) fn with<'t>(
        &self,
        gone: impl IntoIterator<Item = &'t Arc<ParsedIngress>>,
        came: impl IntoIterator<Item = &'t Arc<ParsedIngress>>,
    ) -> Self {
        Self(
            self.0.with(
                gone.into_iter().map(Member::new).collect(),
                came.into_iter().map(Member::new).collect(),
            ),
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<ParsedIngress>> {
        self.0.iter().map(|member| &member.taken)
    }

    /// The first that has a trait.
    pub(super) fn first(&self, of: impl Fn(&Traits) -> bool) -> Option<&Arc<ParsedIngress>> {
        self.0.iter().find(|member| of(&member.traits)).map(|member| &member.taken)
    }
}

impl Member {
    fn new(taken: &Arc<ParsedIngress>) -> Self {
        let primary = !taken.is_canary();
        let makes_hosts = primary && !taken.ingress.rules.is_empty();
        let traits = Traits {
            makes_hosts,
            tls: makes_hosts && !taken.ingress.tls.is_empty(),
            app_root: makes_hosts && taken.settings.app_root.is_some(),
            affinity: primary && taken.settings.affinity.is_some(),
        };
        Self { taken: taken.clone(), traits }
    }
}

impl Ranked for Member {
    fn rank(&self, other: &Self) -> Ordering {
        precedence(&self.taken.ingress, &other.taken.ingress)
    }
}
