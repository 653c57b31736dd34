//! `portolan dns`: the DNS server, with the flags of CoreDNS.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{ConfigErrors, Corefile, Disk, Loader};
use dns_chain::PluginContext;
use dns_server::{CorefileLoader, DnsService, DnsStartError, ServerOptions};
use telemetry::LogWriter;
use telemetry::log::{LogFormat, LogOutput};
use telemetry::metrics::{Counter, Registry};

use crate::args::{DnsArgs, LogArgs};
use crate::clusters::{ClusterOrigin, Clusters};
use crate::command_error::CommandError;
use crate::live;
use crate::output;
use crate::runtime::{FatalErrors, Runtime};
use crate::signals::{SignalAction, Signals};

/// Advice that follows the reason why the service cannot start.
#[derive(Clone, Copy, Default)]
pub struct StartAdvice {
    /// If an address of a server block cannot be listened on.
    pub listen: &'static str,
    /// If a plugin cannot begin, for example because its address cannot be listened on.
    pub plugin: &'static str,
}

const ADVICE: StartAdvice = StartAdvice {
    listen: "; the port is that of the server block (chart: dns.servers[].port), else of -dns.port",
    plugin: "; this line configures it (chart: dns.servers[].plugins[])",
};

/// Serves until a signal stops the process.
///
/// # Errors
/// When the Corefile is invalid (exit code 2) or an address cannot be bound (exit code 1).
pub fn run(args: DnsArgs) -> Result<(), CommandError> {
    if args.version {
        output::print(concat!("Portolan-", env!("CARGO_PKG_VERSION"), "\n"));
        return Ok(());
    }
    if args.plugins {
        print_plugins();
        return Ok(());
    }
    start_log(args.log)?;
    let (runtime, executor, fatal) = Runtime::start()?;
    let result = executor.block_on(serve(args, None, &runtime, fatal));
    // Does not wait for tasks: their clients are gone.
    executor.shutdown_background();
    result
}

/// Prints the names of the plugins.
pub fn print_plugins() {
    let mut names: Vec<_> = dns_chain::plugins::PLUGINS.iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    output::print(names.join("\n") + "\n");
}

/// Starts the program log in the format of CoreDNS.
///
/// # Errors
/// When another part of the process has started one.
pub fn start_log(log: LogArgs) -> Result<(), CommandError> {
    let format = if log.json { LogFormat::Json } else { LogFormat::CoreDns };
    telemetry::log::init(format, LogOutput::Stdout, &log.filter("info"))
        .map_err(|error| CommandError::outside(error.to_string()))
}

/// Serves a Corefile, or that of `-conf`, until a signal or a fatal error.
///
/// # Errors
/// As [`run`].
pub async fn serve(
    args: DnsArgs,
    corefile: Option<CorefileSource>,
    runtime: &Runtime,
    mut fatal: FatalErrors,
) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let live_dns = live::serve(args.live, None, runtime);
    let flags = ClusterOrigin::from_flags(&args.manifests, args.kubeconfig.as_ref(), args.context.as_ref());
    let queries = query_log(std::io::stdout(), runtime);
    let context = PluginContext {
        legacy_metrics: args.legacy_metrics,
        ..context(Clusters::new(flags, runtime), queries.clone(), runtime, args.log.json)
    };
    let corefile = match corefile {
        Some(corefile) => corefile,
        None => CorefileSource::new(args.conf.as_deref())?,
    };
    let load = load(corefile, args.port);
    let options = ServerOptions { threads: args.workers, ..Default::default() };
    let dns = tokio::select! {
        started = start(load.clone(), context, options) => started?,
        _ = signals.stop() => return Ok(()),
    };
    let _ = live_dns.set(dns.served());
    write_pidfile(args.pidfile.as_deref())?;
    if !args.quiet {
        print_startup_message(&load, args.log.json);
    }
    if runtime.admin.local_addrs().await.is_empty() {
        tracing::info!(
            "no admin listener: one of the plugins health, ready and prometheus is needed to serve /problems"
        );
    }
    let result = loop {
        tokio::select! {
            action = signals.next() => match action {
                SignalAction::Stop(signal) => {
                    tracing::info!("{signal}: Shutting down servers then terminating");
                    break Ok(());
                }
                SignalAction::Reload(signal) => {
                    tracing::info!("{signal}: reloading the Corefile");
                    dns.reloader().reload();
                }
            },
            Some(reason) = fatal.recv() => break Err(CommandError::outside(reason)),
        }
    };
    tokio::select! {
        () = dns.stop() => {}
        // A second signal ends the process immediately.
        _ = signals.stop() => {}
    }
    queries.close();
    result
}

/// Starts the DNS server.
///
/// # Errors
/// When the Corefile is invalid or an address cannot be bound; the message says how the address is changed.
pub async fn start(
    load: CorefileLoader,
    context: PluginContext,
    options: ServerOptions,
) -> Result<DnsService, CommandError> {
    let started = DnsService::start(load.clone(), context, options).await;
    started.map_err(|error| failure(error, &load, ADVICE))
}

