//! Counts the instructions that a server runs outside the kernel, with valgrind. Other programs on the machine do not change them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::testbed::find;

/// How long a server may take until it is ready: valgrind starts slowly on a busy machine.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(300);

/// The command under valgrind, which counts from [`count`] on.
pub(crate) fn counted(command: &Command, folder: &Path) -> Result<Command, String> {
    let valgrind =
        find("valgrind", "VALGRIND").ok_or("valgrind is not installed (Debian package valgrind)")?;
    let mut counted = Command::new(valgrind);
    let file = folder.join("instructions.%p");
    counted.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", file.display()));
    counted.arg(command.get_program()).args(command.get_args());
    Ok(counted)
}

/// How many instructions a process that was started by [`counted`] in `folder` runs during `load`.
pub(crate) fn count<T>(id: u32, folder: &Path, load: impl FnOnce() -> T) -> Result<(u64, T), String> {
    control("--zero", id)?;
    let result = load();
    control("--dump", id)?;
    let file = folder.join(format!("instructions.{id}.1"));
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    Ok((total.ok_or_else(|| format!("{}: no line \"totals\"", file.display()))?, result))
}

fn control(option: &str, id: u32) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("callgrind_control {option} {id}: {error}");
    let output = Command::new("callgrind_control").arg(option).arg(id.to_string()).output();
    let output = output.map_err(|error| failed(&error))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(&String::from_utf8_lossy(&output.stderr))),
    }
}
