//! The object that a queried name belongs to, for explanations.

use dns_wire::Query;
use dns_wire::codes::rtype;

use super::resolved::{QuestionName, ResolvedName};
use crate::address::reversed;
use crate::options::PodMode;
use crate::records::{ServiceRecords, ServiceShape};
use crate::zone::{Zone, service};

/// The objects that a name refers to, or why it does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameSource {
    /// A sentence.
    pub text: String,
    /// Namespace and name of the Service or ServiceImport that the records come from.
    pub service: Option<(String, String)>,
}

impl Zone {
    /// The objects that decide over the answer to a query. Empty outside of the zones.
    pub fn describe(&self, query: &Query) -> Vec<NameSource> {
        let Some(origin) = self.plan.origin(query) else { return Vec::new() };
        if query.qtype == rtype::PTR
            && let Some(address) = reversed(query)
        {
            // A Service that has it as an external IP is a candidate too, and has no PTR record in these zones.
            let found = self.pointed(address).filter_map(|service| {
                let what = match () {
                    () if service.endpoints_at(address).next().is_some() => "an endpoint",
                    () if service.has_cluster_ip(address) => "a cluster IP",
                    () => return None,
                };
                Some(of(service, format!("{address} is {what} of Service {}", shown(service))))
            });
            let found: Vec<_> = found.collect();
            return if found.is_empty() {
                vec![plain(format!("no Service and no endpoint has the address {address}"))]
            } else {
                found
            };
        }
        let question = QuestionName::new(query, origin);
        let kind = if origin.multicluster { "ServiceImport" } else { "Service" };
        vec![match self.resolve(&question) {
            ResolvedName::Apex => plain("the zone itself"),
            ResolvedName::Empty => plain("names exist below this one, and it has no records"),
            ResolvedName::Servers => plain("the addresses of this server"),
            ResolvedName::Version => plain("the version of the DNS specification"),
            ResolvedName::Pod(address) => plain(match self.plan.options.pods {
                PodMode::Verified => {
                    format!("a Pod of the namespace has the address {address} (pods verified)")
                }
                _ => format!(
                    "the name has the address {address} of a Pod, which is not checked (pods insecure)"
                ),
            }),
            ResolvedName::Service(service, _) => of(service, self.of_service(kind, service)),
            ResolvedName::Endpoints(service, _) => {
                of(service, format!("endpoints of {kind} {} that the name selects", shown(service)))
            }
            ResolvedName::External(_) => match self.named(&question) {
                Some(service) => of(
                    service,
                    format!(
                        "{kind} {} of type ExternalName (or an endpoint that is a name): a CNAME",
                        shown(service)
                    ),
                ),
                None => plain("a CNAME"),
            },
            ResolvedName::Nothing => self.missing(kind, &question),
        }]
    }

    fn of_service(&self, kind: &str, service: &ServiceRecords) -> String {
        match service.shape {
            ServiceShape::Headless => {
                format!("headless {kind} {}: the addresses of its ready endpoints", shown(service))
            }
            _ => format!("{kind} {}: its cluster IPs", shown(service)),
        }
    }

    /// The Service that a name below `svc` names.
    fn named<'a>(&'a self, question: &QuestionName<'a>) -> Option<&'a ServiceRecords> {
        let left = question.left.checked_sub(3)?;
        let key = &question.query.lower()[question.start(left)..question.start(left + 2)];
        let services = if question.origin.multicluster { &self.imports } else { &self.services };
        service(services, key)
    }

    /// Why a name does not exist.
    fn missing(&self, kind: &str, question: &QuestionName<'_>) -> NameSource {
        let left = question.left;
        let label = |from_zone: usize| {
            left.checked_sub(from_zone)
                .map_or("", |at| std::str::from_utf8(question.label(at)).unwrap_or("?"))
        };
        let (branch, namespace, name) = (label(1), label(2), label(3));
        if question.origin.reverse {
            return plain("a reverse zone has only addresses");
        }
        if !matches!(branch, "svc" | "pod") {
            return plain("the zone has only names that end in NAMESPACE.svc or NAMESPACE.pod");
        }
        if !self.has_namespace(namespace.as_bytes()) {
            return plain(format!("there is no namespace {namespace}, or it is not served"));
        }
        if branch == "pod" {
            let mode = self.plan.options.pods;
            return plain(format!("no Pod of namespace {namespace} has this name (pods {mode:?})"));
        }
        let Some(found) = self.named(question) else {
            return plain(format!("there is no {kind} {namespace}/{name}"));
        };
        of(
            found,
            match &found.shape {
                ServiceShape::Missing => {
                    format!("there is no {kind} {namespace}/{name}, only EndpointSlices of that name")
                }
                _ if !found.served => format!("{kind} {namespace}/{name} is not served with these options"),
                ServiceShape::Headless if found.endpoints().next().is_none() => {
                    format!("headless {kind} {namespace}/{name} has no ready endpoint")
                }
                _ => format!("{kind} {namespace}/{name} has no port or endpoint of this name"),
            },
        )
    }
}

fn plain(text: impl Into<String>) -> NameSource {
    NameSource { text: text.into(), service: None }
}

fn of(service: &ServiceRecords, text: String) -> NameSource {
    NameSource { text, service: Some(key(service)) }
}

/// `namespace/name`.
fn shown(service: &ServiceRecords) -> String {
    let (namespace, name) = key(service);
    format!("{namespace}/{name}")
}

/// Namespace and name, from the two labels of the key.
fn key(service: &ServiceRecords) -> (String, String) {
    let text = |label: Option<&[u8]>| String::from_utf8_lossy(label.unwrap_or_default()).into_owned();
    let mut labels = dns_wire::name::labels(&service.key);
    let name = text(labels.next());
    (text(labels.next()), name)
}
