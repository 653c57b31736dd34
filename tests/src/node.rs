//! A cluster with one node that runs Pods: containerd, kubelet, kube-proxy and scheduler beside the control plane.
//!
//! It belongs to the namespaces of [`crate::isolation`], so that no program, mount or interface outlives the test.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use serde_json::Value;

use crate::cgroups;
use crate::control_plane::{ControlPlane, NODE};
use crate::isolation;
use crate::namespace::ip;
use crate::node_config;
use crate::process::Process;
use crate::programs;
use crate::upstream::{Address, Upstream};
use crate::wait;

/// How long a program of the node may take to start, a Pod to be ready or a rollout to be complete.
pub const POD_TIMEOUT: Duration = Duration::from_secs(90);

/// Names outside of the cluster.
const EXTERNAL_NAMES: &[Address] =
    &[("www.example.com.", [192, 0, 2, 8]), ("api.v1.eu.staging.example.com.", [192, 0, 2, 9])];

/// Debian packages by a program of theirs that the node needs.
const PACKAGES: [(&str, &str); 11] = [
    ("/usr/bin/containerd", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("/usr/sbin/iptables", "iptables"),
    ("/bin/busybox", "busybox-static"),
    ("/usr/bin/musl-gcc", "musl-tools"),
    ("/usr/bin/python3", "python3-minimal"),
    ("/usr/bin/prometheus", "prometheus"),
    ("/usr/bin/setpriv", "util-linux"),
    ("/usr/bin/dig", "bind9-dnsutils"),
    ("/usr/bin/curl", "curl"),
];

/// How long the kernel remembers the flow of a lookup, by default 30 s.
///
/// kube-proxy removes the flows to a Pod that has ended one by one, and changes no rules meanwhile. A measuring Pod makes a flow with
/// each lookup: thousands of them take kube-proxy seconds on a loaded machine, longer than a stock CoreDNS goes on answering.
const UDP_FLOW_SECONDS: &str = "5";

/// Kernel settings that kubelet writes for the whole machine. It gets files instead.
const MACHINE_SETTINGS: [(&str, &str); 5] = [
    ("/proc/sys/vm/overcommit_memory", "1"),
    ("/proc/sys/kernel/panic", "10"),
    ("/proc/sys/kernel/panic_on_oops", "1"),
    ("/proc/sys/kernel/keys/root_maxkeys", "1000000"),
    ("/proc/sys/kernel/keys/root_maxbytes", "25000000"),
];

/// A node with its control plane.
pub struct ClusterNode {
    /// The control plane. A test may stop and start its API server.
    pub plane: ControlPlane,
    /// The name server that the node's own resolver settings name.
    pub upstream: Upstream,
    binary: PathBuf,
    folder: PathBuf,
    /// In the order of their end.
    processes: Vec<Process>,
}

/// Checks outside of the namespaces that a node can be started. The error lists all packages that are missing.
pub fn check_packages() -> Result<(), String> {
    let missing = PACKAGES.iter().filter(|(program, _)| !Path::new(program).exists());
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    match missing.as_slice() {
        [] => Ok(()),
        missing => Err(format!("Debian packages are missing; run: apt-get install {}", missing.join(" "))),
    }
}

impl ClusterNode {
    /// Starts everything and waits until the node is ready. The images are those in `folder/images`.
    pub fn start(folder: &Path) -> Result<ClusterNode, String> {
        let start = Instant::now();
        let binary = programs::cluster()?;
        isolate_folders(folder)?;
        connect()?;
        let name = isolation::run_name(folder);
        cgroups::create(&name)?;

        let plane = ControlPlane::start_for_node(&binary, folder);
        let upstream = Upstream::start(EXTERNAL_NAMES);
        let mut node =
            ClusterNode { plane, upstream, binary, folder: folder.to_owned(), processes: Vec::new() };
        node_config::write(folder, &name)?;
        node.start_containerd();
        node.load_all(&folder.join("images"))?;
        node.start_kubernetes();
        node.wait_until_ready();
        eprintln!("the node is ready after {:.1?}", start.elapsed());
        Ok(node)
    }

    /// Starts the programs of the control plane that a failed case left stopped.
    pub fn ensure_running(&mut self) {
        self.plane.ensure_running();
    }

    /// The folder of logs and other files, deleted at the end of the run.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.plane.kubeconfig("admin", 6443)
    }

    /// Loads an image from a docker-archive.
    pub fn load(&self, archive: &Path) -> Result<(), String> {
        let mut ctr = Command::new("ctr");
        ctr.arg("--address").arg(self.containerd_socket()).args(["-n", "k8s.io", "images", "import"]);
        success(ctr.arg(archive)).map(|_| ())
    }

    /// Runs kubectl and returns its output. Panics if it fails.
    #[track_caller]
    pub fn kubectl(&self, words: &[&str]) -> String {
        let mut command = self.kubectl_command(words);
        match success(&mut command) {
            Ok(text) => text,
            Err(problem) => panic!("{problem}"),
        }
    }

    /// Runs kubectl, which may fail.
    pub fn try_kubectl(&self, words: &[&str]) -> Output {
        self.kubectl_command(words).output().expect("the cluster's binary runs")
    }

    /// Applies manifests (`kubectl apply`) and returns what kubectl printed.
    #[track_caller]
    pub fn apply(&self, manifests: &str) -> String {
        self.kubectl_with_input(&["apply", "-f", "-"], manifests)
    }

    /// Deletes the objects of manifests and waits until they are gone.
    #[track_caller]
    pub fn delete(&self, manifests: &str) -> String {
        self.kubectl_with_input(&["delete", "--ignore-not-found", "-f", "-"], manifests)
    }

    /// An object, or none.
    #[track_caller]
    pub fn read(&self, namespace: &str, object: &str) -> Option<Value> {
        let text = self.kubectl(&["get", "-n", namespace, object, "-o", "json", "--ignore-not-found"]);
        (!text.trim().is_empty()).then(|| serde_json::from_str(&text).expect("kubectl prints JSON"))
    }

    /// A field of an object as text, by a JSONPath like `{.status.podIP}`.
    #[track_caller]
    pub fn field(&self, namespace: &str, object: &str, path: &str) -> String {
        self.kubectl(&["get", "-n", namespace, object, "-o", &format!("jsonpath={path}")])
    }

    /// The names of the Pods with a label, without those that are being deleted.
    #[track_caller]
    pub fn pods(&self, namespace: &str, selector: &str) -> Vec<String> {
        let text = self.kubectl(&["get", "pods", "-n", namespace, "-l", selector, "-o", "json"]);
        let list: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let alive = items.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        alive.filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect()
    }

    /// Runs a command in a Pod and returns its output. Panics if it fails.
    #[track_caller]
    pub fn exec(&self, namespace: &str, pod: &str, command: &[&str]) -> String {
        self.kubectl(&[&["exec", "-n", namespace, pod, "--"], command].concat())
    }

    /// Waits until a Deployment, DaemonSet or StatefulSet (`deployment/web`) has rolled out.
    #[track_caller]
    pub fn wait_for_rollout(&self, namespace: &str, object: &str) {
        let limit = format!("--timeout={}s", POD_TIMEOUT.as_secs());
        let output = self.try_kubectl(&["rollout", "status", "-n", namespace, object, &limit]);
        if !output.status.success() {
            panic!("{object} in {namespace}: {}\n{}", text(&output), self.explain(namespace));
        }
    }

    /// Waits for a condition of an object: `kubectl wait --for=…`.
    #[track_caller]
    pub fn wait_for(&self, namespace: &str, object: &str, condition: &str) {
        let limit = format!("--timeout={}s", POD_TIMEOUT.as_secs());
        let output =
            self.try_kubectl(&["wait", "-n", namespace, object, &format!("--for={condition}"), &limit]);
        if !output.status.success() {
            panic!("{object} in {namespace}: {}\n{}", text(&output), self.explain(namespace));
        }
    }

    /// Waits until exactly `count` Pods with a label exist: those that a rollout replaced have ended.
    #[track_caller]
    pub fn wait_for_only(&self, namespace: &str, selector: &str, count: usize) {
        wait::until("replaced Pods to end", POD_TIMEOUT, || {
            let names = self.kubectl(&["get", "pods", "-n", namespace, "-l", selector, "-o", "name"]);
            match names.lines().count() == count {
                true => Ok(()),
                false => Err(names),
            }
        });
    }

    /// Pods and the last events of a namespace, for the message of a failed test.
    pub fn explain(&self, namespace: &str) -> String {
        let pods = self.try_kubectl(&["get", "pods", "-n", namespace, "-o", "wide"]);
        let events = text(&self.try_kubectl(&["get", "events", "-n", namespace, "--sort-by=.lastTimestamp"]));
        let events: Vec<&str> = events.lines().collect();
        let logs = self.pods(namespace, "").into_iter().map(|pod| {
            let log = self.try_kubectl(&["logs", "-n", namespace, &pod, "--tail=15", "--all-containers"]);
            format!("---- {pod}\n{}", text(&log))
        });
        let last = &events[events.len().saturating_sub(20)..];
        format!("{}\n{}\n{}", text(&pods), last.join("\n"), logs.collect::<String>())
    }

    /// Runs Helm and returns its output. Panics if it fails.
    #[track_caller]
    pub fn helm(&self, words: &[&str]) -> String {
        match success(&mut self.helm_command(words)) {
            Ok(text) => text,
            Err(problem) => panic!("{problem}\n{}", self.explain("kube-system")),
        }
    }

    /// Runs Helm, which may fail.
    pub fn try_helm(&self, words: &[&str]) -> Output {
        self.helm_command(words).output().expect("Helm runs")
    }

    fn helm_command(&self, words: &[&str]) -> Command {
        let helm = programs::helm().expect("it was built before the node was started");
        let mut command = Command::new(helm);
        command.args(words).env("KUBECONFIG", self.kubeconfig()).env("HOME", &self.folder);
        command
    }

    fn kubectl_with_input(&self, words: &[&str], input: &str) -> String {
        let mut command = self.kubectl_command(words);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("the cluster's binary runs");
        let mut pipe = child.stdin.take().expect("it is piped");
        pipe.write_all(input.as_bytes()).expect("kubectl reads its input");
        drop(pipe);
        let output = child.wait_with_output().expect("kubectl ends");
        assert!(output.status.success(), "kubectl {}: {}\nof:\n{input}", words.join(" "), text(&output));
        text(&output)
    }

    fn kubectl_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("kubectl").args(words).env("KUBECONFIG", self.kubeconfig()).env("HOME", &self.folder);
        command
    }

    fn containerd_socket(&self) -> PathBuf {
        self.folder.join("containerd.sock")
    }

    fn start_containerd(&mut self) {
        let mut command = Command::new("containerd");
        command.arg("--config").arg(self.folder.join("containerd.toml"));
        self.processes.push(Process::start("containerd", command, &self.folder));
        wait::until("containerd to answer", POD_TIMEOUT, || {
            let mut ctr = Command::new("ctr");
            success(ctr.arg("--address").arg(self.containerd_socket()).arg("version"))
        });
    }

    fn load_all(&self, images: &Path) -> Result<(), String> {
        let entries = fs::read_dir(images).map_err(|error| format!("{}: {error}", images.display()))?;
        let paths = entries.flatten().map(|entry| entry.path());
        let mut archives = paths.filter(|path| path.extension().is_some_and(|end| end == "tar"));
        archives.try_for_each(|archive| self.load(&archive))
    }

    fn start_kubernetes(&mut self) {
        let kubeconfig = self.kubeconfig();
        let file = |name: &str| self.folder.join(name).to_string_lossy().into_owned();
        let programs: [(&str, &[&str]); 3] = [
            ("kube-scheduler", &["--leader-elect=false", "--secure-port", "0"]),
            (
                "kube-proxy",
                &[
                    "--proxy-mode=iptables",
                    "--cluster-cidr=10.244.0.0/16",
                    "--hostname-override=node",
                    "--oom-score-adj=0",
                    "--conntrack-max-per-core=0",
                    "--conntrack-tcp-timeout-established=0",
                    "--conntrack-tcp-timeout-close-wait=0",
                ],
            ),
            ("kubelet", &["--hostname-override=node", "--node-ip", NODE, "--config", &file("kubelet.yaml")]),
        ];
        for (name, flags) in programs {
            let mut command = Command::new(&self.binary);
            command.arg(name).args(flags).arg("--kubeconfig").arg(&kubeconfig);
            self.processes.push(Process::start(name, command, &self.folder));
        }
    }

    /// Waits until the node is ready, and until Pods can be created in the namespace `default`.
    fn wait_until_ready(&mut self) {
        wait::until("the node to be registered", POD_TIMEOUT, || {
            for process in &mut self.processes {
                if let Some(status) = process.exit_status() {
                    panic!("a program of the node has exited: {status}");
                }
            }
            self.plane.api.read("Node", "", "node").map(|_| ()).ok_or_else(|| "no such node".to_owned())
        });
        self.wait_for("", "node/node", "condition=Ready");
        wait::until("a service account", POD_TIMEOUT, || {
            let account = self.plane.api.read("ServiceAccount", "default", "default");
            account.map(|_| ()).ok_or_else(|| "no such service account".to_owned())
        });
    }
}

