//! `portolan top`: runs the terminal view.

use crate::args::TopArgs;
use crate::command_error::CommandError;
use crate::output;

/// Shows figures until the user quits.
///
/// # Errors
/// With exit code 1 if the admin address gives no figures or the terminal cannot be used.
pub fn run(args: TopArgs) -> Result<(), CommandError> {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let executor = executor.map_err(|error| CommandError::outside(error.to_string()))?;
    let shown = executor.block_on(top::run(args.admin, args.once));
    if let Some(text) = shown.map_err(|error| CommandError::outside(error.to_string()))? {
        output::print(text);
    }
    Ok(())
}
