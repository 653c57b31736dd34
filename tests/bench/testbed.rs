//! The machine a run has: two cores, a folder, free ports, and the programs of the peers.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Where servers and load run, and where they keep their files.
pub(crate) struct Testbed {
    /// The core of the server that is measured.
    pub(crate) server: usize,
    /// The core of everything that loads it.
    pub(crate) load: usize,
    folder: tempfile::TempDir,
}

impl Testbed {
    /// Takes two of the cores this process may use and moves onto the one for load.
    pub(crate) fn prepare() -> Result<Self, String> {
        let allowed =
            sched_getaffinity(Pid::from_raw(0)).map_err(|error| format!("sched_getaffinity: {error}"))?;
        let mut cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false));
        let (Some(server), Some(load)) = (cores.next(), cores.next()) else {
            return Err("two cores are needed: one for the server, one for the load".to_owned());
        };
        pin(load)?;
        let folder = tempfile::tempdir().map_err(|error| format!("a folder for the run: {error}"))?;
        Ok(Self { server, load, folder })
    }

    /// A new folder for the files of one engine.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, String> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(folder)
    }

    /// Date, processor and kernel: without them the table means nothing.
    pub(crate) fn describe(&self) -> String {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let model = model.trim_start_matches([' ', '\t', ':']);
        let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let date = Command::new("date").args(["-u", "+%F"]).output().map(|it| it.stdout).unwrap_or_default();
        let date = String::from_utf8_lossy(&date);
        format!("{}, {cores} cores of {model}, Linux {}", date.trim(), kernel.trim())
    }
}

/// Moves the calling thread, and what it starts, to one core.
pub(crate) fn pin(core: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|error| format!("core {core}: {error}"))
}

/// A port that is free for UDP and TCP on loopback now.
pub(crate) fn free_port() -> Result<u16, String> {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").map_err(|error| format!("a free port: {error}"))?;
        let port = udp.local_addr().map_err(|error| format!("a free port: {error}"))?.port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free for UDP and TCP".to_owned())
}

/// What to do where `find` has no `coredns`.
pub(crate) const NO_COREDNS: &str = "no coredns in PATH, in COREDNS or in ~/.cache/portolan/peers; \
    in a module that requires github.com/coredns/coredns v1.15.0, `go build -o ~/.cache/portolan/peers/ \
    github.com/coredns/coredns` makes it";

/// A program by name: where the variable says, in `PATH`, where Debian keeps servers, or in the cache of peers that were
/// built from source.
pub(crate) fn find(program: &str, variable: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(PathBuf::from(path));
    }
    let home = || std::env::var("HOME").map(|home| format!("{home}/.cache"));
    let cache = std::env::var("XDG_CACHE_HOME").or_else(|_| home()).unwrap_or_default();
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').map(PathBuf::from);
    let more = ["/usr/sbin".into(), "/usr/local/sbin".into(), Path::new(&cache).join("portolan/peers")];
    folders.chain(more).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The `portolan` that was built beside this program, or the one `PORTOLAN` names.
pub(crate) fn portolan() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("PORTOLAN") {
        return Some(PathBuf::from(path));
    }
    let beside = std::env::current_exe().ok()?.with_file_name("portolan");
    beside.is_file().then_some(beside)
}

/// Writes a file of an engine.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
