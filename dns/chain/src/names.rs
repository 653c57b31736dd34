//! Zones as plugins are given them: lists of names, matched against the name of a query.

use config::Word;
use dns_wire::{Name, Query};

use crate::setup::SetupErrors;

/// Names of zones in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zones(Vec<Name>);

impl Zones {
    /// The zones of a configuration, which has checked that they are names.
    pub fn new<'z>(zones: impl IntoIterator<Item = &'z str>) -> Self {
        Self(zones.into_iter().filter_map(|zone| zone.parse().ok()).map(|name: Name| name.lower()).collect())
    }

    /// The zones that words name.
    pub fn read(words: &[Word]) -> Result<Self, config::ConfigError> {
        let mut zones = Vec::new();
        for word in words {
            zones.extend(word.zones()?);
        }
        Ok(Self::new(zones.iter().map(String::as_str)))
    }

    /// The zones that words name, or those of the server block.
    pub fn read_or_keys(words: &[Word], block: &config::ServerBlock) -> Result<Self, SetupErrors> {
        let zones = config::zones_or_keys(words, block).map_err(|error| vec![error])?;
        Ok(Self::new(zones.iter().map(String::as_str)))
    }

    /// Adds more.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names.
    pub fn names(&self) -> &[Name] {
        &self.0
    }

    /// The longest zone that holds the name asked for.
    // Hot: 0 allocations.
    pub fn find(&self, query: &Query) -> Option<usize> {
        let within = self.0.iter().enumerate().filter(|(_, zone)| holds(zone, query));
        within.max_by_key(|(_, zone)| zone.wire().len()).map(|(index, _)| index)
    }

    /// Whether some zone holds the name asked for.
    // Hot: 0 allocations.
    pub fn hold(&self, query: &Query) -> bool {
        self.0.iter().any(|zone| holds(zone, query))
    }
}

/// Whether a zone, in lower case, holds the name asked for.
// Hot: 0 allocations.
pub(crate) fn holds(zone: &Name, query: &Query) -> bool {
    let (name, zone) = (query.lower(), zone.wire());
    let Some(at) = name.len().checked_sub(zone.len()) else { return false };
    // The root, and whatever begins where a label of the name begins.
    name[at..] == *zone
        && (zone.len() == 1 || query.offsets().iter().any(|offset| usize::from(*offset) == at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_zone_at_a_label_holds_a_name() {
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
        assert!(!Zones::new(["a."]).hold(&Query::new(0, &"b.".parse().unwrap(), 1)));
    }
}
