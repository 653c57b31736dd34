//! `portolan migrate`: takes over from CoreDNS or ingress-nginx.

use migrate::{Console, MigrateError};

use crate::args::MigrateArgs;
use crate::command_error::CommandError;
use crate::output;
use crate::runtime::Runtime;

/// Runs the command.
///
/// # Errors
/// With the exit code of [`MigrateError::code`].
pub fn run(args: MigrateArgs) -> Result<(), CommandError> {
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
        }
    });
    executor.shutdown_background();
    result.map_err(|error: MigrateError| CommandError { message: error.to_string(), code: error.code() })
}
