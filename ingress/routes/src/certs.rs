//! Certificates by server name.
//!
//! A host gets the Secret of the `tls` entry that lists it, in its first Ingress with a `tls` section; without such an
//! entry, any Secret of that Ingress whose certificate covers the host. If the Secret is missing, invalid or does not cover
//! the host, the default certificate is served. Expired certificates are served, as by nginx.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cluster::{CompactString, Ingress, Key, Kind, Kinds, ObjectChange, Projection, Secret, Snapshot};
use foldhash::fast::RandomState;
use rustls::sign::CertifiedKey;

pub use crate::certificate::CertificateInfo;
use crate::certificate::LoadedCertificate;
use crate::class::{Classes, is_canary};
use crate::options::RouteOptions;
use crate::precedence::{CATCH_ALL, host_error, host_key, host_name, precedence};
use crate::problem::{Effect, RoutingProblem};
use crate::sharded_map::ShardedMap;

/// The certificate of every host with a `tls` section, and the default one.
#[derive(Clone, Debug, PartialEq)]
pub struct Certs {
    classes: Arc<Classes>,
    /// By name, and by suffix with its dot for wildcards.
    hosts: ShardedMap<CompactString, Arc<HostCertificate>>,
    /// The Secrets that Ingresses refer to, whether they exist or not, and the hosts that use them.
    secrets: ShardedMap<Key, SecretUsers>,
    /// `--default-ssl-certificate`.
    default: Option<Result<Arc<LoadedCertificate>, String>>,
}

/// A host with its certificate.
#[derive(Clone, Debug, PartialEq)]
struct HostCertificate {
    /// Ingresses with a rule for the host and a `tls` section, by precedence. The first one determines the certificate.
    members: Box<[Arc<Ingress>]>,
    /// Its certificate; `None` for the default one.
    certificate: Option<Arc<LoadedCertificate>>,
    problem: Option<RoutingProblem>,
}

#[derive(Clone, Debug, PartialEq)]
struct SecretUsers {
    certificate: Option<Result<Arc<LoadedCertificate>, String>>,
    hosts: Box<[CompactString]>,
}

impl Certs {
    /// The certificate for a server name (lower case, without final dot): that of the exact name, of the wildcard
    /// above it, or the default. `None` for the self-signed certificate of the proxy. Hot: no allocation.
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let name = name.filter(|name| !name.starts_with('.') && !name.is_empty());
        let entry = name.and_then(|name| {
            let wildcard = || self.hosts.get(&name[name.find('.')?..]);
            self.hosts.get(name).or_else(wildcard)
        });
        match entry.and_then(|entry| entry.certificate.as_ref()) {
            Some(certificate) => Some(&certificate.key),
            None => Some(&self.default.as_ref()?.as_ref().ok()?.key),
        }
    }

    /// The certificate for a name of the host with a key: an alias, or the counterpart with or without `www.`. It is that of the host if
    /// it covers the name.
    pub fn find_for(&self, name: &str, host: &str) -> Option<&Arc<CertifiedKey>> {
        match self.covering(name, host) {
            Some(certificate) => Some(&certificate.key),
            None => self.find(Some(name)),
        }
    }

    /// Whether the certificate of a host covers another name.
    pub fn covers(&self, name: &str, host: &str) -> bool {
        self.covering(name, host).is_some()
    }

    fn covering(&self, name: &str, host: &str) -> Option<&Arc<LoadedCertificate>> {
        self.hosts.get(host)?.certificate.as_ref().filter(|certificate| certificate.covers(name))
    }

    /// The problems of the certificates that Ingresses refer to, at a time since the Unix epoch.
    pub fn problems(&self, now: Duration) -> Vec<RoutingProblem> {
        let mut invalid = HashSet::new();
        let mut problems = Vec::new();
        for (_, entry) in self.hosts.iter() {
            problems.extend(entry.problem.clone());
            let (Some(ingress), Some(certificate)) = (entry.members.first(), &entry.certificate) else {
                continue;
            };
            let secret = &certificate.secret.key;
            if let Some(what) = certificate.invalid_at(now)
                && invalid.insert((&ingress.key, secret))
            {
                let at = ingress.tls.iter().position(|tls| tls.secret == secret.name).unwrap_or_default();
                let field = format!("spec.tls[{at}]");
                problems.push(RoutingProblem::of_ingress(&ingress.key, field, what, Effect::Differs));
            }
        }
        problems
    }

    /// Whether the default certificate is the self-signed one: without `--default-ssl-certificate`, or if its Secret is not valid.
    pub fn default_is_self_signed(&self) -> bool {
        !matches!(self.default, Some(Ok(_)))
    }

    /// The problem of the Secret of `--default-ssl-certificate`, with its consequence.
    pub fn default_problem(&self, now: Duration) -> Option<String> {
        match self.default.as_ref()? {
            Ok(certificate) => certificate.invalid_at(now),
            Err(error) => Some(format!("{error}; the self-signed certificate is served")),
        }
    }

    /// Every certificate of a Secret in use: host (`_` for the default), Secret, and the fields of the certificate. For
    /// `ssl_expire_time_seconds` and `ssl_certificate_info`.
    pub fn in_use(&self) -> impl Iterator<Item = (CompactString, &Key, &CertificateInfo)> {
        let default = self
            .default
            .iter()
            .filter_map(|certificate| Some((host_name(&CATCH_ALL), certificate.as_ref().ok()?)));
        let hosts = self
            .hosts
            .iter()
            .filter_map(|(host, entry)| Some((host_name(host), entry.certificate.as_ref()?)));
        default.chain(hosts).map(|(host, certificate)| (host, &certificate.secret.key, &certificate.info))
    }
}

