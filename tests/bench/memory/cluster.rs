//! A real control plane with the objects of a large cluster, and the changes that are made to them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use serde_json::{Value, json};
use tests::control_plane::ControlPlane;

pub(crate) const SERVICES: usize = 10_000;
/// Endpoints of each Service.
pub(crate) const ENDPOINTS: usize = 10;
/// One in this many Services is headless, as in clusters that run databases.
const HEADLESS_EVERY: usize = 10;
const PER_NAMESPACE: usize = 200;

/// The address of the measured DNS server.
pub(crate) const DNS: &str = "127.0.0.1:53";

/// The headless Service whose endpoints change.
const CHANGING: &str = "changing";
const NAMESPACE: &str = "team-0";

/// Connections that create objects.
const CONNECTIONS: usize = 8;

/// How long to wait until a change is visible.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A control plane with all objects of the benchmark.
pub(crate) struct Cluster {
    plane: ControlPlane,
    socket: UdpSocket,
}

impl Cluster {
    /// Starts the control plane and creates all objects, which takes about a minute.
    pub(crate) fn start(binary: &Path, folder: &Path) -> Self {
        let plane = ControlPlane::start(binary, folder);
        let create = |objects: &[Value]| plane.api.create_all(objects, CONNECTIONS);
        create(&(0..SERVICES.div_ceil(PER_NAMESPACE)).map(namespace).collect::<Vec<_>>());
        create(&(0..SERVICES).map(service).collect::<Vec<_>>());
        create(&(0..SERVICES).map(slice).collect::<Vec<_>>());
        create(&[headless(CHANGING, NAMESPACE)]);
        create(&[endpoints(CHANGING, NAMESPACE, &["10.244.0.1".to_owned()])]);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("the network of this run is empty");
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("it is not zero");
        Self { plane, socket }
    }

    /// A kubeconfig for the API server, of a user that may read the objects that a DNS server needs.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.plane.kubeconfig("portolan", self.plane.server.address().port())
    }

    /// The API server's address.
    pub(crate) fn api_server(&self) -> SocketAddr {
        self.plane.server.address()
    }

    /// The file of the CA certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.plane.authority()
    }

    /// The current resource version of a kind: where a watch can start.
    pub(crate) fn version(&self, kind: &str) -> String {
        self.plane.api.resource_version(kind)
    }

    /// Whether the DNS server has loaded everything: it answers for the last Service and the last slice.
    pub(crate) fn is_complete(&self) -> bool {
        let last = format!("svc-{}.team-{}", SERVICES - 1, (SERVICES - 1) / PER_NAMESPACE);
        !self.addresses(&last).is_empty() && !self.addresses(&format!("{CHANGING}.{NAMESPACE}")).is_empty()
    }

    /// Gives the changing Service one endpoint with this address.
    pub(crate) fn change(&self, address: &str) {
        let patch = json!({ "endpoints": [{ "addresses": [address], "conditions": { "ready": true } }] });
        self.plane.api.merge("EndpointSlice", NAMESPACE, CHANGING, &patch.to_string());
    }

    /// Queries until the changing Service has this address. Returns the time of the answer.
    pub(crate) fn wait_for(&self, address: &str) -> Result<Instant, String> {
        let wanted: IpAddr = address.parse().map_err(|_| format!("{address} is not an IP address"))?;
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            if self.addresses(&format!("{CHANGING}.{NAMESPACE}")) == [wanted] {
                return Ok(Instant::now());
            }
        }
        Err(format!("{address} was not answered within {TIMEOUT:?}"))
    }

    /// Forces every watcher to relist: its last resource version is compacted away while the API server is stopped.
    pub(crate) fn force_relist(&mut self) -> Result<(), String> {
        let mut other = self.plane.second_server();
        other.start(&[]);
        self.plane.server.stop();
        let api = self.plane.api.at(other.address());
        let endpoints = |address: &str| {
            json!({ "endpoints": [{ "addresses": [address], "conditions": { "ready": true } }] }).to_string()
        };
        api.merge("EndpointSlice", NAMESPACE, CHANGING, &endpoints("10.244.9.1"));
        api.merge(
            "Service",
            NAMESPACE,
            CHANGING,
            &json!({ "metadata": { "labels": { "seen": "yes" } } }).to_string(),
        );
        self.plane.compact();
        other.stop();
        self.plane.server.start(&[]);
        self.wait_for("10.244.9.1").map(|_| ())
    }

    fn addresses(&self, service: &str) -> Vec<IpAddr> {
        let query = || -> Option<Vec<IpAddr>> {
            let name = Name::from_ascii(format!("{service}.svc.cluster.local.")).ok()?;
            let mut query = Message::query();
            query.queries.push(Query::query(name, RecordType::A));
            self.socket.send_to(&query.to_bytes().ok()?, DNS).ok()?;
            let mut buffer = [0; 4096];
            loop {
                let length = self.socket.recv(&mut buffer).ok()?;
                let reply = Message::from_bytes(&buffer[..length]).ok()?;
                if reply.metadata.id == query.metadata.id {
                    return Some(reply.answers.iter().filter_map(|record| address(&record.data)).collect());
                }
            }
        };
        query().unwrap_or_default()
    }
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(address.0.into()),
        _ => None,
    }
}

/// A different address for each change.
pub(crate) fn changed_address(number: usize) -> String {
    format!("10.244.{}.{}", 200 + number / 200, number % 200 + 1)
}

fn team(number: usize) -> String {
    format!("team-{}", number / PER_NAMESPACE)
}

fn namespace(number: usize) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": format!("team-{number}") } })
}

fn service(number: usize) -> Value {
    let (name, namespace) = (format!("svc-{number}"), team(number));
    if number.is_multiple_of(HEADLESS_EVERY) {
        return headless(&name, &namespace);
    }
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": name, "team": namespace } },
        "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    })
}

fn headless(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": name } },
        "spec": { "clusterIP": "None", "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    })
}

fn slice(number: usize) -> Value {
    let first = u32::from(Ipv4Addr::new(10, 128, 0, 0)) + (number * ENDPOINTS) as u32;
    let addresses: Vec<String> =
        (first..first + ENDPOINTS as u32).map(|address| Ipv4Addr::from(address).to_string()).collect();
    endpoints(&format!("svc-{number}"), &team(number), &addresses)
}

fn endpoints(service: &str, namespace: &str, addresses: &[String]) -> Value {
    let endpoint = |address: &String| {
        let pod = format!("{service}-{}", address.replace('.', "-"));
        json!({
            "addresses": [address], "nodeName": "node-1",
            "conditions": { "ready": true, "serving": true, "terminating": false },
            "targetRef": { "kind": "Pod", "namespace": namespace, "name": pod },
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": service, "namespace": namespace, "labels": { "kubernetes.io/service-name": service },
        },
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
    })
}
