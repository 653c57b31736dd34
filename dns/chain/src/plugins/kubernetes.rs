//! `kubernetes`: answers for the names of a cluster.
//!
//! The lookup is in `dns-zone`. Here are the options, `fallthrough` and the resolution of ExternalNames.

mod metadata;
mod options;
mod search;
mod views;
mod walk;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Kind;
use config::Directive;
use dns_wire::codes::{class, rcode, rtype};
use dns_wire::{Name, Reply, Section};
use dns_zone::{PodMode, Zone, ZoneVerdict};
use futures_util::future::BoxFuture;

use crate::cluster_names::ClusterNames;
use crate::metadata::MetadataOffer;
use crate::names::{OwnedZones, Zones};
use crate::notes::Notes;
use crate::plugin::{Answer, Flow, Plugin, QueryFailure, Runner};
use crate::request::{Purpose, Request};
use crate::search_path::{SearchPathOffer, search_list};
use crate::setup::{
    ApiConnection, ClusterSource, PluginContext, PluginEntry, PluginGuard, PluginInstances, Setup,
    SetupErrors,
};
use metadata::ClusterMetadata;
use options::KubernetesOptions;
use search::PodSearchPaths;
use views::{ZoneView, ZoneViews};
use walk::SearchWalk;

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "kubernetes",
    about: "answers for the names of a cluster",
    syntax: &[
        "kubernetes cluster.local",
        "kubernetes cluster.local in-addr.arpa ip6.arpa {\n    pods insecure\n    fallthrough in-addr.arpa ip6.arpa\n    ttl 30\n}",
        "kubernetes cluster.local 10.0.0.0/17 {\n    endpoint https://10.0.0.1:6443\n    tls cert.pem key.pem ca.pem\n    namespaces demo shop\n    labels environment in (production),tier!=test\n    pods verified\n    endpoint_pod_names\n    ignore empty_service\n    apiserver_qps 50\n    apiserver_burst 100\n    apiserver_max_inflight 20\n    startup_timeout 10s\n    fallthrough\n}",
        "kubernetes cluster.local {\n    kubeconfig /etc/kube/config admin@cluster\n    namespace_labels istio-injection=enabled\n    zonal\n}",
        "kubernetes cluster.local {\n    noendpoints\n}",
        "kubernetes cluster.local {\n    ndots 5\n}",
        "kubernetes cluster.local clusterset.local {\n    multicluster clusterset.local\n}",
    ],
    options: options::OPTIONS,
    early: false,
    metrics: |metrics| {
        walk::counts(metrics);
    },
    setup,
};

/// How often the start checks whether the cluster has been listed.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The search list of this host, which ends those of its Pods.
const RESOLV_CONF: &str = "/etc/resolv.conf";

struct Kubernetes {
    view: Arc<ZoneView>,
    /// The addresses of this host, for the name servers of the zone.
    own: Arc<[IpAddr]>,
    fallthrough: Option<Zones>,
    /// With `ndots`.
    walk: Option<SearchWalk>,
}

impl Plugin for Kubernetes {
    // Hot: 0 allocations.
    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        let reply = &mut answer.reply;
        // CoreDNS ignores the class and answers with records of class IN.
        if request.query.qclass != class::IN {
            return Flow::Next;
        }
        let zone = self.view.current.load();
        let verdict = zone.answer(&request.query, &self.own, reply);
        match self.flow(verdict, request, reply) {
            Flow::Done if self.walks(verdict, request, &zone) => Flow::Wait,
            flow => flow,
        }
    }

    /// Resolves the target of an ExternalName, or the other names of a search list, through the whole server.
    fn wait<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        Box::pin(async move {
            let reply = &mut answer.reply;
            let zone = self.view.current.load_full();
            let verdict = zone.answer(&request.query, &self.own, reply);
            if verdict != ZoneVerdict::Chase {
                // Without `ndots` the zone has changed since `query`.
                let flow = self.flow(verdict, request, reply);
                if let Some(walk) = self.walk.as_ref().filter(|_| flow == Flow::Done)
                    && self.walks(verdict, request, &zone)
                {
                    walk.follow(&zone, request, reply, runner).await;
                }
                return flow;
            }
            let cname = reply.section(Section::Answer).filter(|record| record.rtype == rtype::CNAME).last();
            let target = cname.and_then(|record| reply.target(record, &request.query));
            let mut found = Answer::default();
            let resolved = match &target {
                Some(target) => runner.resolve(request, target, request.query.qtype, &mut found).await,
                None => None,
            };
            match resolved {
                Some(query) => {
                    reply.append(&found.reply, &query);
                    reply.truncated |= found.reply.truncated;
                }
                None => {
                    reply.clear();
                    zone.nodata(&request.query, reply);
                }
            }
            Flow::Done
        })
    }

    /// Denies a name that a search list may have been appended to: the client then tries the others itself.
    fn overloaded(&self, request: &Request, answer: &mut Answer) -> bool {
        let zone = self.view.current.load();
        let verdict = zone.answer(&request.query, &self.own, &mut answer.reply);
        let walks = self.walks(verdict, request, &zone);
        if let Some(walk) = self.walk.as_ref().filter(|_| walks) {
            walk.refuse();
        }
        walks
    }

    fn in_memory(&self) -> bool {
        true
    }

    fn explain(&self, request: &Request, notes: &mut Notes) {
        let zone = self.view.current.load();
        for source in zone.describe(&request.query) {
            notes.say(source.text);
            notes.services.extend(source.service);
        }
        if !zone.synced() {
            notes.say("the cluster has not been listed completely: unknown names are answered with SERVFAIL");
        }
        if self.fallthrough.as_ref().is_some_and(|zones| zones.contain(&request.query)) {
            notes.say("names that do not exist go to the next plugin (fallthrough)");
        }
    }
}

