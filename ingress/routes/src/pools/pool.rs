//! The endpoints of one upstream.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::OnceLock;

use cluster::{CompactString, PortRef, Protocol, Service, ServiceKind, ServicePort, Snapshot};

use super::ring::Ring;
use super::subset_ring::SubsetRings;
use super::zoned_endpoints::ZonedEndpoints;
use crate::digest::md5;
use crate::external_name::{ExternalNameError, ExternalTarget};
use crate::options::{PoolKey, RouteOptions};

/// The endpoints of an upstream.
#[derive(Debug)]
pub struct Pool {
    members: PoolMembers,
    error: Option<PoolError>,
    /// `<namespace>-<service>-<port>`, the salt of cookies of persistent affinity.
    name: CompactString,
    /// Its only member should be the cluster IP of the Service, which has none.
    lacks_cluster_ip: bool,
    /// Built for the first request that needs it. A change of endpoints makes a new pool.
    ring: OnceLock<Ring>,
    keys: OnceLock<Box<[Keyed]>>,
    subsets: SubsetRings,
}

/// The key of an endpoint and its index.
type Keyed = ([u8; 16], u32);

/// The members of a pool.
#[derive(Clone, Debug, PartialEq)]
pub enum PoolMembers {
    /// Addresses of ready endpoints, sorted; with `service-upstream` the cluster IP of the Service alone.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolError {
    /// There is no such Service.
    NoService,
    /// The Service has no port of this number, name or targetPort, of the protocol.
    NoPort {
        /// TCP, or UDP for a UDP service.
        protocol: Protocol,
        /// The port that is referred to.
        wanted: CompactString,
        /// The ports of the Service, of that protocol.
        known: CompactString,
    },
    /// The ExternalName cannot be used.
    ExternalName(ExternalNameError),
    /// ExternalName Services are disabled (`--disable-svc-external-name`).
    ExternalNameDisabled,
}

/// What an Ingress without a backend lacks, in the terms of ingress-nginx's metric `orphan_ingress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanReason {
    /// The Service.
    NoService,
    /// Its endpoints.
    NoEndpoint,
}

impl PoolError {
    /// The error of a Service without a port that is referred to.
    fn no_port(service: &Service, wanted: &PortRef, protocol: Protocol) -> Self {
        let ports = service.ports.iter().filter(|port| port.protocol == protocol);
        let known: Vec<_> =
            ports.map(|port| format!("{} {}", port.port, port.name).trim().to_owned()).collect();
        Self::NoPort { protocol, wanted: wanted.to_string().into(), known: known.join(", ").into() }
    }
}

/// The end of a sentence that begins with the Service.
impl std::fmt::Display for PoolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoService => f.write_str("does not exist"),
            Self::NoPort { protocol, wanted, known } => {
                let protocol = protocol.label().to_ascii_uppercase();
                write!(f, "has no {protocol} port {wanted}")?;
                if known.is_empty() { f.write_str(", nor any other") } else { write!(f, "; it has {known}") }
            }
            Self::ExternalName(error) => write!(f, "has an externalName that is {error}"),
            Self::ExternalNameDisabled => f.write_str("is of type ExternalName, which is disabled"),
        }
    }
}

impl Pool {
    /// The pool of a port of a Service. `by_cluster_ip`: its cluster IP is the only member, if it has one (`service-upstream`).
    pub(super) fn build(
        cluster: &Snapshot,
        key: &PoolKey,
        options: &RouteOptions,
        by_cluster_ip: bool,
    ) -> Self {
        let cluster_ip = by_cluster_ip.then(|| cluster_ip(cluster, key)).flatten();
        let lacks_cluster_ip = by_cluster_ip && cluster_ip.is_none();
        let members = match cluster_ip {
            Some(address) => Ok(PoolMembers::Endpoints([address].into())),
            None => members(cluster, key, Protocol::Tcp, options),
        };
        Self { lacks_cluster_ip, ..Self::named(key.upstream_name(), members) }
    }

    /// The pool of a port of a Service that a TCP or UDP service leads to.
    pub(crate) fn of_stream(
        name: CompactString,
        cluster: &Snapshot,
        key: &PoolKey,
        protocol: Protocol,
        options: &RouteOptions,
    ) -> Self {
        Self::named(name, members(cluster, key, protocol, options))
    }

