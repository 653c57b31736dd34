//! CoreDNS as kubeadm configures it, but with the zone from a file: with `cache 30` every name of this run is
//! answered from its cache, whatever stands behind it.

use std::process::Command;

use crate::dns::dataset::Dataset;
use crate::process::Process;
use crate::server::Server;
use crate::testbed::{NO_COREDNS, Testbed, find, free_port, write};

/// Starts `coredns` with one processor.
pub(crate) fn start(testbed: &Testbed, dataset: &Dataset) -> Result<Server, String> {
    let program = find("coredns", "COREDNS").ok_or(NO_COREDNS)?;
    let (folder, port) = (testbed.folder("coredns")?, free_port()?);
    let (health, ready, metrics) = (free_port()?, free_port()?, free_port()?);
    let zone = folder.join("cluster.local.zone");
    write(&zone, &dataset.zone())?;
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
    let process = Process::start(&mut command, testbed.server, &folder)?;
    Ok(Server::new(process, port))
}
