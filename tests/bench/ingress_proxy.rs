//! `portolan ingress`, and the objects that the benchmarks give it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::process::Process;
use crate::testbed::{NO_PORTOLAN, Testbed, free_port, portolan};

/// The namespace of all objects.
pub(crate) const NAMESPACE: &str = "default";

/// A running ingress proxy, which may not have listed the cluster yet.
pub(crate) struct IngressProxy {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

/// Starts the ingress proxy on the server core.
pub(crate) fn start(testbed: &Testbed, kubeconfig: &Path, flags: &[&str]) -> Result<IngressProxy, String> {
    let program = portolan().ok_or(NO_PORTOLAN)?;
    let port = free_port()?;
    let folder = testbed.folder(&format!("portolan-ingress-proxy-{port}"))?;
    let mut command = Command::new(program);
    // The benchmark's API server has no Leases, and takes no status.
    command.arg("ingress").args(flags).arg("--update-status=false").arg("--kubeconfig").arg(kubeconfig);
    for (flag, port) in
        [("--http-port", port), ("--https-port", free_port()?), ("--healthz-port", free_port()?)]
    {
        command.arg(flag).arg(port.to_string());
    }
    let process = Process::start_server(testbed, &mut command, &folder)?;
    Ok(IngressProxy { process, address: (Ipv4Addr::LOCALHOST, port).into() })
}

/// The IngressClass of all Ingresses.
pub(crate) fn class() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": { "name": "nginx" },
        "spec": { "controller": "k8s.io/ingress-nginx" },
    })
}

/// A Service with one port.
pub(crate) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    })
}

/// An Ingress that routes all paths of a host to a Service.
pub(crate) fn ingress(name: &str, host: &str, service: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "ingressClassName": "nginx",
            "rules": [{ "host": host, "http": { "paths": [path("/", "Prefix", service)] } }],
        },
    })
}

/// The slice of a Service: one Pod.
pub(crate) fn slice(service: &str, pod: &str, port: u16) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("{service}-1"), "namespace": NAMESPACE,
            "labels": { "kubernetes.io/service-name": service },
        },
        "ports": [{ "name": "http", "port": port, "protocol": "TCP" }],
        "endpoints": [{ "addresses": [pod], "conditions": { "ready": true } }],
    })
}

/// An object in another namespace.
pub(crate) fn in_namespace(mut object: Value, namespace: &str) -> Value {
    object["metadata"]["namespace"] = namespace.into();
    object
}

/// One path of an Ingress rule.
pub(crate) fn path(path: &str, kind: &str, service: &str) -> Value {
    let service = json!({ "name": service, "port": { "number": 80 } });
    json!({ "path": path, "pathType": kind, "backend": { "service": service } })
}
