//! `debug`: accepted as in CoreDNS, where it keeps a panic from being recovered and enables the log level DEBUG.
//!
//! Here a panic always logs its place and ends only the query that caused it, and the log level is an option of the program.

use crate::setup::{PluginEntry, PluginInstances, Setup, SetupErrors};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "debug",
    about: "accepted without effect: a panic always logs its place, and the log level is an option of the program",
    syntax: &["debug"],
    options: &[],
    early: false,
    metrics: |_| {},
    setup,
};

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.directives[0];
    directive.no_args().and_then(|()| directive.no_block()).map_err(|error| vec![error])?;
    setup.warn(directive, "debug has no effect: a panic always logs its place, and the flag -v logs more");
    Ok(Vec::new())
}
