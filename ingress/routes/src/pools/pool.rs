//! The endpoints of one upstream.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use cluster::{CompactString, PortRef, Protocol, Service, ServiceKind, ServicePort, Snapshot};

use super::ring::Ring;
use crate::digest::md5;
use crate::options::{Options, PoolKey};

/// Where the requests of an upstream can go.
#[derive(Debug)]
pub struct Pool {
    members: Members,
    absence: Option<Absence>,
    /// `<namespace>-<service>-<port>`, which salts the cookies of persistent affinity.
    name: CompactString,
    /// Built when the first cookie asks; a pool is made anew whenever its endpoints change.
    ring: OnceLock<Ring>,
    keys: OnceLock<Box<[Keyed]>>,
}

/// Key of an endpoint and its number.
type Keyed = ([u8; 16], u32);

/// What a pool consists of.
#[derive(Clone, Debug, PartialEq)]
pub enum Members {
    /// Addresses of ready endpoints, sorted.
    Endpoints(Box<[SocketAddr]>),
    /// The host of an ExternalName Service, to be resolved, and the port.
    External {
        /// Host name, without final dot.
        host: CompactString,
        /// Port.
        port: u16,
    },
}

/// Why a pool cannot have endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// There is no such Service.
    NoService,
    /// The Service has no such TCP port, by number, name or targetPort.
    NoPort,
    /// An ExternalName that is `localhost` or a loopback address.
    Loopback,
    /// An ExternalName that is no host name.
    BadName,
    /// ExternalName Services are switched off (`--disable-svc-external-name`).
    ExternalNameDisabled,
}

/// What leaves an Ingress without a backend, in the words of ingress-nginx's metric (reference §3.17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The Service.
    Service,
    /// Its endpoints.
    Endpoint,
}

impl Absence {
    /// What is wrong, as the end of a sentence about the Service.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoService => "does not exist",
            Self::NoPort => "has no such TCP port",
            Self::Loopback => "points to this machine itself",
            Self::BadName => "has an externalName that is not a host name",
            Self::ExternalNameDisabled => "is of type ExternalName, which is disabled",
        }
    }
}

impl Pool {
    /// The pool of a port of a Service.
    pub(super) fn build(cluster: &Snapshot, key: &PoolKey, options: &Options) -> Self {
        let (members, absence) = match members(cluster, key, options) {
            Ok(members) => (members, None),
            Err(absence) => (Members::Endpoints(Box::default()), Some(absence)),
        };
        Self::new(key.upstream_name(), members, absence)
    }

    fn new(name: CompactString, members: Members, absence: Option<Absence>) -> Self {
        Self { members, absence, name, ring: OnceLock::new(), keys: OnceLock::new() }
    }

    /// What it consists of.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Addresses of ready endpoints; empty for an ExternalName.
    pub fn endpoints(&self) -> &[SocketAddr] {
        match &self.members {
            Members::Endpoints(endpoints) => endpoints,
            Members::External { .. } => &[],
        }
    }

    /// True where no request can go anywhere.
    pub fn is_empty(&self) -> bool {
        matches!(&self.members, Members::Endpoints(endpoints) if endpoints.is_empty())
    }

    /// Why it cannot have endpoints; `None` also for a Service that just has none.
    pub fn absence(&self) -> Option<Absence> {
        self.absence
    }

    /// What is missing for requests to go somewhere.
    pub(super) fn missing(&self) -> Option<Missing> {
        match self.absence {
            Some(Absence::NoService) => Some(Missing::Service),
            _ => self.is_empty().then_some(Missing::Endpoint),
        }
    }

    /// The endpoint of a key on the consistent hash ring (balanced affinity).
    pub(crate) fn on_ring(&self, key: &str) -> Option<SocketAddr> {
        let ring = self.ring.get_or_init(|| Ring::new(self.endpoints().iter().map(SocketAddr::to_string)));
        self.endpoints().get(ring.find(key)?).copied()
    }

