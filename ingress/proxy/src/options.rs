//! Options of the proxy; the defaults are ingress-nginx's. What the ConfigMap changes is in the views instead.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use net::DescriptorShares;

use crate::followed_requests::FollowedRequests;

/// Options of the proxy that last as long as it runs, named as ingress-nginx's flags.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// Addresses for HTTP: `--http-port` on every `bind-address`. Port 0 lets the system choose.
    pub http: Vec<SocketAddr>,
    /// Addresses for HTTPS: `--https-port`.
    pub https: Vec<SocketAddr>,
    /// `worker-processes`: number of worker threads.
    pub workers: usize,
    /// How many connections all workers may have together.
    pub descriptors: DescriptorShares,
    /// How many bytes of bodies all workers together may buffer for slow clients and endpoints.
    pub max_buffered_bytes: usize,
    /// `--health-check-path`, answered on hosts without an Ingress.
    pub health_check_path: String,
    /// `--enable-ssl-passthrough`.
    pub ssl_passthrough: bool,
    /// `--enable-ssl-chain-completion`: missing certificates of issuers are fetched.
    pub completes_chains: bool,
    /// How long a connection that is passed through may be idle; `None` for an hour.
    pub passthrough_idle: Option<Duration>,
    /// Name servers for ExternalName Services; if empty, those of `/etc/resolv.conf`.
    pub name_servers: Vec<SocketAddr>,
    /// Allows ExternalName Services and OCSP responders to have loopback and link-local addresses. For tests: ingress-nginx
    /// refuses `localhost` and has no flag for it.
    pub allow_local_external_names: bool,
    /// The constant labels `controller_class`, `controller_namespace` and `controller_pod` of every metric.
    pub controller: Controller,
    /// The request metrics.
    pub metrics: MetricsOptions,
    /// The requests that an operator follows.
    pub followed: FollowedRequests,
}

/// Options of the request metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsOptions {
    /// `--metrics-per-host`: the host is a label, and requests to hosts without an Ingress are not counted.
    pub per_host: bool,
    /// `--metrics-per-undefined-host`: requests to hosts without an Ingress are counted, each under its host.
    pub per_undefined_host: bool,
    /// `--report-status-classes`: `2xx` instead of `200`.
    pub status_classes: bool,
    /// `--time-buckets`: upper bounds in seconds, ascending.
    pub time_buckets: Vec<f64>,
    /// `--length-buckets`: of requests and responses, in bytes.
    pub length_buckets: Vec<f64>,
    /// `--size-buckets`: of what was sent, in bytes.
    pub size_buckets: Vec<f64>,
    /// `--exclude-socket-metrics`: names that are left out, with or without `nginx_ingress_controller_`.
    pub exclude: Vec<String>,
}

/// The identity of this controller, for the labels of its metrics.
#[derive(Clone, Debug)]
pub struct Controller {
    /// `--controller-class`.
    pub class: String,
    /// `POD_NAMESPACE`.
    pub namespace: String,
    /// `POD_NAME`.
    pub pod: String,
}

impl ProxyOptions {
    /// The addresses that are listened on, without ports: TCP and UDP services have the same ones.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<_> = self.http.iter().chain(&self.https).map(SocketAddr::ip).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

impl Default for ProxyOptions {
    fn default() -> Self {
        Self {
            http: vec![SocketAddr::from(([0, 0, 0, 0], 80)), SocketAddr::from(([0_u16; 8], 80))],
            https: vec![SocketAddr::from(([0, 0, 0, 0], 443)), SocketAddr::from(([0_u16; 8], 443))],
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            descriptors: DescriptorShares::of_process(),
            max_buffered_bytes: 32 << 20,
            health_check_path: "/healthz".to_owned(),
            ssl_passthrough: false,
            completes_chains: false,
            passthrough_idle: None,
            name_servers: Vec::new(),
            allow_local_external_names: false,
            controller: Controller::default(),
            metrics: MetricsOptions::default(),
            followed: FollowedRequests::default(),
        }
    }
}

impl Default for MetricsOptions {
    fn default() -> Self {
        Self {
            per_host: true,
            per_undefined_host: false,
            status_classes: false,
            // The defaults of Prometheus's Go client.
            time_buckets: vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
            length_buckets: (1..=10).map(|step| f64::from(step) * 10.0).collect(),
            size_buckets: (1..=7).map(|power| 10_f64.powi(power)).collect(),
            exclude: Vec::new(),
        }
    }
}

impl Default for Controller {
    fn default() -> Self {
        Self { class: "k8s.io/ingress-nginx".to_owned(), namespace: String::new(), pod: String::new() }
    }
}
