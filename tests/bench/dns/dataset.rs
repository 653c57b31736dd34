//! The Services of the benchmark, as manifests, as a zone file and as queries.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::Path;

use crate::dns::query::{QueryKind, TestQuery};
use crate::dns::service::Service;
use crate::testbed::write;

/// The Services that every server has records for.
pub(crate) struct Dataset {
    services: Vec<Service>,
}

impl Dataset {
    /// `count` Services, a hundred in each namespace.
    pub(crate) fn new(count: usize) -> Self {
        let service = |index: u32| Service {
            name: format!("web-{}", index % 100),
            namespace: format!("team-{}", index / 100),
            address: Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 1, 0)) + index),
            port: 8000 + (index % 1000) as u16,
        };
        Self { services: (0..count as u32).map(service).collect() }
    }

    /// All Services.
    pub(crate) fn services(&self) -> &[Service] {
        &self.services
    }

    /// One query for each Service, in an order in which neighbours in memory do not follow each other.
    pub(crate) fn queries(&self, kind: QueryKind) -> Vec<TestQuery> {
        let count = self.services.len();
        // A prime stride visits each Service once.
        (0..count)
            .map(|index| TestQuery::new(index as u16, kind, &self.services[index * 1009 % count]))
            .collect()
    }

    /// Writes a manifest file for each namespace, and one with the headless Services of [`HEADLESS`].
    pub(crate) fn manifests(&self, folder: &Path) -> Result<(), String> {
        write(&folder.join("headless.yaml"), &headless_manifests())?;
        for services in self.services.chunk_by(|one, other| one.namespace == other.namespace) {
            let namespace = &services[0].namespace;
            let mut text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
            for Service { name, address, port, .. } in services {
                let _ = write!(
                    text,
                    "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
                     spec:\n  clusterIP: {address}\n  clusterIPs: [{address}]\n  \
                     ports: [{{name: http, port: {port}, protocol: TCP}}]\n"
                );
            }
            write(&folder.join(format!("{namespace}.yaml")), &text)?;
        }
        Ok(())
    }

    /// A zone file with the same records.
    pub(crate) fn zone(&self) -> String {
        let mut text = "$ORIGIN cluster.local.\n$TTL 30\n\
            @ SOA ns.dns hostmaster 1 7200 1800 86400 30\n@ NS ns.dns\nns.dns A 10.96.0.10\n"
            .to_owned();
        for (name, addresses) in headless() {
            for address in addresses {
                let _ = writeln!(text, "{name}. A {address}");
            }
        }
        for service in &self.services {
            let Service { address, port, .. } = service;
            let host = service.host();
            let _ = writeln!(text, "{host}. A {address}\n_http._tcp.{host}. SRV 0 100 {port} {host}.");
        }
        text
    }
}

/// Number of headless Services, and of endpoints of each.
pub(crate) const HEADLESS: usize = 100;
pub(crate) const ENDPOINTS: u8 = 4;

/// The names and addresses of the headless Services.
pub(crate) fn headless() -> impl Iterator<Item = (String, Vec<Ipv4Addr>)> {
    (0..HEADLESS).map(|number| {
        let addresses = (1..=ENDPOINTS).map(|last| Ipv4Addr::new(10, 244, number as u8, last));
        (format!("db-{number}.team-0.svc.cluster.local"), addresses.collect())
    })
}

fn headless_manifests() -> String {
    let mut text = String::new();
    for (number, (_, addresses)) in headless().enumerate() {
        let endpoints: String =
            addresses.iter().map(|address| format!("- addresses: [{address}]\n")).collect();
        let _ = write!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: db-{number}, namespace: team-0}}\n\
             spec:\n  clusterIP: None\n  ports: [{{name: http, port: 80, protocol: TCP}}]\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
             metadata:\n  name: db-{number}\n  namespace: team-0\n  \
             labels: {{kubernetes.io/service-name: db-{number}}}\n\
             ports: [{{name: http, port: 80, protocol: TCP}}]\nendpoints:\n{endpoints}"
        );
    }
    text
}
