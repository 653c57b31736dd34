//! The DNS servers that watch an API server.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::memory::cluster::{Cluster, DNS};
use crate::process::Process;
use crate::server::Server;
use crate::testbed::{NO_COREDNS, NO_PORTOLAN, Testbed, find, portolan, write};

/// A DNS server and the function that starts it.
pub(crate) struct DnsServer {
    pub(crate) name: &'static str,
    pub(crate) start: fn(&Testbed, &Cluster) -> Result<Server, String>,
}

pub(crate) const SERVERS: &[DnsServer] =
    &[DnsServer { name: "CoreDNS", start: coredns }, DnsServer { name: "Portolan", start: start_portolan }];

fn coredns(testbed: &Testbed, cluster: &Cluster) -> Result<Server, String> {
    let program = find("coredns", "COREDNS").ok_or(NO_COREDNS)?;
    start(testbed, "coredns-large", Command::new(program), cluster.kubeconfig())
}

fn start_portolan(testbed: &Testbed, cluster: &Cluster) -> Result<Server, String> {
    let program = portolan().ok_or(NO_PORTOLAN)?;
    let mut command = Command::new(program);
    command.arg("dns");
    start(testbed, "portolan-large", command, cluster.kubeconfig())
}

fn start(testbed: &Testbed, name: &str, mut command: Command, kubeconfig: PathBuf) -> Result<Server, String> {
    let folder = testbed.folder(name)?;
    let file = folder.join("Corefile");
    write(&file, &corefile(&kubeconfig))?;
    command.arg("-conf").arg(file);
    let process = Process::start_server(testbed, &mut command, &folder)?;
    Ok(Server { process, address: DNS.parse().map_err(|_| format!("{DNS}: expected an address"))? })
}

/// kubeadm's Corefile without `forward` and `loop`, because there is no upstream, and without `cache`, which would delay
/// changes.
fn corefile(kubeconfig: &Path) -> String {
    format!(
        ".:53 {{
    errors
    health 127.0.0.1:8080
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus 127.0.0.1:9153
    reload
    loadbalance
}}
",
        kubeconfig.display()
    )
}
