//! Builds the chains of a Corefile, one for each server block.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use config::{
    ConfigError, ConfigErrors, ConfigWarning, Corefile, Directive, Scheme, ServerBlock, ServerKey,
    SourceLocation, Word,
};
use dns_wire::Name;

use crate::chain::{Chain, Link};
use crate::limits::WaitingNeed;
use crate::listener::ListenerSettings;
use crate::plugins::{NOT_BUILT, PLUGINS};
use crate::query_metrics::QueryMetrics;
use crate::routes::{ZoneRoute, ZoneRoutes};
use crate::setup::{
    BlockSettings, Lifecycle, ListenAddress, Offers, PluginContext, PluginGuard, ReloadOptions, ServedKey,
    ServingHook, Setup, SetupErrors, StartHook, served_keys,
};

/// Queries that may wait in addition to those that `max_concurrent` allows: nested resolutions and refreshes.
const WAITING_RESERVE: usize = 1024;

/// Everything that a Corefile configures, ready to be started.
pub struct Servers {
    /// The listeners in the order of their addresses. Each is served over UDP and TCP.
    pub listeners: Vec<DnsListener>,
    /// Warnings about the Corefile.
    pub warnings: Vec<ConfigWarning>,
    /// How long queries are served after shutdown was requested (`health`).
    pub lameduck: Duration,
    /// How often the Corefile is read again (`reload`).
    pub reload: Option<ReloadOptions>,
    /// Held until the configuration is begun, and then among its guards.
    waiting: Option<WaitingNeed>,
    starts: Vec<StartHook>,
    servings: Vec<(ListenAddress, ServingHook)>,
}

/// An address to listen on.
pub struct DnsListener {
    /// The address.
    pub listen: ListenAddress,
    /// The first key or `bind` that names it, for errors.
    pub at: SourceLocation,
    /// The zones that are served there.
    pub routes: Arc<ZoneRoutes>,
}

impl Servers {
    /// Runs the start hooks, which open admin pages and wait for the cluster. The guards must be held while the configuration is
    /// served. Must be called within the runtime of the context.
    pub async fn begin(&mut self) -> Result<Vec<PluginGuard>, String> {
        let waiting = self.waiting.take().map(|need| Box::new(need) as PluginGuard);
        let mut guards: Vec<_> = waiting.into_iter().collect();
        for start in self.starts.drain(..) {
            guards.push(start().await?);
        }
        Ok(guards)
    }

    /// Hooks to be called once an address is served.
    pub fn servings(&mut self) -> Vec<(ListenAddress, ServingHook)> {
        std::mem::take(&mut self.servings)
    }
}

/// The names of all directives of CoreDNS, including those that are not built yet.
pub fn directives() -> &'static [&'static str] {
    static NAMES: std::sync::LazyLock<Vec<&'static str>> = std::sync::LazyLock::new(|| {
        let built = PLUGINS.iter().map(|entry| entry.name);
        built.chain(["proxy"]).chain(NOT_BUILT.iter().copied()).collect()
    });
    &NAMES
}

/// The names of the plugins that are built.
fn names() -> &'static [&'static str] {
    static NAMES: std::sync::LazyLock<Vec<&'static str>> =
        std::sync::LazyLock::new(|| PLUGINS.iter().map(|entry| entry.name).collect());
    &NAMES
}

