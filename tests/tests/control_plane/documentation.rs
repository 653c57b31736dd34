//! The commands of the documentation, as a reader types them.

use std::path::Path;
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
    let admin = std::fs::read_to_string(stage.plane.kubeconfig("admin", 6443)).expect("it has been written");
    run(stage, TestStage::ControlPlane, &[kubectl], &[("~/.kube/config", admin)]);
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the checkout")
}

#[track_caller]
fn run(stage: &Stage, of: TestStage, programs: &[(&str, String)], files: &[(&str, String)]) {
    let portolan = programs::portolan().expect("it has been built").display().to_string();
    // The checkout's build takes minutes and needs the network; a step of CI runs the documented command itself.
    let cargo = format!(
        "case \"$*\" in\n'run --release -- '*) shift 3; exec '{portolan}' \"$@\";;\n*) echo \"cargo $* is not run here\"; exit 1;;\nesac"
    );
    let mut all = vec![("portolan", format!("exec '{portolan}' \"$@\"")), ("cargo", cargo)];
    all.extend(programs.iter().cloned());
    let environment =
        Environment { checkout: checkout(), programs: &all, variables: &[], files, limit: LIMIT };
    let problems = documentation::run(of, &environment);
    assert!(problems.is_empty(), "in {}:\n{}", stage.folder().display(), problems.join("\n\n"));
}
