//! Where a name leads: read from right to left (reference §2.2).

use std::net::IpAddr;

use dns_wire::{Query, Reply};

use super::Tail;
use crate::address::{endpoint_address, pod_address};
use crate::options::Pods;
use crate::unit::{Alias, Endpoint, Face, Group, Port, Unit};
use crate::zone::{Origin, Zone, unit};

/// A query with the zone it falls into.
pub(super) struct Asked<'a> {
    pub(super) query: &'a Query,
    pub(super) origin: &'a Origin,
    /// Labels to the left of the zone.
    pub(super) left: usize,
}

/// What a name in a zone stands for.
pub(super) enum Place<'a> {
    /// No such name.
    Nothing,
    /// The zone itself.
    Apex,
    /// A name without records of its own: there are names below it.
    Empty,
    /// `ns.dns.<zone>`.
    Servers,
    /// `dns-version.<zone>`.
    Version,
    /// A service name, perhaps with a port: the prepared addresses of the unit.
    Service(&'a Unit, Filter<'a>),
    /// Some endpoints of a unit.
    Endpoints(&'a Unit, Filter<'a>),
    /// The target of an ExternalName.
    External(&'a [u8]),
    Pod(IpAddr),
}

/// Which endpoints and ports of a unit are meant. Empty fields mean all.
#[derive(Clone, Copy, Default)]
pub(super) struct Filter<'a> {
    /// The name of an endpoint in wire form, up to the key of the unit.
    endpoint: &'a [u8],
    address: Option<IpAddr>,
    port: &'a [u8],
    protocol: &'a [u8],
    /// Labels of a topology zone in wire form, without the root.
    zone: &'a [u8],
}

impl<'a> Asked<'a> {
    pub(super) fn new(query: &'a Query, origin: &'a Origin) -> Self {
        Self { query, origin, left: query.offsets().len().saturating_sub(origin.labels) }
    }

    /// The i-th label from the left in lower case; empty past the end.
    fn label(&self, i: usize) -> &'a [u8] {
        let (name, Some(&at)) = (self.query.lower(), self.query.offsets().get(i)) else { return &[] };
        let at = usize::from(at);
        name.get(at + 1..at + 1 + usize::from(name[at])).unwrap_or_default()
    }

    /// Where the i-th label from the left begins; past the last one, where the root is.
    pub(super) fn start(&self, i: usize) -> usize {
        self.query.offsets().get(i).map_or(self.query.lower().len() - 1, |offset| usize::from(*offset))
    }

    /// The zone as the query writes it, root included.
    pub(super) fn zone(&self) -> &'a [u8] {
        &self.query.name()[self.start(self.left)..]
    }

    /// The zone as the end of a name in a packet that has the query as its question.
    pub(super) fn tail(&self) -> Tail<'a> {
        match self.query.offsets().get(self.left) {
            Some(offset) => Tail::Short(Reply::parent(*offset)),
            None => Tail::Whole(&[0]),
        }
    }
}

impl Zone {
    /// Where the name leads.
    pub(super) fn place<'a>(&'a self, asked: &Asked<'a>) -> Place<'a> {
        let left = asked.left;
        if left == 0 {
            return Place::Apex;
        }
        if left == 2 && asked.label(0) == b"ns" && asked.label(1) == b"dns" {
            return Place::Servers;
        }
        if asked.origin.reverse {
            return Place::Nothing;
        }
        match (asked.label(left - 1), left) {
            (b"svc" | b"pod", 1) => Place::Empty,
            (b"dns-version", 1) => Place::Version,
            (b"svc", 2) => self.level(asked.label(0)),
            (b"pod", 2) if self.plan.options.pods != Pods::Disabled => self.level(asked.label(0)),
            (b"svc", _) => self.service(asked),
            (b"pod", 3..=5) => self.pod(asked.label(left - 3), asked.label(left - 2)),
            _ => Place::Nothing,
        }
    }

    fn level<'a>(&self, namespace: &[u8]) -> Place<'a> {
        if self.has_namespace(namespace) { Place::Empty } else { Place::Nothing }
    }

    fn pod<'a>(&self, label: &[u8], namespace: &[u8]) -> Place<'a> {
        let Some(address) = pod_address(label) else { return Place::Nothing };
        let there = match self.plan.options.pods {
            Pods::Disabled => false,
            Pods::Insecure => self.has_namespace(namespace),
            Pods::Verified => self.has_namespace(namespace) && self.has_pod(namespace, label, address),
        };
        if there { Place::Pod(address.to_canonical()) } else { Place::Nothing }
    }

    fn service<'a>(&'a self, asked: &Asked<'a>) -> Place<'a> {
        let left = asked.left;
        let key = &asked.query.lower()[asked.start(left - 3)..asked.start(left - 1)];
        let units = if asked.origin.multicluster { &self.imports } else { &self.units };
        let Some(unit) = unit(units, key).filter(|unit| unit.served) else { return Place::Nothing };
        let endpoint = &asked.query.lower()[..asked.start(left - 3)];
        match left - 3 {
            0 => Self::found(unit, Filter::default()),
            1 => {
                let address = endpoint_address(asked.label(0));
                Self::found(unit, Filter { endpoint, address, ..Filter::default() })
            }
            // `<hostname>.<cluster>`: ports and protocols of SRV names begin with an underscore (RFC 2782).
            2 if asked.origin.multicluster && !(0..2).any(|i| asked.label(i).starts_with(b"_")) => {
                Self::found(unit, Filter { endpoint, ..Filter::default() })
            }
            2 => {
                let [port, protocol] = [asked.label(0), asked.label(1)].map(without_underscore);
                Self::found(unit, Filter { port, protocol, ..Filter::default() })
            }
            _ if self.plan.options.zonal && !asked.origin.multicluster => Self::zonal(asked, unit),
            _ => Place::Nothing,
        }
    }

