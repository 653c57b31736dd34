//! `kubectl set image` on the Deployment of a stock CoreDNS.

use tests::meter::Meter;
use tests::node::ClusterNode;
use tests::pod_images::{COREDNS, PORTOLAN};
use tests::stage::DNS;

use crate::manifests::ensure_stock_dns;

const API_SERVER: &str = "kubernetes.default.svc.cluster.local.";

pub(crate) fn changing_the_image_of_stock_coredns_loses_no_lookup(node: &mut ClusterNode) {
    ensure_stock_dns(node);
    let meter = Meter::of(node);
    for image in [PORTOLAN, COREDNS] {
        let series = [
            meter.lookups(DNS, API_SERVER, "10.96.0.1"),
            meter.lookups(DNS, "www.example.com.", "192.0.2.8"),
        ];
        node.kubectl(&[
            "set",
            "image",
            "-n",
            "kube-system",
            "deployment/coredns",
            &format!("coredns={image}"),
        ]);
        node.wait_for_rollout("kube-system", "deployment/coredns");
        node.wait_for_only("kube-system", "k8s-app=kube-dns", 2);
        let images = node.field("kube-system", "pods", "{.items[*].spec.containers[0].image}");
        assert_eq!(images, format!("{image} {image}"));
        for series in series {
            series.end().expect_no_loss(100);
        }
    }
}