/// Writes the process id to the file of `-pidfile`.
///
/// # Errors
/// When the file cannot be written.
pub fn write_pidfile(path: Option<&Path>) -> Result<(), CommandError> {
    let Some(path) = path else { return Ok(()) };
    let written = std::fs::write(path, format!("{}\n", std::process::id()));
    written.map_err(|error| CommandError::outside(format!("-pidfile {}: {error}", path.display())))
}

/// Creates the query log.
pub fn query_log(output: impl Write + Send + 'static, runtime: &Runtime) -> LogWriter {
    LogWriter::new(output, dropped_lines(&runtime.metrics))
}

/// The counter of lines of the query log that were not written.
pub fn dropped_lines(metrics: &Registry) -> Counter {
    metrics.counter("portolan_query_log_dropped_total", "Lines of the query log that were not written.")
}

/// The state of the process that plugins use.
pub fn context(clusters: Clusters, queries: LogWriter, runtime: &Runtime, json: bool) -> PluginContext {
    let shutdown = runtime.clone();
    PluginContext {
        cluster: Arc::new(clusters),
        shared: Default::default(),
        metrics: runtime.metrics.clone(),
        legacy_metrics: true,
        gates: runtime.gates.clone(),
        admin: runtime.admin.clone(),
        reports: runtime.reports.clone(),
        queries,
        json,
        runtime: runtime.handle.clone(),
        fatal: Arc::new(move |reason| shutdown.request_shutdown(reason)),
        version: env!("CARGO_PKG_VERSION"),
        limits: dns_chain::ChainLimits::new(&runtime.metrics),
    }
}

/// Converts a start error into a message with the line of the Corefile, if known, and an exit code.
pub fn failure(error: DnsStartError, load: &CorefileLoader, advice: StartAdvice) -> CommandError {
    match &error {
        DnsStartError::Config(_) => CommandError::usage(error.to_string()),
        DnsStartError::Bind(..) => CommandError::outside(format!("{error}{}", advice.listen)),
        DnsStartError::Begin(_) => {
            let corefile = load().ok();
            let location = corefile.and_then(|corefile| error.location(&corefile));
            CommandError::outside(match location {
                Some(at) => format!("{at} - {error}{}", advice.plugin),
                None => error.to_string(),
            })
        }
    }
}

/// A word of a Corefile that is replaced before it is parsed.
pub struct Placeholder {
    /// The word.
    pub name: &'static str,
    /// Its replacement.
    pub value: String,
}

/// The source of the Corefile.
#[derive(Clone)]
pub enum CorefileSource {
    /// A file, read at every reload.
    File(PathBuf),
    /// A file with placeholders.
    Template(PathBuf, Arc<[Placeholder]>),
    /// A name and text that does not change: standard input or a built-in Corefile.
    Text(&'static str, Arc<str>),
}

impl CorefileSource {
    /// The file of `-conf`, else `Corefile` in the working directory, else an empty text (for which CoreDNS's default is served).
    ///
    /// # Errors
    /// When `-conf` is `stdin` and standard input cannot be read.
    pub fn new(conf: Option<&Path>) -> Result<Self, CommandError> {
        match conf {
            Some(path) if path.as_os_str() == "stdin" => {
                let mut text = String::new();
                let read = std::io::stdin().read_to_string(&mut text);
                read.map_err(|error| CommandError::outside(format!("-conf stdin: {error}")))?;
                Ok(Self::Text("stdin", text.into()))
            }
            Some(path) => Ok(Self::File(path.to_owned())),
            None if Path::new("Corefile").exists() => Ok(Self::File("Corefile".into())),
            None => Ok(Self::Text("default", "".into())),
        }
    }
}

/// Returns a loader that reads the Corefile at each call.
pub fn load(conf: CorefileSource, port: u16) -> CorefileLoader {
    Arc::new(move || {
        let (name, text) = match &conf {
            CorefileSource::Text(name, text) => ((*name).to_owned(), text.to_string()),
            CorefileSource::File(path) => read(path)?,
            CorefileSource::Template(path, placeholders) => {
                let (name, text) = read(path)?;
                let replace = |text: String, one: &Placeholder| text.replace(one.name, &one.value);
                (name, placeholders.iter().fold(text, replace))
            }
        };
        let corefile = parse(&name, &text, port)?;
        if corefile.blocks.is_empty() && corefile.mistakes.is_empty() {
            parse("default", &config::default_text(port), port)
        } else {
            Ok(corefile)
        }
    })
}

/// The name and text of a file.
fn read(path: &Path) -> Result<(String, String), ConfigErrors> {
    let name = path.display().to_string();
    let text = Disk.read(&path.to_string_lossy()).map_err(|error| unreadable(&name, &error))?;
    Ok((name, text))
}

fn parse(name: &str, text: &str, port: u16) -> Result<Corefile, ConfigErrors> {
    let env = |name: &str| std::env::var(name).ok();
    Corefile::read(name, text, &Disk, &config::ParseOptions { dns_port: port, directives: &[], env: &env })
}

fn unreadable(name: &str, error: &std::io::Error) -> ConfigErrors {
    let at = config::SourceLocation::unread(name);
    ConfigErrors(vec![config::ConfigError::new(&at, format!("cannot be read: {error}"), "a Corefile")])
}

/// Prints the startup message of CoreDNS: the keys of all server blocks, then version and platform. With `json` it is logged.
pub fn print_startup_message(load: &CorefileLoader, json: bool) {
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
