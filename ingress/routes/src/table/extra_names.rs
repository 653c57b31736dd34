//! Names that lead to a host besides its own: its aliases, and its counterpart with or without `www.`.
//!
//! Several hosts may ask for the same name. As in ingress-nginx, a redirect takes precedence over an alias, and then the host whose name
//! comes first. The others stay recorded, so that they take over when the first one is removed.

use cluster::CompactString;
use smallvec::SmallVec;

use crate::sharded_map::ShardedMap;

/// Why a name leads to a host. The order is that of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NameKind {
    /// `from-to-www-redirect`.
    Counterpart,
    /// `server-alias`.
    Alias,
}

/// The hosts that ask for one name, by precedence.
#[derive(Clone, Debug, Default, PartialEq)]
struct NameClaims(SmallVec<[(NameKind, CompactString); 1]>);

/// All further names, by host key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ExtraNames(ShardedMap<CompactString, NameClaims>);

impl ExtraNames {
    /// The host that a name leads to. Hot: one lookup, without allocation.
    pub(super) fn get(&self, name: &str) -> Option<(NameKind, &CompactString)> {
        let (kind, host) = self.0.get(name)?.0.first()?;
        Some((*kind, host))
    }

    /// Replaces the names of a host.
    pub(super) fn advance(
        &mut self,
        key: &CompactString,
        before: Vec<(NameKind, CompactString)>,
        after: Vec<(NameKind, CompactString)>,
    ) {
        if before == after {
            return;
        }
        for (kind, name) in before {
            let mut claims = self.0.get(&name).cloned().unwrap_or_default();
            claims.0.retain(|claim| *claim != (kind, key.clone()));
            self.0.set(name, (!claims.0.is_empty()).then_some(claims));
        }
        for (kind, name) in after {
            let mut claims = self.0.get(&name).cloned().unwrap_or_default();
            claims.0.push((kind, key.clone()));
            claims.0.sort_unstable();
            self.0.insert(name, claims);
        }
    }

    /// Every name with the hosts that ask for it, by precedence.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&CompactString, &[(NameKind, CompactString)])> {
        self.0.iter().map(|(name, claims)| (name, &*claims.0))
    }
}
