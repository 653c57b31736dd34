//! A program running beside the test: its log in a file, its end by signal, never outliving the test.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a program may take to end after SIGTERM before it is killed, and the test told so.
const TERMINATION_TIMEOUT: Duration = Duration::from_secs(15);

/// How many lines of a log are shown when a test fails.
const TAIL_LINES: usize = 40;

/// A started program. Dropping it kills it; when that happens in a panic, the end of its log is shown.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where in the log this run begins: a restarted program appends to the same file.
    start: u64,
}

impl Process {
    /// Starts `command` with both its outputs appended to `<folder>/<name>.log`.
    ///
    /// The kernel kills the program when the starting thread ends, so a test that is killed leaves nothing behind;
    /// it follows that only the main thread may start programs.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Process {
        let log = folder.join(format!("{name}.log"));
        let output =
            File::options().append(true).create(true).open(&log).expect("the scratch folder is writable");
        let start = output.metadata().expect("an open file has metadata").len();
        let errors = output.try_clone().expect("a file descriptor is free");
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        // SAFETY: between fork and exec only one system call is made, and prctl is async-signal-safe.
        unsafe { command.pre_exec(die_with_parent) };
        let child =
            command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}: {command:?}"));
        Process { name: name.to_owned(), child, log, start }
    }

    /// The process id, as `/proc` knows it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What this run has written so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let own = bytes.get(self.start as usize..).unwrap_or_default();
        String::from_utf8_lossy(own).into_owned()
    }

    /// The exit status, if the program has ended by itself.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child is ours to wait for")
    }

    /// Sends a signal and does not wait.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal)
            .unwrap_or_else(|error| panic!("{} cannot be sent {signal}: {error}", self.name));
    }

    /// Ends the program by SIGTERM and returns its status; panics if it has to be killed.
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
                "{} still runs {TERMINATION_TIMEOUT:?} after SIGTERM",
                self.name
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the program by SIGKILL: it gets no chance to say goodbye.
    pub fn kill(mut self) {
        self.kill_and_wait();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    fn kill_and_wait(&mut self) {
        // Both fail only when the program is gone already, which is what is wanted.
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

fn die_with_parent() -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory of ours.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
