//! Portolan as a cluster would run it: kubeadm's Corefile, with metrics, cache and the cluster's objects.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use crate::dns::dataset::Dataset;
use crate::process::Process;
use crate::server::Server;
use crate::testbed::{Testbed, free_port, portolan, write};

/// Starts `portolan dns` on a folder of manifests.
pub(crate) fn start(testbed: &Testbed, dataset: &Dataset) -> Result<Server, String> {
    start_with(testbed, dataset, (Ipv4Addr::LOCALHOST, 1).into())
}

/// The same with an upstream for names outside of the cluster.
pub(crate) fn start_with(
    testbed: &Testbed,
    dataset: &Dataset,
    upstream: SocketAddr,
) -> Result<Server, String> {
    let program = portolan().ok_or("not built: cargo build --release -p portolan")?;
    let (folder, port) = (testbed.folder("portolan-dns")?, free_port()?);
    let manifests = testbed.folder("portolan-dns/cluster")?;
    dataset.manifests(&manifests)?;
    write(&folder.join("Corefile"), &corefile([port, free_port()?, free_port()?, free_port()?], upstream))?;
    let mut command = Command::new(program);
    command.arg("dns").arg("-conf").arg(folder.join("Corefile")).arg("--cluster").arg(manifests);
    let process = Process::start(&mut command, testbed.server, &folder)?;
    Ok(Server::new(process, port))
}

/// kubeadm's Corefile, but for `loop`, which would ask the machine's own resolver, and on ports of our own.
fn corefile([dns, health, ready, metrics]: [u16; 4], upstream: SocketAddr) -> String {
    format!(
        ".:{dns} {{
    errors
    health 127.0.0.1:{health} {{
        lameduck 0s
    }}
    ready 127.0.0.1:{ready}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus 127.0.0.1:{metrics}
    forward . {upstream}
    cache 30
    reload
    loadbalance
}}
"
    )
}