impl Certs {
    /// Every certificate of a Secret in use, once, with the Secret.
    pub fn keys(&self) -> impl Iterator<Item = (&Key, &Arc<CertifiedKey>)> {
        let default = self.default.iter().filter_map(|certificate| certificate.as_ref().ok());
        let hosts = self.hosts.iter().filter_map(|(_, entry)| entry.certificate.as_ref());
        let mut seen = HashSet::new();
        let is_new = move |certificate: &&Arc<LoadedCertificate>| seen.insert(Arc::as_ptr(certificate));
        default.chain(hosts).filter(is_new).map(|certificate| (&certificate.secret.key, &certificate.key))
    }
}

/// The projection that makes [`Certs`].
#[derive(Debug)]
pub struct CertIndex {
    options: RouteOptions,
}

impl CertIndex {
    /// A projection with the options of the command line.
    pub fn new(options: RouteOptions) -> Self {
        Self { options }
    }

    fn takes(&self, classes: &Classes, ingress: &Ingress) -> bool {
        let is_excluded = self.options.disable_catch_all && ingress.default_backend.is_some();
        !ingress.tls.is_empty()
            && !is_excluded
            && classes.take(ingress, &self.options)
            && !is_canary(ingress, &self.options.annotations_prefix)
    }

    /// The certificates after some Ingresses and Secrets changed.
    fn apply(&self, last: &Certs, cluster: &Snapshot, changes: CertChanges) -> Certs {
        let mut certs = last.clone();
        let mut hosts = changes.hosts;
        for key in &changes.secrets {
            let Some(named) = certs.secrets.get(key) else { continue };
            for host in &named.hosts {
                hosts.entry(host.clone()).or_default();
            }
            let named =
                SecretUsers { certificate: self.read(cluster, key, last), hosts: named.hosts.clone() };
            certs.secrets.insert(key.clone(), named);
        }
        if let Some(key) = &self.options.default_ssl_certificate
            && (certs.default.is_none() || changes.secrets.contains(key))
        {
            let missing = || Err(self.options.missing_secret(key));
            certs.default = Some(self.read(cluster, key, last).unwrap_or_else(missing));
        }
        for (host, added) in hosts {
            let known = last.hosts.get(&host).map(|entry| &*entry.members).unwrap_or_default();
            let unchanged = known.iter().filter(|known| !changes.ingresses.contains(&known.key));
            let mut members: Vec<_> = unchanged.cloned().chain(added).collect();
            members.sort_by(|one, other| precedence(one, other));
            self.watch(&mut certs, (cluster, last), &host, [known.first(), members.first()]);
            let entry = (!members.is_empty())
                .then(|| Arc::new(HostCertificate::new(&host, members, &certs.secrets, &self.options)));
            certs.hosts.set(host, entry);
        }
        certs
    }

