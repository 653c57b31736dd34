//! CoreDNS as kubeadm configures it, but with the zone from a file: with `cache 30` every name of this run is
//! answered from its cache, whatever stands behind it.

use std::process::Command;

use crate::dns::names::Names;
use crate::place::{NO_COREDNS, Place, find, free_port, write};
use crate::process::Process;
use crate::server::Server;

/// Starts `coredns` with one processor.
pub(crate) fn start(place: &Place, names: &Names) -> Result<Server, String> {
    let program = find("coredns", "COREDNS").ok_or(NO_COREDNS)?;
    let (folder, port) = (place.folder("coredns")?, free_port()?);
    let (health, ready, metrics) = (free_port()?, free_port()?, free_port()?);
    let zone = folder.join("cluster.local.zone");
    write(&zone, &names.zone())?;
    write(
        &folder.join("Corefile"),
        &format!(
            ".:{port} {{\n    errors\n    health 127.0.0.1:{health}\n    ready 127.0.0.1:{ready}\n    \
             file {} cluster.local\n    prometheus 127.0.0.1:{metrics}\n    forward . 127.0.0.1:1\n    \
             cache 30\n    reload\n    loadbalance\n}}\n",
            zone.display()
        ),
    )?;
    let mut command = Command::new(program);
    command.arg("-conf").arg(folder.join("Corefile"));
    let process = Process::start(&mut command, place.server, &folder)?;
    Ok(Server::new(process, port))
}
