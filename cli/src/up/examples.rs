//! Chooses the Service and the Ingress rules of the example commands that `portolan up` prints.

use cluster::{Ingress, Key, Service, ServiceKind, Snapshot};
use config::Corefile;
use ingress_proxy::ProxyViews;

/// The names in the example commands.
pub struct Examples {
    /// The fully qualified name of a Service.
    pub name: String,
    /// A rule of an Ingress without TLS; `None` if no Ingress is served.
    pub plain: Option<Url>,
    /// A rule of an Ingress with TLS; `None` if no Ingress is served.
    pub tls: Option<Url>,
}

/// Host and path of a rule that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub host: String,
    pub path: String,
}

impl Examples {
    /// Chooses from the objects that are served now.
    pub fn of(cluster: &Snapshot, views: &ProxyViews, zone: &str) -> Self {
        let mut services: Vec<_> = cluster.iter::<Service>().collect();
        // Prefer Services with a cluster IP, and those outside the namespaces that every cluster has.
        services.sort_by_key(|service| {
            let plain = matches!(&service.kind, ServiceKind::ClusterIp(ips) if !ips.is_empty());
            let system = matches!(service.key.namespace.as_str(), "default" | "kube-system");
            (!plain, system, service.key.clone())
        });
        let first = services.first().map(|service| service.key.clone());
        let first = first.unwrap_or_else(|| Key::new("default", "kubernetes"));
        let (plain, tls) = (url(cluster, views, false), url(cluster, views, true));
        Self {
            name: format!("{}.{}.svc.{zone}", first.name, first.namespace),
            plain: plain.clone().or(tls.clone()),
            tls: tls.or(plain),
        }
    }
}

/// The zone of Services: the first zone of a `kubernetes` plugin that is not a reverse zone.
pub fn zone(corefile: &Corefile) -> Option<String> {
    let blocks = corefile.blocks.iter();
    let mut zones = blocks.flat_map(|block| {
        let plugin = block.directives.iter().find(|directive| *directive.name == *"kubernetes");
        let own = block.keys.iter().map(|key| key.zone.to_string());
        let named = plugin.map(|plugin| plugin.args.iter().map(|word| word.text.clone()).collect::<Vec<_>>());
        match named {
            Some(named) if named.is_empty() => own.collect(),
            named => named.unwrap_or_default(),
        }
    });
    let zone = zones.find(|zone| !zone.trim_end_matches('.').ends_with(".arpa") && !zone.contains('/'))?;
    Some(zone.trim_end_matches('.').to_owned())
}

/// The first rule that is served from its own Ingress (an Ingress of another class is not served, and an older Ingress may have
/// the same rule). Rules with endpoints are preferred.
fn url(cluster: &Snapshot, views: &ProxyViews, tls: bool) -> Option<Url> {
    let (table, pools) = (views.table.load(), views.pools.load());
    let mut ingresses: Vec<_> = cluster.iter::<Ingress>().filter(|it| it.tls.is_empty() != tls).collect();
    ingresses.sort_by_key(|ingress| ingress.key.clone());
    let rules = ingresses.iter().flat_map(|ingress| ingress.rules.iter().map(move |rule| (ingress, rule)));
    let paths = rules.flat_map(|(ingress, rule)| rule.paths.iter().map(move |path| (ingress, rule, path)));
    let mut served: Vec<(bool, Url)> = paths
        .filter(|(_, rule, _)| !rule.host.is_empty() && !rule.host.starts_with('*'))
        .filter_map(|(ingress, rule, path)| {
            let path = if path.path.starts_with('/') { path.path.as_str() } else { "/" };
            let route = table.find(&rule.host, path).route();
            let upstream =
                route.upstream.as_ref().filter(|_| route.ingress.as_ref() == Some(&ingress.key))?;
            let pool = pools.get(&upstream.primary.pool);
            let empty = pool.is_none_or(|pool| pool.is_empty()) || route.denied.is_some();
            Some((empty, Url { host: rule.host.to_string(), path: path.to_owned() }))
        })
        .collect();
    served.sort_by_key(|(empty, _)| *empty);
    served.into_iter().next().map(|(_, url)| url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_is_that_of_the_first_kubernetes_block() {
        for (text, zone_of) in [
            (".:53 {\n kubernetes in-addr.arpa k8s.example {\n }\n}", Some("k8s.example")),
            ("example.org {\n}\nk8s.example:53 10.0.0.0/8 {\n kubernetes\n}", Some("k8s.example")),
            (".:53 {\n whoami\n}", None),
        ] {
            let corefile = Corefile::parse("Corefile", text, &config::Disk, &config::ParseOptions::default())
                .expect("the Corefile is valid");
            assert_eq!(zone(&corefile).as_deref(), zone_of, "{text}");
        }
    }
}