    /// Reads a Secret, once for each version of it.
    fn read(
        &self,
        cluster: &Snapshot,
        key: &Key,
        last: &Certs,
    ) -> Option<Result<Arc<LoadedCertificate>, String>> {
        let secret = cluster.get::<Secret>(key)?;
        match last.secrets.get(key).and_then(|named| named.certificate.as_ref()) {
            Some(Ok(certificate)) if certificate.secret == *secret => Some(Ok(certificate.clone())),
            _ => Some(LoadedCertificate::new(secret).map(Arc::new)),
        }
    }

    /// Records the host as a user of the Secrets of its first Ingress, whether these exist or not.
    fn watch(
        &self,
        certs: &mut Certs,
        (cluster, last): (&Snapshot, &Certs),
        host: &CompactString,
        [old, new]: [Option<&Arc<Ingress>>; 2],
    ) {
        let [old, new] =
            [old, new].map(|ingress| ingress.map(|ingress| secrets(ingress)).unwrap_or_default());
        for key in old.iter().filter(|key| !new.contains(key)) {
            let Some(named) = certs.secrets.get(key) else { continue };
            let hosts: Box<[CompactString]> =
                named.hosts.iter().filter(|known| *known != host).cloned().collect();
            let left =
                (!hosts.is_empty()).then(|| SecretUsers { certificate: named.certificate.clone(), hosts });
            certs.secrets.set(key.clone(), left);
        }
        for key in new {
            let (certificate, mut hosts) = match certs.secrets.get(&key) {
                Some(named) => (named.certificate.clone(), named.hosts.to_vec()),
                None => (self.read(cluster, &key, last), Vec::new()),
            };
            if let Err(at) = hosts.binary_search(host) {
                hosts.insert(at, host.clone());
                certs.secrets.insert(key, SecretUsers { certificate, hosts: hosts.into() });
            }
        }
    }
}

/// Objects that a batch of changes touches.
#[derive(Default)]
struct CertChanges {
    /// Ingresses that were added, changed or removed.
    ingresses: HashSet<Key, RandomState>,
    /// Hosts of their old and new versions, with the new versions.
    hosts: HashMap<CompactString, Vec<Arc<Ingress>>, RandomState>,
    secrets: HashSet<Key, RandomState>,
}

impl CertChanges {
    fn add(&mut self, ingress: &Arc<Ingress>) {
        for host in hosts(ingress) {
            self.hosts.entry(host).or_default().push(ingress.clone());
        }
    }

    fn remove(&mut self, ingress: &Arc<Ingress>) {
        for host in hosts(ingress) {
            self.hosts.entry(host).or_default();
        }
    }
}

impl HostCertificate {
    fn new(
        host: &CompactString,
        members: Vec<Arc<Ingress>>,
        secrets: &ShardedMap<Key, SecretUsers>,
        options: &RouteOptions,
    ) -> Self {
        let (certificate, problem) = match members.first().map(|first| choose(host, first, secrets, options))
        {
            Some(Ok(certificate)) => (certificate, None),
            Some(Err(problem)) => (None, Some(problem)),
            None => (None, None),
        };
        Self { members: members.into(), certificate, problem }
    }
}

