//! Metadata: facts about a query that plugins publish under labels such as `kubernetes/namespace`, for the log, `rewrite`,
//! `template` and `view`.

use std::sync::{Arc, OnceLock};

use crate::names::Zones;
use crate::request::Request;
use crate::setup::Wanted;

/// A plugin that publishes metadata. It offers a [`MetadataOffer`] in its setup.
pub trait MetadataSource: Send + Sync {
    /// The value of a label for a query; `None` if the label is not its own or has no value.
    fn value(&self, label: &str, request: &Request) -> Option<String>;
}

/// A source of metadata that a plugin offers to the plugin `metadata` of its server block.
pub struct MetadataOffer(pub Arc<dyn MetadataSource>);

/// The sources of a server block. The plugin `metadata` attaches them to queries, and offers them to `view`, which selects the block
/// before any plugin has seen the query.
pub(crate) struct MetadataSources {
    zones: Zones,
    wanted: Wanted<MetadataOffer>,
    found: OnceLock<Vec<Arc<MetadataOffer>>>,
}

impl MetadataSources {
    /// Sources for the queries of these zones.
    pub(crate) fn new(zones: Zones, wanted: Wanted<MetadataOffer>) -> Self {
        Self { zones, wanted, found: OnceLock::new() }
    }

    /// Whether a query has metadata.
    pub(crate) fn cover(&self, request: &Request) -> bool {
        self.zones.contain(&request.query)
    }

    /// The value of a label for a query that has metadata.
    pub(crate) fn value(&self, label: &str, request: &Request) -> Option<String> {
        let found = self.found.get_or_init(|| self.wanted.get());
        found.iter().find_map(|offer| offer.0.value(label, request))
    }
}

impl Request {
    /// The value of a metadata label; `None` without the plugin `metadata`, and if no plugin has a value.
    pub fn metadata(&self, label: &str) -> Option<String> {
        self.extensions.get::<MetadataSources>()?.value(label, self)
    }
}

/// Whether a text has the form of a label: a plugin's name, `/`, and more, such as `kubernetes/client-label/app`.
pub(crate) fn is_label(text: &str) -> bool {
    text.split_once('/').is_some_and(|(plugin, rest)| !plugin.is_empty() && !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_a_plugin_and_a_name_that_may_have_slashes() {
        for (text, wanted) in [
            ("kubernetes/namespace", true),
            ("kubernetes/client-label/app.kubernetes.io/name", true),
            ("qname", false),
            ("/name", false),
            ("plugin/", false),
        ] {
            assert_eq!(is_label(text), wanted, "{text}");
        }
    }
}