impl Kubernetes {
    /// Whether the other names of a search list are tried after this verdict.
    // Hot: 0 allocations.
    fn walks(&self, verdict: ZoneVerdict, request: &Request, zone: &Zone) -> bool {
        let Some(walk) = &self.walk else { return false };
        verdict == ZoneVerdict::NameError
            && request.purpose == Purpose::Client
            && zone.searched(&request.query, walk.ndots).is_some()
    }

    /// The flow that follows from the verdict of the zone.
    // Hot: 0 allocations.
    fn flow(&self, verdict: ZoneVerdict, request: &Request, reply: &mut Reply) -> Flow {
        match verdict {
            ZoneVerdict::NotMine => Flow::Next,
            ZoneVerdict::Answered => Flow::Done,
            ZoneVerdict::NameError | ZoneVerdict::NotSynced => {
                let falls_through =
                    self.fallthrough.as_ref().is_some_and(|zones| zones.contain(&request.query));
                if falls_through {
                    reply.clear();
                    return Flow::Next;
                }
                Flow::Done
            }
            ZoneVerdict::Chase => Flow::Wait,
            ZoneVerdict::Refused => Flow::Fail(QueryFailure::silent(rcode::REFUSED)),
        }
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    let KubernetesOptions { zone, connection, fallthrough, startup_timeout, ndots } =
        options::read(setup, directive)?;
    let walk = ndots.map(|ndots| SearchWalk::new(ndots, zone.ttl, &setup.context.metrics));
    setup.offer(Arc::new(OwnedZones::new(&zone.zones, fallthrough.as_ref())));
    let is_verified = zone.pods == PodMode::Verified;
    let is_reverse = |zone: &&Name| zone.to_string().ends_with(".arpa.");
    let zones = |zones: &[Name]| {
        let texts: Vec<String> = zones.iter().map(ToString::to_string).collect();
        Zones::new(texts.iter().map(String::as_str))
    };
    let (multicluster, zonal) = (zones(&zone.multicluster), zone.zonal);
    let names = ClusterMetadata { zones: zones(&zone.zones), multicluster, zonal, pods: None };
    let primary = zone.zones.iter().find(|zone| !is_reverse(zone)).copied().unwrap_or(Name::ROOT);
    let PluginContext { cluster, shared, .. } = setup.context;
    let view = shared.get::<ZoneViews>().of(&**cluster, zone, connection.clone());
    let view = view.map_err(|why| {
        // The error begins with the name of the property that causes it: `kubeconfig FILE: …`.
        let name = why.split([' ', ':']).next().unwrap_or_default();
        vec![directive.property(name).error(format!("kubernetes: {why}"), "")]
    })?;
    offer(setup, directive, &connection, (names, primary, is_verified))?;
    let PluginContext { cluster, .. } = setup.context;
    let (gates, cluster, current) = (setup.context.gates.clone(), cluster.clone(), view.current.clone());
    let complete = move |cluster: &dyn ClusterSource, connection: &ApiConnection| {
        let zone = current.load();
        // If RBAC forbids listing ServiceImports, their names are answered with SERVFAIL; other names do not wait for them.
        zone.synced() || zone.synced_locally() && cluster.refused(connection).contains(Kind::ServiceImport)
    };
    setup.on_start(move || async move {
        cluster.limit(&connection);
        let gate = gates.gate("kubernetes");
        let started = Instant::now();
        let (mut logged, opened) = (started, gate.clone());
        while !complete(&*cluster, &connection) {
            if started.elapsed() >= startup_timeout {
                tracing::warn!(
                    target: "plugin/kubernetes",
                    "starting server with unsynced Kubernetes API: its names are answered with SERVFAIL until it is synced"
                );
                break;
            }
            if logged.elapsed() >= POLL_INTERVAL * 5 {
                tracing::info!(target: "plugin/kubernetes", "waiting for Kubernetes API before starting server");
                logged = Instant::now();
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        if complete(&*cluster, &connection) {
            gate.open();
        }
        let task = tokio::spawn(async move {
            while !complete(&*cluster, &connection) {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            opened.open();
        });
        Ok(Box::new((gate, super::Task(task))) as PluginGuard)
    });
    let own: Arc<[IpAddr]> = setup.own_addresses().into();
    if setup.is_wanted::<ClusterNames>() {
        setup.offer(Arc::new(ClusterNames { zone: view.current.clone(), own: own.clone() }));
    }
    Ok(vec![Arc::new(Kubernetes { view, own, fallthrough, walk })])
}

/// Offers what is known about names and clients to `metadata` and `autopath`, where the server block has them.
fn offer(
    setup: &mut Setup<'_>,
    directive: &Directive,
    connection: &ApiConnection,
    (names, primary, is_verified): (ClusterMetadata, Name, bool),
) -> Result<(), SetupErrors> {
    let (metadata, search) = (setup.is_wanted::<MetadataOffer>(), setup.is_wanted::<SearchPathOffer>());
    let mut pods = None;
    if is_verified && (metadata || search) {
        let view = setup.context.cluster.pods(connection);
        pods = Some(view.map_err(|why| vec![directive.error(format!("kubernetes: {why}"), "")])?);
    }
    if metadata {
        let source = ClusterMetadata { pods: pods.clone(), ..names };
        setup.offer(Arc::new(MetadataOffer(Arc::new(source))));
    }
    if let Some(pods) = pods.filter(|_| search) {
        let host = std::fs::read_to_string(RESOLV_CONF).map(|text| search_list(&text)).unwrap_or_default();
        let paths = PodSearchPaths { pods, zone: primary, host };
        setup.offer(Arc::new(SearchPathOffer("kubernetes", Arc::new(paths))));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