    fn found<'a>(unit: &'a Unit, filter: Filter<'a>) -> Place<'a> {
        match &unit.face {
            Face::Missing => Place::Nothing,
            Face::External(target) => match target {
                Some(target) if filter.is_empty() => Place::External(target),
                _ => Place::Nothing,
            },
            Face::Cluster(ports, _) if filter.endpoint.is_empty() => {
                if filter.ports(ports).next().is_some() {
                    Place::Service(unit, filter)
                } else {
                    Place::Nothing
                }
            }
            // The prepared addresses are those of all endpoints.
            Face::Headless if filter.is_empty() && !(unit.v4.is_empty() && unit.v6.is_empty()) => {
                Place::Service(unit, filter)
            }
            _ if filter.candidates(unit).next().is_some() => Place::Endpoints(unit, filter),
            // A name that is an alias has no other records (RFC 1034 §3.6.2): addresses come first, then the first alias.
            _ => filter.aliases(unit).next().map_or(Place::Nothing, |alias| Place::External(&alias.target)),
        }
    }

    /// `<topology zone>.pin._zone.<service>…` has the endpoints in that zone, `….prefer._zone.…` all of them where that
    /// zone has none. The topology zone may have several labels.
    fn zonal<'a>(asked: &Asked<'a>, unit: &'a Unit) -> Place<'a> {
        let (anchor, directive) = (asked.left - 4, asked.left - 5);
        if asked.label(anchor) != b"_zone" || unit.face != Face::Headless {
            return Place::Nothing;
        }
        let zone = &asked.query.lower()[..asked.start(directive)];
        let pinned = Filter { zone, ..Filter::default() };
        match asked.label(directive) {
            b"pin" => Place::Endpoints(unit, pinned),
            b"prefer" if pinned.candidates(unit).next().is_some() => Place::Endpoints(unit, pinned),
            b"prefer" => Place::Endpoints(unit, Filter::default()),
            _ => Place::Nothing,
        }
    }
}

impl<'a> Filter<'a> {
    fn is_empty(&self) -> bool {
        self.endpoint.is_empty() && self.port.is_empty() && self.protocol.is_empty() && self.zone.is_empty()
    }

    /// The endpoints that are meant, with their group: at least one of its ports is meant, too.
    pub(super) fn candidates(self, unit: &'a Unit) -> impl Iterator<Item = (&'a Group, &'a Endpoint)> {
        let by_name = (!self.endpoint.is_empty()).then(|| unit.endpoints_called(self.endpoint, self.address));
        let has_port = move |group: &Group| self.ports(&group.ports).next().is_some();
        let all = self.endpoint.is_empty().then(|| {
            let groups = unit.groups.iter().filter(move |group| has_port(group));
            groups.flat_map(|group| group.endpoints.iter().map(move |endpoint| (group, endpoint)))
        });
        let named = by_name.into_iter().flatten().filter(move |(group, _)| has_port(group));
        let meant = move |(_, endpoint): &(&Group, &Endpoint)| self.is_in_zone(unit, endpoint);
        named.chain(all.into_iter().flatten()).filter(meant)
    }

    /// Whether an endpoint that is meant is the first of those with its address: that is how each address is answered
    /// once. Looking through the answers so far would take the square of their number, with thousands of endpoints
    /// longer than a client waits.
    pub(super) fn is_first(self, unit: &Unit, endpoint: &Endpoint) -> bool {
        let meant = |(group, other): &(&Group, &Endpoint)| {
            (self.endpoint.is_empty() || unit.is_called(other, self.endpoint, self.address))
                && self.ports(&group.ports).next().is_some()
                && self.is_in_zone(unit, other)
        };
        let first = unit.endpoints_at(endpoint.address).find(meant);
        first.is_some_and(|(_, first)| std::ptr::eq(first, endpoint))
    }

    /// The endpoints that are names, likewise.
    fn aliases(self, unit: &'a Unit) -> impl Iterator<Item = &'a Alias> {
        let groups = unit.groups.iter().filter(move |group| self.ports(&group.ports).next().is_some());
        let meant = move |alias: &&Alias| self.endpoint.is_empty() || *alias.name == *self.endpoint;
        groups.flat_map(|group| group.aliases.iter()).filter(meant)
    }

    /// The ports that are meant.
    pub(super) fn ports<'p>(self, ports: &'p [Port]) -> impl Iterator<Item = &'p Port> + use<'a, 'p> {
        ports.iter().filter(move |port| port.matches(self.port, self.protocol))
    }

    /// Whether the endpoint is in the topology zone that is meant.
    pub(super) fn is_in_zone(self, unit: &Unit, endpoint: &Endpoint) -> bool {
        if self.zone.is_empty() {
            return true;
        }
        let Some(mut rest) = unit.zone(endpoint) else { return false };
        for (i, label) in dns_wire::name::labels(self.zone).enumerate() {
            let dotted = if i == 0 { Some(rest) } else { rest.strip_prefix(b".") };
            let Some(after) = dotted.and_then(|rest| rest.strip_prefix(label)) else { return false };
            rest = after;
        }
        rest.is_empty()
    }
}

fn without_underscore(label: &[u8]) -> &[u8] {
    label.strip_prefix(b"_").unwrap_or(label)
}