    /// The pool of a host and port without a Service. The operator of the proxy has chosen it, but loopback and link-local addresses are
    /// refused as for ExternalName Services.
    pub(crate) fn of_host(name: CompactString, host: &CompactString, port: u16) -> Self {
        let members = match ExternalTarget::parse(host) {
            Ok(ExternalTarget::Address(ip)) => Ok(PoolMembers::Endpoints([SocketAddr::new(ip, port)].into())),
            Ok(ExternalTarget::Host(host)) => Ok(PoolMembers::External { host, port }),
            Err(error) => Err(PoolError::ExternalName(error)),
        };
        Self::named(name, members)
    }

    fn named(name: CompactString, members: Result<PoolMembers, PoolError>) -> Self {
        let (members, error) = match members {
            Ok(members) => (members, None),
            Err(error) => (PoolMembers::Endpoints(Box::default()), Some(error)),
        };
        Self {
            members,
            error,
            name,
            lacks_cluster_ip: false,
            ring: OnceLock::new(),
            keys: OnceLock::new(),
            subsets: SubsetRings::default(),
        }
    }

    /// Its members.
    pub fn members(&self) -> &PoolMembers {
        &self.members
    }

    /// Addresses of ready endpoints; empty for an ExternalName.
    pub fn endpoints(&self) -> &[SocketAddr] {
        match &self.members {
            PoolMembers::Endpoints(endpoints) => endpoints,
            PoolMembers::External { .. } => &[],
        }
    }

    /// Whether there is no endpoint.
    pub fn is_empty(&self) -> bool {
        matches!(&self.members, PoolMembers::Endpoints(endpoints) if endpoints.is_empty())
    }

    /// Why it cannot have endpoints; `None` also for a Service that has no ready endpoint at the moment.
    pub fn error(&self) -> Option<&PoolError> {
        self.error.as_ref()
    }

    /// What is missing for requests to be served.
    pub(super) fn missing(&self) -> Option<OrphanReason> {
        match &self.error {
            Some(PoolError::NoService) => Some(OrphanReason::NoService),
            _ => self.is_empty().then_some(OrphanReason::NoEndpoint),
        }
    }

    /// Whether `service-upstream` has no effect because the Service has no cluster IP.
    pub(super) fn lacks_cluster_ip(&self) -> bool {
        self.lacks_cluster_ip
    }

    fn ring(&self) -> &Ring {
        self.ring.get_or_init(|| Ring::new(self.endpoints().iter().map(SocketAddr::to_string)))
    }

    /// The endpoint of a key on the consistent hash ring (balanced affinity).
    pub(crate) fn on_ring(&self, key: &str) -> Option<SocketAddr> {
        self.endpoints().get(self.ring().find(key)?).copied()
    }

    /// The endpoint of a hash on the ring (`upstream-hash-by`), or the next one there that was not tried; the first one if all were.
    pub(crate) fn of_hash(&self, hash: u32, tried: &[SocketAddr]) -> Option<SocketAddr> {
        let mut endpoints =
            self.ring().endpoints_after(hash).filter_map(|index| self.endpoints().get(index)).copied();
        let first = endpoints.next()?;
        if !tried.contains(&first) {
            return Some(first);
        }
        endpoints.find(|endpoint| !tried.contains(endpoint)).or(Some(first))
    }

    /// The endpoint of a hash with `upstream-hash-by-subset`: the hash selects a subset of `size` endpoints, and `random_below` one of
    /// them, or the next one in it that was not tried.
    pub(crate) fn of_subset(
        &self,
        hash: u32,
        size: NonZeroUsize,
        tried: &[SocketAddr],
        random_below: impl FnOnce(u32) -> u32,
    ) -> Option<SocketAddr> {
        let endpoints = self.endpoints();
        let subset = self.subsets.find(hash, endpoints.len().div_ceil(size.get()))?;
        let size = size.get().min(endpoints.len());
        // The last subset is filled up with the first endpoints.
        let member = |n: usize| endpoints[(subset * size + n) % endpoints.len()];
        let drawn = random_below(u32::try_from(size).unwrap_or(u32::MAX)) as usize;
        let mut from_here = (0..size).map(|n| member((drawn + n) % size));
        Some(from_here.find(|endpoint| !tried.contains(endpoint)).unwrap_or_else(|| member(drawn)))
    }

    /// The endpoint with a key (persistent affinity).
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

