//! A real control plane: etcd, kube-apiserver and kube-controller-manager as separate processes, which a test can stop,
//! kill and start independently.
//!
//! Ports are fixed because the network namespace belongs to the test ([`crate::namespace`]).

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::api::ApiClient;
use crate::credentials::{self, CertificateAuthority};
use crate::http::{Connection, Trust};
use crate::process::Process;
use crate::wait;

/// The ClusterIP of the API server: the first address of the service range.
pub const API_SERVER: &str = "10.96.0.1";

const ETCD: &str = "127.0.0.1:2379";

/// How long a program of the control plane may take to start. It takes three seconds on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The address of the node, on which the API server is reachable from Pods.
pub const NODE: &str = "10.10.0.1";

/// The permissions that Portolan's service account has in a cluster: to list and watch the kinds that it reads, and what the controller writes.
const RBAC: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: portolan }
rules:
- { apiGroups: [''], resources: [namespaces, services, pods, secrets, configmaps], verbs: [list, watch] }
- { apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch] }
- { apiGroups: [networking.k8s.io], resources: [ingresses, ingressclasses], verbs: [list, watch] }
- { apiGroups: [multicluster.x-k8s.io], resources: [serviceimports], verbs: [list, watch] }
- { apiGroups: [networking.k8s.io], resources: [ingresses], verbs: [get] }
- { apiGroups: [networking.k8s.io], resources: [ingresses/status], verbs: [update] }
- { apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update] }
- { apiGroups: [''], resources: [events], verbs: [create, patch] }
- { apiGroups: [''], resources: [services, pods, nodes], verbs: [get] }
- { apiGroups: [''], resources: [secrets], verbs: [get, create, update] }
- { apiGroups: [admissionregistration.k8s.io], resources: [validatingwebhookconfigurations], verbs: [get, patch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: portolan }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portolan }
subjects:
- { apiGroup: rbac.authorization.k8s.io, kind: User, name: portolan }
---
# The EndpointSlice controller requires the Node of every Pod.
apiVersion: v1
kind: Node
metadata: { name: node-1 }
";

/// What surrounds the control plane.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Surroundings {
    /// Nothing: tests write the status of Pods themselves, or their EndpointSlices.
    Alone,
    /// A node that runs Pods: with service accounts, all controllers, and an API server that Pods reach.
    Node,
}

/// An API server on one port. Two API servers can use the same etcd.
pub struct ApiServer {
    binary: PathBuf,
    folder: PathBuf,
    port: u16,
    surroundings: Surroundings,
    process: Option<Process>,
}

/// A control plane.
pub struct ControlPlane {
    /// The main API server, on port 6443.
    pub server: ApiServer,
    /// A client of the main API server with administrator rights.
    pub api: ApiClient,
    binary: PathBuf,
    folder: PathBuf,
    etcd: Option<Process>,
    controllers: Option<Process>,
}

impl ControlPlane {
    /// Starts all processes and waits until the API server is ready. Data, keys and logs are stored in `folder`.
    pub fn start(binary: &Path, folder: &Path) -> ControlPlane {
        ControlPlane::start_in(Surroundings::Alone, binary, folder)
    }

    /// Like [`ControlPlane::start`], with service accounts and all controllers, reachable from Pods at [`NODE`].
    pub fn start_for_node(binary: &Path, folder: &Path) -> ControlPlane {
        ControlPlane::start_in(Surroundings::Node, binary, folder)
    }

    fn start_in(surroundings: Surroundings, binary: &Path, folder: &Path) -> ControlPlane {
        let authority = CertificateAuthority::new("portolan tests");
        write_credentials(folder, &authority, surroundings);
        let server = ApiServer::new(binary, folder, 6443, surroundings);
        let api = ApiClient::new(server.address(), Trust::Authority(authority.der()), "admin-token");
        let (binary, folder) = (binary.to_owned(), folder.to_owned());
        let mut plane = ControlPlane { server, api, binary, folder, etcd: None, controllers: None };
        plane.ensure_running();
        if surroundings == Surroundings::Alone {
            plane.api.apply(RBAC);
        }
        plane
    }

