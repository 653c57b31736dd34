//! The ingress beside the controllers of other projects, which are built from their Go modules, on a real control plane.
//!
//! Runs only with `PORTOLAN_TESTS=neighbours` or `all`, because the first build of the controllers takes minutes. Their writes
//! are repeated in `control_plane/neighbours`, which always runs.

mod argo_rollouts;
mod cert_manager;
mod external_dns;
mod flagger;

use std::process::{Command, ExitCode};

use tests::process::Process;
use tests::programs::{self, Neighbour};
use tests::runner::{self, Case, Selection};
use tests::stage::{SOON, Stage};
use tests::{cases, manifests, namespace, wait};

const CASES: &[Case<Stage>] = cases![
    external_dns::records_follow_the_status_of_the_ingresses,
    flagger::releases_are_promoted_rolled_back_and_tested_by_header,
    argo_rollouts::the_steps_of_a_rollout_give_their_shares,
    cert_manager::a_certificate_is_issued_and_renewed_over_http,
];

fn main() -> ExitCode {
    let selection = match Selection::from_arguments() {
        Ok(selection) => selection,
        Err(code) => return code,
    };
    let wanted = std::env::var("PORTOLAN_TESTS").is_ok_and(|value| value == "neighbours" || value == "all");
    if !wanted && !selection.lists() {
        println!(
            "\nleft out: {} tests beside other projects' controllers; to run them: \
             PORTOLAN_TESTS=neighbours cargo test -p tests --test neighbours\n",
            CASES.len()
        );
        return ExitCode::SUCCESS;
    }
    runner::run(CASES, &selection, || open(&selection), |stage| stage.plane.ensure_running())
}

/// Builds the programs of the selected cases before the network namespace is entered, since builds need the network.
fn open(selection: &Selection) -> Result<Stage, String> {
    let cluster = programs::cluster()?;
    let portolan = programs::portolan()?;
    for (file, neighbour) in [
        ("flagger::", Neighbour::FLAGGER),
        ("argo_rollouts::", Neighbour::ARGO_ROLLOUTS),
        ("cert_manager::", Neighbour::CERT_MANAGER_AND_EXTERNAL_DNS),
        ("external_dns::", Neighbour::CERT_MANAGER_AND_EXTERNAL_DNS),
    ] {
        if CASES.iter().any(|case| case.name.starts_with(file) && selection.selects(case.name)) {
            neighbour.program()?;
            neighbour.definitions()?;
        }
    }
    if CASES.iter().any(|case| case.name.starts_with("cert_manager::") && selection.selects(case.name)) {
        programs::acme_server()?;
    }
    namespace::enter()?;
    Ok(Stage::start(&cluster, &portolan))
}

/// Creates a namespace with the IngressClass, and the definitions of a neighbour.
fn prepare(stage: &Stage, namespace: &str, neighbour: Neighbour, list: &str) {
    stage.plane.api.apply(&(manifests::namespace(namespace) + manifests::CLASS));
    let definitions = neighbour.definitions().expect("read before the first case");
    let (kubeconfig, file) = (kubeconfig(stage), definitions.to_string_lossy());
    // kubectl, because Flagger's file has lines that YAML 1.2 does not allow.
    let words = ["apply", "--server-side", "-f", &file, "--kubeconfig", &kubeconfig.to_string_lossy()];
    let applied = stage.plane.kubectl(&words);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    wait::until(list, SOON, || match stage.plane.api.get(list) {
        Ok(response) if response.status == 200 => Ok(()),
        Ok(response) => Err(response.text()),
        Err(error) => Err(error.to_string()),
    });
}

/// Starts a neighbour as the cluster's administrator.
fn start(stage: &Stage, name: &str, neighbour: Neighbour, arguments: &[&str]) -> Process {
    let mut command = Command::new(neighbour.program().expect("built before the first case"));
    command.args(arguments).arg("--kubeconfig").arg(kubeconfig(stage));
    Process::start(name, command, stage.folder())
}

fn kubeconfig(stage: &Stage) -> std::path::PathBuf {
    stage.plane.kubeconfig("admin", stage.plane.server.address().port())
}

/// A string of an object, empty if it does not exist.
fn text(object: &serde_json::Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}
