//! What Pods find on the node.

use tests::node::ClusterNode;
use tests::pod_images::BUSYBOX;

pub(crate) fn a_pod_has_the_resolver_settings_of_its_node(node: &mut ClusterNode) {
    node.kubectl(&["run", "shell", "--image", BUSYBOX, "--command", "--", "sleep", "3600"]);
    node.wait_for("default", "pod/shell", "condition=Ready");
    let settings = node.exec("default", "shell", &["cat", "/etc/resolv.conf"]);
    for line in [
        "nameserver 10.96.0.10",
        "search default.svc.cluster.local svc.cluster.local cluster.local",
        "options ndots:5",
    ] {
        assert!(settings.lines().any(|setting| setting == line), "{line:?} in {settings}");
    }
    node.kubectl(&["delete", "pod", "shell", "--now"]);
}
