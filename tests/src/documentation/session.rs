//! A shell that runs the blocks of a page as a reader would type them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::transcript;
use super::{Block, Content, Mode, Run};

/// What the commands of a stage find.
pub struct Environment<'a> {
    /// The checkout. The shell starts in a folder with links to everything at its top.
    pub checkout: &'a Path,
    /// Programs: the name that the pages use, and a script for `/bin/sh` that runs it with `"$@"`.
    pub programs: &'a [(&'a str, String)],
    /// Environment variables.
    pub variables: &'a [(&'a str, String)],
    /// Files in the shell's folder and in the home folder (`~/…`), with their text.
    pub files: &'a [(&'a str, String)],
    /// How long one command may take.
    pub limit: Duration,
}

/// Commands that change nothing. They are repeated until their output is the one shown: a reader types them seconds after the
/// change that they show.
const QUERIES: &[&str] = &["curl ", "dig ", "grep ", "kubectl get ", "kubectl logs "];

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How long the shell may take to exit: a command may be running that has exceeded its limit.
const TERMINATION_TIMEOUT: Duration = Duration::from_secs(5);

/// A running shell. All its processes are killed when it is dropped.
struct Session {
    shell: Child,
    /// Closed to end the shell.
    input: Option<ChildStdin>,
    folder: TempDir,
    limit: Duration,
    count: usize,
}

/// The end of a command: its exit status and output.
struct Finished {
    status: String,
    output: String,
}

/// Runs the blocks of one page up to the first that fails.
pub(super) fn run_page(blocks: &[Block], environment: &Environment<'_>) -> Result<(), String> {
    let mut session = Session::start(environment);
    for block in blocks {
        // Later blocks of the page build on this one.
        if let Err(problem) = session.run(block) {
            return Err(format!("{block}: {problem}"));
        }
    }
    Ok(())
}

