//! CoreDNS with kubeadm's configuration, but the zone comes from a file: `cache 30` answers every name of this benchmark
//! from the cache, so the source of the records makes no difference.

use std::process::Command;

use crate::dns::dataset::Dataset;
use crate::process::Process;
use crate::server::Server;
use crate::testbed::{NO_COREDNS, Testbed, find, free_port, write};

/// Starts `coredns`.
pub(crate) fn start(testbed: &Testbed, dataset: &Dataset) -> Result<Server, String> {
    let program = find("coredns", "COREDNS").ok_or(NO_COREDNS)?;
    let (folder, port) = (testbed.folder("coredns")?, free_port()?);
    let (health, ready, metrics) = (free_port()?, free_port()?, free_port()?);
    let zone = folder.join("cluster.local.zone");
    write(&zone, &dataset.zone())?;
    write(
        &folder.join("Corefile"),
        &format!(
            ".:{port} {{\n    bind 127.0.0.1\n    errors\n    health 127.0.0.1:{health}\n    ready 127.0.0.1:{ready}\n    \
             file {} cluster.local\n    prometheus 127.0.0.1:{metrics}\n    forward . 127.0.0.1:1\n    \
             cache 30\n    reload\n    loadbalance\n}}\n",
            zone.display()
        ),
    )?;
    let mut command = Command::new(program);
    command.arg("-conf").arg(folder.join("Corefile"));
    let process = Process::start_server(testbed, &mut command, &folder)?;
    Ok(Server::new(process, port))
}
