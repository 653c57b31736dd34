//! Our image in the Deployment of ingress-nginx's manifest, with its arguments, environment, security context, probes and ports, and
//! the way from there to a Deployment of Portolan.

use std::net::Ipv4Addr;

use tests::http;
use tests::meter::Meter;
use tests::node::{Node, POD_TIMEOUT};
use tests::wait;

use crate::backends::{SHOP, ensure_web};
use crate::ingress::ingress;
use crate::manifests::{delete_ingress_nginx, ingress_nginx};
use crate::migrate::{migrate, no_loss};

pub(crate) fn ingress_nginxs_manifest_runs_our_image_and_is_taken_over_without_a_lost_request(
    node: &mut Node,
) {
    ensure_web(node);
    node.apply(&ingress_nginx());
    node.apply(&ingress("stock", "stock.example", "web", "", ""));
    node.wait_for_rollout("ingress-nginx", "deployment/ingress-nginx-controller");
    let service = node.field("ingress-nginx", "service/ingress-nginx-controller", "{.spec.clusterIP}");
    let address = (service.parse::<Ipv4Addr>().expect("a ClusterIP"), 80).into();
    wait::until("the route to be served", POD_TIMEOUT, || {
        let response = http::get(address, "stock.example", "/").map_err(|error| error.to_string())?;
        if response.status == 200 { Ok(()) } else { Err(format!("{} {}", response.status, response.text())) }
    });

    let series = [Meter::of(node).requests(&format!("http://{service}/"), "stock.example", "by%20web-")];
    let text = migrate(node, "ingress", &["--watch", "5s"], 0);
    assert!(text.contains("of class nginx") && text.contains("all are the same"), "{text}");
    let selector = node.field("ingress-nginx", "service/ingress-nginx-controller", "{.spec.selector}");
    assert!(selector.contains("portolan-ingress"), "{selector}");
    migrate(node, "ingress", &["--rollback"], 0);
    assert!(node.read("ingress-nginx", "deployment/portolan-ingress").is_none());
    no_loss(series, 500);

    node.kubectl(&["delete", "ingress", "-n", SHOP, "stock"]);
    delete_ingress_nginx(node);
}
