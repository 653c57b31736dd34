//! Portolan: cluster DNS and ingress edge over one watch cache. This is the binary: arguments, wiring, signals, exit codes.

// A binary has no API: `pub` says that a thing is used outside its module.
#![allow(unreachable_pub)]

mod command_error;
mod output;

mod args;

mod runtime;

mod demo;

mod clusters;
mod reporting;
mod config_metrics;

mod signals;

mod dns;
mod edge;

mod ingress;
mod up;

mod reference;

use std::process::ExitCode;

use crate::args::ParsedCommand;
use crate::command_error::CommandError;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Two arenas and a quick return of unused pages: a pod is billed for its resident memory, and the hot paths do not
/// allocate.
#[allow(unsafe_code)]
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: Option<&'static std::ffi::c_char> = {
    union Text {
        bytes: &'static u8,
        c_char: &'static std::ffi::c_char,
    }
    const CONF: &[u8] = b"narenas:2,background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0\0";
    // SAFETY: a byte and a c_char have the same layout, and the text ends in a zero.
    Some(unsafe { Text { bytes: &CONF[0] }.c_char })
};

fn main() -> ExitCode {
    telemetry::panics::log_panics();
    let ended = run();
    telemetry::log::close();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.message.is_empty() {
                output::tell(format!("portolan: {}", error.message));
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
        ParsedCommand::Reference(page) => reference::print(&page),
        ParsedCommand::Completions(shell) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut args::command(), "portolan", &mut script);
            output::print(String::from_utf8_lossy(&script));
            Ok(())
        }
    }
}