/// Gives the node its own `/run`, `/var/lib` and `/var/log`, and files instead of the machine's kernel settings.
fn isolate_folders(folder: &Path) -> Result<(), String> {
    for (target, name) in [("/var/lib", "var-lib"), ("/var/log", "var-log"), ("/run", "run")] {
        let source = folder.join(name);
        fs::create_dir_all(&source).map_err(|error| format!("{}: {error}", source.display()))?;
        bind(&source, target)?;
    }
    for (at, (target, value)) in MACHINE_SETTINGS.iter().enumerate() {
        let source = folder.join(format!("setting-{at}"));
        fs::write(&source, value).map_err(|error| format!("{}: {error}", source.display()))?;
        bind(&source, target)?;
    }
    Ok(())
}

fn bind(source: &Path, target: &str) -> Result<(), String> {
    let none: Option<&str> = None;
    let mounted = mount(Some(source), target, none, MsFlags::MS_BIND, none);
    mounted.map_err(|error| format!("a mount over {target}: {error}"))
}

/// Sets up the node's interface. Both ends are in its namespace: nothing leaves the machine.
fn connect() -> Result<(), String> {
    ip(&["link", "set", "lo", "up"])?;
    ip(&["link", "add", "node0", "type", "veth", "peer", "name", "node1"])?;
    ip(&["address", "add", &format!("{NODE}/24"), "dev", "node0"])?;
    ip(&["link", "set", "node0", "up"])?;
    ip(&["link", "set", "node1", "up"])?;
    ip(&["route", "add", "default", "via", "10.10.0.254", "dev", "node0"])?;
    let write = |setting: &str, value: &str| {
        let path = format!("/proc/sys/net/{setting}");
        fs::write(&path, value).map_err(|error| format!("{path}: {error}"))
    };
    write("ipv4/ip_forward", "1")?;
    // Missing until the kernel's module is loaded, which on some machines is later.
    let _ = write("netfilter/nf_conntrack_udp_timeout", UDP_FLOW_SECONDS);
    Ok(())
}

/// Runs a command and returns its standard output. The error has its standard error.
fn success(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command:?}: {}: {}", output.status, text(&output))),
    }
}

/// Both outputs of a command.
fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
