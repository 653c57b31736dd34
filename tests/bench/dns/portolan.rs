//! Portolan with kubeadm's Corefile (metrics and cache included) and the cluster objects as manifests.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use crate::dns::dataset::Dataset;
use crate::process::Process;
use crate::server::Server;
use crate::testbed::{NO_PORTOLAN, Testbed, free_port, portolan, write};

/// Starts `portolan dns` on a folder of manifests.
pub(crate) fn start(testbed: &Testbed, dataset: &Dataset) -> Result<Server, String> {
    start_with(testbed, dataset, (Ipv4Addr::LOCALHOST, 1).into())
}

/// Starts `portolan dns` with an upstream for names outside the cluster.
pub(crate) fn start_with(
    testbed: &Testbed,
    dataset: &Dataset,
    upstream: SocketAddr,
) -> Result<Server, String> {
    let program = portolan().ok_or(NO_PORTOLAN)?;
    let (folder, port) = (testbed.folder("portolan-dns")?, free_port()?);
    let manifests = testbed.folder("portolan-dns/cluster")?;
    dataset.manifests(&manifests)?;
    write(&folder.join("Corefile"), &corefile([port, free_port()?, free_port()?, free_port()?], upstream))?;
    let mut command = Command::new(program);
    command.arg("dns").arg("-conf").arg(folder.join("Corefile")).arg("--cluster").arg(manifests);
    let process = Process::start(&mut command, testbed.server, &folder)?;
    Ok(Server::new(process, port))
}

/// kubeadm's Corefile on other ports and without `loop`, which would query the machine's resolver.
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
