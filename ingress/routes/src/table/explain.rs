//! Why a request gets its route: which name found the host, and which paths it won against.

use std::sync::Arc;

use super::extra_names::NameKind;
use super::path_match::PathMatch;
use super::route::Route;
use super::{RouteMatch, RouteTable};
use crate::pattern::StepBudget;
use crate::precedence::{CATCH_ALL, host_name};

/// Why a name leads to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostReason<'t> {
    /// A rule has the name.
    Name,
    /// No rule has the name, and this wildcard covers it.
    Wildcard(&'t str),
    /// It is an alias (`server-alias`) of this host.
    Alias(&'t str),
    /// It is this host with or without `www.` (`from-to-www-redirect`), and redirects there.
    Counterpart(&'t str),
    /// No rule has the name: rules without a host, and the default backend.
    CatchAll,
}

/// How the path of a request was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathReason {
    /// A rule covers it.
    Covered,
    /// Only the same path with a slash at its end has a rule: a redirect.
    MissingSlash,
    /// The regular expressions of the host took too many steps.
    StepLimit,
}

impl RouteTable {
    /// Every route of every host, also those that no rule has.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.hosts.iter().map(|(_, host)| host).chain([&self.catch_all]).flat_map(|host| host.routes())
    }
}

impl<'t> RouteMatch<'t> {
    /// Why the name leads to its host.
    pub fn host_reason(&self) -> HostReason<'t> {
        match self.extra_name {
            Some((NameKind::Alias, host)) => HostReason::Alias(host),
            Some((NameKind::Counterpart, host)) => HostReason::Counterpart(host),
            None if self.host.root.host == host_name(&CATCH_ALL) => HostReason::CatchAll,
            None if self.host.root.host.starts_with("*.") => HostReason::Wildcard(&self.host.root.host),
            None => HostReason::Name,
        }
    }

    /// How its path was found.
    pub fn path_reason(&self) -> PathReason {
        match self.path_match {
            PathMatch::Route(_) => PathReason::Covered,
            PathMatch::MissingSlash(_) => PathReason::MissingSlash,
            PathMatch::StepLimit(_) => PathReason::StepLimit,
        }
    }

    /// Whether the paths of the host are regular expressions.
    pub fn has_patterns(&self) -> bool {
        self.host.has_patterns()
    }

    /// The other routes of the host that cover a normalised path, in the order in which they would be used.
    pub fn other_routes(&self, path: &str) -> Vec<&'t Arc<Route>> {
        let mut others = self.host.covering(path, &mut StepBudget::default());
        others.retain(|route| !Arc::ptr_eq(route, self.route()));
        others
    }
}
