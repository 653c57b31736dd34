//! Benchmarks: Portolan and its peers side by side in one run, as a Markdown table of CPU time per answer.
//!
//! `cargo run --release -p tests --bin bench -- [dns] [dns-silent] [http] [https] [memory] [ingresses] [changes] [--rounds N] [--seconds S]`
//!
//! A program and not `cargo bench`: engines are servers in processes of their own, and the figure is not time on the
//! clock. Each server is pinned to one core and everything that loads it to another; engines take turns in short rounds and
//! the median round counts, so that what else the machine does falls on all of them. CPU per answer does not
//! depend on how fast the load is, as long as it is correct, so every answer is checked.

mod place;
mod poll;
mod process;
mod round;
mod server;
mod table;

mod edge;

mod dns;
mod http;

mod changes;
mod ingresses;
mod memory;

use std::process::ExitCode;
use std::time::Duration;

use place::Place;

const USAGE: &str =
    "bench [dns] [dns-silent] [http] [https] [memory] [ingresses] [changes] [--rounds N] [--seconds S]";

/// What to run and for how long.
struct Options {
    parts: Vec<String>,
    rounds: usize,
    length: Duration,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", "dns-loop", port, services] => dns::bare::serve(port, services),
        ["serve", "pump", port, backend] => http::pump::serve(port, backend),
        ["serve", "backend", address, port] => http::backend::serve(address, port),
        _ => options(&args).and_then(|options| run(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let place = Place::prepare()?;
    println!("{}\n", place.describe());
    let wanted = |part: &str| options.parts.is_empty() || options.parts.iter().any(|it| it == part);
    if wanted("dns") {
        println!("{}", dns::compare(&place, options.rounds, options.length)?);
    }
    if wanted("dns-silent") {
        println!("{}", dns::silent::measure(&place)?);
    }
    if wanted("http") {
        println!("{}", http::compare(&place, options.rounds, options.length)?);
    }
    if wanted("https") {
        println!("{}", http::compare_tls(&place, options.rounds, options.length)?);
    }
    if wanted("memory") {
        println!("{}", memory::compare(&place)?);
    }
    if wanted("ingresses") {
        println!("{}", ingresses::measure(&place)?);
    }
    if wanted("changes") {
        println!("{}", changes::measure(&place, options.rounds, options.length)?);
    }
    Ok(())
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut options = Options { parts: Vec::new(), rounds: 5, length: Duration::from_secs(2) };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().ok_or_else(|| format!("{arg} wants a number"))?;
            value.parse::<f64>().map_err(|_| format!("{arg} {value}: wanted a number"))
        };
        match arg.as_str() {
            "--rounds" => options.rounds = number()?.max(1.0) as usize,
            "--seconds" => options.length = Duration::from_secs_f64(number()?.max(0.1)),
            "dns" | "dns-silent" | "http" | "https" | "memory" | "ingresses" | "changes" => {
                options.parts.push(arg.clone())
            }
            _ => return Err(format!("{arg}: unknown\n{USAGE}")),
        }
    }
    Ok(options)
}
