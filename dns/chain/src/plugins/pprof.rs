//! `pprof`: the address of CoreDNS's profiles. Profiles of a Go program do not exist here; the pages say so, and the command line,
//! which Go serves beside them, is served.

use http::StatusCode;
use telemetry::AdminResponse as Page;

use crate::setup::{PluginEntry, PluginGuard, PluginInstances, PluginOption, Setup, SetupErrors, each_line};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "pprof",
    about: "accepted; its address serves the command line and no profiles, which only a Go program has",
    syntax: &["pprof", "pprof localhost:6053 {\n    block 1\n}"],
    options: &[
        PluginOption {
            syntax: "[ADDRESS]",
            default: "localhost:6053",
            about: "Address of the pages below `/debug/pprof/`: `cmdline` is served, the profiles are 404 with a text.",
        },
        PluginOption {
            syntax: "block [RATE]",
            default: "",
            about: "Without effect: there are no goroutines that block.",
        },
    ],
    early: false,
    metrics: |_| {},
    setup,
};

/// Go's profiles (net/http/pprof).
const PROFILES: &[&str] =
    &["allocs", "block", "goroutine", "heap", "mutex", "profile", "symbol", "threadcreate", "trace"];

/// The text of the pages.
const TEXT: &str = "This program is not written in Go and has no pprof profiles.\n\
    Use perf or another profiler of the system with its process, and /metrics of the plugin prometheus for memory and load.\n\
    /debug/pprof/cmdline has the command line.\n";

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    let address = match directive.optional_arg("[ADDRESS]").map_err(|error| vec![error])? {
        Some(word) => word.host_port(None).map_err(|error| vec![error])?.to_string(),
        None => "localhost:6053".to_owned(),
    };
    each_line(directive, |line| match line.name.text.as_str() {
        "block" => match line.optional_arg("[RATE]")? {
            Some(word) => word.parse::<i64>("a number").map(drop),
            None => Ok(()),
        },
        _ => Err(line.unknown(&["block"])),
    })?;
    setup.warn(directive, "pprof has no profiles: they are those of a Go program");
    let admin = setup.context.admin.clone();
    setup.on_start(move || async move {
        let pages = admin.listen(&address).await.map_err(|error| format!("pprof: {error}"))?;
        let index = pages.route("/debug/pprof/", |_| Page::ok(TEXT));
        let command_line = pages.route("/debug/pprof/cmdline", |_| {
            // As Go does it: the arguments with zero bytes between them.
            let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
            Page::ok(words.collect::<Vec<_>>().join("\0"))
        });
        let missing = PROFILES.iter().map(|name| {
            pages.route(&format!("/debug/pprof/{name}"), |_| Page::text(StatusCode::NOT_FOUND, TEXT))
        });
        let missing: Vec<_> = missing.collect();
        Ok(Box::new((index, command_line, missing)) as PluginGuard)
    });
    Ok(Vec::new())
}
