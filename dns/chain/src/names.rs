//! Lists of zones, matched against the name of a query.

use config::Word;
use dns_wire::{Name, Query};

use crate::setup::SetupErrors;

/// Zone names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zones(Vec<Name>);

impl Zones {
    /// Zones from the configuration, which has checked that they are names.
    pub fn new<'z>(zones: impl IntoIterator<Item = &'z str>) -> Self {
        Self(zones.into_iter().filter_map(|zone| zone.parse().ok()).map(|name: Name| name.lower()).collect())
    }

    /// Zones from words of the Corefile.
    pub fn read(words: &[Word]) -> Result<Self, config::ConfigError> {
        let mut zones = Vec::new();
        for word in words {
            zones.extend(word.zones()?);
        }
        Ok(Self::new(zones.iter().map(String::as_str)))
    }

    /// Zones from words of the Corefile, or those of the server block if there are no words.
    pub fn read_or_keys(words: &[Word], block: &config::ServerBlock) -> Result<Self, SetupErrors> {
        let zones = config::zones_or_keys(words, block).map_err(|error| vec![error])?;
        Ok(Self::new(zones.iter().map(String::as_str)))
    }

    /// Adds zones.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names.
    pub fn names(&self) -> &[Name] {
        &self.0
    }

    /// The index of the longest zone that contains the name of the query.
    // Hot: 0 allocations.
    pub fn find(&self, query: &Query) -> Option<usize> {
        let within = self.0.iter().enumerate().filter(|(_, zone)| contains(zone, query));
        within.max_by_key(|(_, zone)| zone.wire().len()).map(|(index, _)| index)
    }

    /// Whether a zone contains the name of the query.
    // Hot: 0 allocations.
    pub fn contain(&self, query: &Query) -> bool {
        self.0.iter().any(|zone| contains(zone, query))
    }
}

/// Zones of which a plugin answers every name from memory. It offers them in its setup, so that the plugins before it need not look for
/// answers of their own.
pub(crate) struct OwnedZones(pub Zones);

impl OwnedZones {
    /// The zones of a plugin that share no name with those whose names fall through to the next plugin.
    pub(crate) fn new(zones: &[Name], fallthrough: Option<&Zones>) -> Self {
        let others = fallthrough.map(Zones::names).unwrap_or_default();
        let is_owned =
            |zone: &&Name| !others.iter().any(|other| other.is_within(zone) || zone.is_within(other));
        Self(Zones(
            zones
                .iter()
                .map(|zone| zone.lower())
                .collect::<Vec<_>>()
                .iter()
                .filter(is_owned)
                .copied()
                .collect(),
        ))
    }
}

/// Whether a zone, in lower case, contains the name of the query.
// Hot: 0 allocations.
pub(crate) fn contains(zone: &Name, query: &Query) -> bool {
    let (name, zone) = (query.lower(), zone.wire());
    let Some(at) = name.len().checked_sub(zone.len()) else { return false };
    // The root contains every name. Any other zone must begin where a label of the name begins.
    name[at..] == *zone
        && (zone.len() == 1 || query.offsets().iter().any(|offset| usize::from(*offset) == at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_owned_if_none_of_its_names_falls_through() {
        let zones = ["Cluster.local.", "10.in-addr.arpa.", "set.local."].map(|zone| zone.parse().unwrap());
        let owned = |fallthrough: Option<&[&str]>| {
            let fallthrough = fallthrough.map(|zones| Zones::new(zones.iter().copied()));
            OwnedZones::new(&zones, fallthrough.as_ref()).0
        };
        assert_eq!(owned(None), Zones::new(["cluster.local.", "10.in-addr.arpa.", "set.local."]));
        assert_eq!(owned(Some(&["in-addr.arpa.", "a.set.local."])), Zones::new(["cluster.local."]));
        assert_eq!(owned(Some(&["."])), Zones::default());
    }

    #[test]
    fn the_longest_zone_that_begins_at_a_label_is_found() {
        let zones = Zones::new([".", "example.org.", "Sub.example.org."]);
        for (name, wanted) in [
            ("example.org.", 1),
            ("www.EXAMPLE.org.", 1),
            ("notexample.org.", 0),
            ("a.sub.example.org.", 2),
            ("sub.example.org.", 2),
            ("org.", 0),
            (".", 0),
        ] {
            let query = Query::new(0, &name.parse().unwrap(), 1);
            assert_eq!(zones.find(&query), Some(wanted), "{name}");
        }
        assert!(!Zones::new(["a."]).contain(&Query::new(0, &"b.".parse().unwrap(), 1)));
    }
}
