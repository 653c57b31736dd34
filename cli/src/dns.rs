//! `portolan dns`: the DNS service as CoreDNS runs it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{ConfigErrors, Corefile, Disk};
use dns_chain::PluginContext;
use dns_server::{Dns, Load, Options, StartError};
use telemetry::Lines;
use telemetry::log::{Format, Output};

use crate::args::DnsArgs;
use crate::clusters::{Clusters, Origin};
use crate::failure::Failure;
use crate::ground::{Fatal, Ground};
use crate::output;
use crate::signals::{Said, Signals};

/// Serves until it is told to stop.
///
/// # ConfigErrors
/// When the Corefile is wrong (2) or an address cannot be had (1).
pub fn run(args: DnsArgs) -> Result<(), Failure> {
    if args.version {
        output::print(concat!("Portolan-", env!("CARGO_PKG_VERSION"), "\n"));
        return Ok(());
    }
    if args.plugins {
        let mut names: Vec<_> = dns_chain::plugins::PLUGINS.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        output::print(names.join("\n") + "\n");
        return Ok(());
    }
    let format = if args.json { Format::Json } else { Format::CoreDns };
    telemetry::log::init(format, Output::Stdout, "info")
        .map_err(|error| Failure::outside(error.to_string()))?;
    let (ground, runtime, fatal) = Ground::lay()?;
    let served = runtime.block_on(serve(args, &ground, fatal));
    // Whatever still waits has been told; nothing more is owed to it.
    runtime.shutdown_background();
    served
}

async fn serve(args: DnsArgs, ground: &Ground, mut fatal: Fatal) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let flags = Origin::of_flags(&args.manifests, args.kubeconfig.as_ref(), args.context.as_ref());
    let context = context(Clusters::new(flags, ground), ground, args.json);
    let queries = context.queries.clone();
    let load = load(Conf::new(args.conf.as_deref())?, args.port);
    let options = Options { threads: args.workers, addresses: Vec::new() };
    let dns = tokio::select! {
        started = Dns::start(load.clone(), context, options) => started.map_err(failure)?,
        () = signals.stop() => return Ok(()),
    };
    if let Some(pidfile) = &args.pidfile {
        let written = std::fs::write(pidfile, format!("{}\n", std::process::id()));
        written.map_err(|error| Failure::outside(format!("-pidfile {}: {error}", pidfile.display())))?;
    }
    if !args.quiet {
        greet(&load, args.json);
    }
    let ended = loop {
        tokio::select! {
            said = signals.next() => match said {
                Said::Stop(signal) => {
                    tracing::info!("{signal}: Shutting down servers then terminating");
                    break Ok(());
                }
                Said::Reload => dns.reloader().reload(),
            },
            Some(reason) = fatal.recv() => break Err(Failure::outside(reason)),
        }
    };
    tokio::select! {
        () = dns.stop() => {}
        // Told a second time: at once.
        _ = signals.next() => {}
    }
    queries.close();
    ended
}

/// What the chain is given.
pub fn context(clusters: Clusters, ground: &Ground, json: bool) -> PluginContext {
    let dropped = ground
        .metrics
        .counter("portolan_query_log_dropped_total", "Lines of the query log that were not written.");
    let ending = ground.clone();
    PluginContext {
        cluster: Arc::new(clusters),
        views: Default::default(),
        metrics: ground.metrics.clone(),
        gates: ground.gates.clone(),
        admin: ground.admin.clone(),
        queries: Lines::new(std::io::stdout(), dropped),
        json,
        runtime: ground.runtime.clone(),
        fatal: Arc::new(move |reason| ending.end(reason)),
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// A start that failed, with its exit code.
pub fn failure(error: StartError) -> Failure {
    match error {
        StartError::Config(_) => Failure::usage(error.to_string()),
        StartError::Bind(_) => {
            Failure::outside(format!("{error}; -dns.port moves server blocks that name no port"))
        }
        StartError::Begin(_) => Failure::outside(error.to_string()),
    }
}

/// Where the Corefile is.
#[derive(Clone)]
pub enum Conf {
    /// A file, read at every reload.
    File(PathBuf),
    /// Text that does not change: standard input, or what is built in.
    Text(&'static str, Arc<str>),
}

impl Conf {
    /// The file of `-conf`, else `Corefile` in the working folder, else nothing (CoreDNS's default).
    ///
    /// # ConfigErrors
    /// When standard input is asked for and cannot be read.
    fn new(conf: Option<&Path>) -> Result<Self, Failure> {
        match conf {
            Some(path) if path.as_os_str() == "stdin" => {
                let mut text = String::new();
                let read = std::io::stdin().read_to_string(&mut text);
                read.map_err(|error| Failure::outside(format!("-conf stdin: {error}")))?;
                Ok(Self::Text("stdin", text.into()))
            }
            Some(path) => Ok(Self::File(path.to_owned())),
            None if Path::new("Corefile").exists() => Ok(Self::File("Corefile".into())),
            None => Ok(Self::Text("default", "".into())),
        }
    }
}

/// Reads the Corefile each time it is called.
pub fn load(conf: Conf, port: u16) -> Load {
    Arc::new(move || {
        let (name, text) = match &conf {
            Conf::Text(name, text) => ((*name).to_owned(), text.to_string()),
            Conf::File(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path).map_err(|error| unreadable(&name, &error))?;
                (name, text)
            }
        };
        let corefile = parse(&name, &text, port)?;
        if corefile.blocks.is_empty() {
            parse("default", &config::default_text(port), port)
        } else {
            Ok(corefile)
        }
    })
}

fn parse(name: &str, text: &str, port: u16) -> Result<Corefile, ConfigErrors> {
    let env = |name: &str| std::env::var(name).ok();
    Corefile::parse(
        name,
        text,
        &Disk,
        &config::ParseOptions { dns_port: port, directives: dns_chain::directives(), env: &env },
    )
}

fn unreadable(name: &str, error: &std::io::Error) -> ConfigErrors {
    let at = config::SourceLocation::unread(name);
    ConfigErrors(vec![config::ConfigError::new(&at, format!("cannot be read: {error}"), "a Corefile")])
}

/// As CoreDNS greets: the keys it serves, then who it is. Lines of the log where all lines are JSON.
fn greet(load: &Load, json: bool) {
    let corefile = load().ok();
    let keys = corefile.iter().flat_map(|corefile| &corefile.blocks).flat_map(|block| &block.keys);
    let mut lines: Vec<_> = keys.map(|key| format!("{}:{}", key.zone, key.port)).collect();
    lines.push(concat!("Portolan-", env!("CARGO_PKG_VERSION")).to_owned());
    lines.push(format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH));
    if json {
        lines.iter().for_each(|line| tracing::info!("{line}"));
    } else {
        output::print(lines.join("\n") + "\n");
    }
}
