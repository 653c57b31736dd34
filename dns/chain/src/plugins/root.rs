//! `root`: the folder of the files that other plugins of the server block name.

use std::path::PathBuf;

use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "root",
    about: "the folder of the files that other plugins of the server block name",
    syntax: &["root /etc/coredns/zones"],
    options: &[PluginOption {
        syntax: "PATH",
        default: "the working directory",
        about: "Relative names of files in `auto`, `file`, `hosts` and `loadbalance` are looked up there. A folder that does not exist is a warning.",
    }],
    early: true,
    metrics: |_| {},
    setup,
};

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    for directive in setup.directives.clone() {
        let path = directive.arg("PATH").and_then(|path| directive.no_block().map(|()| path));
        let path = PathBuf::from(&path.map_err(|error| vec![error])?.text);
        if let Err(error) = std::fs::metadata(&path) {
            setup.warn(directive, format!("root path {} cannot be read: {error}", path.display()));
        }
        setup.set_folder(path);
    }
    Ok(Vec::new())
}
