//! Resolves a query name, label by label from the zone to the left, to the object that it names.

use std::net::IpAddr;

use dns_wire::{Query, Reply};

use super::Tail;
use crate::address::{endpoint_address, pod_address};
use crate::options::PodMode;
use crate::records::{EndpointAlias, EndpointRecord, PortRecord, ServiceRecords, ServiceShape, SliceRecords};
use crate::zone::{ServedZone, Zone, service};

/// A query with the zone that contains its name.
pub(super) struct QuestionName<'a> {
    pub(super) query: &'a Query,
    pub(super) origin: &'a ServedZone,
    /// Labels to the left of the zone.
    pub(super) left: usize,
}

/// The object that a name in a zone refers to.
pub(super) enum ResolvedName<'a> {
    /// The name does not exist.
    Nothing,
    /// The zone apex.
    Apex,
    /// An empty non-terminal: it exists because names exist below it.
    Empty,
    /// `ns.dns.<zone>`.
    Servers,
    /// `dns-version.<zone>`.
    Version,
    /// A service name, with optional port and protocol labels.
    Service(&'a ServiceRecords, EndpointFilter<'a>),
    /// The endpoints of a service that the filter selects.
    Endpoints(&'a ServiceRecords, EndpointFilter<'a>),
    /// The CNAME target of an ExternalName Service, in wire form.
    External(&'a [u8]),
    /// A Pod name and the address that it encodes.
    Pod(IpAddr),
}

/// Selects endpoints and ports of a service. An empty field selects all.
#[derive(Clone, Copy, Default)]
pub(super) struct EndpointFilter<'a> {
    /// The name of an endpoint in wire form, before the key of the service.
    endpoint: &'a [u8],
    address: Option<IpAddr>,
    port: &'a [u8],
    protocol: &'a [u8],
    /// Topology zone in wire form, without the root.
    zone: &'a [u8],
}

impl<'a> QuestionName<'a> {
    pub(super) fn new(query: &'a Query, origin: &'a ServedZone) -> Self {
        Self { query, origin, left: query.offsets().len().saturating_sub(origin.labels) }
    }

    /// The i-th label from the left in lower case; empty past the end.
    pub(super) fn label(&self, i: usize) -> &'a [u8] {
        let (name, Some(&at)) = (self.query.lower(), self.query.offsets().get(i)) else { return &[] };
        let at = usize::from(at);
        name.get(at + 1..at + 1 + usize::from(name[at])).unwrap_or_default()
    }

    /// Offset of the i-th label from the left; the offset of the root label past the last one.
    pub(super) fn start(&self, i: usize) -> usize {
        self.query.offsets().get(i).map_or(self.query.lower().len() - 1, |offset| usize::from(*offset))
    }

    /// The zone in the query's letter case, root included.
    pub(super) fn zone(&self) -> &'a [u8] {
        &self.query.name()[self.start(self.left)..]
    }

    /// The zone as the end of a name in a reply to the query.
    pub(super) fn tail(&self) -> Tail<'a> {
        match self.query.offsets().get(self.left) {
            Some(offset) => Tail::Short(Reply::parent(*offset)),
            None => Tail::Whole(&[0]),
        }
    }
}

impl Zone {
    /// Resolves the name.
    pub(super) fn resolve<'a>(&'a self, question: &QuestionName<'a>) -> ResolvedName<'a> {
        let left = question.left;
        if left == 0 {
            return ResolvedName::Apex;
        }
        if left == 2 && question.label(0) == b"ns" && question.label(1) == b"dns" {
            return ResolvedName::Servers;
        }
        if question.origin.reverse {
            return ResolvedName::Nothing;
        }
        match (question.label(left - 1), left) {
            (b"svc" | b"pod", 1) => ResolvedName::Empty,
            (b"dns-version", 1) => ResolvedName::Version,
            (b"svc", 2) => self.level(question.label(0)),
            (b"pod", 2) if self.plan.options.pods != PodMode::Disabled => self.level(question.label(0)),
            (b"svc", _) => self.resolve_service(question),
            (b"pod", 3..=5) => self.resolve_pod(question.label(left - 3), question.label(left - 2)),
            _ => ResolvedName::Nothing,
        }
    }

