//! The projection that makes the route table: which hosts, upstreams and references a change affects, and the table after it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cluster::{CompactString, Ingress, Key, Kind, Kinds, ObjectChange, Projection, Snapshot};
use foldhash::fast::RandomState;

use super::RouteTable;
use super::extra_names::ExtraNames;
use super::host::{Host, HostChange};
use super::ingress_list::{IngressList, IngressSides};
use super::location::BuildContext;
use super::parsed_ingress::ParsedIngress;
use super::route_match::StepLimitHits;
use super::unserved::{ListedKinds, unserved, unserved_ingress};
use super::upstream_users::UpstreamUsers;
use crate::annotations::Reference;
use crate::class::Classes;
use crate::globals::Globals;
use crate::limits::LimitZones;
use crate::options::{PoolKey, RouteOptions};
use crate::pattern::PatternCache;
use crate::plan::shared_plans::SharedPlans;
use crate::precedence::CATCH_ALL;
use crate::sharded_map::ShardedMap;

/// The projection that makes the [`RouteTable`].
#[derive(Debug)]
pub struct RouteIndex {
    options: RouteOptions,
    patterns: PatternCache,
    zones: LimitZones,
    plans: SharedPlans,
    step_limit_hits: StepLimitHits,
}

/// An Ingress that was added, changed or removed.
struct IngressChange {
    before: Option<Arc<ParsedIngress>>,
    after: Option<Arc<ParsedIngress>>,
}

/// What changes of Ingresses affect.
#[derive(Default)]
struct AffectedUnits<'c> {
    hosts: HashMap<CompactString, HostChange<'c>, RandomState>,
    pools: HashMap<PoolKey, IngressSides<'c>, RandomState>,
    references: HashMap<Reference, IngressSides<'c>, RandomState>,
}

impl RouteIndex {
    /// A projection with the options of the command line.
    pub fn new(options: RouteOptions) -> Self {
        Self {
            options,
            patterns: PatternCache::default(),
            zones: LimitZones::default(),
            plans: SharedPlans::default(),
            step_limit_hits: StepLimitHits::default(),
        }
    }

    fn empty(&self, classes: Classes, globals: Globals) -> RouteTable {
        let users = ShardedMap::default();
        let catch_all = self.host(None, &CATCH_ALL, HostChange::default(), &users, &globals);
        RouteTable {
            classes: Arc::new(classes),
            globals: Arc::new(globals),
            ingresses: ShardedMap::default(),
            hosts: ShardedMap::default(),
            names: ExtraNames::default(),
            catch_all: Arc::new(catch_all.expect("the catch-all is there without an Ingress")),
            users,
            references: ShardedMap::default(),
            unserved: ShardedMap::default(),
            listed: ListedKinds::Incomplete,
            step_limit_hits: self.step_limit_hits.clone(),
            limit_evictions: self.zones.evicted(),
        }
    }

    fn host(
        &self,
        last: Option<&Arc<Host>>,
        key: &CompactString,
        change: HostChange<'_>,
        users: &ShardedMap<PoolKey, UpstreamUsers>,
        globals: &Globals,
    ) -> Option<Host> {
        let shared_affinity = |pool: &PoolKey| users.get(pool)?.shared_affinity.clone();
        let balance = |pool: &PoolKey| users.get(pool)?.balance.as_ref();
        let context = BuildContext {
            options: &self.options,
            globals,
            patterns: &self.patterns,
            zones: &self.zones,
            plans: &self.plans,
            shared_affinity: &shared_affinity,
            balance: &balance,
        };
        Host::advance(last.map(|last| &**last), key, change, &context)
    }

    /// The Ingresses that have to be read again because an object that they name has changed.
    fn referring(
        &self,
        last: &RouteTable,
        cluster: &Snapshot,
        touched: &[ObjectChange],
    ) -> Vec<IngressChange> {
        let is_reference =
            |one: &&ObjectChange| matches!(one, ObjectChange::Secret(_) | ObjectChange::ConfigMap(_));
        let references = touched.iter().filter(is_reference).map(|one| (one.kind(), one.summary().0));
        let users =
            references.filter_map(|reference| last.references.get(&reference)).flat_map(IngressList::iter);
        let changed: HashSet<Key, RandomState> = touched
            .iter()
            .filter(|one| matches!(one, ObjectChange::Ingress(_)))
            .map(|one| one.summary().0)
            .collect();
        let mut seen = HashSet::<&Key, RandomState>::default();
        let users =
            users.filter(|parsed| !changed.contains(&parsed.ingress.key) && seen.insert(&parsed.ingress.key));
        let again = |parsed: &Arc<ParsedIngress>| {
            let after = ParsedIngress::new(parsed.ingress.clone(), &self.options, &last.globals, cluster);
            IngressChange { before: Some(parsed.clone()), after: Some(Arc::new(after)) }
        };
        users.map(again).collect()
    }

    /// The table after some Ingresses changed.
    fn apply(&self, last: &RouteTable, changes: &[IngressChange]) -> RouteTable {
        let mut table = last.clone();
        for IngressChange { before, after } in changes {
            if let Some(before) = before {
                table.ingresses.remove(&before.ingress.key);
            }
            if let Some(after) = after {
                table.ingresses.insert(after.ingress.key.clone(), after.clone());
            }
        }
        let AffectedUnits { mut hosts, pools, references } = AffectedUnits::of(changes);
        for (reference, sides) in references {
            let empty = IngressList::default();
            let users = last.references.get(&reference).unwrap_or(&empty);
            let users = users.with(sides.removed.iter().copied(), sides.added.iter().copied());
            table.references.set(reference, (!users.is_empty()).then_some(users));
        }
        for (pool, sides) in pools {
            let known = last.users.get(&pool);
            let users = UpstreamUsers::advance(known, &sides);
            if users.as_ref().map(UpstreamUsers::shared) != known.map(UpstreamUsers::shared) {
                let followers = users.iter().flat_map(|users| users.all.iter());
                for (host, path) in followers.flat_map(|parsed| parsed.paths_to(&pool)) {
                    hosts.entry(host).or_default().paths.push(path);
                }
            }
            table.users.set(pool, users);
        }
        for (key, change) in hosts {
            self.apply_to_host(last, &mut table, key, change);
        }
        table
    }

