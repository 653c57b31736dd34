//! `ndots` of `kubernetes`: search lists of Pods that the server follows.
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

mod support;

use std::sync::Arc;

use cluster::{Event, Key, Kind, Namespace, Object, Service, ServiceKind};
use dns_chain::codes::Rcode;
use dns_wire::Section;
use support::{Question, TestRoutes, parsed, routes};

/// Other names: `example.org` has an IPv4 address; `broken.test` fails; nothing else exists.
const NEXT: &str = "template IN A example.org {\nanswer \"{{ .Name }} 60 IN A 192.0.2.1\"\n}
template IN ANY example.org {\nauthority \"example.org. 60 IN SOA ns. mail. 1 2 3 4 5\"\n}
template ANY ANY broken.test {\nrcode SERVFAIL\n}";

/// Namespaces `shop` and `other`, with the Service `web` in each, listed completely.
async fn served(options: &str, next: &str) -> TestRoutes {
    let text = format!(
        ".:53 {{\nkubernetes cluster.local {{\nstartup_timeout 1ms\nttl 30\n{options}\n}}\n{NEXT}\n{next}\n}}"
    );
    let served = routes(&text).await.unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    let mut events = Vec::new();
    for namespace in ["shop", "other"] {
        let object = Namespace { key: Key::cluster(namespace), labels: Vec::new() };
        events.push(Event::Apply(Object::Namespace(Arc::new(object))));
        let kind = ServiceKind::ClusterIp(["10.96.0.1".parse().unwrap()].into_iter().collect());
        let (key, external) = (Key::new(namespace, "web"), Box::default());
        let service = Service { key, kind, ports: Default::default(), external, prefers_own_zone: false };
        events.push(Event::Apply(Object::Service(Arc::new(service))));
    }
    events.extend(Kind::ALL.map(Event::Synced));
    served.cluster.cache.lock().unwrap().apply(events, 1);
    served
}

const DENIAL: &str =
    "cluster.local. 30 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30";

async fn check(served: &TestRoutes, name: &str, qtype: &str, code: &str, sections: [&[&str]; 2]) {
    let received = served.ask(&Question::new(name, qtype)).await;
    assert_eq!(Rcode(received.reply.rcode).to_string(), code, "{name} {qtype} {}", received.why);
    for (section, wanted) in [Section::Answer, Section::Authority].into_iter().zip(sections) {
        assert_eq!(received.records(section), parsed(wanted), "{name} {qtype} {section:?}");
    }
}

#[tokio::test]
async fn the_first_query_of_a_search_list_is_answered_with_its_end() {
    let served = served("ndots", "").await;
    for (name, qtype, answers, authority) in [
        // Outside of the cluster.
        (
            "Example.org.shop.svc.cluster.local.",
            "A",
            &[
                "example.org.shop.svc.cluster.local. 30 IN CNAME example.org.",
                "example.org. 60 IN A 192.0.2.1",
            ][..],
            &[][..],
        ),
        // A name that exists with another type is no name that does not exist.
        (
            "example.org.shop.svc.cluster.local.",
            "AAAA",
            &["example.org.shop.svc.cluster.local. 30 IN CNAME example.org."],
            &["example.org. 60 IN SOA ns. mail. 1 2 3 4 5"],
        ),
        // A Service of another namespace, and its complete name.
        (
            "web.other.shop.svc.cluster.local.",
            "A",
            &[
                "web.other.shop.svc.cluster.local. 30 IN CNAME web.other.svc.cluster.local.",
                "web.other.svc.cluster.local. 30 IN A 10.96.0.1",
            ],
            &[],
        ),
        (
            "web.other.svc.cluster.local.shop.svc.cluster.local.",
            "A",
            &[
                "web.other.svc.cluster.local.shop.svc.cluster.local. 30 IN CNAME web.other.svc.cluster.local.",
                "web.other.svc.cluster.local. 30 IN A 10.96.0.1",
            ],
            &[],
        ),
        // What exists is answered as ever.
        ("web.shop.svc.cluster.local.", "A", &["web.shop.svc.cluster.local. 30 IN A 10.96.0.1"], &[]),
    ] {
        check(&served, name, qtype, "NOERROR", [answers, authority]).await;
    }
    let counted = served.metrics.text();
    assert!(counted.contains("portolan_kubernetes_ndots_total{result=\"answered\"} 4"), "{counted}");
}

#[tokio::test]
async fn what_is_not_found_stays_denied_by_the_cluster() {
    let served = served("ndots 3", "").await;
    for name in [
        // No name of the list exists, or its server fails.
        "missing.test.shop.svc.cluster.local.",
        "broken.test.shop.svc.cluster.local.",
        // A Service, an endpoint and a port that do not exist.
        "example.shop.svc.cluster.local.",
        "org.web.shop.svc.cluster.local.",
        "_http._tcp.web.shop.svc.cluster.local.",
        // Not the first name of a list.
        "example.org.svc.cluster.local.",
        "example.org.cluster.local.",
        "example.org.nowhere.svc.cluster.local.",
        // With three dots the list is not used.
        "a.b.example.org.shop.svc.cluster.local.",
    ] {
        check(&served, name, "A", "NXDOMAIN", [&[], &[DENIAL]]).await;
    }
    let counted = served.metrics.text();
    assert!(counted.contains("portolan_kubernetes_ndots_total{result=\"denied\"} 2"), "{counted}");
}

#[tokio::test]
async fn without_the_option_and_where_names_fall_through_no_list_is_followed() {
    let name = "example.org.shop.svc.cluster.local.";
    let off = served("", "").await;
    check(&off, name, "A", "NXDOMAIN", [&[], &[DENIAL]]).await;
    let falls = served("ndots\nfallthrough", "whoami").await;
    check(&falls, name, "A", "NOERROR", [&[], &[]]).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_upstream_delays_a_denial_by_two_seconds_only() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let served = served("ndots", &format!("forward . {}", silent.local_addr().unwrap())).await;
    let started = tokio::time::Instant::now();
    check(&served, "missing.test.shop.svc.cluster.local.", "A", "NXDOMAIN", [&[], &[DENIAL]]).await;
    let took = started.elapsed();
    assert!((2.0..2.5).contains(&took.as_secs_f64()), "{took:?}");
}