    fn level<'a>(&self, namespace: &[u8]) -> ResolvedName<'a> {
        if self.has_namespace(namespace) { ResolvedName::Empty } else { ResolvedName::Nothing }
    }

    fn resolve_pod<'a>(&self, label: &[u8], namespace: &[u8]) -> ResolvedName<'a> {
        let Some(address) = pod_address(label) else { return ResolvedName::Nothing };
        let there = match self.plan.options.pods {
            PodMode::Disabled => false,
            PodMode::Insecure => self.has_namespace(namespace),
            PodMode::Verified => self.has_namespace(namespace) && self.has_pod(namespace, label, address),
        };
        if there { ResolvedName::Pod(address.to_canonical()) } else { ResolvedName::Nothing }
    }

    fn resolve_service<'a>(&'a self, question: &QuestionName<'a>) -> ResolvedName<'a> {
        let left = question.left;
        let key = &question.query.lower()[question.start(left - 3)..question.start(left - 1)];
        let services = if question.origin.multicluster { &self.imports } else { &self.services };
        let Some(service) = service(services, key).filter(|service| service.served) else {
            return ResolvedName::Nothing;
        };
        let endpoint = &question.query.lower()[..question.start(left - 3)];
        match left - 3 {
            0 => Self::found(service, EndpointFilter::default()),
            1 => {
                let address = endpoint_address(question.label(0));
                Self::found(service, EndpointFilter::endpoint(endpoint, address))
            }
            // `<hostname>.<cluster>`; port and protocol labels begin with an underscore (RFC 2782).
            2 if question.origin.multicluster && !(0..2).any(|i| question.label(i).starts_with(b"_")) => {
                Self::found(service, EndpointFilter::endpoint(endpoint, None))
            }
            2 => {
                let [port, protocol] = [question.label(0), question.label(1)].map(without_underscore);
                Self::found(service, EndpointFilter::port(port, protocol))
            }
            _ if self.plan.options.zonal && !question.origin.multicluster => Self::zonal(question, service),
            _ => ResolvedName::Nothing,
        }
    }

    fn found<'a>(service: &'a ServiceRecords, filter: EndpointFilter<'a>) -> ResolvedName<'a> {
        match &service.shape {
            ServiceShape::Missing => ResolvedName::Nothing,
            ServiceShape::External(target) => match target {
                Some(target) if filter.is_empty() => ResolvedName::External(target),
                _ => ResolvedName::Nothing,
            },
            ServiceShape::Cluster(ports, _) if filter.endpoint.is_empty() => {
                // There is at least one port. An A query never reads them from memory.
                if filter.is_empty() || filter.ports(ports).next().is_some() {
                    ResolvedName::Service(service, filter)
                } else {
                    ResolvedName::Nothing
                }
            }
            // `v4` and `v6` hold the addresses of all endpoints.
            ServiceShape::Headless
                if filter.is_empty() && !(service.v4.is_empty() && service.v6.is_empty()) =>
            {
                ResolvedName::Service(service, filter)
            }
            _ if filter.candidates(service).next().is_some() => ResolvedName::Endpoints(service, filter),
            // A name with a CNAME has no other records (RFC 1034 §3.6.2): addresses win over aliases, and one alias is used.
            _ => filter
                .aliases(service)
                .next()
                .map_or(ResolvedName::Nothing, |alias| ResolvedName::External(&alias.target)),
        }
    }

    /// Resolves `<topology zone>.pin._zone.<service>…` to the endpoints in that topology zone, and `….prefer._zone.…` to the
    /// same or, if there are none, to all endpoints. The topology zone may have several labels.
    fn zonal<'a>(question: &QuestionName<'a>, service: &'a ServiceRecords) -> ResolvedName<'a> {
        let (anchor, directive) = (question.left - 4, question.left - 5);
        if question.label(anchor) != b"_zone" || service.shape != ServiceShape::Headless {
            return ResolvedName::Nothing;
        }
        let zone = &question.query.lower()[..question.start(directive)];
        let pinned = EndpointFilter { zone, ..EndpointFilter::default() };
        match question.label(directive) {
            b"pin" => ResolvedName::Endpoints(service, pinned),
            b"prefer" if pinned.candidates(service).next().is_some() => {
                ResolvedName::Endpoints(service, pinned)
            }
            b"prefer" => ResolvedName::Endpoints(service, EndpointFilter::default()),
            _ => ResolvedName::Nothing,
        }
    }
}

