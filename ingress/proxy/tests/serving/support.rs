//! A proxy in front of a small cluster.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::{
    Backend, Cache, ConfigMap, Current, Endpoint, EndpointPort, EndpointSlice, Event, Ingress, IngressClass,
    IngressPath, IngressRule, IngressTls, Key, Kind, Object, PathType, PortRef, Protocol, Secret, Service,
    ServiceBackend, ServiceKind, ServicePort,
};
use ingress_proxy::{ListenProblem, Proxy, ProxyOptions, ProxyViews, Telemetry};
use ingress_routes::{
    CertIndex, ConnectionSettings, GeoDatabases, PoolIndex, ProxySettings, RouteIndex, RouteOptions,
    RoutingProblem, StreamIndex, StreamSettings,
};
use telemetry::LogWriter;
use telemetry::metrics::{Counter, Registry};

pub use crate::message::{
    Response, TEST_TIMEOUT, TestClient, read_body, read_chunk, read_head, read_response,
};
pub use crate::scripted_endpoint::{EndpointConnection, ScriptedEndpoint, name_server, unused_address};

/// A cluster with a proxy in front of it.
pub struct TestCluster {
    pub cache: Cache,
    pub proxy: Option<Proxy>,
    pub registry: Registry,
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub runtime: tokio::runtime::Runtime,
    views: ProxyViews,
    lines: LogWriter,
    log: Arc<Mutex<Vec<u8>>>,
    /// The ports of TCP and UDP services that cannot be opened.
    pub stream_problems: Arc<Mutex<Vec<RoutingProblem>>>,
    pub listen_problems: Arc<Mutex<Vec<ListenProblem>>>,
}

#[derive(Clone)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Options of a proxy and of its routes.
pub struct TestOptions {
    pub proxy: ProxyOptions,
    pub routes: RouteOptions,
}

impl TestOptions {
    /// Changes the settings of all routes.
    pub fn proxy(mut self, change: impl FnOnce(&mut ProxySettings)) -> Self {
        change(Arc::make_mut(&mut self.routes.defaults.proxy));
        self
    }

    /// Whether requests that no Ingress covers are logged.
    pub fn logging_default_backend(mut self, is_logged: bool) -> Self {
        let server = Arc::make_mut(&mut self.routes.defaults.server);
        server.access_log.has_default_backend = is_logged;
        self
    }

    /// Changes the settings of connections.
    pub fn connections(mut self, change: impl FnOnce(&mut ConnectionSettings)) -> Self {
        change(&mut Arc::make_mut(&mut self.routes.defaults.server).connections);
        self
    }

    /// Changes the settings of streams.
    pub fn streams(mut self, change: impl FnOnce(&mut StreamSettings)) -> Self {
        change(&mut Arc::make_mut(&mut self.routes.defaults.server).stream);
        self
    }
}

impl From<ProxyOptions> for TestOptions {
    fn from(proxy: ProxyOptions) -> Self {
        let routes = RouteOptions { config_map: Some(config_map()), ..RouteOptions::default() };
        Self { proxy, routes }.logging_default_backend(true)
    }
}

/// The ConfigMap with global settings. It does not exist until a test applies it.
fn config_map() -> Key {
    Key::new("ingress", "controller")
}

/// Options with other settings of all routes.
pub fn with_proxy(change: impl FnOnce(&mut ProxySettings)) -> TestOptions {
    TestOptions::from(options()).proxy(change)
}

/// Options with other settings of connections.
pub fn with_connections(change: impl FnOnce(&mut ConnectionSettings)) -> TestOptions {
    TestOptions::from(options()).connections(change)
}

/// Options for tests: two workers on ports that the system chooses.
pub fn options() -> ProxyOptions {
    let any = vec!["127.0.0.1:0".parse().unwrap()];
    ProxyOptions {
        http: any.clone(),
        https: any,
        workers: 2,
        allow_local_external_names: true,
        ..ProxyOptions::default()
    }
}

/// Options with one worker, for tests of what each worker has of its own: connections to endpoints, limits and positions in a round.
/// The system chooses the worker of a connection.
pub fn one_worker() -> ProxyOptions {
    ProxyOptions { workers: 1, ..options() }
}

impl TestCluster {
    pub fn new() -> Self {
        Self::with(options())
    }