impl Session {
    fn start(environment: &Environment<'_>) -> Session {
        let folder = TempDir::with_prefix("portolan-docs-").expect("a temporary folder can be made");
        let path = |name: &str| folder.path().join(name);
        for name in ["bin", "home", "work", "run"] {
            fs::create_dir(path(name)).expect("the temporary folder is writable");
        }
        for entry in fs::read_dir(environment.checkout).expect("the checkout is readable") {
            let entry = entry.expect("an entry of the checkout");
            let name = entry.file_name();
            if name != "target" && name != ".git" {
                symlink(entry.path(), path("work").join(name)).expect("the temporary folder is writable");
            }
        }
        for (name, script) in environment.programs {
            let program = path("bin").join(name);
            write(&program, &format!("#!/bin/sh\n{script}\n"));
            let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(&program, executable).expect("the file is this process's own");
        }
        for (name, text) in environment.files {
            let file = match name.strip_prefix("~/") {
                Some(name) => path("home").join(name),
                None => path("work").join(name),
            };
            fs::create_dir_all(file.parent().expect("a file is in a folder"))
                .expect("the temporary folder is writable");
            write(&file, text);
        }
        let search = std::env::var("PATH").unwrap_or_default();
        // A process namespace of its own: everything that the commands start ends with the shell.
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--", "bash", "--noprofile", "--norc"]);
        command
            .current_dir(path("work"))
            .env("PATH", format!("{}:{search}", path("bin").display()))
            .env("HOME", path("home"))
            .env_remove("KUBECONFIG")
            .envs(environment.variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        // SAFETY: the closure only calls prctl, which is async-signal-safe.
        unsafe { command.pre_exec(crate::process::die_with_parent) };
        let mut shell = command.spawn().expect("unshare (Debian package util-linux) and bash can be started");
        let input = shell.stdin.take();
        Session { shell, input, folder, limit: environment.limit, count: 0 }
    }

    fn run(&mut self, block: &Block) -> Result<(), String> {
        let serves = matches!(block.run(), Some(Run::In(_, Mode::Serves)));
        match &block.content {
            Content::Script(_) if serves => {
                Err("a script does not show when its server is ready: use a transcript".to_owned())
            }
            Content::Script(_) => {
                let finished = self.finish(&format!("set -e\n{}set +e\n", block.text))?;
                let Finished { status, output } = finished;
                if status == "0" { Ok(()) } else { Err(format!("exit status {status}:\n{output}")) }
            }
            Content::Transcript(_) => {
                for (index, command) in transcript::commands(&block.text)?.iter().enumerate() {
                    if serves && index == 0 { self.serve(command)? } else { self.compare(command)? }
                }
                Ok(())
            }
            Content::Data(_) => Ok(()),
        }
    }

    /// Runs a command of a transcript and compares its output.
    fn compare(&mut self, command: &transcript::Command) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let Finished { status, output } = self.finish(&command.text)?;
            if status == "0" && transcript::matches(&command.output, &output) {
                return Ok(());
            }
            let repeat = QUERIES.iter().any(|query| command.text.starts_with(query));
            if !repeat || start.elapsed() > self.limit {
                let shown = command.output.join("\n");
                return Err(format!(
                    "$ {}\nexit status {status}, output:\n{output}\nthe page shows:\n{shown}",
                    command.text
                ));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Starts a server and waits until it has printed what the page shows.
    fn serve(&mut self, command: &transcript::Command) -> Result<(), String> {
        let output = self.folder.path().join("run/server");
        let server = format!("{{ {} ; }} >'{}' 2>&1 &", command.text, output.display());
        self.finish(&server)?;
        // It prints more while it runs.
        let shown = [&command.output[..], &["…".to_owned()]].concat();
        let start = Instant::now();
        loop {
            let found = fs::read_to_string(&output).unwrap_or_default();
            if transcript::matches(&shown, &found) {
                return Ok(());
            }
            if start.elapsed() > self.limit {
                return Err(format!(
                    "$ {}\nprinted:\n{found}\nthe page shows:\n{}",
                    command.text,
                    command.output.join("\n")
                ));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Runs commands in the shell itself, so that variables, the folder and jobs remain, and waits for their end.
    fn finish(&mut self, script: &str) -> Result<Finished, String> {
        self.count += 1;
        let path = |name: &str| self.folder.path().join(format!("run/{}.{name}", self.count));
        let (source, output, status) = (path("sh"), path("out"), path("status"));
        write(&source, script);
        let line = format!(
            "source '{source}' >'{output}' 2>&1 </dev/null; echo $? >'{status}.new'; mv '{status}.new' '{status}'\n",
            source = source.display(),
            output = output.display(),
            status = status.display()
        );
        let input = self.input.as_mut().expect("its input is piped and open");
        let sent = input.write_all(line.as_bytes()).and_then(|()| input.flush());
        let start = Instant::now();
        loop {
            // After `set -e` the shell itself has ended.
            let ended =
                sent.is_err() || self.shell.try_wait().expect("it is a child of this process").is_some();
            let text = || fs::read_to_string(&output).unwrap_or_default();
            if let Ok(status) = fs::read_to_string(&status) {
                return Ok(Finished { status: status.trim().to_owned(), output: text() });
            }
            if ended {
                return Err(format!("the shell has ended; output:\n{}", text()));
            }
            if start.elapsed() > self.limit {
                return Err(format!("not finished after {:?}; output:\n{}", self.limit, text()));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // At the end of its input the shell exits. As the first process of its namespace it takes all others with it, and
        // their ports are free when it has been waited for.
        self.input = None;
        let start = Instant::now();
        while self.shell.try_wait().is_ok_and(|ended| ended.is_none())
            && start.elapsed() < TERMINATION_TIMEOUT
        {
            std::thread::sleep(POLL_INTERVAL);
        }
        // Both fail only if the shell has ended.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

fn write(path: &Path, text: &str) {
    let written = File::create(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
