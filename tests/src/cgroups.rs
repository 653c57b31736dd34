//! Control groups of a node, in version 1 or 2 of the interface.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Creates a cgroup in every hierarchy, as root of those that kubelet makes.
pub fn create(name: &str) -> Result<(), String> {
    for hierarchy in hierarchies() {
        let group = hierarchy.join(name);
        fs::create_dir_all(&group).map_err(|error| format!("{}: {error}", group.display()))?;
        // Version 1: a cpuset without processors and memory nodes takes no process.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(parent) = fs::read_to_string(hierarchy.join(file)) {
                fs::write(group.join(file), parent).map_err(|error| format!("{file}: {error}"))?;
            }
        }
    }
    Ok(())
}

/// Removes a cgroup and those in it from every hierarchy. It fails while a process is in one of them.
pub fn remove(name: &str) -> Result<(), String> {
    for hierarchy in hierarchies() {
        remove_tree(&hierarchy.join(name))?;
    }
    Ok(())
}

/// The names of the cgroups at the top that begin with `prefix`.
pub fn with_prefix(prefix: &str) -> Vec<String> {
    let entries = hierarchies().into_iter().filter_map(|hierarchy| fs::read_dir(hierarchy).ok()).flatten();
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names.dedup();
    names
}

/// The value of a file of a container's memory cgroup: the first of `names` that exists (they differ between the versions).
pub fn memory(process: u32, names: &[&str]) -> Option<u64> {
    memory_file(process, names)?.trim().parse().ok()
}

/// How often the kernel has killed a process of a container because of its memory limit.
pub fn oom_kills(process: u32) -> Option<u64> {
    let counts = memory_file(process, &["memory.events", "memory.oom_control"])?;
    counts.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}

fn memory_file(process: u32, names: &[&str]) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
    let path = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        (controllers.is_empty() || controllers.split(',').any(|name| name == "memory"))
            .then(|| path.trim_start_matches('/').to_owned())
    })?;
    let hierarchies = hierarchies();
    let files =
        hierarchies.iter().flat_map(|hierarchy| names.iter().map(|name| hierarchy.join(&path).join(name)));
    files.into_iter().find_map(|file| fs::read_to_string(file).ok())
}

fn remove_tree(group: &Path) -> Result<(), String> {
    let entries = match fs::read_dir(group) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("{}: {error}", group.display())),
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("{}: {error}", group.display())),
        _ => Ok(()),
    }
}

/// The mount points of all hierarchies: one in version 2, one per controller in version 1.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let of_cgroups = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (target, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup" || kind == "cgroup2").then(|| PathBuf::from(target))
    });
    of_cgroups.collect()
}
