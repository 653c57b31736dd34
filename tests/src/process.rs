//! A child process with its output in a log file. It never outlives the test.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a program may run after SIGTERM before the test fails.
const TERMINATION_TIMEOUT: Duration = Duration::from_secs(15);

/// Number of log lines to print when a test fails.
const TAIL_LINES: usize = 40;

/// A running program. Dropping it kills the program and, during a panic, prints the end of its log.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Offset in the log file at which this run begins: a restarted program appends to the same file.
    start: u64,
}

impl Process {
    /// Starts `command` with stdout and stderr appended to `<folder>/<name>.log`.
    ///
    /// The kernel kills the program when the thread that started it ends, so a killed test leaves no process behind.
    /// Therefore only the main thread may start programs.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Process {
        let log = folder.join(format!("{name}.log"));
        let output =
            File::options().append(true).create(true).open(&log).expect("the scratch folder is writable");
        let start = output.metadata().expect("an open file has metadata").len();
        let errors = output.try_clone().expect("a file descriptor is free");
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        // SAFETY: the closure only calls prctl, which is async-signal-safe.
        unsafe { command.pre_exec(die_with_parent) };
        let child =
            command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started: {error}: {command:?}"));
        Process { name: name.to_owned(), child, log, start }
    }

    /// The process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The output of this run so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let own = bytes.get(self.start as usize..).unwrap_or_default();
        String::from_utf8_lossy(own).into_owned()
    }

    /// The exit status, if the program has ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is a child of this process")
    }

    /// Sends a signal without waiting for its effect.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("sending {signal} to {}: {error}", self.name));
    }

    /// Stops the program with SIGTERM and returns its exit status. Panics if it does not end in time.
    #[track_caller]
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let start = Instant::now();
        loop {
            if let Some(status) = self.exit_status() {
                return status;
            }
            assert!(
                start.elapsed() < TERMINATION_TIMEOUT,
                "{} is still running {TERMINATION_TIMEOUT:?} after SIGTERM",
                self.name
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops the program with SIGKILL.
    pub fn kill(mut self) {
        self.kill_and_wait();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    fn kill_and_wait(&mut self) {
        // Both fail only if the program has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_and_wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n    ");
            eprintln!("---- end of the log of {}:\n    {tail}", self.name);
        }
    }
}

/// Requests SIGKILL for the calling process when the thread that started it ends. For `pre_exec`.
pub(crate) fn die_with_parent() -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and accesses no memory.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
