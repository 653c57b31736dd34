//! The commands of the documentation that need a node, as a reader types them.

use std::time::Duration;

use tests::documentation::{self, Environment, TestStage};
use tests::node::ClusterNode;
use tests::programs;

use crate::manifests::{ingress_nginx, remove_stock_dns};
use crate::migrate::{ensure_kubeadm, lookups, no_loss};
use crate::takeover_ingress::{HOST, ensure_ingress_nginx, remove_ingress_nginx, requests};

/// How long one command may take: Helm waits for Pods.
const LIMIT: Duration = Duration::from_secs(180);

/// Runs the blocks of a stage.
#[track_caller]
fn run(node: &ClusterNode, stage: TestStage) {
    let portolan = programs::portolan().expect("it has been built");
    let program =
        |binary: &std::path::Path, first: &str| format!("exec '{}' {first} \"$@\"", binary.display());
    let mut programs = documentation::portolan_commands(&portolan);
    programs.push(("kubectl", program(node.plane.binary(), "kubectl")));
    programs.push(("helm", program(&programs::helm().expect("it has been built"), "")));
    let admin = std::fs::read_to_string(node.kubeconfig()).expect("it has been written");
    let environment = Environment {
        checkout: documentation::checkout(),
        programs: &programs,
        variables: &[],
        files: &[("~/.kube/config", admin)],
        limit: LIMIT,
    };
    let problems = documentation::run(stage, &environment);
    assert!(
        problems.is_empty(),
        "{}\n{}\n{}",
        problems.join("\n\n"),
        node.explain("portolan"),
        node.explain("kube-system")
    );
}

pub(crate) fn commands_on_a_node_do_what_the_pages_show(node: &mut ClusterNode) {
    remove_stock_dns(node);
    run(node, TestStage::Node);
}

/// The page has its own counters, of commands that a person types; these send more often.
pub(crate) fn a_takeover_of_both_and_the_way_back_do_what_the_page_shows(node: &mut ClusterNode) {
    ensure_kubeadm(node);
    let service = ensure_ingress_nginx(node, &ingress_nginx());
    let (lookups, requests) = (lookups(node), requests(node, &service, HOST));
    run(node, TestStage::Stock);
    no_loss(lookups, 1000);
    no_loss([requests], 1000);
    remove_ingress_nginx(node);
}
