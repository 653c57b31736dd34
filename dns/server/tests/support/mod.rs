//! A service with a small cluster, and clients for it.
#![allow(unreachable_pub, reason = "a module of each test file")]
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::{Cache, Current, Event, Key, Kind, Namespace, Object, Protocol, ServiceKind, ServicePort};
use config::{ConfigErrors, Corefile};
use dns_chain::{ApiConnection, ChainLimits, ClusterSource, PluginContext};
use dns_server::{DnsService, DnsStartError, ServerOptions, TcpLimits};
use dns_wire::codes::rtype;
use dns_wire::{Owner, Query, Reply, Section};
use dns_zone::{NodeIndex, NodeNames, PodIndex, PodNamespaces, Zone, ZoneIndex};
use telemetry::metrics::{Counter, Registry};
use telemetry::{AdminServer, LogWriter, ReadinessGates, Reports};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A cluster source in memory.
#[derive(Default)]
pub struct FakeCluster(pub Mutex<Cache>);

impl ClusterSource for FakeCluster {
    fn project(&self, zone: ZoneIndex, _: &ApiConnection) -> Result<Current<Zone>, String> {
        Ok(self.0.lock().unwrap().project(zone))
    }

    fn nodes(&self, _: &ApiConnection) -> Result<Current<NodeNames>, String> {
        Ok(self.0.lock().unwrap().project(NodeIndex))
    }

    fn pods(&self, _: &ApiConnection) -> Result<Current<PodNamespaces>, String> {
        Ok(self.0.lock().unwrap().project(PodIndex))
    }
}

impl FakeCluster {
    /// A listed cluster with a namespace, a Service `web`, a dual-stack Service `many` and an ExternalName `ext`.
    pub fn listed() -> Arc<Self> {
        let fake = Self::default();
        let port =
            ServicePort { name: "http".into(), protocol: Protocol::Tcp, port: 80, target: "80".into() };
        let service = |name, kind| {
            let ports = [port.clone()].into_iter().collect();
            let key = Key::new("default", name);
            Event::Apply(Object::Service(Arc::new(cluster::Service {
                key,
                kind,
                ports,
                external: Box::default(),
                prefers_own_zone: false,
            })))
        };
        let cluster_ips = |ips: &[&str]| {
            ServiceKind::ClusterIp(ips.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<_>>().into())
        };
        let namespace = Namespace { key: Key::cluster("default"), labels: Default::default() };
        let mut events = vec![
            Event::Apply(Object::Namespace(Arc::new(namespace))),
            service("web", cluster_ips(&["10.96.0.10"])),
            service("many", cluster_ips(&["10.96.0.11", "10.96.0.12", "fd00::11"])),
            service("ext", ServiceKind::ExternalName("www.example.org".into())),
        ];
        events.extend(Kind::ALL.map(Event::Synced));
        fake.0.lock().unwrap().apply(events, 1);
        Arc::new(fake)
    }
}

/// A running service.
pub struct TestService {
    pub dns: DnsService,
    pub address: SocketAddr,
    pub metrics: Registry,
    pub gates: ReadinessGates,
    pub admin: AdminServer,
    pub limits: ChainLimits,
    pub reports: Reports,
    pub corefile: Arc<Mutex<String>>,
    pub log: CapturedLog,
    pub fatal: Arc<Mutex<Vec<String>>>,
}

/// The bytes that the query log has written.
#[derive(Clone, Default)]
pub struct CapturedLog(pub Arc<Mutex<Vec<u8>>>);

