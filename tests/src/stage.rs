//! The stage: the test environment that all cases share, with a control plane and functions that start `portolan`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::control_plane::ControlPlane;
use crate::dns::DnsClient;
use crate::http;
use crate::process::Process;
use crate::wait;

/// How long a change may take to be visible, or a program to be ready: a hundred times the usual duration, so that tests
/// pass on a loaded machine.
pub const SOON: Duration = Duration::from_secs(20);

/// The ClusterIP of the DNS server.
pub const DNS: &str = "10.96.0.10";

/// The port of the `ready` plugin.
const READY: u16 = 8181;

/// The port of the `prometheus` plugin.
const PROMETHEUS: u16 = 9153;

/// The port of the ingress proxy's health and metrics endpoints.
const HEALTHZ: u16 = 10254;

/// The test environment, which all cases use one after the other.
pub struct Stage {
    /// The control plane. All its processes are running at the start of each case.
    pub plane: ControlPlane,
    portolan: PathBuf,
    scratch: TempDir,
}

/// A running `portolan`.
pub struct Portolan {
    process: Process,
}

impl Stage {
    /// Starts the control plane. [`crate::namespace::enter`] has to be called before.
    pub fn start(cluster: &Path, portolan: &Path) -> Stage {
        let scratch = TempDir::with_prefix("portolan-tests-").expect("a temporary folder can be made");
        let plane = ControlPlane::start(cluster, scratch.path());
        Stage { plane, portolan: portolan.to_owned(), scratch }
    }

    /// The folder of logs and other files, deleted at the end of the run.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// A Corefile for the cluster zones with the credentials of the user `portolan` and additional lines in the
    /// `kubernetes` block.
    pub fn corefile(&self, options: &str) -> String {
        self.corefile_at(self.plane.server.address().port(), options)
    }

    /// Like [`Stage::corefile`], for the API server on another port.
    pub fn corefile_at(&self, port: u16, options: &str) -> String {
        let kubeconfig = self.plane.kubeconfig("portolan", port);
        format!(
            "
.:53 {{
    errors
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {}
        {options}
    }}
}}
",
            kubeconfig.display()
        )
    }

    /// Starts `portolan dns` with a Corefile and waits until it is ready.
    #[track_caller]
    pub fn dns(&self, corefile: &str) -> Portolan {
        let mut portolan = self.dns_unready(corefile);
        portolan.wait_for_ready();
        portolan
    }

    /// Starts `portolan dns` without waiting.
    pub fn dns_unready(&self, corefile: &str) -> Portolan {
        let path = self.folder().join("Corefile");
        fs::write(&path, corefile).expect("the scratch folder is writable");
        self.run(&["dns", "-conf", &path.to_string_lossy()], &[])
    }

    /// Starts `portolan ingress` as `user` on ports 80 and 443 with additional flags, and waits until it is healthy.
    #[track_caller]
    pub fn ingress(&self, user: &str, flags: &[&str]) -> Portolan {
        let kubeconfig = self.plane.kubeconfig(user, self.plane.server.address().port());
        let mut portolan =
            self.ingress_unready(&[&["--kubeconfig", &kubeconfig.to_string_lossy()], flags].concat());
        portolan.wait_for_page(HEALTHZ, "/healthz");
        portolan
    }

    /// Starts `portolan ingress` on ports 80 and 443 with additional flags, without waiting.
    pub fn ingress_unready(&self, flags: &[&str]) -> Portolan {
        // By default it waits ten seconds after its last request before it exits, like ingress-nginx.
        let no_grace_period = ["--post-shutdown-grace-period", "0"];
        self.run(
            &[&["ingress", "--http-port", "80", "--https-port", "443"], &no_grace_period[..]].concat(),
            flags,
        )
    }

    /// Starts `portolan` with any arguments.
    pub fn run(&self, command: &[&str], more: &[&str]) -> Portolan {
        self.run_with(command, more, &[])
    }

    /// Runs `portolan` with any arguments and waits for its end.
    pub fn output(&self, arguments: &[&str]) -> Output {
        let mut program = Command::new(&self.portolan);
        program.args(arguments).current_dir(self.folder()).env_remove("KUBECONFIG");
        program.output().expect("portolan runs")
    }

    /// Starts `portolan` with any arguments and environment variables.
    pub fn run_with(&self, command: &[&str], more: &[&str], environment: &[(&str, &str)]) -> Portolan {
        let mut program = Command::new(&self.portolan);
        program.args(command).args(more).current_dir(self.folder());
        program.env_remove("KUBECONFIG").envs(environment.iter().copied());
        let name = format!("portolan-{}", command.first().copied().unwrap_or_default());
        Portolan { process: Process::start(&name, program, self.folder()) }
    }

    /// A client of the DNS server at its ClusterIP.
    pub fn resolver(&self) -> DnsClient {
        DnsClient(SocketAddr::new(DNS.parse().expect("a valid address"), 53))
    }
}

