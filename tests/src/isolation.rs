//! PID, mount and network namespaces for a whole node: when their first process ends, nothing of the node is left running or
//! mounted, whatever state a test left it in.
//!
//! The test's binary runs three times: outside of the namespaces, as their first process (PID 1), and as the test itself:
//!
//! ```text
//! outside: prepares a folder, waits, deletes the folder and the cgroups
//!   └─ PID 1: collects ended processes
//!        └─ inside: runs the cases; parent of containerd, kubelet, …
//! ```

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};

use crate::cgroups;
use crate::wait;

/// The environment variable with which the binary starts itself again: `first` or `inside`.
const ROLE: &str = "PORTOLAN_NODE_ROLE";

/// The environment variable with the node's folder.
const FOLDER: &str = "PORTOLAN_NODE_FOLDER";

/// Prefix of the names of a run's folder and cgroups. The process ID and start time of the run follow.
const PREFIX: &str = "portolan-node-";

/// How long the cgroups of killed processes may take to be empty.
const CGROUP_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs `cases` inside of the namespaces, with the run's folder. `prepare` runs outside before, for example to build
/// programs, which may need the network. An error says what is missing.
pub fn run(
    prepare: impl FnOnce(&Path) -> Result<(), String>,
    cases: impl FnOnce(&Path) -> ExitCode,
) -> Result<ExitCode, String> {
    match env::var(ROLE).as_deref() {
        Ok("first") => Ok(collect_processes()),
        Ok("inside") => {
            let folder = env::var_os(FOLDER).ok_or_else(|| format!("{ROLE} is set without {FOLDER}"))?;
            Ok(cases(Path::new(&folder)))
        }
        _ => outside(prepare),
    }
}

/// The name of a run's cgroups and folder.
pub fn run_name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn outside(prepare: impl FnOnce(&Path) -> Result<(), String>) -> Result<ExitCode, String> {
    if !geteuid().is_root() {
        return Err("a node needs root (for namespaces, cgroups and containerd)".to_owned());
    }
    remove_leftovers();
    let id = std::process::id();
    let start = start_time(id).ok_or("/proc does not show this process")?;
    let folder = env::temp_dir().join(format!("{PREFIX}{id}-{start}"));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let status = prepare(&folder).and_then(|()| start_inside(&folder));
    remove(&folder);
    let status = status?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts the binary as the first process of new namespaces and waits for it.
fn start_inside(folder: &Path) -> Result<ExitStatus, String> {
    let own = env::current_exe().map_err(|error| format!("the test's own path: {error}"))?;
    let mut command = Command::new("setpriv");
    // If this process is killed, the kernel kills `unshare`, then the first process, and with it the whole PID namespace.
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]);
    command.args(["--mount-proc", "--"]).arg(own).args(env::args_os().skip(1));
    command.env(ROLE, "first").env(FOLDER, folder);
    command.status().map_err(|error| format!("setpriv and unshare (Debian package util-linux): {error}"))
}

/// Starts the test and waits for it, and for every process whose parent has ended.
fn collect_processes() -> ExitCode {
    let own = env::current_exe().expect("/proc is mounted");
    let inside = Command::new(own).args(env::args_os().skip(1)).env(ROLE, "inside").spawn();
    let inside = Pid::from_raw(inside.expect("the test starts as it did before").id() as i32);
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(process, code)) if process == inside => {
                return ExitCode::from(code as u8);
            }
            Ok(WaitStatus::Signaled(process, signal, _)) if process == inside => {
                eprintln!("the test was ended by {signal}");
                return ExitCode::FAILURE;
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => panic!("waiting for child processes: {error}"),
        }
    }
}

/// Removes the folders and cgroups of runs that were killed. Their names tell which process they belonged to.
fn remove_leftovers() {
    let folders = fs::read_dir(env::temp_dir()).into_iter().flatten().flatten().map(|entry| entry.path());
    for folder in folders.chain(cgroups::with_prefix(PREFIX).into_iter().map(PathBuf::from)) {
        let name = run_name(&folder);
        let Some(owner) = name.strip_prefix(PREFIX) else { continue };
        let Some((id, start)) = owner.split_once('-') else { continue };
        let alive = id.parse().is_ok_and(|id| start_time(id).is_some_and(|time| time == start));
        if !alive {
            remove(&env::temp_dir().join(&name));
        }
    }
}

fn remove(folder: &Path) {
    wait::until("the node's cgroups to be empty", CGROUP_TIMEOUT, || cgroups::remove(&run_name(folder)));
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            eprintln!("{}: {error}", folder.display());
        }
        _ => {}
    }
}

/// The start time of a process in clock ticks since boot (field 22 of /proc/PID/stat): tells two processes with the same ID
/// apart.
fn start_time(id: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is the program's name in parentheses and may contain spaces.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19).map(str::to_owned)
}
