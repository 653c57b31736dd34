//! A Corefile becomes chains, by listening port.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use config::{ConfigError, ConfigErrors, ConfigWarning, Corefile, Directive, Scheme, ServerBlock, ServerKey};
use dns_wire::Name;

use crate::chain::{Chain, Link};
use crate::plugins::{NOT_BUILT, PLUGINS};
use crate::query_metrics::QueryMetrics;
use crate::routes::Routes;
use crate::setup::{
    Lifecycle, PluginContext, PluginGuard, ReloadOptions, ServingHook, Setup, SetupErrors, StartHook,
    server_label,
};

/// Everything that a Corefile asks to be served, ready to be started.
pub struct Servers {
    /// By port, in order. Each is served over UDP and TCP.
    pub ports: Vec<(u16, Arc<Routes>)>,
    /// What loads and is yet odd, for the log.
    pub warnings: Vec<ConfigWarning>,
    /// How long queries are served after the end has been announced (`health`).
    pub lameduck: Duration,
    /// How often the Corefile is read again (`reload`).
    pub reload: Option<ReloadOptions>,
    starts: Vec<StartHook>,
    servings: Vec<(u16, ServingHook)>,
}

impl Servers {
    /// Does what has to be done before the first query: opens pages, waits for the cluster. Keep what is returned for
    /// as long as this configuration is served. Must run within the runtime of the context.
    pub async fn begin(&mut self) -> Result<Vec<PluginGuard>, String> {
        let mut kept = Vec::new();
        for start in self.starts.drain(..) {
            kept.push(start().await?);
        }
        Ok(kept)
    }

    /// What wants to know where a port is served, once it is.
    pub fn servings(&mut self) -> Vec<(u16, ServingHook)> {
        std::mem::take(&mut self.servings)
    }
}

/// The names of all directives there are, for the parser of the Corefile.
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

/// Makes the chains of a Corefile. All mistakes are found in one go.
pub fn build(corefile: &Corefile, context: &PluginContext) -> Result<Servers, ConfigErrors> {
    let mut lifecycle = Lifecycle::default();
    lifecycle.warnings.clone_from(&corefile.warnings);
    let mut mistakes = SetupErrors::new();
    let mut ports: BTreeMap<u16, Vec<(Name, Arc<Chain>)>> = BTreeMap::new();
    for (block_index, block) in corefile.blocks.iter().enumerate() {
        let block = with_old_names(block, &mut lifecycle);
        mistakes.extend(block.directives.iter().filter_map(not_built));
        for key in &block.keys {
            mistakes.extend(unserved(key));
            let zone =
                key.zone.parse::<Name>().map_err(|error| ConfigError::new(&key.at, error.to_string(), ""));
            match (zone, chain(&block, block_index, key, context, &mut lifecycle)) {
                (Ok(zone), Ok(chain)) => {
                    ports.entry(key.port).or_default().push((zone.lower(), Arc::new(chain)));
                }
                (zone, chain) => {
                    mistakes.extend(zone.err());
                    mistakes.extend(chain.err().unwrap_or_default());
                }
            }
        }
    }
    // Every key of a block finds the same mistakes.
    let mut known = SetupErrors::new();
    mistakes.retain(|mistake| {
        !known.contains(mistake) && {
            known.push(mistake.clone());
            true
        }
    });
    if !mistakes.is_empty() {
        return Err(ConfigErrors(mistakes));
    }
    let ports = ports.into_iter().map(|(port, zones)| {
        let server = format!("dns://:{port}");
        let dropped = QueryMetrics::new(&context.metrics, &server, "dropped", names());
        (port, Arc::new(Routes::new(zones, dropped, context.runtime.clone())))
    });
    let ports = ports.collect();
    let Lifecycle { starts, servings, warnings, lameduck, reload, .. } = lifecycle;
    Ok(Servers { ports, warnings, lameduck, reload, starts, servings })
}

/// The chain of one key of a server block.
fn chain(
    block: &ServerBlock,
    block_index: usize,
    key: &ServerKey,
    context: &PluginContext,
    lifecycle: &mut Lifecycle,
) -> Result<Chain, SetupErrors> {
    let (mut links, mut mistakes) = (Vec::new(), SetupErrors::new());
    let (linked, mut names_linked) = (Arc::default(), Vec::new());
    for entry in PLUGINS {
        let directives: Vec<&Directive> = block.all(entry.name).collect();
        if directives.is_empty() {
            continue;
        }
        let linked = Arc::clone(&linked);
        let mut setup =
            Setup { block, block_index, key, names: names(), directives, context, linked, lifecycle };
        match (entry.setup)(&mut setup) {
            Ok(plugins) => {
                if !plugins.is_empty() {
                    names_linked.push(entry.name);
                }
                links.extend(plugins.into_iter().map(|plugin| Link::new(entry.name, plugin)));
            }
            Err(found) => mistakes.extend(found),
        }
    }
    let _: Result<(), _> = linked.set(names_linked);
    if mistakes.is_empty() { Ok(Chain::new(links)) } else { Err(mistakes) }
}

/// `proxy` was the name of what became `forward`.
fn with_old_names(block: &ServerBlock, lifecycle: &mut Lifecycle) -> ServerBlock {
    let mut block = block.clone();
    for directive in block.directives.iter_mut().filter(|directive| directive.name.text == "proxy") {
        lifecycle.warnings.push(ConfigWarning::new(
            &directive.name.at,
            "proxy is the old name of forward; taken as forward",
        ));
        directive.name.text = "forward".to_owned();
    }
    block
}

fn not_built(directive: &Directive) -> Option<ConfigError> {
    let name = directive.name.text.as_str();
    if PLUGINS.iter().any(|entry| entry.name == name) {
        return None;
    }
    let wanted = format!("one of {}", names().join(", "));
    Some(match NOT_BUILT.contains(&name) {
        true => directive.error(format!("plugin {name} is not built yet"), wanted),
        false => directive.error(format!("Unknown directive '{name}'"), wanted),
    })
}

fn unserved(key: &ServerKey) -> Option<ConfigError> {
    let what = format!("{}: serving {}:// is not built yet", server_label(key), key.scheme);
    (key.scheme != Scheme::Dns).then(|| ConfigError::new(&key.at, what, "a zone served by plain DNS"))
}
