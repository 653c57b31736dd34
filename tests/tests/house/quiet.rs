//! Quiet crates: no socket, task, clock or log.

use crate::architecture::quiet;
use crate::none;
use crate::source::Module;
use crate::workspace::{metadata, target_roots};

/// Libraries whose purpose is one of the four.
const LOUD_CRATES: &[&str] = &[
    "async-io",
    "chrono",
    "hickory-net",
    "hickory-resolver",
    "hickory-server",
    "hyper",
    "hyper-util",
    "jiff",
    "kube",
    "libc",
    "log",
    "mio",
    "net",
    "nix",
    "prometheus",
    "rand",
    "rayon",
    "socket2",
    "sources",
    "telemetry",
    "time",
    "tokio",
    "tokio-rustls",
    "tokio-util",
    "tracing",
    "tracing-subscriber",
];

/// Names of the standard library that open a socket, start a task, read a clock or write a log.
const LOUD_NAMES: &[&str] = &[
    "Instant",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixDatagram",
    "UnixListener",
    "UnixStream",
    "ToSocketAddrs",
];

/// The same in the spelling with the tokens before or after them.
const LOUD_WORDS: &[&[&str]] = &[
    &["std", "::", "thread"],
    &["thread", "::", "spawn"],
    &["thread", "::", "sleep"],
    &["print", "!"],
    &["println", "!"],
    &["eprint", "!"],
    &["eprintln", "!"],
    &["dbg", "!"],
];

#[test]
fn quiet_crates_are_crates() {
    let metadata = metadata();
    let known = |name: &String| metadata.packages.iter().any(|package| package.name.as_str() == name);
    none("a quiet crate is a crate", quiet().into_iter().filter(|name| !known(name)).collect());
}

#[test]
fn quiet_crates_depend_on_no_library_with_io() {
    let mut breaches = Vec::new();
    for package in metadata().packages.iter().filter(|package| quiet().contains(&package.name.to_string())) {
        let shipped =
            package.dependencies.iter().filter(|it| it.kind != cargo_metadata::DependencyKind::Development);
        let loud = shipped.filter(|dependency| LOUD_CRATES.contains(&dependency.name.as_str()));
        breaches
            .extend(loud.map(|dependency| format!("`{}` depends on `{}`", package.name, dependency.name)));
    }
    none("quiet crates depend on nothing that opens, spawns, looks at the time or logs", breaches);
}

#[test]
fn quiet_crates_open_no_socket_start_no_task_read_no_clock_write_no_log() {
    let mut breaches = Vec::new();
    for package in metadata().packages.iter().filter(|package| quiet().contains(&package.name.to_string())) {
        for root in target_roots(package).filter(|root| root.ends_with("src/lib.rs")) {
            for module in Module::crate_at(&root).all() {
                breaches.extend(loud_places(module));
            }
        }
    }
    none("quiet crates have no socket, task, clock or log", breaches);
}

fn loud_places(module: &Module) -> impl Iterator<Item = String> {
    let loud = |at: &usize| {
        let word = module.tokens[*at].text.as_str();
        LOUD_NAMES.contains(&word) || LOUD_WORDS.iter().any(|words| module.reads(*at, words))
    };
    (0..module.tokens.len()).filter(loud).map(|at| {
        let token = &module.tokens[at];
        format!("{}: `{}`", module.at(token), token.text)
    })
}