    /// Starts the processes that are not running, for example after a failed case.
    pub fn ensure_running(&mut self) {
        if self.etcd.as_mut().is_none_or(|process| process.exit_status().is_some()) {
            self.etcd = Some(self.start_etcd());
        }
        self.server.start(&[]);
        if self.controllers.as_mut().is_none_or(|process| process.exit_status().is_some()) {
            self.controllers = Some(self.start_controllers());
        }
    }

    /// A second API server on the same etcd, not started yet, for changes while the main one is stopped.
    pub fn second_server(&self) -> ApiServer {
        ApiServer::new(&self.binary, &self.folder, 6444, self.server.surroundings)
    }

    /// Writes a kubeconfig file for a user of `tokens.csv` (`admin`, `portolan`, `guest`) and the server on `port`.
    pub fn kubeconfig(&self, user: &str, port: u16) -> PathBuf {
        let path = self.folder.join(format!("{user}-{port}.kubeconfig"));
        let authority = self.authority();
        let server = format!("https://127.0.0.1:{port}");
        let text = credentials::kubeconfig(&server, &authority.to_string_lossy(), &format!("{user}-token"));
        // Replaced by renaming, because a program may be reading the existing file.
        let new = path.with_extension("new");
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        written.expect("the scratch folder is writable");
        path
    }

    /// The file of the CA certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// The files of the client certificate of the user `portolan` and of its key.
    pub fn client_certificate(&self) -> (PathBuf, PathBuf) {
        (self.folder.join("portolan.crt"), self.folder.join("portolan.key"))
    }

    /// Stops all processes with SIGTERM, etcd last.
    pub fn stop(&mut self) {
        if let Some(process) = self.controllers.take() {
            process.stop();
        }
        self.server.stop();
        if let Some(process) = self.etcd.take() {
            process.stop();
        }
    }

    /// Copies the data of etcd for [`ControlPlane::restore`]. All processes are stopped meanwhile.
    pub fn back_up(&mut self) {
        self.stop();
        replace_folder(&self.folder.join("etcd"), &self.folder.join("etcd-backup"));
        self.ensure_running();
    }

    /// Starts all processes with the data of the last [`ControlPlane::back_up`]. etcd counts its revisions from there.
    pub fn restore(&mut self) {
        self.stop();
        replace_folder(&self.folder.join("etcd-backup"), &self.folder.join("etcd"));
        self.ensure_running();
    }

    /// Kills etcd. The API server has no storage until [`ControlPlane::ensure_running`].
    pub fn kill_etcd(&mut self) {
        if let Some(process) = self.etcd.take() {
            process.kill();
        }
    }

    /// The binary of all programs of the control plane and of kubectl: the program's name is its first argument.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Runs kubectl and waits for its end.
    pub fn kubectl(&self, words: &[&str]) -> Output {
        let mut command = Command::new(&self.binary);
        command.arg("kubectl").args(words).env("HOME", &self.folder);
        command.output().expect("the control plane's binary runs")
    }

    /// Compacts etcd up to the current revision: a watch from an older one gets 410 Gone.
    pub fn compact(&self) {
        let status = etcd_call("/v3/maintenance/status", &json!({}));
        let revision = &status["header"]["revision"];
        etcd_call("/v3/kv/compaction", &json!({ "revision": revision, "physical": true }));
    }

    /// Stores a value in etcd, beside those of the API server. Without a value the key is deleted.
    pub fn put_in_etcd(&self, key: &str, value: Option<&str>, lease: Option<i64>) {
        let encoded = |text: &str| BASE64_STANDARD.encode(text);
        match value {
            Some(value) => {
                let lease = lease.unwrap_or(0).to_string();
                let pair = json!({ "key": encoded(key), "value": encoded(value), "lease": lease });
                etcd_call("/v3/kv/put", &pair)
            }
            None => etcd_call("/v3/kv/deleterange", &json!({ "key": encoded(key) })),
        };
    }

    /// A lease in etcd of this many seconds.
    pub fn lease_in_etcd(&self, seconds: u32) -> i64 {
        let granted = etcd_call("/v3/lease/grant", &json!({ "TTL": seconds.to_string() }));
        granted["ID"].as_str().and_then(|id| id.parse().ok()).expect("a lease")
    }