/// Builds the chains of a Corefile. Returns all errors at once, in the order of their lines.
pub fn build(corefile: &Corefile, context: &PluginContext) -> Result<Servers, ConfigErrors> {
    let mut lifecycle = Lifecycle::default();
    lifecycle.warnings.clone_from(&corefile.warnings);
    let mut errors = corefile.mistakes.clone();
    let (mut listeners, mut hosts) = (BTreeMap::new(), Vec::new());
    for block in &corefile.blocks {
        let block = with_old_names(block, &mut lifecycle);
        errors.extend(block.directives.iter().filter_map(not_built));
        errors.extend(block.keys.iter().filter_map(unsupported_scheme));
        let mut settings = BlockSettings::default();
        let chain = match chain(&block, context, &mut lifecycle, &mut settings) {
            Ok(chain) => Arc::new(chain),
            Err(found) => {
                errors.extend(found);
                hosts.push(Vec::new());
                continue;
            }
        };
        hosts.push(overlap_hosts(&settings.bound));
        for (key, served) in served_keys(&block, &settings).into_iter().enumerate() {
            let at = location(&block, &served);
            match served.zone.parse::<Name>() {
                Ok(zone) => {
                    let new =
                        || ListenerZones { at, settings: ListenerSettings::default(), zones: Vec::new() };
                    let listener = listeners.entry(served.listen).or_insert_with(new);
                    listener.settings = listener.settings.or(settings.listener);
                    let route = ZoneRoute { chain: chain.clone(), key, filter: settings.filter.clone() };
                    listener.zones.push((zone.lower(), route));
                }
                Err(error) => errors.push(ConfigError::new(&at, error.to_string(), "")),
            }
        }
    }
    // Keys that have a mistake may be those of other blocks.
    if corefile.mistakes.is_empty() {
        let hosts = |index: usize, _: &ServerBlock| hosts.get(index).cloned().unwrap_or_default();
        errors.extend(config::overlaps(&corefile.blocks, hosts));
    }
    if !errors.is_empty() {
        return Err(ConfigErrors::sorted(errors, &corefile.name));
    }
    serve_everywhere(&mut listeners);
    let Lifecycle { starts, servings, warnings, lameduck, reload, waiting } = lifecycle;
    let waiting = Some(context.limits.waiting.reserve(waiting.saturating_add(WAITING_RESERVE)));
    let listeners = listeners.into_iter().map(|(listen, ListenerZones { at, settings, zones })| {
        let server = listen.label(Scheme::Dns);
        let dropped = QueryMetrics::new(&context.metrics, [&server, "dropped", ""], PLUGINS.len());
        let routes = ZoneRoutes::new(zones, dropped, context.runtime.clone(), context.limits.clone());
        DnsListener { listen, at, routes: Arc::new(routes.with_settings(settings)) }
    });
    let listeners = listeners.collect();
    Ok(Servers { listeners, warnings, lameduck, reload, waiting, starts, servings })
}

/// The zones of an address.
struct ListenerZones {
    /// Where the Corefile names the address first.
    at: SourceLocation,
    settings: ListenerSettings,
    zones: Vec<(Name, ZoneRoute)>,
}

/// The addresses of a block for the search for overlaps: empty without `bind`.
fn overlap_hosts(bound: &[SocketAddr]) -> Vec<String> {
    let host = |address: &SocketAddr| match address.ip() {
        // All wildcard addresses are the same.
        ip if ip.is_unspecified() => Ipv4Addr::UNSPECIFIED.to_string(),
        ip => ip.to_string(),
    };
    if bound.is_empty() { vec![String::new()] } else { bound.iter().map(host).collect() }
}

/// Serves the zones of all addresses also at those that another block binds to. The kernel passes a query to the listener with the more
/// specific address, which would otherwise refuse it.
fn serve_everywhere(listeners: &mut BTreeMap<ListenAddress, ListenerZones>) {
    let everywhere: Vec<_> = listeners
        .iter()
        .filter(|(listen, _)| listen.bound.is_none())
        .map(|(listen, listener)| (listen.port, listener.zones.clone()))
        .collect();
    for (port, shared) in everywhere {
        for (listen, ListenerZones { zones, .. }) in
            listeners.iter_mut().filter(|(listen, _)| listen.port == port)
        {
            if listen.bound.is_some() {
                let own: Vec<Name> = zones.iter().map(|(zone, _)| *zone).collect();
                zones.extend(shared.iter().filter(|(zone, _)| !own.contains(zone)).cloned());
            }
        }
    }
}

/// Where the Corefile names the zone and address of a key.
fn location(block: &ServerBlock, served: &ServedKey) -> SourceLocation {
    let names = |word: &Word| {
        word.split('%').next().and_then(|ip| ip.parse().ok())
            == served.listen.bound.map(|address| address.ip())
    };
    if served.listen.bound.is_some()
        && let Some(bind) = block.all("bind").next()
    {
        let words = block.all("bind").flat_map(|bind| &bind.args);
        return words.into_iter().find(|word| names(word)).unwrap_or(&bind.name).at.clone();
    }
    let key = block.keys.iter().find(|key| key.zone == served.zone && key.port == served.listen.port);
    key.or_else(|| block.keys.first())
        .map_or_else(|| SourceLocation::unread("Corefile"), |key| key.at.clone())
}

