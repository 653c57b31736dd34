//! The views of the cluster that `kubernetes` plugins answer from, kept over reloads of the Corefile.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use cluster::Current;
use dns_zone::{Zone, ZoneIndex, ZoneOptions};

use crate::setup::{ApiConnection, ClusterSource};

/// The views in use. A reload with the same zones and options reuses the view of the configuration that it replaces,
/// instead of building a second view of the whole cluster.
#[derive(Default)]
pub(super) struct ZoneViews(Mutex<Vec<Weak<ZoneView>>>);

/// A view and the options that it was built with.
pub(super) struct ZoneView {
    options: ZoneOptions,
    connection: ApiConnection,
    pub(super) current: Current<Zone>,
}

impl ZoneViews {
    /// The view with these options: the one in use, or a new one.
    pub(super) fn of(
        &self,
        cluster: &dyn ClusterSource,
        options: ZoneOptions,
        connection: ApiConnection,
    ) -> Result<Arc<ZoneView>, String> {
        let mut views = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        views.retain(|view| view.strong_count() > 0);
        let known = views.iter().filter_map(Weak::upgrade);
        let mut same =
            known.filter(|view| view.options == options && view.connection.same_source(&connection));
        if let Some(view) = same.next() {
            return Ok(view);
        }
        drop(same);
        let current = cluster.project(ZoneIndex::new(options.clone()), &connection)?;
        let view = Arc::new(ZoneView { options, connection, current });
        views.push(Arc::downgrade(&view));
        Ok(view)
    }
}