impl Portolan {
    /// Waits until the `ready` plugin answers 200.
    #[track_caller]
    pub fn wait_for_ready(&mut self) {
        self.wait_for_page(READY, "/ready");
    }

    /// Waits until a page on the loopback interface answers 200.
    #[track_caller]
    pub fn wait_for_page(&mut self, port: u16, path: &str) {
        wait::until(path, SOON, || {
            if let Some(status) = self.process.exit_status() {
                panic!("portolan has exited: {status}");
            }
            match page(port, path) {
                Ok((200, _)) => Ok(()),
                Ok((status, text)) => Err(format!("{status} {text}")),
                Err(problem) => Err(problem),
            }
        });
    }

    /// Status of the `ready` plugin's response.
    pub fn ready(&self) -> Result<u16, String> {
        page(READY, "/ready").map(|(status, _)| status)
    }

    /// Status and text of the ingress proxy's health check.
    pub fn health(&self) -> Result<(u16, String), String> {
        page(HEALTHZ, "/healthz")
    }

    /// The ingress proxy's list of problems.
    #[track_caller]
    pub fn problems(&self) -> String {
        page(HEALTHZ, "/problems").expect("problems are served").1
    }

    /// The metrics of the `prometheus` plugin.
    #[track_caller]
    pub fn dns_metrics(&self) -> String {
        page(PROMETHEUS, "/metrics").expect("metrics are served").1
    }

    /// The metrics of the ingress proxy.
    #[track_caller]
    pub fn metrics(&self) -> String {
        page(HEALTHZ, "/metrics").expect("metrics are served").1
    }

    /// Waits for a log line that contains all of `words`, and returns it.
    #[track_caller]
    pub fn wait_for_log(&self, words: &[&str]) -> String {
        wait::until(&format!("a log line with {words:?}"), SOON, || {
            let log = self.process.log();
            let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            line.map(str::to_owned).ok_or_else(|| "no such line".to_owned())
        })
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Sends a signal without waiting for its effect.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// The process ID.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the process ends by itself, and returns its exit code and its output.
    #[track_caller]
    pub fn wait_for_exit(mut self, limit: Duration) -> (Option<i32>, String) {
        let status = wait::until("the end of portolan", limit, || {
            self.process.exit_status().ok_or_else(|| self.process.log())
        });
        (status.code(), self.process.log())
    }

    /// Stops the process with SIGTERM and returns its exit status.
    #[track_caller]
    pub fn stop(self) -> ExitStatus {
        self.process.stop()
    }

    /// Stops the process with SIGKILL.
    pub fn kill(self) {
        self.process.kill();
    }
}

fn page(port: u16, path: &str) -> Result<(u16, String), String> {
    let response =
        http::get(([127, 0, 0, 1], port).into(), "localhost", path).map_err(|error| error.to_string())?;
    Ok((response.status, response.text()))
}
