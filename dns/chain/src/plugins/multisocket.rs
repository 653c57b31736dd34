//! `multisocket`: how many sockets, each with a thread, read queries at an address.

use std::thread::available_parallelism;

use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "multisocket",
    about: "how many sockets, each with a thread, read UDP queries at an address",
    syntax: &["multisocket", "multisocket 6"],
    options: &[PluginOption {
        syntax: "[NUMBER]",
        default: "one for each processor",
        about: "1 to 1024. Without the plugin there is one for each processor as well, or as many as `--threads` says.",
    }],
    early: false,
    metrics: |_| {},
    setup,
};

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    directive.no_block().map_err(|error| vec![error])?;
    let sockets = match directive.optional_arg("[NUMBER]").map_err(|error| vec![error])? {
        Some(word) => word.integer(1..=1024).map_err(|error| vec![error])?,
        None => available_parallelism().map_or(1, usize::from),
    };
    setup.listener().sockets = Some(sockets);
    Ok(Vec::new())
}
