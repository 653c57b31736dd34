//! Benchmarks: compares Portolan with other servers in one run and prints Markdown tables of CPU time per answer.
//!
//! ```text
//! cargo build --profile dist
//! cargo run --profile dist -p tests --bin bench -- [dns] [dns-silent] [http] [https] [h2] [grpc] [bodies] [websocket]
//!     [workers] [idle] [scale] [memory] [ingresses] [changes] [check] [instructions] [--rounds N] [--seconds S]
//! cargo run --profile dist -p tests --bin bench -- pods
//! ```
//!
//! The first command builds the `portolan` binary that is measured: the one in the same target folder as this program, or
//! the one that `PORTOLAN` names. Only the `dist` profile has link-time optimisation.
//!
//! `pods` is not among those that run by default: it needs root and the Debian packages of the tests on a node. `PORTOLAN_BINARY` names
//! a static binary for the image; without it, `charts/image.sh` builds one.
//!
//! This is a program instead of a `cargo bench` target because the servers are separate processes and the main figure is
//! their CPU time, not wall-clock time. Each server is pinned to one core, the load generator and the backends to another.
//! Servers are measured in turn, in short rounds, and the median round is reported, so that other activity on the machine
//! affects all of them equally. CPU time per answer does not depend on the speed of the load generator. Every answer is
//! checked.

mod testbed;
mod epoll;
mod instructions;
mod process;
mod samples;
mod server;
mod table;

mod watch_server;
mod object_server;
mod ingress_proxy;

mod dns;
mod http;

mod objects;

mod changes;
mod check;
mod ingresses;
mod memory;
mod scale;
mod pods;

use std::process::ExitCode;
use std::time::Duration;

use testbed::Testbed;

const USAGE: &str = "usage: bench [dns] [dns-silent] [http] [https] [h2] [grpc] [bodies] [websocket] [workers] [idle] [scale] [memory] \
    [ingresses] [changes] [check] [instructions] [--rounds N] [--seconds S]\n       bench pods";

/// The parsed command-line arguments. An empty list of benchmarks means all.
struct Options {
    benchmarks: Vec<String>,
    rounds: usize,
    duration: Duration,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", "dns-loop", port, services] => dns::bare_loop::serve(port, services),
        ["serve", "pump", port, backend] => http::pump::serve(port, backend),
        ["serve", "grpc", port] => http::grpc::serve(port),
        ["serve", "backend", address, port] => http::backend::serve(address, port),
        ["pods"] => return pods(),
        _ => parse_options(&args).and_then(|options| run(&options)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Without the testbed of the other benchmarks: all processes belong to the namespaces of a node.
fn pods() -> ExitCode {
    pods::measure().unwrap_or_else(|error| {
        eprintln!("bench: {error}");
        ExitCode::FAILURE
    })
}

fn run(options: &Options) -> Result<(), String> {
    let mut testbed = Testbed::prepare()?;
    println!("{}\n", testbed.describe());
    let selected =
        |name: &str| options.benchmarks.is_empty() || options.benchmarks.iter().any(|it| it == name);
    if selected("dns") {
        println!("{}", dns::compare(&testbed, options.rounds, options.duration)?);
        println!("{}", dns::kinds::compare(&testbed, options.rounds, options.duration)?);
    }
    if selected("dns-silent") {
        println!("{}", dns::silent_upstream::measure(&testbed)?);
    }
    if selected("http") {
        println!("{}", http::compare(&testbed, options.rounds, options.duration)?);
    }
    if selected("https") {
        println!("{}", http::compare_tls(&testbed, options.rounds, options.duration)?);
    }
    if selected("h2") {
        println!("{}", http::http2::compare(&testbed, options.rounds, options.duration)?);
    }
    if selected("grpc") {
        println!("{}", http::grpc::compare(&testbed, options.rounds, options.duration)?);
    }
    if selected("bodies") {
        println!("{}", http::bodies::compare(&testbed, options.rounds, options.duration)?);
    }
    if selected("websocket") {
        println!("{}", http::websocket::compare(&testbed, options.rounds, options.duration)?);
    }
    if selected("workers") {
        println!("{}", http::workers::measure(&testbed, options.rounds, options.duration)?);
    }
    if selected("idle") {
        println!("{}", http::idle::measure(&testbed)?);
    }
    if selected("scale") {
        println!("{}", scale::measure(&testbed)?);
    }
    if selected("memory") {
        println!("{}", memory::compare(&testbed)?);
    }
    if selected("ingresses") {
        println!("{}", ingresses::measure(&testbed, options.rounds, options.duration)?);
    }
    if selected("check") {
        println!("{}", check::measure(&testbed, options.rounds)?);
    }
    if selected("instructions") {
        println!("{}", http::instructions::measure(&mut testbed, options.duration)?);
    }
    if selected("changes") {
        println!("{}", changes::measure(&testbed, options.rounds, options.duration)?);
    }
    Ok(())
}

fn parse_options(args: &[String]) -> Result<Options, String> {
    let mut options = Options { benchmarks: Vec::new(), rounds: 5, duration: Duration::from_secs(2) };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().ok_or_else(|| format!("{arg} requires a number"))?;
            value.parse::<f64>().map_err(|_| format!("{arg} {value}: expected a number"))
        };
        match arg.as_str() {
            "--rounds" => options.rounds = number()?.max(1.0) as usize,
            "--seconds" => options.duration = Duration::from_secs_f64(number()?.max(0.1)),
            "dns" | "dns-silent" | "http" | "https" | "h2" | "grpc" | "bodies" | "websocket" | "workers"
            | "idle" | "scale" | "memory" | "ingresses" | "changes" | "check" | "instructions" => {
                options.benchmarks.push(arg.clone())
            }
            _ => return Err(format!("unknown argument {arg}\n{USAGE}")),
        }
    }
    Ok(options)
}
