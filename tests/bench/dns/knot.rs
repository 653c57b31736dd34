//! Knot DNS with a zone file: a fast authoritative server that Debian packages.

use std::process::Command;

use crate::dns::dataset::Dataset;
use crate::process::Process;
use crate::server::Server;
use crate::testbed::{Testbed, find, free_port, write};

/// Starts `knotd` with one UDP worker.
pub(crate) fn start(testbed: &Testbed, dataset: &Dataset) -> Result<Server, String> {
    let program = find("knotd", "KNOTD").ok_or("knotd is not installed (Debian package knot)")?;
    let (folder, port) = (testbed.folder("knot")?, free_port()?);
    let at = folder.display();
    write(&folder.join("cluster.local.zone"), &dataset.zone())?;
    write(
        &folder.join("knot.conf"),
        &format!(
            "server:\n    listen: 127.0.0.1@{port}\n    rundir: {at}\n    udp-workers: 1\n    tcp-workers: 1\n    \
             background-workers: 1\n\
             log:\n  - target: stderr\n    any: warning\n\
             database:\n    storage: {at}\n\
             template:\n  - id: default\n    storage: {at}\n    file: \"%s.zone\"\n    zonefile-sync: -1\n    \
             journal-content: none\n\
             zone:\n  - domain: cluster.local\n"
        ),
    )?;
    let mut command = Command::new(program);
    command.arg("-c").arg(folder.join("knot.conf"));
    let process = Process::start_server(testbed, &mut command, &folder)?;
    Ok(Server::new(process, port))
}
