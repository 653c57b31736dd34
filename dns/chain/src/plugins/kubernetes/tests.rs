use std::sync::{Mutex, PoisonError};

use cluster::{Cache, Current, Event, Key, Namespace, Object, ServiceKind};
use dns_wire::Query;
use dns_zone::{NodeIndex, NodeNames, PodIndex, PodNamespaces, Zone, ZoneIndex, ZoneOptions};
use futures_util::FutureExt;

use super::*;
use crate::request::Transport;
use crate::testing::NoRunner;

#[derive(Default)]
struct FakeCluster(Mutex<Cache>);

impl ClusterSource for FakeCluster {
    fn project(&self, zone: ZoneIndex, _: &ApiConnection) -> Result<Current<Zone>, String> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).project(zone))
    }

    fn nodes(&self, _: &ApiConnection) -> Result<Current<NodeNames>, String> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).project(NodeIndex))
    }

    fn pods(&self, _: &ApiConnection) -> Result<Current<PodNamespaces>, String> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).project(PodIndex))
    }
}

#[test]
fn a_name_that_is_deleted_while_its_query_waits_falls_through() {
    for (fallthrough, flow, code) in
        [(Some(Zones::new(["."])), Flow::Next, rcode::NOERROR), (None, Flow::Done, rcode::NXDOMAIN)]
    {
        let cluster = FakeCluster::default();
        let key = Key::new("default", "ext");
        let kind = ServiceKind::ExternalName("www.example.org".into());
        let service = Arc::new(cluster::Service {
            key: key.clone(),
            kind,
            ports: Default::default(),
            external: Box::default(),
            prefers_own_zone: false,
        });
        let namespace = Arc::new(Namespace { key: Key::cluster("default"), labels: Default::default() });
        let mut events =
            vec![Event::Apply(Object::Namespace(namespace)), Event::Apply(Object::Service(service))];
        events.extend(Kind::ALL.map(Event::Synced));
        cluster.0.lock().unwrap().apply(events, 1);
        let zone = ZoneOptions::new(vec!["cluster.local.".parse().unwrap()]);
        let view = ZoneViews::default().of(&cluster, zone, ApiConnection::default()).unwrap();
        let plugin = Kubernetes { view, own: Arc::default(), fallthrough, walk: None };

        let mut request = Request::new(Transport::Udp, ([127, 0, 0, 1], 53).into());
        request.query = Query::new(1, &"ext.default.svc.cluster.local.".parse().unwrap(), rtype::A);
        let mut answer = Answer::default();
        assert_eq!(plugin.query(&mut request, &mut answer), Flow::Wait);
        cluster.0.lock().unwrap().apply(vec![Event::Remove(Kind::Service, key)], 2);
        let waited = plugin.wait(&mut request, &mut answer, &NoRunner).now_or_never();
        assert_eq!((waited, answer.reply.rcode), (Some(flow), code));
    }
}

#[test]
fn with_too_many_waiting_queries_a_search_list_is_not_followed() {
    let cluster = FakeCluster::default();
    let namespace = Arc::new(Namespace { key: Key::cluster("shop"), labels: Default::default() });
    let events = [Event::Apply(Object::Namespace(namespace))].into_iter().chain(Kind::ALL.map(Event::Synced));
    cluster.0.lock().unwrap().apply(events, 1);
    let zone = ZoneOptions::new(vec!["cluster.local.".parse().unwrap()]);
    let view = ZoneViews::default().of(&cluster, zone, ApiConnection::default()).unwrap();
    let metrics = telemetry::metrics::Registry::new();
    let walk = Some(SearchWalk::new(5, 5, &metrics));
    let plugin = Kubernetes { view, own: Arc::default(), fallthrough: None, walk };
    for (name, flow, is_denied) in [
        ("example.org.shop.svc.cluster.local.", Flow::Wait, true),
        ("example.shop.svc.cluster.local.", Flow::Done, false),
    ] {
        let mut request = Request::new(Transport::Udp, ([127, 0, 0, 1], 53).into());
        request.query = Query::new(1, &name.parse().unwrap(), rtype::A);
        let mut answer = Answer::default();
        assert_eq!(plugin.query(&mut request, &mut answer), flow, "{name}");
        assert_eq!(plugin.overloaded(&request, &mut answer), is_denied, "{name}");
        assert_eq!(answer.reply.rcode, rcode::NXDOMAIN, "{name}");
        // Nor is it for a name that another plugin resolves.
        request.purpose = Purpose::Resolve(1);
        assert_eq!(plugin.query(&mut request, &mut answer), Flow::Done, "{name}");
    }
    assert!(metrics.text().contains("portolan_kubernetes_ndots_total{result=\"overloaded\"} 1"));
}
