//! One case: its objects and Pods, a `portolan ingress` of its own, its steps.

mod controller;
mod shutdown;

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::certificates::CaseCertificates;
use super::client::{self, CaseRequest, ProxyAddress};
use super::dns::{self, CaseResolver};
use super::expectation::{SavedValues, StepResult, counts};
use super::pods::{Pod, PodBehavior};
use super::text_checks::{contains, eventually, has_sample, log_contains};
use super::{ConformanceCase, grpc, known_keys, names, placeholders, websocket};
use crate::runner::catch_panic;
use crate::stage::{Portolan, Stage};

/// Where the proxy of a case listens; also the address of its clients, which is in no network that cases trust. Other ports than 80 and
/// 443, so that redirects have to name them.
const PROXY: ProxyAddress =
    ProxyAddress { ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)), http: 8080, https: 8443 };
const HEALTH_PORT: u16 = 10254;
const WEBHOOK_PORT: u16 = 8444;
const FREE_PORTS: [u16; 2] = [9101, 9102];
/// The port of all Pods; not one of the proxy, which listens on all addresses.
const POD_PORT: u16 = 3000;
/// The first octets of Pod addresses, and of ClusterIPs.
const POD_RANGE: [u8; 2] = [10, 244];
const SERVICE_RANGE: [u8; 2] = [10, 96];
/// How long a step that counts waits after a change: such a step cannot be repeated until it matches.
const GRACE: Duration = Duration::from_millis(700);
/// `creationTimestamp` has seconds; Ingresses of a case are created in different ones.
const TIMESTAMP: Duration = Duration::from_millis(1050);

/// A case that is being run.
struct CaseRun<'a> {
    stage: &'a Stage,
    settle: Duration,
    certificates: CaseCertificates,
    /// Service and number of each running Pod.
    pods: Vec<Pod>,
    /// How each service of the case answers, and the address of its first Pod.
    services: BTreeMap<String, Service>,
    /// Kind, namespace and name of the objects that exist.
    objects: Vec<(String, String, String)>,
    portolan: Option<Portolan>,
    resolver: Option<CaseResolver>,
    saved: SavedValues,
    open: BTreeMap<String, BufReader<TcpStream>>,
    changed: bool,
}

struct Service {
    behavior: PodBehavior,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// The first octets of its Pods' addresses.
    subnet: [u8; 3],
    /// The last octet of its first current Pod.
    first: u8,
}

/// Runs a case; a change may take as long as `settle` to be visible.
///
/// # Errors
/// The step and expectation that did not hold, or what the harness cannot do.
pub fn run(stage: &Stage, case: &ConformanceCase, settle: Duration) -> Result<(), String> {
    let value = &case.value;
    known_keys(
        value,
        &[
            "id",
            "source",
            "basis",
            "level",
            "note",
            "quirk",
            "needs",
            "controller_flags",
            "certs",
            "objects",
            "backends",
            "steps",
        ],
    )?;
    let mut run = CaseRun {
        stage,
        settle,
        certificates: CaseCertificates::make(&value["certs"])?,
        pods: Vec::new(),
        services: BTreeMap::new(),
        objects: Vec::new(),
        portolan: None,
        resolver: None,
        saved: SavedValues::default(),
        open: BTreeMap::new(),
        changed: true,
    };
    let result = catch_panic(|| run.perform(value)).flatten();
    if let Some(portolan) = run.portolan.take() {
        portolan.kill();
    }
    for (kind, namespace, name) in run.objects.iter().rev() {
        if stage.plane.api.read(kind, namespace, name).is_some() {
            stage.plane.api.delete(kind, namespace, name);
        }
    }
    result
}