/// The chain of a server block. CoreDNS likewise shares the plugins of the first key with all other keys of the block
/// (core/dnsserver/register.go, MakeServers).
fn chain(
    block: &ServerBlock,
    context: &PluginContext,
    lifecycle: &mut Lifecycle,
    settings: &mut BlockSettings,
) -> Result<Chain, SetupErrors> {
    let (mut links, mut errors) = (Vec::new(), SetupErrors::new());
    let mut wrappers = Vec::new();
    let (linked, offered) = (Arc::default(), Arc::default());
    let order = |early: bool| PLUGINS.iter().enumerate().filter(move |(_, entry)| entry.early == early);
    for (place, entry) in order(true).chain(order(false)) {
        let directives: Vec<&Directive> = block.all(entry.name).collect();
        if directives.is_empty() {
            continue;
        }
        let plugins = PLUGINS.len();
        let mut set_up = |block: &ServerBlock, directives: Vec<&Directive>| {
            let (linked, offered) = (Arc::clone(&linked), Arc::clone(&offered));
            let (lifecycle, settings) = (&mut *lifecycle, &mut *settings);
            (entry.setup)(&mut Setup {
                block,
                plugins,
                directives,
                context,
                linked,
                lifecycle,
                settings,
                offered,
            })
        };
        match set_up(block, directives.clone()) {
            Ok(plugins) => links.extend(plugins.into_iter().map(|plugin| (place, plugin))),
            Err(found) => {
                errors.extend(found);
                // What is wrong with all of them together may have hidden what is wrong with each.
                for directive in directives.iter().filter(|_| directives.len() > 1) {
                    let alone = with_single(block, directive);
                    errors
                        .extend(set_up(&alone, alone.all(entry.name).collect()).err().into_iter().flatten());
                }
            }
        }
        wrappers.extend(settings.wrapper.take().map(|wrapper| (place, wrapper)));
    }
    links.sort_by_key(|(place, _)| *place);
    let links = links.into_iter().map(|(place, plugin)| {
        let name = PLUGINS[place].name;
        let above = wrappers.iter().filter(|(above, _)| *above < place);
        let plugin = above.fold(plugin, |plugin, (_, wrapper)| wrapper(name, plugin));
        Link::new(name, plugin).at_place(place)
    });
    let links: Vec<_> = links.collect();
    let mut linked_names: Vec<&'static str> = links.iter().map(|link| link.name).collect();
    linked_names.dedup();
    let _: Result<(), _> = linked.set(linked_names);
    let _: Result<(), Offers> = offered.set(std::mem::take(&mut settings.offers));
    if errors.is_empty() { Ok(Chain::new(links)) } else { Err(errors) }
}

/// The block with one directive of that name.
fn with_single(block: &ServerBlock, single: &Directive) -> ServerBlock {
    let is_kept = |directive: &&Directive| directive.name.text != single.name.text || *directive == single;
    ServerBlock {
        keys: block.keys.clone(),
        directives: block.directives.iter().filter(is_kept).cloned().collect(),
    }
}

/// Renames `proxy`, the old name of `forward`.
fn with_old_names(block: &ServerBlock, lifecycle: &mut Lifecycle) -> ServerBlock {
    let mut block = block.clone();
    for directive in block.directives.iter_mut().filter(|directive| directive.name.text == "proxy") {
        let what = "proxy is the old name of forward; treated as forward";
        lifecycle.warnings.push(ConfigWarning::new(&directive.name.at, what));
        directive.name.text = "forward".to_owned();
    }
    block
}

fn not_built(directive: &Directive) -> Option<ConfigError> {
    let name = directive.name.text.as_str();
    if PLUGINS.iter().any(|entry| entry.name == name) {
        return None;
    }
    let list = format!("one of {}", names().join(", "));
    if NOT_BUILT.contains(&name) {
        return Some(directive.error(format!("plugin {name} is not built yet"), list));
    }
    let wanted = match config::nearest(name, names()) {
        Some(near) => format!("{near}? ({list})"),
        None => list,
    };
    Some(directive.error(format!("Unknown directive '{name}'"), wanted))
}

fn unsupported_scheme(key: &ServerKey) -> Option<ConfigError> {
    let what = format!("{key}: serving {}:// is not built yet", key.scheme);
    (key.scheme != Scheme::Dns).then(|| ConfigError::new(&key.at, what, "a zone served by plain DNS"))
}
