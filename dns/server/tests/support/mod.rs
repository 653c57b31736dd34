//! A service with a small cluster, and clients for it.
#![allow(unreachable_pub, reason = "a module of each test file")]
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::{Cache, Current, Event, Key, Kind, Namespace, Object, ServiceKind};
use config::{Corefile, Errors};
use dns_chain::{Cluster, Connection, Context};
use dns_server::{Dns, Options, StartError};
use dns_wire::codes::rtype;
use dns_wire::{Query, Reply, Section};
use dns_zone::{Zone, ZoneIndex};
use telemetry::metrics::{Counter, Registry};
use telemetry::{Admin, Gates, Lines};

/// A cluster in memory.
#[derive(Default)]
pub struct Fake(pub Mutex<Cache>);

impl Cluster for Fake {
    fn project(&self, zone: ZoneIndex, _: &Connection) -> Result<Current<Zone>, String> {
        Ok(self.0.lock().unwrap().project(zone))
    }
}

impl Fake {
    /// With a namespace, a Service `web` and an ExternalName `ext`, all listed.
    pub fn listed() -> Arc<Self> {
        let fake = Self::default();
        let service = |name, kind| {
            Event::Apply(Object::Service(Arc::new(cluster::Service {
                key: Key::new("default", name),
                kind,
                ports: Default::default(),
            })))
        };
        let namespace = Namespace { key: Key::cluster("default"), labels: Default::default() };
        let web = ServiceKind::ClusterIp(["10.96.0.10".parse().unwrap()].into_iter().collect());
        let mut events = vec![
            Event::Apply(Object::Namespace(Arc::new(namespace))),
            service("web", web),
            service("ext", ServiceKind::ExternalName("www.example.org".into())),
        ];
        events.extend(Kind::ALL.map(Event::Synced));
        fake.0.lock().unwrap().apply(events, 1);
        Arc::new(fake)
    }
}

/// A running service.
pub struct Service {
    pub dns: Dns,
    pub address: SocketAddr,
    pub metrics: Registry,
    pub gates: Gates,
    pub corefile: Arc<Mutex<String>>,
    pub log: Log,
    pub fatal: Arc<Mutex<Vec<String>>>,
}

/// What the query log has written.
#[derive(Clone, Default)]
pub struct Log(pub Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Service {
    pub async fn start(corefile: &str) -> Self {
        Self::try_start(corefile, Fake::listed()).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn try_start(corefile: &str, cluster: Arc<dyn Cluster>) -> Result<Self, StartError> {
        let (metrics, gates, log) = (Registry::new(), Gates::new(), Log::default());
        let fatal = Arc::new(Mutex::new(Vec::new()));
        let reasons = fatal.clone();
        let context = Context {
            cluster,
            metrics: metrics.clone(),
            gates: gates.clone(),
            admin: Admin::new(),
            queries: Lines::new(log.clone(), Counter::default()),
            json: false,
            runtime: tokio::runtime::Handle::current(),
            fatal: Arc::new(move |reason| reasons.lock().unwrap().push(reason)),
            version: "test",
        };
        let text = Arc::new(Mutex::new(corefile.to_owned()));
        let current = text.clone();
        let load = Arc::new(move || parse(&current.lock().unwrap()));
        let options = Options { threads: Some(2), addresses: vec![[127, 0, 0, 1].into()] };
        let dns = Dns::start(load, context, options).await?;
        let address = dns.addresses().await[0];
        Ok(Self { dns, address, metrics, gates, corefile: text, log, fatal })
    }

    pub async fn stop(self) {
        self.dns.stop().await;
    }
}

pub fn parse(text: &str) -> Result<Corefile, Errors> {
    let options = config::Options { dns_port: 53, directives: dns_chain::directives(), env: &|_| None };
    Corefile::parse("Corefile", text, &config::Disk, &options)
}

/// A client of one protocol.
#[derive(Clone, Copy, Debug)]
pub enum Client {
    Udp(SocketAddr),
    Tcp(SocketAddr),
}

impl Client {
    pub fn udp(address: SocketAddr) -> Self {
        Self::Udp(address)
    }

    pub fn tcp(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }

    pub fn ask(&self, name: &str, qtype: u16) -> (Query, Reply) {
        self.ask_query(Query::new(4711, &name.parse().unwrap(), qtype))
    }

    pub fn ask_query(&self, query: Query) -> (Query, Reply) {
        let mut packet = [0; 1024];
        let length = query.encode(query.id, &mut packet);
        let packet = self.exchange(&packet[..length]).expect("a reply");
        let mut reply = Reply::default();
        let heard = reply.parse(&packet, &query).expect("a message");
        assert!(heard.matches && heard.id == query.id, "{heard:?}");
        (query, reply)
    }

    /// One message each way; nothing if none comes.
    pub fn exchange(&self, message: &[u8]) -> Option<Vec<u8>> {
        let patience = Some(Duration::from_secs(10));
        match self {
            Self::Udp(to) => {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.set_read_timeout(patience).unwrap();
                socket.connect(to).unwrap();
                socket.send(message).unwrap();
                let mut reply = vec![0; 65_535];
                let length = socket.recv(&mut reply).ok()?;
                reply.truncate(length);
                Some(reply)
            }
            Self::Tcp(to) => {
                let mut stream = TcpStream::connect(to).unwrap();
                stream.set_read_timeout(patience).unwrap();
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

/// The answer section in words.
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
