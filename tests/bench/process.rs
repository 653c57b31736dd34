//! A measured server process: starts it on one core, reads its CPU time and memory from /proc, terminates it.

use std::fs::{File, read_to_string};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::instructions;
use crate::testbed::{Testbed, pin};

/// A process and its descendants.
pub(crate) struct Process {
    child: Child,
    output: PathBuf,
    /// How long it may take until it is ready.
    start_limit: Duration,
}

/// Resident memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) rss: u64,
    pub(crate) peak: u64,
}

impl Process {
    /// Starts a server that is measured, on one core. Its output goes to the file `output` in `folder`.
    pub(crate) fn start_server(
        testbed: &Testbed,
        command: &mut Command,
        folder: &Path,
    ) -> Result<Self, String> {
        Self::start_server_on(testbed, &[testbed.server], command, folder)
    }

    /// The same on any of the given cores.
    pub(crate) fn start_server_on(
        testbed: &Testbed,
        cores: &[usize],
        command: &mut Command,
        folder: &Path,
    ) -> Result<Self, String> {
        if !testbed.counts_instructions {
            return Self::start_on(cores, command, folder);
        }
        let mut process = Self::start_on(cores, &mut instructions::counted(command, folder)?, folder)?;
        process.start_limit = instructions::START_LIMIT;
        Ok(process)
    }

    /// Starts a command on one core. Its output goes to the file `output` in `folder`.
    pub(crate) fn start(command: &mut Command, core: usize, folder: &Path) -> Result<Self, String> {
        Self::start_on(&[core], command, folder)
    }

    /// Starts a command whose threads may run on any of the given cores.
    fn start_on(cores: &[usize], command: &mut Command, folder: &Path) -> Result<Self, String> {
        let cores = cores.to_vec();
        let program = command.get_program().to_string_lossy().into_owned();
        let output = folder.join("output");
        let failed = |error: std::io::Error| format!("{program}: {error}");
        let file = File::create(&output).map_err(failed)?;
        command.stdin(Stdio::null()).stdout(file.try_clone().map_err(failed)?).stderr(file);
        // SAFETY: the closure makes only two system calls between fork and exec, on values that it owns.
        unsafe {
            command.pre_exec(move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                pin(&cores).map_err(std::io::Error::other)
            });
        }
        Ok(Self { child: command.spawn().map_err(failed)?, output, start_limit: Duration::from_secs(30) })
    }

    /// Polls `ready` until it returns true. Fails when the process exits or after 30 seconds, five minutes under valgrind.
    pub(crate) fn wait_until(&mut self, mut ready: impl FnMut() -> bool) -> Result<(), String> {
        let deadline = Instant::now() + self.start_limit;
        while !ready() {
            let status = self.child.try_wait().ok().flatten();
            if status.is_some() || Instant::now() > deadline {
                let text = read_to_string(&self.output).unwrap_or_default();
                let from = text.char_indices().rev().nth(1500).map_or(0, |(at, _)| at);
                return Err(format!("not ready (exit status: {status:?}); its output:\n{}", &text[from..]));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The process ID of the first process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The folder of its files.
    pub(crate) fn folder(&self) -> &Path {
        self.output.parent().unwrap_or(Path::new(""))
    }

    /// CPU time used so far by all threads of the process and its descendants.
    ///
    /// `schedstat` has the same value as `utime + stime` in `stat`, in nanoseconds instead of 10 ms ticks.
    pub(crate) fn cpu(&self) -> Duration {
        let ids = process_tree(self.id());
        Duration::from_nanos(ids.iter().flat_map(|id| threads(*id)).map(|path| cpu_nanoseconds(&path)).sum())
    }

    /// Resident memory of the process and its descendants, in bytes.
    pub(crate) fn rss(&self) -> u64 {
        process_tree(self.id()).into_iter().map(|id| Memory::of(id).rss).sum()
    }

    /// Memory of the first process.
    pub(crate) fn memory(&self) -> Memory {
        Memory::of(self.id())
    }

    /// Bytes received on the open TCP connections of the first process.
    pub(crate) fn bytes_received(&self) -> Result<u64, String> {
        let output = Command::new("ss").args(["-tinpHO"]).output().map_err(|error| format!("ss: {error}"))?;
        let owner = format!("pid={},", self.id());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let of_line = |line: &str| {
            let field = line.split_whitespace().find_map(|field| field.strip_prefix("bytes_received:"));
            field.and_then(|bytes| bytes.parse::<u64>().ok()).unwrap_or(0)
        };
        Ok(text.lines().filter(|line| line.contains(&owner)).map(of_line).sum())
    }

    /// Resets the peak to the current resident memory.
    pub(crate) fn reset_peak(&self) -> Result<(), String> {
        Memory::reset_peak(self.id())
    }
}

impl Memory {
    /// Memory of a process.
    pub(crate) fn of(id: u32) -> Self {
        let status = read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        Self { rss: field("VmRSS:"), peak: field("VmHWM:") }
    }

    /// Resets the peak of a process to its current resident memory.
    pub(crate) fn reset_peak(id: u32) -> Result<(), String> {
        let path = format!("/proc/{id}/clear_refs");
        std::fs::write(&path, "5").map_err(|error| format!("{path}: {error}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let id = Pid::from_raw(self.child.id().cast_signed());
        let _ = kill(id, Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process and its descendants.
fn process_tree(first: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|id: u32| Some((id, parent(id)?)))
        .collect();
    let mut process_tree = vec![first];
    let mut at = 0;
    while let Some(&id) = process_tree.get(at) {
        process_tree.extend(parents.iter().filter(|(_, parent)| *parent == id).map(|(id, _)| *id));
        at += 1;
    }
    process_tree
}

fn parent(id: u32) -> Option<u32> {
    let stat = read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(1)?.parse().ok()
}

fn threads(id: u32) -> Vec<PathBuf> {
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten();
    tasks.filter_map(|task| Some(task.ok()?.path().join("schedstat"))).collect()
}

fn cpu_nanoseconds(schedstat: &Path) -> u64 {
    let text = read_to_string(schedstat).unwrap_or_default();
    text.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse().ok()).unwrap_or(0)
}
