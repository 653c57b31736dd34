//! The `portolan` binary: parses arguments, connects the crates, handles signals and sets the exit code.

// A binary has no API; `pub` marks items that other modules use.
#![allow(unreachable_pub)]

mod command_error;
mod output;
mod admin_client;

mod probe;

mod args;

mod runtime;

mod demo;

mod clusters;
mod explained_cluster;
mod built_in_corefile;
mod reporting;
mod config_metrics;

mod live;

mod signals;
mod access_logs;
mod geoip;

mod dns;
mod edge;
mod other_controllers;
mod cluster_writer;
mod own_zone;

mod ingress;
mod serve;
mod check;
mod explain;
mod dbg;
mod migrate;
mod node_cache;
#[cfg(feature = "top")]
mod top;
mod up;

mod reference;

use std::process::ExitCode;

use crate::args::ParsedCommand;
use crate::command_error::CommandError;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Two arenas, and unused pages are returned to the system after a second: resident memory counts against the Pod's limit, and
/// the hot paths do not allocate.
#[allow(unsafe_code)]
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: Option<&'static std::ffi::c_char> = {
    union Text {
        bytes: &'static u8,
        c_char: &'static std::ffi::c_char,
    }
    const CONF: &[u8] = b"narenas:2,background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0\0";
    // SAFETY: `u8` and `c_char` have the same layout, and the text is terminated by a zero byte.
    Some(unsafe { Text { bytes: &CONF[0] }.c_char })
};

fn main() -> ExitCode {
    telemetry::panics::log_panics();
    let result = run();
    telemetry::log::close();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.message.is_empty() {
                output::print_error(format!("portolan: {}", error.message));
            }
            ExitCode::from(error.code)
        }
    }
}

fn run() -> Result<(), CommandError> {
    match args::read(std::env::args_os())? {
        ParsedCommand::Up(args) => up::run(args),
        ParsedCommand::Dns(args) => dns::run(args),
        ParsedCommand::Ingress(args) => ingress::run(*args),
        ParsedCommand::Serve(args) => serve::run(*args),
        ParsedCommand::Check(args) => check::run(&args),
        ParsedCommand::Explain(args) => explain::run(&args),
        #[cfg(feature = "top")]
        ParsedCommand::Top(args) => top::run(args),
        ParsedCommand::Dbg(args) => dbg::run(&args),
        ParsedCommand::Migrate(args) => migrate::run(args),
        ParsedCommand::NodeCache(args) => node_cache::run(args),
        // ingress-nginx's hook sends the signal itself and waits for the end of nginx. Here, the end of the process would also end the
        // hook, and kubelet would record it as failed.
        ParsedCommand::WaitShutdown => Ok(()),
        ParsedCommand::Probe(url, timeout) => probe::run(&url, timeout),
        ParsedCommand::Reference(page, as_json) => reference::print(&page, as_json),
        ParsedCommand::ReferenceRbac(part) => {
            reference::print_rbac(part);
            Ok(())
        }
        ParsedCommand::Completions(shell) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut args::command(), "portolan", &mut script);
            output::print(String::from_utf8_lossy(&script));
            Ok(())
        }
    }
}