    /// The key of an endpoint: MD5 of the upstream's name and `ip:port`, as in ingress-nginx.
    pub(crate) fn key_of(&self, endpoint: SocketAddr) -> [u8; 16] {
        md5(&[&self.name, &endpoint.to_string()])
    }
}

/// Ring and keys are not compared: they are derived from the members.
impl PartialEq for Pool {
    fn eq(&self, other: &Self) -> bool {
        let Self { members, error, name, lacks_cluster_ip, ring: _, keys: _, subsets: _ } = self;
        (members, error, name, lacks_cluster_ip)
            == (&other.members, &other.error, &other.name, &other.lacks_cluster_ip)
    }
}

/// The cluster IP of a Service with the port that an Ingress refers to.
fn cluster_ip(cluster: &Snapshot, key: &PoolKey) -> Option<SocketAddr> {
    let service = cluster.get::<Service>(&key.service)?;
    let ServiceKind::ClusterIp(addresses) = &service.kind else { return None };
    Some(SocketAddr::new(*addresses.first()?, find_port(service, &key.port, Protocol::Tcp)?.port))
}

fn members(
    cluster: &Snapshot,
    key: &PoolKey,
    protocol: Protocol,
    options: &RouteOptions,
) -> Result<PoolMembers, PoolError> {
    let service = cluster.get::<Service>(&key.service).ok_or(PoolError::NoService)?;
    if let ServiceKind::ExternalName(host) = &service.kind {
        return external(service, host, (&key.port, protocol), options);
    }
    let port = find_port(service, &key.port, protocol)
        .ok_or_else(|| PoolError::no_port(service, &key.port, protocol))?;
    let mut endpoints: Vec<SocketAddr> = Vec::new();
    let mut zoned = options.zone.as_ref().filter(|_| service.prefers_own_zone).map(ZonedEndpoints::new);
    for slice in cluster.slices_of(&key.service) {
        let fits = |slice_port: &&cluster::EndpointPort| {
            slice_port.protocol == protocol
                && slice_port.port != 0
                && (slice_port.name.is_empty() || slice_port.name == port.name)
        };
        let Some(slice_port) = slice.ports.iter().find(fits) else { continue };
        if let Some(zoned) = &mut zoned {
            zoned.begin_slice(slice);
        }
        for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready) {
            let addresses =
                endpoint.addresses.iter().map(|address| SocketAddr::new(*address, slice_port.port));
            if let Some(zoned) = &mut zoned {
                zoned.add(&endpoint, addresses.clone());
            }
            endpoints.extend(addresses);
        }
    }
    if let Some(own) = zoned.and_then(ZonedEndpoints::chosen) {
        endpoints = own;
    }
    endpoints.sort_unstable();
    endpoints.dedup();
    Ok(PoolMembers::Endpoints(endpoints.into()))
}

/// A port of a Service by number, name or targetPort text; the empty name is the first port.
fn find_port<'s>(service: &'s Service, wanted: &PortRef, protocol: Protocol) -> Option<&'s ServicePort> {
    let mut ports = service.ports.iter().filter(|port| port.protocol == protocol);
    match wanted {
        PortRef::Name(name) if name.is_empty() => ports.next(),
        PortRef::Name(name) => ports.find(|port| port.name == *name || port.target == *name),
        PortRef::Number(number) => {
            ports.find(|port| port.port == *number || port.target.parse() == Ok(*number))
        }
    }
}

/// The target of an ExternalName Service. Its ports are optional: a rule may have any port number.
fn external(
    service: &Service,
    host: &CompactString,
    (wanted, protocol): (&PortRef, Protocol),
    options: &RouteOptions,
) -> Result<PoolMembers, PoolError> {
    if options.disable_svc_external_name {
        return Err(PoolError::ExternalNameDisabled);
    }
    let port = match (find_port(service, wanted, protocol), wanted) {
        (Some(port), _) => port.target.parse().unwrap_or(port.port),
        (None, PortRef::Number(number)) => *number,
        (None, PortRef::Name(_)) => return Err(PoolError::no_port(service, wanted, protocol)),
    };
    match ExternalTarget::parse(host).map_err(PoolError::ExternalName)? {
        ExternalTarget::Address(ip) => Ok(PoolMembers::Endpoints([SocketAddr::new(ip, port)].into())),
        ExternalTarget::Host(host) => Ok(PoolMembers::External { host, port }),
    }
}