    /// The requests of `user` that the API server has completed: one line per request, `verb resource code`.
    pub fn audit(&self, user: &str) -> Vec<String> {
        let log = fs::read_to_string(self.folder.join("audit.log")).unwrap_or_default();
        // Most lines belong to other users, and the last one may be incomplete.
        let named = format!("\"username\":\"{user}\"");
        let lines = log.lines().filter(|line| line.contains(&named));
        let events = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events
            .filter(|event| event["user"]["username"] == user)
            .map(|event| {
                let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
                let (verb, resource) = (word(&event["verb"]), word(&event["objectRef"]["resource"]));
                format!("{verb} {resource} {}", event["responseStatus"]["code"])
            })
            .collect()
    }

    fn start_etcd(&self) -> Process {
        let mut command = Command::new(&self.binary);
        let url = format!("http://{ETCD}");
        command
            .args([
                "etcd",
                "--unsafe-no-fsync",
                "--log-level",
                "warn",
                "--listen-peer-urls",
                "http://127.0.0.1:2380",
            ])
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url, "--data-dir"])
            .arg(self.folder.join("etcd"));
        Process::start("etcd", command, &self.folder)
    }

    /// Starts more controllers of Kubernetes, by their names, which run until the process is dropped.
    pub fn start_more_controllers(&self, names: &str) -> Process {
        let mut command = Command::new(&self.binary);
        command
            .args(["kube-controller-manager", "--leader-elect=false", "--secure-port", "0"])
            .args(["--controllers", names, "--kubeconfig"])
            .arg(self.kubeconfig("admin", self.server.port));
        Process::start("more-controllers", command, &self.folder)
    }

    fn start_controllers(&self) -> Process {
        let mut command = Command::new(&self.binary);
        command
            .args(["kube-controller-manager", "--leader-elect=false", "--secure-port", "0"])
            .args(["--kube-api-qps", "500", "--kube-api-burst", "1000", "--kubeconfig"])
            .arg(self.kubeconfig("admin", self.server.port));
        match self.server.surroundings {
            Surroundings::Alone => {
                command.args(["--controllers", "endpointslice-controller,namespace-controller"]);
            }
            Surroundings::Node => {
                command.arg("--service-account-private-key-file").arg(self.folder.join("sa.key"));
                command.arg("--root-ca-file").arg(self.authority());
            }
        }
        Process::start("kube-controller-manager", command, &self.folder)
    }
}

impl ApiServer {
    fn new(binary: &Path, folder: &Path, port: u16, surroundings: Surroundings) -> ApiServer {
        let (binary, folder) = (binary.to_owned(), folder.to_owned());
        ApiServer { binary, folder, port, surroundings, process: None }
    }

    /// The address of the API server.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Starts the API server with additional flags and waits until it is ready. Does nothing if it is running.
    pub fn start(&mut self, flags: &[&str]) {
        if self.process.as_mut().is_some_and(|process| process.exit_status().is_none()) {
            // A failed case may have left it paused.
            self.resume();
            return;
        }
        let name = format!("kube-apiserver-{}", self.port);
        let mut process = Process::start(&name, self.command(flags), &self.folder);
        let address = self.address();
        wait::until("the API server to be ready", START_TIMEOUT, || {
            if let Some(status) = process.exit_status() {
                return Err(format!("{status}"));
            }
            let mut connection = Connection::tls(address, "localhost", &Trust::AnyCertificate)
                .map_err(|error| error.to_string())?;
            let headers = [("host", "localhost"), ("authorization", "Bearer admin-token")];
            let response =
                connection.send("GET", "/readyz", &headers, b"").map_err(|error| error.to_string())?;
            if response.status == 200 { Ok(()) } else { Err(response.text()) }
        });
        self.process = Some(process);
    }

