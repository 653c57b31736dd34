//! The commands of the documentation that need a node, as a reader types them.

use std::time::Duration;

use tests::documentation::{self, Environment, TestStage};
use tests::node::Node;
use tests::programs;

use crate::manifests::remove_stock_dns;

/// How long one command may take: Helm waits for Pods.
const LIMIT: Duration = Duration::from_secs(180);

pub(crate) fn commands_on_a_node_do_what_the_pages_show(node: &mut Node) {
    remove_stock_dns(node);
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
    let problems = documentation::run(TestStage::Node, &environment);
    assert!(problems.is_empty(), "{}\n{}", problems.join("\n\n"), node.explain("portolan"));
}