    pub fn with(options: impl Into<TestOptions>) -> Self {
        let TestOptions { proxy: options, routes } = options.into();
        let mut cache = Cache::default();
        let views = ProxyViews {
            table: cache.project(RouteIndex::new(routes.clone())),
            pools: cache.project(PoolIndex::new(routes.clone())),
            certs: cache.project(CertIndex::new(routes.clone())),
            streams: cache.project(StreamIndex::new(routes)),
            geo: Current::new(GeoDatabases::default()),
        };
        let class = IngressClass {
            key: Key::cluster("nginx"),
            controller: "k8s.io/ingress-nginx".into(),
            default: false,
        };
        let mut batch = vec![Event::Apply(Object::IngressClass(Arc::new(class)))];
        batch.extend(Kind::ALL.into_iter().map(Event::Synced));
        cache.apply(batch, 1);
        let (registry, log) = (Registry::new(), Arc::default());
        let stream_problems = Arc::<Mutex<Vec<RoutingProblem>>>::default();
        let reported = stream_problems.clone();
        let listen_problems = Arc::<Mutex<Vec<ListenProblem>>>::default();
        let listeners = listen_problems.clone();
        let lines = LogWriter::new(Sink(Arc::clone(&log)), Counter::default());
        let telemetry = Telemetry {
            registry: registry.clone(),
            access: Some(lines.clone()),
            stream_access: Some(lines.clone()),
            stapling_problems: Arc::new(|_| {}),
            worker_failed: Arc::new(|_| {}),
            stream_problems: Arc::new(move |problems| *reported.lock().unwrap() = problems),
            listen_problems: Arc::new(move |problems| *listeners.lock().unwrap() = problems),
        };
        let proxy = Proxy::start(options, views.clone(), &telemetry).unwrap();
        let (http, https) = (proxy.http()[0], proxy.https()[0]);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self {
            cache,
            proxy: Some(proxy),
            registry,
            http,
            https,
            runtime,
            views,
            lines,
            log,
            stream_problems,
            listen_problems,
        }
    }

    /// A cluster with an Ingress `shop` for `shop.example` and every path, and these endpoints.
    pub fn serving(endpoints: &[SocketAddr]) -> Self {
        Self::serving_with(options(), endpoints)
    }

    /// The same, with other options.
    pub fn serving_with(options: impl Into<TestOptions>, endpoints: &[SocketAddr]) -> Self {
        let mut world = Self::with(options);
        world.shop(endpoints);
        world
    }

    pub fn shop(&mut self, endpoints: &[SocketAddr]) {
        self.service("shop", endpoints);
        self.ingress("shop", "shop.example", &[]);
    }

    /// Replaces the keys of the ConfigMap.
    pub fn configure(&mut self, data: &[(&str, &str)]) {
        let data = data.iter().map(|(key, value)| ((*key).into(), (*value).to_owned())).collect();
        self.apply(Object::ConfigMap(Arc::new(ConfigMap { key: config_map(), data })));
    }

    pub fn apply(&mut self, object: Object) {
        self.cache.apply([Event::Apply(object)], 2);
    }

    /// A Service with port 80 and these ready endpoints.
    pub fn service(&mut self, name: &str, endpoints: &[SocketAddr]) {
        self.service_in("default", name, endpoints);
    }

    /// A Service of another namespace.
    pub fn service_in(&mut self, namespace: &str, name: &str, endpoints: &[SocketAddr]) {
        let port = ServicePort { name: "".into(), protocol: Protocol::Tcp, port: 80, target: "80".into() };
        let kind = ServiceKind::ClusterIp(["10.96.0.1".parse().unwrap()].into_iter().collect());
        let key = Key::new(namespace, name);
        self.apply(Object::Service(Arc::new(Service {
            key,
            kind,
            ports: [port].into_iter().collect(),
            external: Box::default(),
            prefers_own_zone: false,
        })));
        self.endpoints_in(namespace, name, endpoints);
    }

    /// Replaces the endpoints of a Service. Each has an EndpointSlice of its own, because their ports differ.
    pub fn endpoints(&mut self, name: &str, endpoints: &[SocketAddr]) {
        self.endpoints_in("default", name, endpoints);
    }

    fn endpoints_in(&mut self, namespace: &str, name: &str, endpoints: &[SocketAddr]) {
        for at in 0..8 {
            let key = Key::new(namespace, format!("{name}-{at}"));
            let Some(address) = endpoints.get(at) else {
                self.cache.apply([Event::Remove(Kind::EndpointSlice, key)], 3);
                continue;
            };
            let port = EndpointPort { name: "".into(), protocol: Protocol::Tcp, port: address.port() };
            let endpoint = Endpoint {
                addresses: [address.ip()].into_iter().collect(),
                ready: true,
                hostname: None,
                pod: None,
                zone: 0,
                hints: Default::default(),
            };
            let slice = EndpointSlice {
                import: None,
                aliases: Box::default(),
                key,
                service: name.into(),
                ports: [port].into_iter().collect(),
                endpoints: [endpoint].into(),
                zones: Box::default(),
            };
            self.apply(Object::EndpointSlice(Arc::new(slice)));
        }
    }

