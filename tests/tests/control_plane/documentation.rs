//! The commands of the documentation, as a reader types them.

use std::time::Duration;

use serde_json::json;
use tests::backend::Backend;
use tests::conformance::CasePod;
use tests::documentation::{self, Environment, TestStage};
use tests::programs;
use tests::stage::Stage;

use crate::ingress_traffic::prepare;
use crate::manifests::workload;

/// How long one command may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn commands_without_a_cluster_do_what_the_pages_show(stage: &mut Stage) {
    run(stage, TestStage::Demo, &[], &[]);
}

pub(crate) fn the_ingress_answers_as_the_transcripts_show(stage: &mut Stage) {
    prepare(stage, "transcripts");
    let _echo = ["echo", "errors"].map(|name| {
        let address = if name == "echo" { "10.244.60.1" } else { "10.244.60.2" };
        stage.plane.api.apply(&workload("transcripts", name, &[address]));
        Backend::start(name, &format!("{address}:8080"))
    });
    let start = |name: &str, address: &str, backend| {
        stage.plane.api.apply(&workload("transcripts", name, &[address]));
        CasePod::start(name, &format!("{address}:8080"), &backend)
    };
    let _pods = [
        start("broken", "10.244.60.3", json!({"kind": "fixed", "status": 503, "body": "out of order"})),
        start("php", "10.244.60.4", json!({"kind": "fastcgi-hello"})),
        start("auth", "10.244.60.5", json!({"kind": "fixed", "status": 401})),
    ];
    let (kubectl, admin) = kubectl(stage);
    let problems = problems(TestStage::Ingress, &[kubectl], &[admin]);
    // Cases that migrate compare the responses of all Ingresses.
    stage.plane.api.delete_all("Ingress", "transcripts", 1);
    no_problems(stage, &problems);
}

/// The command `kubectl`, and the kubeconfig of its user.
pub(crate) fn kubectl(stage: &Stage) -> ((&'static str, String), (&'static str, String)) {
    let kubectl = format!("exec '{}' kubectl \"$@\"", stage.plane.binary().display());
    let admin = std::fs::read_to_string(stage.plane.kubeconfig("admin", 6443)).expect("it has been written");
    (("kubectl", kubectl), ("~/.kube/config", admin))
}

pub(crate) fn commands_on_a_cluster_do_what_the_pages_show(stage: &mut Stage) {
    let (kubectl, admin) = kubectl(stage);
    let helm = programs::helm().expect("it has been built").display().to_string();
    let helm = ("helm", format!("exec '{helm}' \"$@\""));
    run(stage, TestStage::ControlPlane, &[kubectl, helm], &[admin]);
}

#[track_caller]
fn run(stage: &Stage, of: TestStage, programs: &[(&str, String)], files: &[(&str, String)]) {
    no_problems(stage, &problems(of, programs, files));
}

#[track_caller]
pub(crate) fn no_problems(stage: &Stage, problems: &[String]) {
    assert!(problems.is_empty(), "in {}:\n{}", stage.folder().display(), problems.join("\n\n"));
}

/// What went wrong with the blocks of a stage.
fn problems(of: TestStage, programs: &[(&str, String)], files: &[(&str, String)]) -> Vec<String> {
    let portolan = programs::portolan().expect("it has been built");
    let programs = [&documentation::portolan_commands(&portolan)[..], programs].concat();
    let checkout = documentation::checkout();
    let environment = Environment { checkout, programs: &programs, variables: &[], files, limit: LIMIT };
    documentation::run(of, &environment)
}
