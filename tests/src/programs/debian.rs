//! Programs from Debian packages that are extracted and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::built_once;

/// systemd-resolved and the library that it is linked to. The library is beside it.
///
/// Installing the package would make systemd-resolved the resolver of the machine.
pub fn systemd_resolved() -> Result<PathBuf, String> {
    built_once("systemd-resolved", "systemd-resolved", |binary| {
        let cache = binary.parent().ok_or("a folder of the cache")?;
        let folder = cache.join("packages");
        extract(&["systemd-resolved", "libsystemd-shared"], &folder)?;
        // Their folders differ between releases of Debian.
        let library = find(&folder, "libsystemd-shared-")?;
        let name = library.file_name().unwrap_or_default();
        let program = find(&folder, "systemd-resolved")?;
        let copied = fs::copy(&library, cache.join(name)).and_then(|_| fs::copy(program, binary));
        copied.map_err(|error| format!("{}: {error}", cache.display()))?;
        fs::remove_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))
    })
}

/// Downloads packages and extracts their files into `folder`.
fn extract(packages: &[&str], folder: &Path) -> Result<(), String> {
    // What an interrupted run has left.
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let download = || run(Command::new("apt-get").arg("download").args(packages).current_dir(folder));
    // Without a list of packages, or if it has a version that is no longer there.
    download().or_else(|_| run(Command::new("apt-get").arg("update")).and_then(|()| download()))?;
    let files = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let archives: Vec<PathBuf> = files.flatten().map(|entry| entry.path()).collect();
    for archive in archives {
        run(Command::new("dpkg").arg("-x").arg(archive).arg(folder))?;
    }
    Ok(())
}

/// The executable or library in a folder whose name begins with `name`.
fn find(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let mut command = Command::new("find");
    command.arg(folder).args(["-type", "f", "-path", "*/systemd/*", "-name"]).arg(format!("{name}*"));
    let output = command.output().map_err(|error| format!("find: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_program = |path: &&str| !path.ends_with(".service") && !path.ends_with(".conf");
    let path = text.lines().find(is_program).ok_or_else(|| format!("no {name} in {}", folder.display()))?;
    Ok(path.into())
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?} (Debian): {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