    /// Stops the API server with SIGTERM, as in an upgrade.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop();
        }
    }

    /// Stops the API server with SIGKILL, as in a crash.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Pauses the API server (SIGSTOP): connections stay open without data.
    pub fn pause(&self) {
        self.process.as_ref().expect("the API server is running").signal(Signal::SIGSTOP);
    }

    /// Resumes a paused API server (SIGCONT).
    pub fn resume(&self) {
        self.process.as_ref().expect("the API server is running").signal(Signal::SIGCONT);
    }

    fn command(&self, flags: &[&str]) -> Command {
        let file = |name: &str| self.folder.join(name).to_string_lossy().into_owned();
        let mut command = Command::new(&self.binary);
        command
            .args(["kube-apiserver", "--etcd-servers", &format!("http://{ETCD}")])
            .args(["--bind-address", "0.0.0.0", "--secure-port", &self.port.to_string()])
            .args(["--service-account-issuer", "https://kubernetes.default.svc"])
            .args(["--service-account-key-file", &file("sa.pub")])
            .args(["--service-account-signing-key-file", &file("sa.key")])
            .args(["--tls-cert-file", &file("server.crt"), "--tls-private-key-file", &file("server.key")])
            .args(["--client-ca-file", &file("ca.crt")])
            .args(["--token-auth-file", &file("tokens.csv"), "--authorization-mode", "RBAC"])
            .args(["--audit-policy-file", &file("audit.yaml"), "--audit-log-path", &file("audit.log")])
            // After SIGTERM it waits this long for open watches, by default a minute.
            .args(["--request-timeout", "5s"]);
        match self.surroundings {
            Surroundings::Alone => command
                // An unused address: the API server rejects addresses in 127.0.0.0/8 here.
                .args(["--advertise-address", "10.244.255.1", "--endpoint-reconciler-type", "none"])
                // Cases that name a cluster IP take it from 10.96.0.0/24: the API server gives others to Services without one.
                .args(["--service-cluster-ip-range", "10.96.0.0/16,fd00:10:96::/108"])
                // Pods have no service account, because no controller creates any.
                .args(["--disable-admission-plugins", "ServiceAccount"]),
            Surroundings::Node => command
                .args(["--advertise-address", NODE, "--service-cluster-ip-range", "10.96.0.0/16"])
                .args(["--allow-privileged", "--kubelet-preferred-address-types", "InternalIP"]),
        };
        command.args(flags);
        command
    }
}

fn write_credentials(folder: &Path, authority: &CertificateAuthority, surroundings: Surroundings) {
    let server = authority.issue(&[
        "localhost",
        "127.0.0.1",
        API_SERVER,
        NODE,
        "kubernetes.default",
        "kubernetes.default.svc",
    ]);
    let user = authority.issue_client_certificate("portolan");
    let (private, public) = credentials::token_keys();
    let tokens = "admin-token,admin,1,\"system:masters\"\nportolan-token,portolan,2\nguest-token,guest,3\n";
    let rules = match surroundings {
        Surroundings::Alone => "[{ level: Metadata }]",
        // Kubernetes' own programs would write most of the log.
        Surroundings::Node => {
            "[{ level: Metadata, userGroups: [\"system:serviceaccounts\"] }, { level: None }]"
        }
    };
    let audit =
        format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: {rules}\n");
    let files = [
        ("ca.crt", authority.pem()),
        ("server.crt", server.certificate),
        ("server.key", server.key),
        ("portolan.crt", user.certificate),
        ("portolan.key", user.key),
        ("sa.key", private),
        ("sa.pub", public),
        ("tokens.csv", tokens.to_owned()),
        ("audit.yaml", audit),
    ];
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("the scratch folder is writable");
    }
}

/// Replaces the folder `to` by a copy of `from`.
fn replace_folder(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).expect("the scratch folder is writable");
    }
    let status = Command::new("cp").arg("-a").args([from, to]).status().expect("`cp` runs");
    assert!(status.success(), "a copy of {}: {status}", from.display());
}

/// Calls etcd's gRPC gateway (JSON over HTTP).
fn etcd_call(path: &str, body: &Value) -> Value {
    let address: SocketAddr = ETCD.parse().expect("a valid address");
    let mut connection = Connection::plain(address).expect("etcd listens");
    let headers = [("host", ETCD), ("content-type", "application/json")];
    let response =
        connection.send("POST", path, &headers, body.to_string().as_bytes()).expect("etcd responds");
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    serde_json::from_str(&response.text()).expect("etcd's gateway answers JSON")
}
