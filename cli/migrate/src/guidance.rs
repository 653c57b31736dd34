//! Advice for each distribution: what to do where a takeover is not possible, and how to keep it over upgrades.

use crate::distribution::Distribution;

/// What to do instead where an operator maintains the cluster DNS and would undo a takeover.
pub(crate) fn instead_of_takeover(distribution: Distribution) -> &'static str {
    match distribution {
        Distribution::Eks => {
            "remove the add-on but keep its objects: aws eks delete-addon --cluster-name NAME --addon-name coredns --preserve\n\
             then run this command again with --unmanaged"
        }
        Distribution::Aks => {
            "AKS does not allow another cluster DNS than its CoreDNS. Install Portolan as a second DNS server (chart value dns.enabled=true with an own \
             dns.service.name), and either name it in the dnsConfig of Pods, or forward zones to it by a key `NAME.server` of the \
             ConfigMap kube-system/coredns-custom"
        }
        Distribution::Gke => {
            "GKE's kube-dns is no CoreDNS and has no Corefile. Install Portolan with the label k8s-app=kube-dns (chart value \
             dns.enabled=true), then scale it in: kubectl -n kube-system scale deployment kube-dns-autoscaler kube-dns --replicas=0"
        }
        Distribution::OpenShift => {
            "OpenShift's DNS operator cannot be replaced. Install Portolan as a second DNS server and forward zones to it: \
             spec.servers of dns.operator.openshift.io/default"
        }
        _ => {
            "remove the object from the operator's control first (label addonmanager.kubernetes.io/mode), then run this command again \
             with --unmanaged"
        }
    }
}

/// What undoes a takeover of DNS later, and how to prevent that.
pub(crate) fn lasting(distribution: Distribution) -> Option<&'static str> {
    match distribution {
        Distribution::Kubeadm => Some(
            "kubeadm upgrade applies its own Deployment and Service of CoreDNS again: leave that phase out with \
             kubeadm upgrade apply --skip-phases=addon/coredns",
        ),
        Distribution::K3s => Some(
            "k3s applies its manifest again at each restart. Before the migration, on every server:\n\
             touch /var/lib/rancher/k3s/server/manifests/coredns.yaml.skip\n\
             With that file k3s also stops to maintain NodeHosts: the line nodes in the block of hosts, and list and watch of nodes, replace it. --disable=coredns would delete the Service and its address.\n\
             portolan migrate dns --manifest prints a manifest of the result for the same folder",
        ),
        Distribution::Rke2 => Some(
            "RKE2 upgrades its chart with the cluster, which restores the Service's selector: migrate again after each upgrade",
        ),
        Distribution::Eks => Some(
            "do not install the add-on coredns again with conflict resolution OVERWRITE: it would restore the Service's selector",
        ),
        Distribution::Ack => Some(
            "an upgrade of the component coredns in ACK's add-on management restores the Service's selector: upgrade it only after \
             --rollback",
        ),
        Distribution::Aks | Distribution::Gke | Distribution::OpenShift | Distribution::Other => None,
    }
}