    fn apply_to_host(
        &self,
        last: &RouteTable,
        table: &mut RouteTable,
        key: CompactString,
        change: HostChange<'_>,
    ) {
        if key == CATCH_ALL {
            let catch_all = self.host(Some(&last.catch_all), &key, change, &table.users, &table.globals);
            table.catch_all = Arc::new(catch_all.expect("the catch-all is there without an Ingress"));
            return;
        }
        let known = last.hosts.get(&key);
        let host = self.host(known, &key, change, &table.users, &table.globals);
        let names = |host: Option<&Host>| host.map(|host| host.extra_names(&key)).unwrap_or_default();
        table.names.advance(&key, names(known.map(|host| &**host)), names(host.as_ref()));
        table.hosts.set(key, host.map(Arc::new));
    }
}

impl<'c> AffectedUnits<'c> {
    fn of(changes: &'c [IngressChange]) -> Self {
        let mut units = Self::default();
        for IngressChange { before, after } in changes {
            if let Some(before) = before {
                units.remove(before);
            }
            if let Some(after) = after {
                units.add(after);
            }
        }
        units
    }

    fn remove(&mut self, before: &'c Arc<ParsedIngress>) {
        for host in before.hosts() {
            self.hosts.entry(host).or_default().removed.push(before);
        }
        for pool in before.pools() {
            self.pools.entry(pool).or_default().removed.push(before);
        }
        for (host, rule_path) in before.rule_paths() {
            self.hosts.entry(host).or_default().paths.push(rule_path.path().0.into());
        }
        for reference in &before.references {
            self.references.entry(reference.clone()).or_default().removed.push(before);
        }
    }

    fn add(&mut self, after: &'c Arc<ParsedIngress>) {
        for host in after.hosts() {
            self.hosts.entry(host).or_default().added.push(after);
        }
        for pool in after.pools() {
            self.pools.entry(pool).or_default().added.push(after);
        }
        for (host, rule_path) in after.rule_paths() {
            let change = self.hosts.entry(host).or_default();
            change.paths.push(rule_path.path().0.into());
            change.rule_paths.push(rule_path);
        }
        for reference in &after.references {
            self.references.entry(reference.clone()).or_default().added.push(after);
        }
    }
}

impl Projection for RouteIndex {
    type View = RouteTable;

    fn kinds(&self) -> Kinds {
        Kinds::of(&[Kind::Ingress, Kind::Secret, Kind::ConfigMap]).union(Classes::kinds(&self.options))
    }

    fn build(&self, cluster: &Snapshot) -> RouteTable {
        let classes = Classes::of(cluster, &self.options);
        let empty = self.empty(classes, Globals::of(cluster, &self.options));
        let ours = cluster.iter::<Ingress>().filter(|ingress| empty.classes.take(ingress, &self.options));
        let parsed = ours.map(|ingress| {
            Arc::new(ParsedIngress::new(ingress.clone(), &self.options, &empty.globals, cluster))
        });
        let changes: Vec<_> =
            parsed.map(|parsed| IngressChange { before: None, after: Some(parsed) }).collect();
        let mut table = self.apply(&empty, &changes);
        table.unserved = unserved(&table.classes, cluster, &self.options);
        table.listed = ListedKinds::of(cluster, self.kinds());
        table
    }

    fn advance(&self, last: &RouteTable, cluster: &Snapshot, touched: &[ObjectChange]) -> RouteTable {
        if last.classes.are_touched(touched, &self.options) {
            return self.build(cluster);
        }
        let mut last = last;
        let renewed;
        if last.globals.are_touched(cluster, touched, &self.options) {
            let globals = Globals::of(cluster, &self.options);
            if !globals.make_the_same(&last.globals) {
                return self.build(cluster);
            }
            renewed = RouteTable { globals: Arc::new(globals), ..last.clone() };
            last = &renewed;
        }
        let change = |one: &ObjectChange| {
            let ObjectChange::Ingress(change) = one else { return None };
            let before = last.ingresses.get(&change.sides().next()?.key).cloned();
            let ours = change.after.as_ref().filter(|after| last.classes.take(after, &self.options));
            let after = ours.map(|after| {
                Arc::new(ParsedIngress::new(after.clone(), &self.options, &last.globals, cluster))
            });
            (before.is_some() || after.is_some()).then_some(IngressChange { before, after })
        };
        let mut changes: Vec<_> = touched.iter().filter_map(change).collect();
        changes.extend(self.referring(last, cluster, touched));
        let mut table = if changes.is_empty() { last.clone() } else { self.apply(last, &changes) };
        if touched.iter().any(|one| matches!(one, ObjectChange::IngressClass(_))) {
            table.unserved = unserved(&table.classes, cluster, &self.options);
        }
        for one in touched {
            let ObjectChange::Ingress(change) = one else { continue };
            let Some(ingress) = change.sides().next() else { continue };
            let unserved = change
                .after
                .as_ref()
                .and_then(|after| unserved_ingress(&table.classes, cluster, after, &self.options));
            table.unserved.set(ingress.key.clone(), unserved);
        }
        table.listed = ListedKinds::of(cluster, self.kinds());
        table
    }
}
