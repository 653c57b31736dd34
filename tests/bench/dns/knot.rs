//! Knot DNS with the zone as a file: the fastest authoritative server that a distribution offers.

use std::process::Command;

use crate::dns::names::Names;
use crate::place::{Place, find, free_port, write};
use crate::process::Process;
use crate::server::Server;

/// Starts `knotd` with one UDP worker.
pub(crate) fn start(place: &Place, names: &Names) -> Result<Server, String> {
    let program = find("knotd", "KNOTD").ok_or("knotd is not installed (Debian package knot)")?;
    let (folder, port) = (place.folder("knot")?, free_port()?);
    let at = folder.display();
    write(&folder.join("cluster.local.zone"), &names.zone())?;
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
    let process = Process::start(&mut command, place.server, &folder)?;
    Ok(Server::new(process, port))
}
