//! A proxy in front of a small cluster, scripted endpoints, and a client that reads and writes bytes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use cluster::{
    Backend, Cache, ConfigMap, Endpoint, EndpointPort, EndpointSlice, Event, Ingress, IngressClass,
    IngressPath, IngressRule, IngressTls, Key, Kind, Object, PathType, PortRef, Protocol, Secret, Service,
    ServiceBackend, ServiceKind, ServicePort,
};
use ingress_proxy::{Proxy, ProxyOptions, ProxyViews, Telemetry};
use ingress_routes::{CertIndex, ConnectionSettings, PoolIndex, ProxySettings, RouteIndex, RouteOptions};
use telemetry::LogWriter;
use telemetry::metrics::{Counter, Registry};

/// How long a test waits for an event before it fails.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(30);

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
            certs: cache.project(CertIndex::new(routes)),
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
        let lines = LogWriter::new(Sink(Arc::clone(&log)), Counter::default());
        let telemetry = Telemetry {
            registry: registry.clone(),
            access: Some(lines.clone()),
            worker_failed: Arc::new(|_| {}),
        };
        let proxy = Proxy::start(options, views.clone(), &telemetry).unwrap();
        let (http, https) = (proxy.http()[0], proxy.https()[0]);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { cache, proxy: Some(proxy), registry, http, https, runtime, views, lines, log }
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
        let port = ServicePort { name: "".into(), protocol: Protocol::Tcp, port: 80, target: "80".into() };
        let kind = ServiceKind::ClusterIp(["10.96.0.1".parse().unwrap()].into_iter().collect());
        let key = Key::new("default", name);
        self.apply(Object::Service(Arc::new(Service {
            key,
            kind,
            ports: [port].into_iter().collect(),
            external: Box::default(),
        })));
        self.endpoints(name, endpoints);
    }

    /// Replaces the endpoints of a Service. Each has an EndpointSlice of its own, because their ports differ.
    pub fn endpoints(&mut self, name: &str, endpoints: &[SocketAddr]) {
        for at in 0..8 {
            let key = Key::new("default", format!("{name}-{at}"));
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

    /// A Secret with certificate authorities of clients.
    pub fn authorities(&mut self, name: &str, authorities: &str) {
        let secret = Secret {
            key: Key::new("default", name),
            certificate: Box::default(),
            private_key: Box::default(),
            other: [("ca.crt".into(), authorities.as_bytes().into())].into(),
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

/// A client that reads and writes bytes.
pub struct TestClient {
    pub stream: BufReader<TcpStream>,
    head: bool,
}

impl TestClient {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream), head: false }
    }

    /// Sends a text written with LF.
    pub fn send(&mut self, text: &str) {
        self.head = text.starts_with("HEAD ");
        self.raw(text.replace('\n', "\r\n").as_bytes());
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    pub fn response(&mut self) -> Response {
        read_response(&mut self.stream, self.head).expect("a response")
    }

    /// Waits until the proxy closes the connection; false if it sends anything before.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// A message as received.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Status line or request line, and headers, with LF.
    pub head: String,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

pub fn read_head(stream: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if &head[before..] == "\r\n" {
            return Some(head.replace("\r\n", "\n"));
        }
    }
}

pub fn read_response(stream: &mut impl BufRead, is_head: bool) -> Option<Response> {
    let head = read_head(stream)?;
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    let mut response = Response { status, head, body: String::new() };
    if !is_head && !matches!(status, 100..=199 | 204 | 304) {
        let closes =
            response.header("content-length").is_none() && response.header("transfer-encoding").is_none();
        response.body = if closes {
            let mut body = String::new();
            stream.read_to_string(&mut body).ok()?;
            body
        } else {
            read_body(stream, &response)?
        };
    }
    Some(response)
}

/// Reads a body by its length or its chunks.
pub fn read_body(stream: &mut impl BufRead, message: &Response) -> Option<String> {
    let mut body = Vec::new();
    if let Some(length) = message.header("content-length") {
        body.resize(length.parse().ok()?, 0);
        stream.read_exact(&mut body).ok()?;
    } else if message.header("transfer-encoding").is_some() {
        while let Some(chunk) = read_chunk(stream) {
            if chunk.is_empty() {
                break;
            }
            body.extend_from_slice(&chunk);
        }
    }
    String::from_utf8(body).ok()
}

/// Reads a chunk; the last one is empty, and the trailers are skipped.
pub fn read_chunk(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let length = usize::from_str_radix(line.trim(), 16).ok()?;
    let mut chunk = vec![0; length];
    stream.read_exact(&mut chunk).ok()?;
    line.clear();
    if length > 0 {
        stream.read_line(&mut line).ok()?;
    } else {
        read_head(stream);
    }
    Some(chunk)
}

/// An endpoint that runs a script for each connection, in a thread of its own.
pub struct ScriptedEndpoint {
    pub address: SocketAddr,
    requests: mpsc::Receiver<Response>,
    connections: Arc<Mutex<usize>>,
}

/// A connection at the endpoint.
pub struct EndpointConnection {
    pub stream: BufReader<TcpStream>,
    reports: mpsc::Sender<Response>,
}

impl EndpointConnection {
    /// Reads the next request with its body, and reports it to the test.
    pub fn request(&mut self) -> Option<Response> {
        let head = self.head()?;
        let body = read_body(&mut self.stream, &head).unwrap_or_default();
        let request = Response { body, ..head };
        let _ = self.reports.send(request.clone());
        Some(request)
    }

    /// Reads only the head of the next request.
    pub fn head(&mut self) -> Option<Response> {
        let head = read_head(&mut self.stream)?;
        Some(Response { status: 0, head, body: String::new() })
    }

    /// Reports a message to the test.
    pub fn report(&self, request: Response) {
        let _ = self.reports.send(request);
    }

    /// Sends a text written with LF.
    pub fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.replace('\n', "\r\n").as_bytes())
    }
}

