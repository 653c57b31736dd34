//! Ingresses that share a host or a Service, by precedence.

use std::cmp::Ordering;
use std::sync::Arc;

use super::parsed_ingress::ParsedIngress;
use crate::annotations::{
    AffinitySettings, AppRoot, AuthTls, HostConnections, HostNames, HostSnippet, LoadBalance,
};
use crate::precedence::precedence;
use crate::sorted_list::{Ordered, SortedList};

/// Ingresses in order of precedence.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct IngressList(SortedList<Member>);

#[derive(Clone, Debug, PartialEq)]
struct Member {
    parsed: Arc<ParsedIngress>,
    traits: IngressTraits,
}

/// Settings of an Ingress that affect other Ingresses of its host, copied into the list so that a search does not follow the
/// pointers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct IngressTraits {
    /// It is not a canary and has rules, so its hosts have routes.
    pub(super) makes_hosts: bool,
    /// `makes_hosts`, and it has a `tls` section.
    pub(super) tls: bool,
    /// `makes_hosts`, and it has an `app-root`.
    pub(super) app_root: bool,
    /// `makes_hosts`, and it has a `server-alias`.
    pub(super) aliases: bool,
    /// `makes_hosts`, and it has a `from-to-www-redirect`.
    pub(super) from_to_www: bool,
    /// It is not a canary, and has annotations about TLS.
    pub(super) tls_settings: bool,
    /// `makes_hosts`, and it has a `server-snippet`.
    pub(super) server_snippet: bool,
    /// It is not a canary, and has an affinity.
    pub(super) affinity: bool,
    /// It has an annotation about balancing.
    pub(super) balances: bool,
}

/// The old and new versions of Ingresses that share an upstream or a reference.
#[derive(Default)]
pub(super) struct IngressSides<'t> {
    pub(super) removed: Vec<&'t Arc<ParsedIngress>>,
    pub(super) added: Vec<&'t Arc<ParsedIngress>>,
}

impl IngressList {
    /// The list with some Ingresses removed and others added.
    pub(super) fn with<'t>(
        &self,
        removed: impl IntoIterator<Item = &'t Arc<ParsedIngress>>,
        added: impl IntoIterator<Item = &'t Arc<ParsedIngress>>,
    ) -> Self {
        Self(self.0.with(
            removed.into_iter().map(Member::new).collect(),
            added.into_iter().map(Member::new).collect(),
        ))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<ParsedIngress>> {
        self.0.iter().map(|member| &member.parsed)
    }

    /// The Ingresses whose traits satisfy a condition.
    pub(super) fn all(
        &self,
        of: impl Fn(&IngressTraits) -> bool,
    ) -> impl Iterator<Item = &Arc<ParsedIngress>> {
        self.0.iter().filter(move |member| of(&member.traits)).map(|member| &member.parsed)
    }

    /// The first Ingress whose traits satisfy a condition.
    pub(super) fn first(&self, of: impl Fn(&IngressTraits) -> bool) -> Option<&Arc<ParsedIngress>> {
        self.0.iter().find(|member| of(&member.traits)).map(|member| &member.parsed)
    }
}

impl Member {
    fn new(parsed: &Arc<ParsedIngress>) -> Self {
        let primary = !parsed.is_canary();
        let makes_hosts = primary && !parsed.ingress.rules.is_empty();
        let values = &parsed.settings.values;
        let names = values.get::<HostNames>().filter(|_| makes_hosts);
        let traits = IngressTraits {
            makes_hosts,
            tls: makes_hosts && !parsed.ingress.tls.is_empty(),
            app_root: makes_hosts && values.get::<AppRoot>().is_some(),
            aliases: names.is_some_and(|names| !names.aliases.is_empty()),
            from_to_www: names.is_some_and(|names| names.from_to_www),
            tls_settings: primary
                && (values.get::<AuthTls>().is_some() || values.get::<HostConnections>().is_some()),
            server_snippet: makes_hosts && values.get::<HostSnippet>().is_some(),
            affinity: primary && values.get::<AffinitySettings>().is_some_and(|it| it.cookie.is_some()),
            balances: values.get::<LoadBalance>().is_some(),
        };
        Self { parsed: parsed.clone(), traits }
    }
}

impl Ordered for Member {
    fn compare(&self, other: &Self) -> Ordering {
        precedence(&self.parsed.ingress, &other.parsed.ingress)
    }
}