impl<'a> EndpointFilter<'a> {
    /// Selects by the name of an endpoint (wire form without the root) and the address that it encodes, if it does.
    pub(super) fn endpoint(endpoint: &'a [u8], address: Option<IpAddr>) -> Self {
        Self { endpoint, address, ..Self::default() }
    }

    /// Selects by port name and protocol.
    pub(super) fn port(port: &'a [u8], protocol: &'a [u8]) -> Self {
        Self { port, protocol, ..Self::default() }
    }

    fn is_empty(&self) -> bool {
        self.endpoint.is_empty() && self.port.is_empty() && self.protocol.is_empty() && self.zone.is_empty()
    }

    /// The selected endpoints, each with its slice. At least one port of the slice is selected, too.
    pub(super) fn candidates(
        self,
        service: &'a ServiceRecords,
    ) -> impl Iterator<Item = (&'a SliceRecords, EndpointRecord)> {
        let by_name =
            (!self.endpoint.is_empty()).then(|| service.endpoints_called(self.endpoint, self.address));
        let has_port = move |slice: &SliceRecords| self.ports(&slice.ports).next().is_some();
        let all = self.endpoint.is_empty().then(|| {
            let slices = service.slices.iter().filter(move |slice| has_port(slice));
            slices.flat_map(|slice| slice.endpoints().map(move |endpoint| (slice, endpoint)))
        });
        let named = by_name.into_iter().flatten().filter(move |(slice, _)| has_port(slice));
        let meant =
            move |(_, endpoint): &(&SliceRecords, EndpointRecord)| self.is_in_zone(service, *endpoint);
        named.chain(all.into_iter().flatten()).filter(meant)
    }

    /// Whether a selected endpoint is the first with its address, so that each address is answered once. Searching the
    /// answers so far instead would be quadratic: too slow for thousands of endpoints.
    pub(super) fn is_first(self, service: &ServiceRecords, endpoint: EndpointRecord) -> bool {
        let meant = |(slice, other): &(&SliceRecords, EndpointRecord)| {
            (self.endpoint.is_empty() || service.is_called(*other, self.endpoint, self.address))
                && self.ports(&slice.ports).next().is_some()
                && self.is_in_zone(service, *other)
        };
        let first = service.endpoints_at(endpoint.address).find(meant);
        first.is_some_and(|(_, first)| first.index == endpoint.index)
    }

    /// The selected endpoints of type FQDN.
    fn aliases(self, service: &'a ServiceRecords) -> impl Iterator<Item = &'a EndpointAlias> {
        let slices = service.slices.iter().filter(move |slice| self.ports(&slice.ports).next().is_some());
        let meant = move |alias: &&EndpointAlias| self.endpoint.is_empty() || *alias.name == *self.endpoint;
        slices.flat_map(|slice| slice.aliases()).filter(meant)
    }

    /// The selected ports.
    pub(super) fn ports<'p>(
        self,
        ports: &'p [PortRecord],
    ) -> impl Iterator<Item = &'p PortRecord> + use<'a, 'p> {
        ports.iter().filter(move |port| port.matches(self.port, self.protocol))
    }

    /// Whether the endpoint is in the selected topology zone.
    pub(super) fn is_in_zone(self, service: &ServiceRecords, endpoint: EndpointRecord) -> bool {
        if self.zone.is_empty() {
            return true;
        }
        let Some(mut rest) = service.zone(endpoint) else { return false };
        for (i, label) in dns_wire::name::labels(self.zone).enumerate() {
            let dotted = if i == 0 { Some(rest) } else { rest.strip_prefix(b".") };
            let Some(after) = dotted.and_then(|rest| rest.strip_prefix(label)) else { return false };
            rest = after;
        }
        rest.is_empty()
    }
}

pub(super) fn without_underscore(label: &[u8]) -> &[u8] {
    label.strip_prefix(b"_").unwrap_or(label)
}
