//! What every case starts from: a control plane, a network of one's own, and `portolan` as a process.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::control_plane::ControlPlane;
use crate::dns::DnsClient;
use crate::http;
use crate::process::Process;
use crate::wait;

/// How long an answer may take to follow a change, or a program to be ready: a hundred times what it takes, so that a
/// loaded machine fails nothing.
pub const SOON: Duration = Duration::from_secs(20);

/// The cluster address of DNS.
pub const DNS: &str = "10.96.0.10";

/// The port of `/ready` in the Corefiles here.
const READY: u16 = 8181;

/// The port of the `prometheus` plugin.
const PROMETHEUS: u16 = 9153;

/// The port of ingress health and metrics.
const HEALTHZ: u16 = 10254;

/// The stage that all cases share, one after the other.
pub struct Stage {
    /// The control plane, up and healthy at the start of each case.
    pub plane: ControlPlane,
    portolan: PathBuf,
    scratch: TempDir,
}

/// A running `portolan`.
pub struct Portolan {
    process: Process,
}

impl Stage {
    /// Starts the control plane. The namespaces have been entered and the programs built.
    pub fn start(cluster: &Path, portolan: &Path) -> Stage {
        let scratch = TempDir::with_prefix("portolan-tests-").expect("a temporary folder can be made");
        let plane = ControlPlane::start(cluster, scratch.path());
        Stage { plane, portolan: portolan.to_owned(), scratch }
    }

    /// The folder of all logs and files, gone when the run is over.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// A Corefile for the cluster's zones as the user `portolan`, with these lines in the `kubernetes` block.
    pub fn corefile(&self, options: &str) -> String {
        self.corefile_at(self.plane.server.address().port(), options)
    }

    /// The same for the API server behind another port.
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

    /// Starts `portolan dns` and does not wait.
    pub fn dns_unready(&self, corefile: &str) -> Portolan {
        let path = self.folder().join("Corefile");
        fs::write(&path, corefile).expect("the scratch folder is writable");
        self.run(&["dns", "-conf", &path.to_string_lossy()], &[])
    }

    /// Starts `portolan ingress` as `user` on ports 80 and 443, with these flags more, and waits until it is healthy.
    #[track_caller]
    pub fn ingress(&self, user: &str, flags: &[&str]) -> Portolan {
        let kubeconfig = self.plane.kubeconfig(user, self.plane.server.address().port());
        let mut portolan =
            self.ingress_unready(&[&["--kubeconfig", &kubeconfig.to_string_lossy()], flags].concat());
        portolan.wait_for_page(HEALTHZ, "/healthz");
        portolan
    }

    /// Starts `portolan ingress` on ports 80 and 443 with nothing but these flags, and does not wait.
    pub fn ingress_unready(&self, flags: &[&str]) -> Portolan {
        // As ingress-nginx it would otherwise stay for ten seconds after its last request.
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

    /// Starts `portolan` with any arguments and environment.
    pub fn run_with(&self, command: &[&str], more: &[&str], environment: &[(&str, &str)]) -> Portolan {
        let mut program = Command::new(&self.portolan);
        program.args(command).args(more).current_dir(self.folder());
        program.env_remove("KUBECONFIG").envs(environment.iter().copied());
        let name = format!("portolan-{}", command.first().copied().unwrap_or_default());
        Portolan { process: Process::start(&name, program, self.folder()) }
    }

    /// The DNS server at the cluster's DNS address.
    pub fn resolver(&self) -> DnsClient {
        DnsClient(SocketAddr::new(DNS.parse().expect("it is an address"), 53))
    }
}

impl Portolan {
    /// Waits for the `ready` plugin's page.
    #[track_caller]
    pub fn wait_for_ready(&mut self) {
        self.wait_for_page(READY, "/ready");
    }

    /// Waits for 200 from a page on the loopback interface.
    #[track_caller]
    pub fn wait_for_page(&mut self, port: u16, path: &str) {
        wait::until(path, SOON, || {
            if let Some(status) = self.process.exit_status() {
                panic!("portolan has ended by itself: {status}");
            }
            match page(port, path) {
                Ok((200, _)) => Ok(()),
                Ok((status, text)) => Err(format!("{status} {text}")),
                Err(problem) => Err(problem),
            }
        });
    }

    /// Status of the `ready` plugin's page.
    pub fn ready(&self) -> Result<u16, String> {
        page(READY, "/ready").map(|(status, _)| status)
    }

    /// Status and text of the ingress side's health page.
    pub fn health(&self) -> Result<(u16, String), String> {
        page(HEALTHZ, "/healthz")
    }

    /// The ingress side's page of problems.
    #[track_caller]
    pub fn problems(&self) -> String {
        page(HEALTHZ, "/problems").expect("problems are served").1
    }

    /// The page of the `prometheus` plugin.
    #[track_caller]
    pub fn dns_metrics(&self) -> String {
        page(PROMETHEUS, "/metrics").expect("metrics are served").1
    }

    /// The metrics page of the ingress side.
    #[track_caller]
    pub fn metrics(&self) -> String {
        page(HEALTHZ, "/metrics").expect("metrics are served").1
    }

    /// Waits until the log has a line with all of `words`, and returns it.
    #[track_caller]
    pub fn wait_for_log(&self, words: &[&str]) -> String {
        wait::until(&format!("a log line with {words:?}"), SOON, || {
            let log = self.process.log();
            let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            line.map(str::to_owned).ok_or_else(|| "there is none".to_owned())
        })
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Sends a signal and does not wait.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it by SIGTERM and returns its status.
    #[track_caller]
    pub fn stop(self) -> ExitStatus {
        self.process.stop()
    }

    /// Ends it by SIGKILL.
    pub fn kill(self) {
        self.process.kill();
    }
}

fn page(port: u16, path: &str) -> Result<(u16, String), String> {
    let response =
        http::get(([127, 0, 0, 1], port).into(), "localhost", path).map_err(|error| error.to_string())?;
    Ok((response.status, response.text()))
}