impl Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl TestService {
    pub async fn start(corefile: &str) -> Self {
        Self::try_start(corefile, FakeCluster::listed(), &[[127, 0, 0, 1].into()])
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn try_start(
        corefile: &str,
        cluster: Arc<dyn ClusterSource>,
        addresses: &[IpAddr],
    ) -> Result<Self, DnsStartError> {
        Self::with_limits(corefile, cluster, addresses, TcpLimits::default()).await
    }

    pub async fn with_limits(
        corefile: &str,
        cluster: Arc<dyn ClusterSource>,
        addresses: &[IpAddr],
        tcp: TcpLimits,
    ) -> Result<Self, DnsStartError> {
        Self::in_context(corefile, context(cluster), addresses, tcp).await
    }

    /// Starts with the metrics and limits of a context.
    pub async fn in_context(
        corefile: &str,
        context: PluginContext,
        addresses: &[IpAddr],
        tcp: TcpLimits,
    ) -> Result<Self, DnsStartError> {
        let (log, fatal) = (CapturedLog::default(), Arc::new(Mutex::new(Vec::new())));
        let reasons = fatal.clone();
        let context = PluginContext {
            queries: LogWriter::new(log.clone(), Counter::default()),
            fatal: Arc::new(move |reason| reasons.lock().unwrap().push(reason)),
            ..context
        };
        let PluginContext { metrics, gates, admin, limits, reports, .. } = context.clone();
        let text = Arc::new(Mutex::new(corefile.to_owned()));
        let current = text.clone();
        let load = Arc::new(move || parse(&current.lock().unwrap()));
        let options = ServerOptions { threads: Some(2), addresses: addresses.to_vec(), tcp };
        let dns = DnsService::start(load, context, options).await?;
        let address = dns.addresses().await[0];
        Ok(Self { dns, address, metrics, gates, admin, limits, reports, corefile: text, log, fatal })
    }

    pub async fn stop(self) {
        self.dns.stop().await;
    }

    /// Reloads with another Corefile.
    pub async fn reload(&self, corefile: &str) -> Result<(), DnsStartError> {
        corefile.clone_into(&mut self.corefile.lock().unwrap());
        self.dns.reload().await
    }

    /// Status and body of a page at `127.0.0.1:0`, an address that all pages of a test share.
    pub async fn page(&self, path: &str) -> (u16, String) {
        let address = self.admin.listen("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }
}

/// A context that discards the query log and panics on a fatal error.
pub fn context(cluster: Arc<dyn ClusterSource>) -> PluginContext {
    let metrics = Registry::new();
    PluginContext {
        cluster,
        shared: Default::default(),
        limits: ChainLimits::new(&metrics),
        metrics,
        legacy_metrics: true,
        gates: ReadinessGates::new(),
        admin: AdminServer::new(&Registry::new()),
        reports: Reports::new(&Registry::new()),
        queries: LogWriter::new(std::io::sink(), Counter::default()),
        json: false,
        runtime: tokio::runtime::Handle::current(),
        fatal: Arc::new(|reason| panic!("{reason}")),
        version: "test",
    }
}

pub fn parse(text: &str) -> Result<Corefile, ConfigErrors> {
    let options = config::ParseOptions { dns_port: 53, directives: &[], env: &|_| None };
    Corefile::parse("Corefile", text, &config::Disk, &options)
}

/// A client of one protocol.
#[derive(Clone, Copy, Debug)]
pub enum TestClient {
    Udp(SocketAddr),
    Tcp(SocketAddr),
}

impl TestClient {
    pub fn udp(address: SocketAddr) -> Self {
        Self::Udp(address)
    }

    pub fn tcp(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }

    pub fn query(&self, name: &str, qtype: u16) -> (Query, Reply) {
        self.send_query(Query::new(4711, &name.parse().unwrap(), qtype))
    }

    pub fn send_query(&self, query: Query) -> (Query, Reply) {
        let mut packet = [0; 1024];
        let length = query.encode(query.id, &mut packet);
        let packet = self.exchange(&packet[..length]).expect("a reply");
        let mut reply = Reply::default();
        let parsed = reply.parse(&packet, &query).expect("a message");
        assert!(parsed.matches && parsed.id == query.id, "{parsed:?}");
        (query, reply)
    }

    /// Sends a message and returns the reply; `None` if there is none within 10 seconds.
    pub fn exchange(&self, message: &[u8]) -> Option<Vec<u8>> {
        let timeout = Some(Duration::from_secs(10));
        match self {
            Self::Udp(to) => {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.set_read_timeout(timeout).unwrap();
                socket.connect(to).unwrap();
                socket.send(message).unwrap();
                let mut reply = vec![0; 65_535];
                let length = socket.recv(&mut reply).ok()?;
                reply.truncate(length);
                Some(reply)
            }
            Self::Tcp(to) => {
                let mut stream = TcpStream::connect(to).unwrap();
                stream.set_read_timeout(timeout).unwrap();
                stream.write_all(&(message.len() as u16).to_be_bytes()).unwrap();
                stream.write_all(message).unwrap();
                read_framed(&mut stream)
            }
        }
    }
}

pub fn read_framed(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply).ok()?;
    Some(reply)
}

/// The answer section as text.
pub fn answers(reply: &Reply, query: &Query) -> String {
    let one = |record: &dns_wire::Record| {
        let data = reply.rdata(record);
        match record.rtype {
            rtype::A => format!("A {}", std::net::Ipv4Addr::from(<[u8; 4]>::try_from(data).unwrap())),
            rtype::PTR => format!("PTR {}", reply.target(record, query).unwrap()),
            rtype::CNAME => format!("CNAME {}", reply.target(record, query).unwrap()),
            other => format!("TYPE{other}"),
        }
    };
    reply.section(Section::Answer).map(one).collect::<Vec<_>>().join(", ")
}

/// An upstream with a test-defined answer, over UDP and TCP on one port. It runs until the test process ends.
pub struct FakeUpstream {
    pub address: SocketAddr,
    queries: Arc<AtomicUsize>,
}

/// Returns the reply to a query, or `None` to stay silent. The flag is true for a query over TCP.
type AnswerFn = dyn Fn(&Query, bool) -> Option<Reply> + Send + Sync;

impl FakeUpstream {
    pub fn start(answer: impl Fn(&Query, bool) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let (address, queries) = (udp.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let answer: Arc<AnswerFn> = Arc::new(answer);
        let (count, answering) = (queries.clone(), answer.clone());
        std::thread::spawn(move || {
            let mut packet = [0; 4096];
            while let Ok((length, client)) = udp.recv_from(&mut packet) {
                if let Some(reply) = answer_packet(&packet[..length], false, &count, &*answering) {
                    let _ = udp.send_to(&reply, client);
                }
            }
        });
        let count = queries.clone();
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                let (count, answer) = (count.clone(), answer.clone());
                std::thread::spawn(move || {
                    while let Some(query) = read_framed(&mut stream) {
                        let Some(reply) = answer_packet(&query, true, &count, &*answer) else { return };
                        let _ = stream.write_all(&(reply.len() as u16).to_be_bytes());
                        let _ = stream.write_all(&reply);
                    }
                });
            }
        });
        Self { address, queries }
    }