    /// The endpoint that a key names (persistent affinity).
    pub(crate) fn of_key(&self, key: [u8; 16]) -> Option<SocketAddr> {
        let keys = self.keys.get_or_init(|| {
            let keys = (0..).zip(self.endpoints()).map(|(index, endpoint)| (self.key_of(*endpoint), index));
            let mut keys: Box<[_]> = keys.collect();
            keys.sort_unstable();
            keys
        });
        let at = keys.binary_search_by(|(known, _)| known.cmp(&key)).ok()?;
        self.endpoints().get(keys[at].1 as usize).copied()
    }

    /// The key that names an endpoint: MD5 of the upstream's name and `ip:port` (reference §3.7).
    pub(crate) fn key_of(&self, endpoint: SocketAddr) -> [u8; 16] {
        md5(&[&self.name, &endpoint.to_string()])
    }
}

/// Pools are the same when their members are; ring and keys follow from these.
impl PartialEq for Pool {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members && self.absence == other.absence && self.name == other.name
    }
}

fn members(cluster: &Snapshot, key: &PoolKey, options: &Options) -> Result<Members, Absence> {
    let service = cluster.get::<Service>(&key.service).ok_or(Absence::NoService)?;
    if let ServiceKind::ExternalName(host) = &service.kind {
        return external(service, host, &key.port, options);
    }
    let port = find_port(service, &key.port).ok_or(Absence::NoPort)?;
    let mut endpoints: Vec<SocketAddr> = Vec::new();
    for slice in cluster.slices_of(&key.service) {
        let fits = |slice_port: &&cluster::EndpointPort| {
            slice_port.protocol == Protocol::Tcp
                && slice_port.port != 0
                && (slice_port.name.is_empty() || slice_port.name == port.name)
        };
        let Some(slice_port) = slice.ports.iter().find(fits) else { continue };
        let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready);
        endpoints.extend(
            ready
                .flat_map(|endpoint| &endpoint.addresses)
                .map(|address| SocketAddr::new(*address, slice_port.port)),
        );
    }
    endpoints.sort_unstable();
    endpoints.dedup();
    Ok(Members::Endpoints(endpoints.into()))
}

/// A port of a Service by number, name or targetPort text; the empty name is the first port. TCP only.
fn find_port<'s>(service: &'s Service, wanted: &PortRef) -> Option<&'s ServicePort> {
    let tcp = |port: &&ServicePort| port.protocol == Protocol::Tcp;
    let mut ports = service.ports.iter().filter(tcp);
    match wanted {
        PortRef::Name(name) if name.is_empty() => ports.next(),
        PortRef::Name(name) => ports.find(|port| port.name == *name || port.target == *name),
        PortRef::Number(number) => {
            ports.find(|port| port.port == *number || port.target.parse() == Ok(*number))
        }
    }
}

/// The target of an ExternalName Service. Its ports are optional: a rule may name any number.
fn external(
    service: &Service,
    host: &CompactString,
    wanted: &PortRef,
    options: &Options,
) -> Result<Members, Absence> {
    if options.disable_svc_external_name {
        return Err(Absence::ExternalNameDisabled);
    }
    let port = match (find_port(service, wanted), wanted) {
        (Some(port), _) => port.target.parse().unwrap_or(port.port),
        (None, PortRef::Number(number)) => *number,
        (None, PortRef::Name(_)) => return Err(Absence::NoPort),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.parse::<IpAddr>() {
        Ok(ip) if ip.to_canonical().is_loopback() => Err(Absence::Loopback),
        Ok(ip) => Ok(Members::Endpoints([SocketAddr::new(ip, port)].into())),
        Err(_) if host.eq_ignore_ascii_case("localhost") => Err(Absence::Loopback),
        Err(_) if !is_host_name(host) => Err(Absence::BadName),
        Err(_) => Ok(Members::External { host: host.into(), port }),
    }
}

fn is_host_name(host: &str) -> bool {
    host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}