impl CaseRun<'_> {
    fn perform(&mut self, case: &Value) -> Result<(), String> {
        let backends = case["backends"].as_array().into_iter().flatten();
        for (at, backend) in backends.enumerate() {
            let subnet = u8::try_from(at + 1).map_err(|_| "too many backends")?;
            // Pods that stand for the ClusterIP of a Service have addresses of the service range.
            let service = backend["service"].as_str().unwrap_or_default();
            let cluster_ip = format!("\"clusterIP\":\"${{{service}.");
            let range =
                if case["objects"].to_string().contains(&cluster_ip) { SERVICE_RANGE } else { POD_RANGE };
            self.start_service(backend, [range[0], range[1], subnet])?;
        }
        if case.to_string().contains(".dns") {
            let first = |(name, service): (&String, &Service)| (name.clone(), pod_address(service, 0).ip());
            let addresses = self.services.iter().map(first);
            let resolver = CaseResolver::start(addresses.collect());
            self.resolver = Some(resolver.map_err(|error| format!("the resolver of the case: {error}"))?);
        }
        let objects = self.replaced(&case["objects"])?;
        let objects = objects.as_array().cloned().unwrap_or_default();
        let class = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "nginx"},
            "spec": {"controller": "k8s.io/ingress-nginx"},
        });
        if !objects.iter().any(|object| object["kind"] == "IngressClass") {
            self.apply(std::slice::from_ref(&class))?;
        }
        let config = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "ingress-nginx-controller", "namespace": "ingress-nginx"},
        });
        let is_config = |object: &Value| {
            object["kind"] == "ConfigMap" && object["metadata"]["name"] == "ingress-nginx-controller"
        };
        if !objects.iter().any(is_config) {
            self.apply(std::slice::from_ref(&config))?;
        }
        self.apply(&objects)?;
        self.start_portolan(&case["controller_flags"])?;
        let steps = case["steps"].as_array().ok_or("a case without steps")?;
        for (at, step) in steps.iter().enumerate() {
            self.step(step).map_err(|problem| format!("step {}: {problem}", at + 1))?;
        }
        Ok(())
    }

    fn start_portolan(&mut self, flags: &Value) -> Result<(), String> {
        let kubeconfig = self.stage.plane.kubeconfig("portolan", self.stage.plane.server.address().port());
        let mut words: Vec<String> = [
            "ingress",
            "--kubeconfig",
            &kubeconfig.to_string_lossy(),
            "--configmap=ingress-nginx/ingress-nginx-controller",
            "--post-shutdown-grace-period=0",
            &format!("--http-port={}", PROXY.http),
            &format!("--https-port={}", PROXY.https),
            &format!("--healthz-port={HEALTH_PORT}"),
            &format!("--validating-webhook=:{WEBHOOK_PORT}"),
        ]
        .map(str::to_owned)
        .to_vec();
        for flag in flags.as_array().into_iter().flatten() {
            words.push(self.replaced(flag)?.as_str().ok_or("a flag that is not text")?.to_owned());
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.remove_lease();
        let mut portolan = self.stage.run_with(&words, &[], &[("POD_NAMESPACE", controller::NAMESPACE)]);
        portolan.wait_for_page(HEALTH_PORT, "/healthz");
        self.portolan = Some(portolan);
        Ok(())
    }

    fn start_service(&mut self, backend: &Value, subnet: [u8; 3]) -> Result<(), String> {
        known_keys(
            backend,
            &[
                "service",
                "kind",
                "pods",
                "routes",
                "status",
                "headers",
                "body",
                "cert",
                "client_ca",
                "status_per_pod",
            ],
        )?;
        let name = backend["service"].as_str().ok_or("a backend without service")?;
        let behavior = PodBehavior::of(backend)?;
        let tls = match backend["cert"].as_str() {
            None if backend["kind"] == "https-echo" => return Err("https-echo without cert".to_owned()),
            None => None,
            Some(certificate) => {
                let authority =
                    backend["client_ca"].as_str().map(|name| self.certificates.get(name)).transpose()?;
                Some(self.certificates.get(certificate)?.server(authority)?)
            }
        };
        let count = backend["pods"].as_u64().unwrap_or(1);
        self.services.insert(name.to_owned(), Service { behavior, tls, subnet, first: 1 });
        self.start_pods(name, count);
        Ok(())
    }

    fn start_pods(&mut self, service: &str, count: u64) {
        let entry = &self.services[service];
        let count = usize::try_from(count).unwrap_or_default();
        for number in 0..count {
            let address = pod_address(entry, number);
            let name = format!("{service}.{number}");
            if !self.pods.iter().any(|pod| pod.name == name) {
                self.pods.push(Pod::start(
                    service,
                    number,
                    address,
                    entry.behavior.clone(),
                    entry.tls.clone(),
                ));
            }
        }
        self.pods.retain(|pod| {
            pod.service() != service
                || pod.name.rsplit('.').next().and_then(|at| at.parse().ok()) < Some(count)
        });
    }

    fn step(&mut self, step: &Value) -> Result<(), String> {
        let step = self.replaced(step)?;
        let actions = [
            "request",
            "apply",
            "delete",
            "scale",
            "stop",
            "break_pod",
            "remove_pod",
            "wait_ms",
            "raw_tcp",
            "tcp",
            "websocket",
            "grpc",
            "logs",
            "metrics",
            "shutdown",
            "parallel",
            "admission",
            "status",
            "events",
            "patch_status",
            "api_server",
        ];
        let known: Vec<&str> = actions.iter().copied().chain(["expect", "note"]).collect();
        known_keys(&step, &known)?;
        let action =
            actions.iter().find(|action| step.get(**action).is_some()).ok_or("a step without action")?;
        let (value, expect) = (&step[*action], &step["expect"]);
        match *action {
            "request" => return self.request(value, expect),
            "apply" => self.apply(value.as_array().ok_or("apply takes a list")?)?,
            "delete" => {
                for object in value.as_array().into_iter().flatten() {
                    let (kind, namespace, name) = names(object)?;
                    self.stage.plane.api.delete(&kind, &namespace, &name);
                }
            }
            "scale" => self.scale(value)?,
            "stop" => {
                let service = value["service"].as_str().unwrap_or_default();
                self.pods.retain(|pod| pod.service() != service);
            }
            "break_pod" => {
                let name = value["pod"].as_str().unwrap_or_default();
                self.pods.retain(|pod| pod.name != name);
            }
            "wait_ms" => sleep(Duration::from_millis(value.as_u64().ok_or("wait_ms takes a number")?)),
            "raw_tcp" => {
                let mut stream = connect(value)?;
                let send = value["send"].as_str().unwrap_or_default();
                let received = client::raw_exchange(&mut stream, send).map_err(|error| error.to_string())?;
                return contains(&received, expect);
            }
            "tcp" => return self.tcp(value, expect),
            "websocket" => return self.websocket(value, expect),
            "grpc" => {
                return eventually(self.settle, || {
                    grpc::check(value, expect, PROXY, &|| Pod::last_call(&self.pods))
                });
            }
            "logs" => {
                let portolan = self.portolan.as_ref().ok_or("portolan has been stopped")?;
                return eventually(self.settle, || log_contains(&portolan.log(), expect));
            }
            "metrics" => {
                let portolan = self.portolan.as_ref().ok_or("portolan has been stopped")?;
                return eventually(self.settle, || has_sample(&portolan.metrics(), &expect["sample"]));
            }
            "admission" => return self.admission(value, expect),
            "status" => return self.status(value, expect),
            "events" => return self.events(value, expect),
            "patch_status" => self.patch_status(value)?,
            "api_server" => self.api_server(value)?,
            "shutdown" => return self.shutdown(value, expect),
            "parallel" => return self.parallel(value.as_array().ok_or("parallel takes a list")?),
            other => return Err(format!("the harness has no step {other:?}")),
        }
        self.changed = true;
        Ok(())
    }

    fn request(&mut self, request: &Value, expect: &Value) -> Result<(), String> {
        let counted = counts(request, expect);
        let deadline = Instant::now() + self.settle;
        if counted && self.changed {
            sleep(GRACE);
        }
        loop {
            let result = self.send(request, expect);
            match result {
                Err(_) if self.changed && !counted && Instant::now() < deadline => {
                    sleep(Duration::from_millis(100));
                }
                result => {
                    self.changed = false;
                    return result;
                }
            }
        }
    }

    fn send(&mut self, request: &Value, expect: &Value) -> Result<(), String> {
        let number = |key: &str| request[key].as_u64().and_then(|count| usize::try_from(count).ok());
        let concurrency = number("concurrency").unwrap_or(1);
        let repeat = number("repeat").unwrap_or(concurrency);
        let connections_before = self.pods.iter().map(Pod::connections).sum();
        let requests: Vec<CaseRequest> =
            (0..repeat).map(|number| self.case_request(request, number)).collect::<Result<_, _>>()?;
        let start = Instant::now();
        let mut exchanges = Vec::with_capacity(repeat);
        for group in requests.chunks(concurrency) {
            std::thread::scope(|scope| {
                let sent: Vec<_> = group.iter().map(|request| scope.spawn(|| request.send())).collect();
                for sent in sent {
                    exchanges.push(sent.join().expect("a client does not panic"));
                }
            });
        }
        if let Some(limit) = request["within_ms"].as_u64()
            && start.elapsed() > Duration::from_millis(limit)
        {
            return Err(format!("the requests took {:?}, longer than the case allows", start.elapsed()));
        }
        let list = exchanges.into_iter().zip(requests.into_iter().map(|request| request.varying)).collect();
        let exchanges =
            StepResult { list, pods: &self.pods, certificates: &self.certificates, connections_before };
        exchanges.check(expect, &mut self.saved)
    }

    fn case_request(&self, request: &Value, number: usize) -> Result<CaseRequest, String> {
        let identity = |name: &str| self.certificates.get(name)?.identity();
        CaseRequest::new(request, PROXY, identity, number)
    }

    fn scale(&mut self, value: &Value) -> Result<(), String> {
        let name = value["service"].as_str().unwrap_or_default();
        let count = value["pods"].as_u64().ok_or("scale without pods")?;
        if value["fresh"] == true {
            self.pods.retain(|pod| pod.service() != name);
            let service = self.services.get_mut(name).ok_or_else(|| format!("no service {name}"))?;
            service.first += 50;
        }
        self.start_pods(name, count);
        let api = &self.stage.plane.api;
        let slices = self.objects.iter().filter(|(kind, ..)| kind == "EndpointSlice");
        let slice = slices
            .filter_map(|(kind, namespace, slice)| api.read(kind, namespace, slice))
            .find(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == name);
        let mut slice = slice.ok_or_else(|| format!("no EndpointSlice of {name}"))?;
        let service = self.services.get(name).ok_or_else(|| format!("no service {name}"))?;
        let endpoints = (0..usize::try_from(count).unwrap_or_default()).map(|number| {
            json!({"addresses": [pod_address(service, number).ip().to_string()], "conditions": {"ready": true}})
        });
        slice["endpoints"] = Value::Array(endpoints.collect());
        let patch = json!({"endpoints": slice["endpoints"]});
        let (kind, namespace, name) = names(&slice)?;
        api.merge(&kind, &namespace, &name, &patch.to_string());
        Ok(())
    }

    fn tcp(&mut self, value: &Value, expect: &Value) -> Result<(), String> {
        known_keys(value, &["port", "open", "connection", "send"])?;
        let send = value["send"].as_str().unwrap_or_default();
        let exchange = |stream: &mut TcpStream| {
            let received = client::raw_exchange(stream, send).map_err(|error| error.to_string())?;
            contains(&received, expect)
        };
        if let Some(name) = value["connection"].as_str() {
            return exchange(self.open.get_mut(name).ok_or("no such connection")?.get_mut());
        }
        let mut stream = connect(value)?;
        let result = exchange(&mut stream);
        if let Some(name) = value["open"].as_str() {
            self.open.insert(name.to_owned(), BufReader::new(stream));
        }
        result
    }

    fn websocket(&mut self, value: &Value, expect: &Value) -> Result<(), String> {
        known_keys(value, &["open", "connection", "host", "path", "send"])?;
        known_keys(expect, &["received"])?;
        let problem = |error: std::io::Error| error.to_string();
        if let Some(name) = value["open"].as_str() {
            let host = value["host"].as_str().unwrap_or_default();
            let path = value["path"].as_str().unwrap_or("/");
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            let stream = eventually(self.settle, || {
                let mut stream = BufReader::new(connect(value)?);
                stream.get_mut().write_all(head.as_bytes()).map_err(problem)?;
                let mut response = String::new();
                while !response.ends_with("\r\n\r\n") {
                    use std::io::BufRead;
                    if stream.read_line(&mut response).map_err(problem)? == 0 {
                        break;
                    }
                }
                if response.starts_with("HTTP/1.1 101 ") { Ok(stream) } else { Err(response) }
            })?;
            self.open.insert(name.to_owned(), stream);
        }
        let name = value["open"].as_str().or(value["connection"].as_str()).unwrap_or_default();
        let stream = self.open.get_mut(name).ok_or("no such connection")?;
        for message in value["send"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            stream.get_mut().write_all(&websocket::client_frame(message)).map_err(problem)?;
        }
        for wanted in expect["received"].as_array().into_iter().flatten() {
            let received = websocket::receive(stream).map_err(problem)?;
            if *wanted != received {
                return Err(format!("received {received:?} instead of {wanted}"));
            }
        }
        Ok(())
    }

    /// Applies objects, and waits between Ingresses so that each has a later creation time.
    fn apply(&mut self, objects: &[Value]) -> Result<(), String> {
        let api = &self.stage.plane.api;
        let mut ingresses = 0;
        for object in objects {
            let (kind, namespace, name) = names(object)?;
            if !namespace.is_empty() && api.read("Namespace", "", &namespace).is_none() {
                let namespace =
                    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
                api.apply(&namespace.to_string());
            }
            let key = (kind.clone(), namespace, name);
            if kind == "Ingress" && !self.objects.contains(&key) {
                if ingresses > 0 {
                    sleep(TIMESTAMP);
                }
                ingresses += 1;
            }
            // Fields that an earlier step set and this one does not are removed, as by `kubectl replace`.
            if self.objects.contains(&key) && matches!(kind.as_str(), "Ingress" | "ConfigMap" | "Secret") {
                api.replace(object);
            } else {
                api.apply(&object.to_string());
                self.objects.push(key);
            }
        }
        Ok(())
    }

    fn replaced(&self, value: &Value) -> Result<Value, String> {
        placeholders::replace(value, &|name| self.placeholder(name))
    }

    fn placeholder(&self, name: &str) -> Result<Value, String> {
        let unknown = || format!("the harness knows no ${{{name}}}");
        match name {
            "http_port" => return Ok(PROXY.http.into()),
            "https_port" => return Ok(PROXY.https.into()),
            "health_port" => return Ok(HEALTH_PORT.into()),
            "webhook_port" => return Ok(WEBHOOK_PORT.into()),
            "free_port" => return Ok(FREE_PORTS[0].into()),
            "free_port_2" => return Ok(FREE_PORTS[1].into()),
            // Requests to an address of this machine come from the same address.
            "client_ip" => return Ok(PROXY.ip.to_string().into()),
            _ => {}
        }
        if let Some(rest) = name.strip_prefix("cert:") {
            let (certificate, part) = rest.split_once(':').ok_or_else(unknown)?;
            let certificate = self.certificates.get(certificate)?;
            return match part {
                "crt" => Ok(certificate.certificate.clone().into()),
                "key" => Ok(certificate.key.clone().into()),
                _ => Err(unknown()),
            };
        }
        let mut words = name.split('.');
        let service = words.next().and_then(|name| self.services.get(name)).ok_or_else(unknown)?;
        match (words.next(), words.next()) {
            (Some("port"), None) => Ok(POD_PORT.into()),
            (Some(number), Some(part)) => {
                let address = pod_address(service, number.parse().map_err(|_| unknown())?);
                match part {
                    "ip" => Ok(address.ip().to_string().into()),
                    "addr" => Ok(address.to_string().into()),
                    _ => Err(unknown()),
                }
            }
            (Some("dns_short"), None) => Ok(name.split('.').next().into()),
            (Some("dns"), None) => {
                Ok(format!("{}.{}", name.split('.').next().unwrap_or_default(), dns::DOMAIN).into())
            }
            _ => Err(unknown()),
        }
    }
}

fn pod_address(service: &Service, number: usize) -> SocketAddr {
    let last = usize::from(service.first) + number;
    let last = u8::try_from(last).expect("cases have few Pods");
    let [a, b, c] = service.subnet;
    (Ipv4Addr::new(a, b, c, last), POD_PORT).into()
}

fn connect(value: &Value) -> Result<TcpStream, String> {
    let port = value["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(PROXY.http);
    let stream = TcpStream::connect((PROXY.ip, port)).map_err(|error| format!("port {port}: {error}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(|error| error.to_string())?;
    Ok(stream)
}