    /// An upstream that signals each query on the receiver, waits for the sender and then answers 192.0.2.1.
    pub fn blocking() -> (Self, Receiver<()>, Sender<()>) {
        let (received, was_received) = sync_channel(1);
        let (release, released) = channel::<()>();
        let released = Mutex::new(released);
        let upstream = Self::start(move |query, _| {
            received.send(()).unwrap();
            released.lock().unwrap().recv().unwrap();
            Some(address(query, [192, 0, 2, 1], 60))
        });
        (upstream, was_received, release)
    }

    /// How many queries were received.
    pub fn query_count(&self) -> usize {
        self.queries.load(SeqCst)
    }
}

fn answer_packet(packet: &[u8], tcp: bool, count: &AtomicUsize, answer: &AnswerFn) -> Option<Vec<u8>> {
    let mut query = Query::default();
    query.parse(packet).ok()?;
    count.fetch_add(1, SeqCst);
    let mut reply = answer(&query, tcp)?;
    let mut out = vec![0; 65_535];
    let length = reply.encode(&query, if tcp { 65_535 } else { query.udp_limit() }, &mut out);
    out.truncate(length);
    Some(out)
}

/// A reply with one address of the queried name.
pub fn address(query: &Query, ip: [u8; 4], ttl: u32) -> Reply {
    let mut reply = Reply::default();
    reply.recursion_available = true;
    if query.qtype == rtype::A {
        reply.push(Section::Answer, Owner::Question, rtype::A, ttl, &ip);
    } else {
        soa(&mut reply, ttl);
    }
    reply
}

/// NXDOMAIN or another code, with the SOA without which it is not cached.
pub fn denial(rcode: u16, ttl: u32) -> Reply {
    let mut reply = Reply::default();
    reply.rcode = rcode;
    soa(&mut reply, ttl);
    reply
}

fn soa(reply: &mut Reply, ttl: u32) {
    let mut data = b"\x02ns\x00\x04host\x00".to_vec();
    for field in [1, 7200, 1800, 86400, ttl] {
        data.extend_from_slice(&field.to_be_bytes());
    }
    reply.push(Section::Authority, Owner::Name(b"\x07example\x03org\x00"), rtype::SOA, ttl, &data);
}