/// The certificate of a host by its first Ingress with a `tls` section. `Ok(None)` for the default one.
fn choose(
    key: &CompactString,
    ingress: &Ingress,
    secrets: &ShardedMap<Key, SecretUsers>,
    options: &RouteOptions,
) -> Result<Option<Arc<LoadedCertificate>>, RoutingProblem> {
    let host = host_name(key);
    let named =
        |secret: &CompactString| Key { namespace: ingress.key.namespace.clone(), name: secret.clone() };
    let certificate =
        |secret: &CompactString| secrets.get(&named(secret)).and_then(|named| named.certificate.as_ref());
    let listing = ingress
        .tls
        .iter()
        .enumerate()
        .find(|(_, tls)| tls.hosts.iter().any(|listed| listed.eq_ignore_ascii_case(&host)));
    let Some((at, tls)) = listing else {
        let mut all = ingress.tls.iter().filter_map(|tls| certificate(&tls.secret)?.as_ref().ok());
        return Ok(all.find(|certificate| certificate.covers(&host)).cloned());
    };
    if tls.secret.is_empty() {
        return Ok(None);
    }
    let what = match certificate(&tls.secret) {
        Some(Ok(certificate)) if certificate.covers(&host) => return Ok(Some(certificate.clone())),
        Some(Ok(certificate)) => {
            format!(
                "the certificate of Secret {} is for {}, not for {host}",
                named(&tls.secret),
                certificate.names()
            )
        }
        Some(Err(error)) => error.clone(),
        None => options.missing_secret(named(&tls.secret)),
    };
    let field = format!("spec.tls[{at}]");
    Err(RoutingProblem::of_ingress(&ingress.key, field, what, Effect::DefaultUsed))
}

/// Keys of the hosts that have rules. The catch-all always has the default certificate.
fn hosts(ingress: &Ingress) -> Vec<CompactString> {
    let rules = ingress.rules.iter().filter(|rule| host_error(&rule.host).is_none());
    let mut hosts: Vec<CompactString> = rules.map(|rule| host_key(&rule.host)).collect();
    hosts.retain(|host| *host != CATCH_ALL);
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

/// The Secrets that an Ingress refers to.
fn secrets(ingress: &Ingress) -> Vec<Key> {
    let names = ingress.tls.iter().map(|tls| &tls.secret).filter(|secret| !secret.is_empty());
    let namespace = &ingress.key.namespace;
    names.map(|name| Key { namespace: namespace.clone(), name: name.clone() }).collect()
}

impl Projection for CertIndex {
    type View = Certs;

    fn kinds(&self) -> Kinds {
        Kinds::of(&[Kind::Ingress, Kind::Secret]).union(Classes::kinds(&self.options))
    }

    fn build(&self, cluster: &Snapshot) -> Certs {
        let empty = Certs {
            classes: Arc::new(Classes::of(cluster, &self.options)),
            hosts: ShardedMap::default(),
            secrets: ShardedMap::default(),
            default: None,
        };
        let mut changes = CertChanges::default();
        let ours = cluster.iter::<Ingress>().filter(|ingress| self.takes(&empty.classes, ingress));
        ours.for_each(|ingress| changes.add(ingress));
        self.apply(&empty, cluster, changes)
    }

    fn advance(&self, last: &Certs, cluster: &Snapshot, touched: &[ObjectChange]) -> Certs {
        if last.classes.are_touched(touched, &self.options) {
            return self.build(cluster);
        }
        let mut changes = CertChanges::default();
        for one in touched {
            match one {
                ObjectChange::Secret(change) => {
                    changes.secrets.extend(change.sides().map(|secret| secret.key.clone()))
                }
                ObjectChange::Ingress(change) => {
                    let mut sides =
                        change.sides().filter(|ingress| self.takes(&last.classes, ingress)).peekable();
                    let Some(first) = sides.peek() else { continue };
                    changes.ingresses.insert(first.key.clone());
                    sides.for_each(|ingress| changes.remove(ingress));
                    let after = change.after.as_ref().filter(|ingress| self.takes(&last.classes, ingress));
                    after.into_iter().for_each(|ingress| changes.add(ingress));
                }
                _ => {}
            }
        }
        self.apply(last, cluster, changes)
    }
}

#[cfg(test)]
mod tests;