impl ScriptedEndpoint {
    pub fn new(script: impl Fn(&mut EndpointConnection) + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1".parse().unwrap(), script)
    }

    pub fn on(ip: IpAddr, script: impl Fn(&mut EndpointConnection) + Send + Sync + 'static) -> Self {
        Self::over(TcpListener::bind((ip, 0)).unwrap(), script)
    }

    pub fn over(
        listener: TcpListener,
        script: impl Fn(&mut EndpointConnection) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (reports, requests) = mpsc::channel();
        let (script, connections) = (Arc::new(script), Arc::new(Mutex::new(0)));
        let count = connections.clone();
        // Ends with the process: a test has a handful of endpoints.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                *count.lock().unwrap() += 1;
                let (script, reports) = (script.clone(), reports.clone());
                std::thread::spawn(move || {
                    script(&mut EndpointConnection { stream: BufReader::new(stream), reports })
                });
            }
        });
        Self { address, requests, connections }
    }

    /// Answers every request with this text, on connections that stay open.
    pub fn always(text: &'static str) -> Self {
        Self::new(move |connection| while connection.request().is_some() && connection.send(text).is_ok() {})
    }

    /// Two of these, on two addresses with one port.
    pub fn pair(text: &'static str) -> [Self; 2] {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let Ok(other) = TcpListener::bind(("127.0.0.2", one.local_addr().unwrap().port())) else {
            return Self::pair(text);
        };
        let always = move |connection: &mut EndpointConnection| {
            while connection.request().is_some() && connection.send(text).is_ok() {}
        };
        [one, other].map(|listener| Self::over(listener, always))
    }

    /// A script that blocks in its second argument until the test sends a message.
    pub fn held(
        script: impl Fn(&mut EndpointConnection, &dyn Fn()) + Send + Sync + 'static,
    ) -> (Self, mpsc::Sender<()>) {
        let (go, wait) = mpsc::channel();
        let wait = Mutex::new(wait);
        // Receiving fails if the test has ended early.
        let hold = move || {
            let _ = wait.lock().unwrap().recv();
        };
        (Self::new(move |connection| script(connection, &hold)), go)
    }

    /// Answers a request in two chunks, `first` and `last`; the second after a message of the test.
    pub fn in_two_chunks() -> (Self, mpsc::Sender<()>) {
        Self::held(|connection, hold| {
            connection.request();
            let _ = connection.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nfirst\n");
            hold();
            let _ = connection.send("4\nlast\n0\n\n");
        })
    }

    /// Waits for the next request.
    pub fn seen(&self) -> Response {
        self.requests.recv_timeout(TEST_TIMEOUT).expect("the endpoint gets a request")
    }

    /// Every request that has arrived and was not returned yet.
    pub fn all_seen(&self) -> Vec<Response> {
        self.requests.try_iter().collect()
    }

    /// Whether no (further) request has arrived.
    pub fn has_no_request(&self) -> bool {
        self.requests.try_recv().is_err()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

/// An address that refuses connections. Its port stays bound until the test process ends, so that no listener of a test gets it.
pub fn unused_address() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}

/// A name server that answers every name with these IPv4 addresses.
pub fn name_server(addresses: &[IpAddr]) -> SocketAddr {
    let addresses = addresses.to_vec();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            // The question ends after its name, type and class.
            let name = packet[12..length].iter().position(|byte| *byte == 0).unwrap();
            let question = 12 + name + 5;
            let is_a = packet[12 + name + 2] == 1;
            let mut reply = packet[..question].to_vec();
            reply[2..4].copy_from_slice(&[0x81, 0x80]);
            reply[6..12].copy_from_slice(&[0, 0, 0, 0, 0, 0]);
            for address in addresses.iter().filter(|_| is_a) {
                let IpAddr::V4(address) = address else { panic!("an IPv4 address") };
                reply[7] += 1;
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                reply.extend(address.octets());
            }
            let _ = socket.send_to(&reply, from);
        }
    });
    server
}
