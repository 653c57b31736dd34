//! `portolan migrate`: takes over from CoreDNS or ingress-nginx.

use std::io::Read;
use std::path::Path;

use migrate::{Console, MigrateError};

use crate::args::{MigrateArgs, UnsupportedFlag, ValuesArgs, ingress_flags};
use crate::command_error::CommandError;
use crate::output;
use crate::runtime::Runtime;

/// Runs the command.
///
/// # Errors
/// With the exit code of [`MigrateError::code`].
pub fn run(args: MigrateArgs) -> Result<(), CommandError> {
    if let MigrateArgs::Values(args) = &args {
        return values(args);
    }
    let (_runtime, executor, _fatal) = Runtime::start()?;
    let result = executor.block_on(async {
        match args {
            MigrateArgs::Takeover(options) => {
                let console = Console {
                    out: |text| output::print(text),
                    err: |text| output::print_error(text.trim_end_matches('\n')),
                    format: options.output,
                };
                migrate::run(*options, console).await
            }
            MigrateArgs::Probe(task) => {
                let probed = migrate::run_probe(&task, &|text| output::print(text)).await;
                probed.map_err(MigrateError::refused)
            }
            // Needs no runtime.
            MigrateArgs::Values(_) => Ok(()),
        }
    });
    executor.shutdown_background();
    result.map_err(|error: MigrateError| CommandError { message: error.to_string(), code: error.code() })
}

/// Prints or writes the new values file, and reports on standard error what becomes of each key.
fn values(args: &ValuesArgs) -> Result<(), CommandError> {
    let name = args.file.display();
    let text = read(&args.file).map_err(|error| CommandError::usage(format!("{name}: {error}")))?;
    let flag = |name: &str, value: &str| {
        let flag = ingress_flags().find(|flag| flag.name == name)?;
        UnsupportedFlag::of(flag, value.to_owned()).map(|flag| flag.consequence)
    };
    let migrated = migrate::migrate_values(&text, args.origin, &flag)
        .map_err(|error| CommandError::usage(format!("{name}: {error}")))?;
    match &args.out {
        Some(path) => std::fs::write(path, &migrated.text)
            .map_err(|error| CommandError::outside(format!("{}: {error}", path.display())))?,
        None => output::print(&migrated.text),
    }
    output::print_error(migrated.report().trim_end());
    if migrated.is_incomplete() {
        return Err(CommandError { message: String::new(), code: 1 });
    }
    Ok(())
}

fn read(path: &Path) -> std::io::Result<String> {
    if path.as_os_str() == "-" {
        let mut text = String::new();
        return std::io::stdin().read_to_string(&mut text).map(|_| text);
    }
    std::fs::read_to_string(path)
}
