//! Runs the Pods of a namespace in place of the scheduler and the kubelet, so that the controllers of other projects can roll out
//! Deployments.

use std::collections::HashMap;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::ApiClient;
use crate::backend::Backend;
use crate::process::Process;
use crate::stage::{SOON, Stage};
use crate::wait;

/// Time between two lists of the Pods.
const INTERVAL: Duration = Duration::from_millis(20);

/// Runs Pods until it is dropped.
///
/// A Pod is a web server named by its label `version`; one of the version `failing` answers 500. A Pod with a container
/// `acmesolver` is that program. A Pod that is deleted leaves the API server at once; a web server answers until the end,
/// like one that has a `preStop` hook.
pub struct PodRunner {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Runner {
    api: ApiClient,
    namespace: String,
    /// The first three numbers of the Pods' addresses.
    subnet: String,
    /// The program of a container `acmesolver`.
    solver: Option<PathBuf>,
    folder: PathBuf,
    /// By UID.
    pods: HashMap<String, Workload>,
}

/// What answers on the address of a Pod. It ends when it is dropped.
enum Workload {
    Server {
        _backend: Backend,
    },
    Solver {
        _process: Process,
    },
    /// A web server whose Pod has been deleted.
    Leaving {
        _server: Box<Workload>,
    },
    /// A solver whose Pod has been deleted.
    Ended,
}

impl PodRunner {
    /// Starts running the Pods of a namespace, with addresses in `subnet` (three numbers).
    pub fn start(stage: &Stage, namespace: &str, subnet: &str, solver: Option<&Path>) -> PodRunner {
        let stop = Arc::new(AtomicBool::new(false));
        let mut runner = Runner {
            api: stage.plane.api.at(stage.plane.server.address()),
            namespace: namespace.to_owned(),
            subnet: subnet.to_owned(),
            solver: solver.map(Path::to_owned),
            folder: stage.folder().to_owned(),
            pods: HashMap::new(),
        };
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                runner.run_new_pods();
                std::thread::sleep(INTERVAL);
            }
        });
        PodRunner { stop, thread: Some(thread) }
    }
}

impl Drop for PodRunner {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the Pods could not be run");
        }
    }
}

impl Runner {
    fn run_new_pods(&mut self) {
        for pod in self.api.list("Pod", &self.namespace) {
            let (name, uid) = (text(&pod, "/metadata/name"), text(&pod, "/metadata/uid"));
            let is_deleted = pod["metadata"].get("deletionTimestamp").is_some();
            match self.pods.get_mut(uid) {
                Some(workload) if is_deleted && workload.is_running() => {
                    workload.leave();
                    self.api.delete("Pod", &self.namespace, name);
                }
                None if !is_deleted => self.run(&pod, name, uid),
                _ => {}
            }
        }
    }

    fn run(&mut self, pod: &Value, name: &str, uid: &str) {
        if pod["spec"].get("nodeName").is_none() {
            let target = json!({"apiVersion": "v1", "kind": "Node", "name": "node-1"});
            let binding =
                json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target});
            let path = format!("/api/v1/namespaces/{}/pods/{name}/binding", self.namespace);
            let bound = self.api.post(&path, &binding);
            if bound.status == 404 {
                // It was deleted in the meantime.
                return;
            }
            assert_eq!(bound.status, 201, "{}", bound.text());
        }
        let address = format!("{}.{}", self.subnet, self.pods.len() + 1);
        let port = pod.pointer("/spec/containers/0/ports/0/containerPort").and_then(Value::as_u64);
        let at = format!("{address}:{}", port.unwrap_or(8080));
        let workload = match text(pod, "/spec/containers/0/name") {
            "acmesolver" => Workload::Solver { _process: self.start_solver(pod, &at) },
            _ => match text(pod, "/metadata/labels/version") {
                "failing" => Workload::Server { _backend: Backend::start_failing("failing", &at) },
                version => Workload::Server { _backend: Backend::start(version, &at) },
            },
        };
        self.pods.insert(uid.to_owned(), workload);
        let ready = json!({"type": "Ready", "status": "True"});
        let status =
            json!({"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [ready]});
        self.api.merge_status("Pod", &self.namespace, name, &json!({ "status": status }).to_string());
    }

    fn start_solver(&self, pod: &Value, address: &str) -> Process {
        let program = self.solver.as_ref().expect("only tests with a solver have such Pods");
        let mut command = Command::new(program);
        let arguments = pod.pointer("/spec/containers/0/args").and_then(Value::as_array);
        command.arg("acmesolver").args(arguments.into_iter().flatten().filter_map(Value::as_str));
        let process = Process::start("acmesolver", command, &self.folder);
        wait::until("the solver", SOON, || TcpStream::connect(address).map_err(|error| error.to_string()));
        process
    }
}

impl Workload {
    fn is_running(&self) -> bool {
        matches!(self, Workload::Server { .. } | Workload::Solver { .. })
    }

    fn leave(&mut self) {
        *self = match std::mem::replace(self, Workload::Ended) {
            server @ Workload::Server { .. } => Workload::Leaving { _server: Box::new(server) },
            _ => Workload::Ended,
        };
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
