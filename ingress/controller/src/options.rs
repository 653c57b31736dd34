//! The options of the controller, named after ingress-nginx's flags.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use cluster::{Key, LoadBalancerAddress};

use crate::addresses;

/// The options of the controller.
#[derive(Clone, Debug)]
pub struct ControllerOptions {
    /// This Pod.
    pub pod: PodIdentity,
    /// `--controller-class`, for metrics.
    pub controller_class: String,
    /// The election of a leader; `None` with `--disable-leader-election`: every replica writes.
    pub election: Option<ElectionOptions>,
    /// The status of Ingresses; `None` with `--update-status=false`.
    pub status: Option<StatusOptions>,
    /// The admission webhook (`--validating-webhook`).
    pub webhook: Option<WebhookOptions>,
    /// `Sync` Events are written (not `--disable-sync-events`).
    pub sync_events: bool,
}

/// The Pod that this process runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentity {
    /// `POD_NAMESPACE`.
    pub namespace: String,
    /// `POD_NAME`; empty outside of a Pod.
    pub name: String,
}

/// The election of the leader.
#[derive(Clone, Debug)]
pub struct ElectionOptions {
    /// `--election-id`: the name of the Lease, which is in the namespace of the Pod.
    pub id: String,
    /// `--election-ttl`: how long the Lease is valid after it was renewed.
    pub ttl: Duration,
}

impl ElectionOptions {
    /// The shortest duration. The Lease has it in whole seconds, and a renewal needs time.
    pub const MIN_TTL: Duration = Duration::from_secs(4);
}

/// The status of Ingresses.
#[derive(Clone, Debug)]
pub struct StatusOptions {
    /// Which addresses are written.
    pub addresses: AddressSource,
    /// `--status-update-interval`: how often all Ingresses are compared. At least [`StatusOptions::MIN_INTERVAL`].
    pub interval: Duration,
    /// `--update-status-on-shutdown`: the addresses are removed when the last Pod of the workload stops.
    pub remove_on_shutdown: bool,
}

impl StatusOptions {
    /// The shortest interval, as in ingress-nginx.
    pub const MIN_INTERVAL: Duration = Duration::from_secs(5);
}

/// Where the addresses come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressSource {
    /// `--publish-status-address`.
    Fixed(Vec<LoadBalancerAddress>),
    /// `--publish-service`.
    Service(Key),
    /// The Nodes on which Pods of this workload are ready; `internal` (`--report-node-internal-ip-address`): their internal addresses, else
    /// an external one where there is one.
    Nodes {
        /// Only internal addresses.
        internal: bool,
    },
}

impl AddressSource {
    /// Parses `--publish-status-address`: addresses and host names separated by commas.
    pub fn fixed(list: &str) -> Self {
        Self::Fixed(addresses::of_list(list))
    }
}

/// The admission webhook.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// The host of `--validating-webhook`; `None` for all addresses.
    pub host: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// Its certificate.
    pub certificate: WebhookCertificateSource,
}

/// Where the certificate of the admission webhook comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookCertificateSource {
    /// `--validating-webhook-certificate` and `--validating-webhook-key`: files, which are read again when they change.
    Files {
        /// PEM.
        certificate: PathBuf,
        /// PEM.
        key: PathBuf,
    },
    /// `--validating-webhook-configuration`: made here, kept in the Secret of this name, and written as `caBundle` into this configuration.
    Own {
        /// The name of the ValidatingWebhookConfiguration and of the Secret.
        configuration: String,
    },
    /// Neither: a self-signed one, whose authority no client knows.
    Temporary,
}

impl WebhookOptions {
    /// The addresses to listen on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let hosts = self.host.map_or(all.to_vec(), |host| vec![host]);
        hosts.into_iter().map(|host| SocketAddr::new(host, self.port)).collect()
    }
}
