//! The search lists of Pods, for `autopath`.

use cluster::Current;
use dns_wire::Name;
use dns_zone::PodNamespaces;

use crate::request::Request;
use crate::search_path::SearchPaths;

/// The search lists of the Pods of a cluster, as the kubelet writes them.
pub(super) struct PodSearchPaths {
    pub pods: Current<PodNamespaces>,
    /// The first zone that is no reverse zone.
    pub zone: Name,
    /// The search list of this host.
    pub host: Vec<Name>,
}

impl SearchPaths for PodSearchPaths {
    fn search_path(&self, request: &Request) -> Option<Vec<Name>> {
        let pods = self.pods.load();
        let namespace = pods.namespace_of(request.client.ip())?;
        let below = |labels: &str| format!("{labels}.{}", self.zone).parse::<Name>().ok().map(Name::lower);
        let own = [below(&format!("{namespace}.svc"))?, below("svc")?, self.zone];
        Some(own.into_iter().chain(self.host.iter().copied()).collect())
    }

    // Hot: 0 allocations.
    fn is_below_first(&self, request: &Request) -> bool {
        let pods = self.pods.load();
        let Some(namespace) = pods.namespace_of(request.client.ip()) else { return false };
        let name = request.query.lower();
        request.query.offsets().iter().skip(1).any(|offset| {
            let rest = name[usize::from(*offset)..].strip_prefix(&[namespace.len() as u8]);
            let rest = rest.and_then(|rest| rest.strip_prefix(namespace.as_bytes()));
            let zone = rest.and_then(|rest| rest.strip_prefix(b"\x03svc"));
            zone.is_some_and(|zone| zone.eq_ignore_ascii_case(self.zone.wire()))
        })
    }
}
