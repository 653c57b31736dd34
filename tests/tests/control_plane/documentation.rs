//! The commands of the documentation, as a reader types them.

use std::time::Duration;

use tests::documentation::{self, Environment, TestStage};
use tests::programs;
use tests::stage::Stage;

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn commands_without_a_cluster_do_what_the_pages_show(stage: &mut Stage) {
    run(stage, TestStage::Demo, &[], &[]);
}

pub(crate) fn commands_on_a_cluster_do_what_the_pages_show(stage: &mut Stage) {
    let kubectl = ("kubectl", format!("exec '{}' kubectl \"$@\"", stage.plane.binary().display()));
    let helm = programs::helm().expect("it has been built").display().to_string();
    let helm = ("helm", format!("exec '{helm}' \"$@\""));
    let admin = std::fs::read_to_string(stage.plane.kubeconfig("admin", 6443)).expect("it has been written");
    run(stage, TestStage::ControlPlane, &[kubectl, helm], &[("~/.kube/config", admin)]);
}

#[track_caller]
fn run(stage: &Stage, of: TestStage, programs: &[(&str, String)], files: &[(&str, String)]) {
    let portolan = programs::portolan().expect("it has been built");
    let programs = [&documentation::portolan_commands(&portolan)[..], programs].concat();
    let checkout = documentation::checkout();
    let environment = Environment { checkout, programs: &programs, variables: &[], files, limit: LIMIT };
    let problems = documentation::run(of, &environment);
    assert!(problems.is_empty(), "in {}:\n{}", stage.folder().display(), problems.join("\n\n"));
}
