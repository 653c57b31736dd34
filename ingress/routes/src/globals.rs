//! Global settings: the ConfigMap of `--configmap`, and the routes that it closes.
//!
//! An unsupported key that protects something closes the routes that it would protect, so that they are never served unprotected; all
//! others are reported with their consequence.

mod keys;

use std::sync::Arc;

use cluster::{ConfigMap, Key, Kind, Kinds, ObjectChange, Snapshot};

use self::keys::KEYS;
pub use self::keys::{ConfigMapKey, Guard, KeySupport, keys};
use crate::annotations::{self, OptedOut, Reference, SettingReader, Settings};
use crate::family_values::FamilyValues;
use crate::options::RouteOptions;
use crate::plan::filter::ServerFilters;
use crate::problem::{Effect, RoutingProblem};
use crate::settings::{Defaults, ServerSettings};
use crate::unsupported::{Level, unknown_name};

/// The effect of the ConfigMap on the routes of all Ingresses.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Globals {
    /// Why everything is closed: the ConfigMap has not been read, or a key that protects has an invalid value.
    closed: Option<String>,
    /// Everything is closed because the ConfigMap has not been read.
    is_unread: bool,
    /// What annotation families have read.
    values: FamilyValues,
    server: Arc<ServerSettings>,
    /// Filters of the requests to all hosts.
    filters: ServerFilters,
    guards: Vec<ActiveGuard>,
    problems: Vec<RoutingProblem>,
    /// The objects that it names, sorted.
    references: Box<[Reference]>,
}

/// An unsupported key that protects something, with a value that enables it.
#[derive(Clone, Debug)]
struct ActiveGuard {
    key: &'static str,
    guard: &'static Guard,
}

impl PartialEq for ActiveGuard {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Globals {
    /// The settings of a snapshot.
    ///
    /// Without `--configmap`, and if the ConfigMap does not exist, the defaults apply, as in ingress-nginx. Before ConfigMaps
    /// have been listed it is unknown what has to be protected, so everything is closed.
    pub(crate) fn of(cluster: &Snapshot, options: &RouteOptions) -> Self {
        let without = || Self::without_config_map(&options.defaults);
        let Some(key) = &options.config_map else { return without() };
        if !cluster.synced(Kinds::of(&[Kind::ConfigMap])) {
            let closed = Some(format!("ConfigMap {key} has not been read"));
            return Self { closed, is_unread: true, ..without() };
        }
        let config_map = cluster.get::<ConfigMap>(key);
        config_map.map_or_else(without, |config_map| Self::read(config_map, cluster, &options.defaults))
    }

    /// Whether a batch may have changed them.
    pub(crate) fn are_touched(
        &self,
        cluster: &Snapshot,
        touched: &[ObjectChange],
        options: &RouteOptions,
    ) -> bool {
        let Some(key) = &options.config_map else { return false };
        let is_read = cluster.synced(Kinds::of(&[Kind::ConfigMap]));
        is_read == self.is_unread
            || touched
                .iter()
                .filter(|one| matches!(one, ObjectChange::ConfigMap(_) | ObjectChange::Secret(_)))
                .any(|one| {
                    let reference = (one.kind(), one.summary().0);
                    reference == (Kind::ConfigMap, key.clone())
                        || self.references.binary_search(&reference).is_ok()
                })
    }

    /// Whether both make the same routes.
    pub(crate) fn make_the_same(&self, other: &Self) -> bool {
        let Self { closed, is_unread: _, values, server: _, filters: _, guards, problems: _, references: _ } =
            self;
        (closed, values, guards) == (&other.closed, &other.values, &other.guards)
    }

    /// What annotation families have read from the ConfigMap.
    pub(crate) fn values(&self) -> &FamilyValues {
        &self.values
    }

    /// The settings of the server.
    pub(crate) fn server(&self) -> &Arc<ServerSettings> {
        &self.server
    }

    /// The filters of the requests to all hosts.
    pub(crate) fn filters(&self) -> &ServerFilters {
        &self.filters
    }

    fn without_config_map(defaults: &Defaults) -> Self {
        let mut values = FamilyValues::default();
        values.set(defaults.proxy.clone());
        Self { values, server: defaults.server.clone(), ..Self::default() }
    }

    fn read(config_map: &ConfigMap, cluster: &Snapshot, defaults: &Defaults) -> Self {
        let mut globals = Self::without_config_map(defaults);
        let mut reader = SettingReader::of_config_map(config_map, cluster);
        globals.server.store(&mut globals.values);
        annotations::read_keys(&mut reader, &mut globals.values);
        globals.server = Arc::new(ServerSettings::take(&mut globals.values));
        globals.filters = globals.values.take().unwrap_or_default();
        let findings = reader.done();
        (globals.closed, globals.problems) = (findings.denied, findings.problems);
        globals.references = findings.references;
        for (name, value) in &config_map.data {
            let Some(key) = KEYS.iter().find(|known| known.name == name.as_str()) else {
                if !keys::is_obsolete(name) && !annotations::has_key(name) {
                    let what = unknown_name(name, keys().map(|known| known.name));
                    globals.report(&config_map.key, name, what, Effect::Differs);
                }
                continue;
            };
            let KeySupport::Unsupported { setting, guard } = key.support else { continue };
            let Some(what) = setting.explain(value) else { continue };
            match (setting.level, guard) {
                (Level::Closed, Some(guard)) => {
                    let what = format!("{what}; {}", guard.describe());
                    globals.report(&config_map.key, "", what, Effect::ClosesOthers);
                    globals.guards.push(ActiveGuard { key: key.name, guard });
                }
                (Level::Cosmetic, _) => globals.report(&config_map.key, "", what, Effect::Cosmetic),
                _ => globals.report(&config_map.key, "", what, Effect::Differs),
            }
        }
        globals
    }

    fn report(&mut self, key: &Key, field: &str, what: String, effect: Effect) {
        let (kind, key, field) = (Kind::ConfigMap, key.clone(), field.to_owned());
        self.problems.push(RoutingProblem { kind, key, field, what, effect });
    }

    /// The problems of the ConfigMap.
    pub(crate) fn problems(&self) -> &[RoutingProblem] {
        &self.problems
    }

    /// Why every request of a route is answered 503, whatever its annotations.
    pub(crate) fn closes(&self, settings: &Settings) -> Option<String> {
        let guard = || self.guards.iter().find(|active| active.covers(settings));
        let why = |active: &ActiveGuard| format!("{} of the ConfigMap is not honoured", active.key);
        self.closed.clone().or_else(|| guard().map(why))
    }
}

impl ActiveGuard {
    fn covers(&self, settings: &Settings) -> bool {
        let opted_out = settings.values.get::<OptedOut>();
        !self.guard.opt_out.is_some_and(|name| opted_out.is_some_and(|opted_out| opted_out.has(name)))
    }
}

#[cfg(test)]
mod tests;
