//! Metadata: facts about a query that plugins publish under labels such as `kubernetes/namespace`, for the log, `rewrite`,
//! `template` and `view`.

use std::sync::{Arc, OnceLock};

use crate::request::Request;
use crate::setup::Wanted;

/// A plugin that publishes metadata. It offers a [`MetadataOffer`] in its setup.
pub trait MetadataSource: Send + Sync {
    /// The value of a label for a query; `None` if the label is not its own or has no value.
    fn value(&self, label: &str, request: &Request) -> Option<String>;
}

/// What a plugin offers to the plugin `metadata` of its server block.
pub struct MetadataOffer(pub Arc<dyn MetadataSource>);

/// The sources of a server block, attached to its queries by the plugin `metadata`.
pub(crate) struct MetadataSources {
    wanted: Wanted<MetadataOffer>,
    found: OnceLock<Vec<Arc<MetadataOffer>>>,
}

impl MetadataSources {
    pub(crate) fn new(wanted: Wanted<MetadataOffer>) -> Self {
        Self { wanted, found: OnceLock::new() }
    }
}

impl Request {
    /// The value of a metadata label; `None` without the plugin `metadata`, and if no plugin has a value.
    pub fn metadata(&self, label: &str) -> Option<String> {
        let sources = self.extensions.get::<MetadataSources>()?;
        let found = sources.found.get_or_init(|| sources.wanted.get());
        found.iter().find_map(|offer| offer.0.value(label, self))
    }
}

/// Whether a text has the form of a label: a plugin's name, `/`, and more.
pub(crate) fn is_label(text: &str) -> bool {
    let parts = text.split_once('/');
    parts.is_some_and(|(plugin, rest)| !plugin.is_empty() && !rest.is_empty() && !rest.contains('/'))
}