    /// A Service of type ExternalName.
    pub fn external(&mut self, name: &str, host: &str, port: u16) {
        let port = ServicePort {
            name: "".into(),
            protocol: Protocol::Tcp,
            port: 80,
            target: port.to_string().into(),
        };
        let port = ServicePort { port: port.target.parse().unwrap(), ..port };
        let kind = ServiceKind::ExternalName(host.into());
        let key = Key::new("default", name);
        self.apply(Object::Service(Arc::new(Service {
            key,
            kind,
            ports: [port].into_iter().collect(),
            external: Box::default(),
            prefers_own_zone: false,
        })));
    }

    /// An Ingress that routes every path of a host to the Service of the same name.
    pub fn ingress(&mut self, name: &str, host: &str, annotations: &[(&str, &str)]) {
        self.ingress_with(name, host, "/", 80, annotations, None);
    }

    pub fn ingress_with(
        &mut self,
        name: &str,
        host: &str,
        path: &str,
        port: u16,
        annotations: &[(&str, &str)],
        tls: Option<&str>,
    ) {
        let port = PortRef::Number(port);
        let backend = Backend::Service(ServiceBackend { name: name.into(), port });
        let path = IngressPath { path: path.into(), kind: PathType::Prefix, backend };
        let mut annotations: Vec<_> = annotations
            .iter()
            .map(|(key, value)| (format!("nginx.ingress.kubernetes.io/{key}").into(), (*value).to_owned()))
            .collect();
        annotations.sort();
        let ingress = Ingress {
            key: Key::new("default", name),
            created: 1,
            annotations,
            class: Some("nginx".into()),
            default_backend: None,
            rules: vec![IngressRule { host: host.into(), paths: vec![path] }],
            tls: tls
                .map(|secret| IngressTls { hosts: vec![host.into()], secret: secret.into() })
                .into_iter()
                .collect(),
        };
        self.apply(Object::Ingress(Arc::new(ingress)));
    }

    pub fn secret(&mut self, name: &str, certificate: &str, key: &str) {
        let secret = Secret {
            key: Key::new("default", name),
            certificate: certificate.as_bytes().into(),
            private_key: key.as_bytes().into(),
            other: Box::default(),
        };
        self.apply(Object::Secret(Arc::new(secret)));
    }

    /// A Secret with users, as lines of htpasswd.
    pub fn users(&mut self, name: &str, lines: &str) {
        self.secret_with(name, "auth", lines);
    }

    /// A Secret with certificate authorities of clients.
    pub fn authorities(&mut self, name: &str, authorities: &str) {
        self.secret_with(name, "ca.crt", authorities);
    }

    fn secret_with(&mut self, name: &str, key: &str, text: &str) {
        let secret = Secret {
            key: Key::new("default", name),
            certificate: Box::default(),
            private_key: Box::default(),
            other: [(key.into(), text.as_bytes().into())].into(),
        };
        self.apply(Object::Secret(Arc::new(secret)));
    }

    pub fn views(&self) -> ProxyViews {
        self.views.clone()
    }

    pub fn client(&self) -> TestClient {
        TestClient::connect(self.http)
    }

    /// Sends one request on a new connection.
    pub fn ask(&self, request: &str) -> Response {
        let mut client = self.client();
        client.send(request);
        client.response()
    }

    /// Waits until the access log has this many lines.
    pub fn log(&self, lines: usize) -> Vec<String> {
        let start = std::time::Instant::now();
        loop {
            let text = String::from_utf8(self.log.lock().unwrap().clone()).unwrap();
            if text.lines().count() >= lines {
                return text.lines().map(str::to_owned).collect();
            }
            assert!(start.elapsed() < TEST_TIMEOUT, "expected {lines} lines, found: {text}");
            std::thread::yield_now();
        }
    }

    /// Waits until the metrics satisfy a condition.
    pub fn metrics(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let start = std::time::Instant::now();
        loop {
            let text = self.registry.text();
            if wanted(&text) {
                return text;
            }
            assert!(start.elapsed() < TEST_TIMEOUT, "{what}: {text}");
            std::thread::yield_now();
        }
    }

    pub fn stop(mut self, grace: Duration) -> net::DrainOutcome {
        let proxy = self.proxy.take().unwrap();
        self.runtime.block_on(proxy.stop(grace))
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            self.runtime.block_on(proxy.stop(Duration::ZERO));
        }
        self.lines.close();
    }
}
