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

/// The same with a thread on each core.
pub(crate) fn start_two_threads(testbed: &Testbed, dataset: &Dataset) -> Result<Server, String> {
    let cores = [testbed.server, testbed.load];
    start_on(testbed, &cores, "portolan-dns-2", dataset, BIND, (Ipv4Addr::LOCALHOST, 1).into())
}

/// The same without `bind`.
pub(crate) fn start_wildcard(testbed: &Testbed, dataset: &Dataset) -> Result<Server, String> {
    start_on(
        testbed,
        &[testbed.server],
        "portolan-dns-wildcard",
        dataset,
        "",
        (Ipv4Addr::LOCALHOST, 1).into(),
    )
}

/// Starts `portolan dns` with an upstream for names outside the cluster.
pub(crate) fn start_with(
    testbed: &Testbed,
    dataset: &Dataset,
    upstream: SocketAddr,
) -> Result<Server, String> {
    start_on(testbed, &[testbed.server], "portolan-dns", dataset, BIND, upstream)
}

const BIND: &str = "    bind 127.0.0.1\n";

fn start_on(
    testbed: &Testbed,
    cores: &[usize],
    name: &str,
    dataset: &Dataset,
    bind: &str,
    upstream: SocketAddr,
) -> Result<Server, String> {
    let program = portolan().ok_or(NO_PORTOLAN)?;
    let (folder, port) = (testbed.folder(name)?, free_port()?);
    let manifests = testbed.folder(&format!("{name}/cluster"))?;
    dataset.manifests(&manifests)?;
    let ports = [port, free_port()?, free_port()?, free_port()?];
    write(&folder.join("Corefile"), &corefile(ports, bind, upstream))?;
    let mut command = Command::new(program);
    command.arg("dns").arg("-conf").arg(folder.join("Corefile")).arg("--cluster").arg(manifests);
    let process = Process::start_server_on(testbed, cores, &mut command, &folder)?;
    Ok(Server::new(process, port))
}

/// kubeadm's Corefile on other ports and without `loop`, which would query the machine's resolver.
fn corefile([dns, health, ready, metrics]: [u16; 4], bind: &str, upstream: SocketAddr) -> String {
    format!(
        ".:{dns} {{
{bind}    errors
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
