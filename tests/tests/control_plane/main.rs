//! Both services against a real control plane, in a network namespace of their own.
//!
//! One etcd, one API server and one controller manager serve all cases, which run one after the other; each makes
//! Kubernetes namespaces of its own and starts the `portolan` it needs. `PORTOLAN_TESTS=local` leaves all of them out.

mod itself;

use std::process::ExitCode;

use tests::runner::{self, Case, Selection};
use tests::stage::Stage;
use tests::{cases, namespace, programs};

const CASES: &[Case<Stage>] = cases![
    itself::the_api_server_is_not_a_mock,
    itself::slices_are_made_from_selectors,
    itself::objects_survive_the_api_server,
];

fn main() -> ExitCode {
    let selection = match Selection::parse(std::env::args().skip(1)) {
        Ok(selection) => selection,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::from(2);
        }
    };
    if std::env::var_os("PORTOLAN_TESTS").is_some_and(|value| value == "local") {
        return runner::leave_out(CASES, &selection, "PORTOLAN_TESTS=local: no real control plane");
    }
    runner::run(CASES, &selection, open, |stage| stage.plane.heal())
}

/// Builds first: the network that the builds may need is out of reach afterwards.
fn open() -> Result<Stage, String> {
    let cluster = programs::cluster()?;
    let portolan = programs::portolan()?;
    namespace::enter()?;
    Ok(Stage::open(&cluster, &portolan))
}
