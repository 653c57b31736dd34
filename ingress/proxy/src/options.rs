//! Options of the proxy; the defaults are ingress-nginx's.

use std::net::SocketAddr;
use std::time::Duration;

use net::DescriptorShares;

/// Options of the proxy, named as ingress-nginx's flags and ConfigMap keys.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// Addresses for HTTP: `--http-port` on every `bind-address`. Port 0 lets the system choose.
    pub http: Vec<SocketAddr>,
    /// Addresses for HTTPS: `--https-port`.
    pub https: Vec<SocketAddr>,
    /// `worker-processes`: number of worker threads.
    pub workers: usize,
    /// `max-worker-connections`: connections of clients that a worker may have, and connections to endpoints, each. Fewer
    /// where `descriptors` allows fewer.
    pub max_worker_connections: usize,
    /// How many connections all workers may have together.
    pub descriptors: DescriptorShares,
    /// How many bytes of bodies all workers together may buffer for slow clients and endpoints.
    pub max_buffered_bytes: usize,
    /// `--health-check-path`, answered on hosts without an Ingress.
    pub health_check_path: String,
    /// `use-http2`: HTTP/2 by ALPN and, on the HTTP port, with prior knowledge.
    pub http2: bool,
    /// `http2-max-concurrent-streams`.
    pub http2_max_concurrent_streams: u32,
    /// `keep-alive`: how long a client's connection may be idle.
    pub keep_alive: Duration,
    /// `keep-alive-requests`: how many requests it may carry.
    pub keep_alive_requests: u32,
    /// `client-header-timeout`: how long receiving a request's head may take.
    pub client_header_timeout: Duration,
    /// `client-body-timeout`: the longest pause between two pieces of a request's body.
    pub client_body_timeout: Duration,
    /// nginx's `send_timeout`: the longest pause between two reads of a client from its response.
    pub client_send_timeout: Duration,
    /// `proxy-connect-timeout`.
    pub proxy_connect_timeout: Duration,
    /// `proxy-send-timeout`.
    pub proxy_send_timeout: Duration,
    /// `proxy-read-timeout`.
    pub proxy_read_timeout: Duration,
    /// `proxy-next-upstream-tries`: how many attempts a request has; 0 for one at each endpoint.
    pub proxy_next_upstream_tries: u32,
    /// `proxy-body-size` in bytes; 0 for no limit.
    pub proxy_body_size: u64,
    /// Connections to endpoints: `upstream-keepalive-*`.
    pub upstream_keep_alive: KeepAlive,
    /// `ssl-session-cache`.
    pub ssl_session_cache: bool,
    /// Name servers for ExternalName Services; if empty, those of `/etc/resolv.conf`.
    pub name_servers: Vec<SocketAddr>,
    /// Allows ExternalName Services to resolve to loopback and link-local addresses. For tests: ingress-nginx refuses
    /// `localhost` and has no flag for it.
    pub allow_local_external_names: bool,
    /// `enable-access-log-for-default-backend`: requests that no Ingress covers are logged, too.
    pub log_default_backend: bool,
    /// `worker-shutdown-timeout`: how long open requests may go on after the proxy was stopped.
    pub worker_shutdown_timeout: Duration,
    /// The constant labels `controller_class`, `controller_namespace` and `controller_pod` of every metric.
    pub controller: Controller,
    /// The request metrics.
    pub metrics: MetricsOptions,
}

/// Limits of kept connections to endpoints, named as in ingress-nginx's ConfigMap.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// `upstream-keepalive-connections`: how many idle connections a worker keeps; 0 for none.
    pub connections: usize,
    /// `upstream-keepalive-timeout`: how long a connection may be idle.
    pub timeout: Duration,
    /// `upstream-keepalive-time`: how old a connection may become.
    pub time: Duration,
    /// `upstream-keepalive-requests`: how many requests a connection may serve.
    pub requests: u32,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            connections: 320,
            timeout: Duration::from_secs(60),
            time: Duration::from_secs(3600),
            requests: 10_000,
        }
    }
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

impl Default for ProxyOptions {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            http: vec![SocketAddr::from(([0, 0, 0, 0], 80)), SocketAddr::from(([0_u16; 8], 80))],
            https: vec![SocketAddr::from(([0, 0, 0, 0], 443)), SocketAddr::from(([0_u16; 8], 443))],
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            max_worker_connections: 16_384,
            descriptors: DescriptorShares::of_process(),
            max_buffered_bytes: 32 << 20,
            health_check_path: "/healthz".to_owned(),
            http2: true,
            http2_max_concurrent_streams: 128,
            keep_alive: Duration::from_secs(75),
            keep_alive_requests: 1000,
            client_header_timeout: minute,
            client_body_timeout: minute,
            client_send_timeout: minute,
            proxy_connect_timeout: Duration::from_secs(5),
            proxy_send_timeout: minute,
            proxy_read_timeout: minute,
            proxy_next_upstream_tries: 3,
            proxy_body_size: 1 << 20,
            upstream_keep_alive: KeepAlive::default(),
            ssl_session_cache: true,
            name_servers: Vec::new(),
            allow_local_external_names: false,
            log_default_backend: false,
            worker_shutdown_timeout: Duration::from_secs(240),
            controller: Controller::default(),
            metrics: MetricsOptions::default(),
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
