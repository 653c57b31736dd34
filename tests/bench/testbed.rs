//! The machine's resources for a run: two cores, a temporary folder, free ports, and the programs to measure.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The cores of the server and of the load, and the folder for their files.
pub(crate) struct Testbed {
    /// The core of the server that is measured.
    pub(crate) server: usize,
    /// The core of the load generator, the backends and the control plane.
    pub(crate) load: usize,
    folder: tempfile::TempDir,
    /// Whether servers are started under valgrind, which counts their instructions.
    pub(crate) counts_instructions: bool,
}

impl Testbed {
    /// Selects two of the cores that this process may use and pins it to the load core.
    pub(crate) fn prepare() -> Result<Self, String> {
        let allowed =
            sched_getaffinity(Pid::from_raw(0)).map_err(|error| format!("sched_getaffinity: {error}"))?;
        let mut cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false));
        let (Some(server), Some(load)) = (cores.next(), cores.next()) else {
            return Err("two cores are required: one for the server, one for the load generator".to_owned());
        };
        pin(&[load])?;
        let folder = tempfile::tempdir().map_err(|error| format!("a folder for the run: {error}"))?;
        Ok(Self { server, load, folder, counts_instructions: false })
    }

    /// Creates a folder for the files of one server.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, String> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(folder)
    }

    /// Date, processor and kernel version, which a reader needs to interpret the tables.
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

/// Pins the calling thread, and the threads and processes that it starts, to some cores.
pub(crate) fn pin(cores: &[usize]) -> Result<(), String> {
    let mut set = CpuSet::new();
    cores
        .iter()
        .try_for_each(|core| set.set(*core))
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|error| format!("cores {cores:?}: {error}"))
}

/// A port on loopback that is currently free for UDP and TCP.
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

/// Error message for a missing `coredns`.
pub(crate) const NO_COREDNS: &str = "coredns was not found in COREDNS, PATH or ~/.cache/portolan/peers; to build it, \
    run `go build -o ~/.cache/portolan/peers/ github.com/coredns/coredns` in a Go module that requires \
    github.com/coredns/coredns v1.15.0";

/// Looks for a program at the path in the environment variable `variable`, in `PATH`, in Debian's folders for servers and in
/// the cache folder for servers that were built from source.
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

/// Message for a missing `portolan` binary.
pub(crate) const NO_PORTOLAN: &str = "portolan is not built: cargo build --profile dist";

/// The `portolan` binary that the environment variable `PORTOLAN` names, or else the one in the same folder as this program.
pub(crate) fn portolan() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("PORTOLAN") {
        return Some(PathBuf::from(path));
    }
    let beside = std::env::current_exe().ok()?.with_file_name("portolan");
    beside.is_file().then_some(beside)
}

/// Writes a text file.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
