//! A real control plane with the objects of a large cluster, and the changes that are made to them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use serde_json::json;
use tests::control_plane::ControlPlane;

use crate::objects;

/// The address of the measured DNS server.
pub(crate) const DNS: &str = "127.0.0.1:53";

/// The headless Service whose endpoints change.
const CHANGING: &str = "changing";
const NAMESPACE: &str = "team-0";

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
        objects::create(&plane.api, &json!({}));
        plane.api.create_all(&[objects::headless(CHANGING, NAMESPACE)], 1);
        plane.api.create_all(&[objects::endpoints(CHANGING, NAMESPACE, &["10.244.0.1".to_owned()])], 1);
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
        !self.addresses(&objects::last_service()).is_empty()
            && !self.addresses(&format!("{CHANGING}.{NAMESPACE}")).is_empty()
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
