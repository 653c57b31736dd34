//! `k8s_external` in a chain: its options, `fallthrough`, and load balancers that have names.
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

mod support;

use std::sync::Arc;

use cluster::{Event, Key, Kind, Namespace, Object, Protocol, Service, ServiceKind, ServicePort};
use dns_chain::codes::Rcode;
use dns_wire::Section;
use support::{Question, TestRoutes, build, parsed, routes};

/// The other names of the server: load balancers, names without a reply, and all others.
const NEXT: &str = "acl silent {\ndrop\n}
template IN A lb.example.net {\nanswer \"{{ .Name }} 60 IN A 192.0.2.99\"\n}
template IN AAAA lb.example.net {\nanswer \"{{ .Name }} 60 IN AAAA 2001:db8::99\"\n}
template ANY ANY nowhere.example.net {\nrcode NXDOMAIN\n}
whoami";

/// A served Corefile with the Services of `shop`: their names and external addresses.
async fn served(lines: &str, services: &[(&str, &[&str])]) -> TestRoutes {
    let text =
        format!(".:53 {{\nkubernetes cluster.local {{\nstartup_timeout 1ms\nttl 30\n}}\n{lines}\n{NEXT}\n}}");
    let served = routes(&text).await.unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    let namespace = Namespace { key: Key::cluster("shop"), labels: Vec::new() };
    let mut events = vec![Event::Apply(Object::Namespace(Arc::new(namespace)))];
    for (name, external) in services {
        let port =
            ServicePort { name: "http".into(), protocol: Protocol::Tcp, port: 80, target: "80".into() };
        let service = Service {
            key: Key::new("shop", *name),
            kind: ServiceKind::ClusterIp(Default::default()),
            ports: [port].into_iter().collect(),
            external: external.iter().map(|target| (*target).into()).collect(),
            prefers_own_zone: false,
        };
        events.push(Event::Apply(Object::Service(Arc::new(service))));
    }
    served.cluster.cache.lock().unwrap().apply(events, 1);
    served
}

async fn check(served: &TestRoutes, name: &str, qtype: &str, code: &str, sections: [&[&str]; 3]) {
    let received = served.ask(&Question::new(name, qtype)).await;
    assert_eq!(Rcode(received.reply.rcode).to_string(), code, "{name} {qtype} {}", received.why);
    for (section, wanted) in
        [Section::Answer, Section::Authority, Section::Additional].into_iter().zip(sections)
    {
        assert_eq!(received.records(section), parsed(wanted), "{name} {qtype} {section:?}");
    }
}

fn listed(served: &TestRoutes) {
    served.cluster.cache.lock().unwrap().apply(Kind::ALL.map(Event::Synced), 1);
}

#[tokio::test]
async fn the_names_of_load_balancers_are_resolved_through_the_server() {
    let services: &[(&str, &[&str])] =
        &[("web", &["lb.example.net"]), ("lost", &["nowhere.example.net"]), ("quiet", &["lb.silent"])];
    let served = served("k8s_external example.org", services).await;
    listed(&served);
    let alias = "web.shop.example.org. 30 IN CNAME lb.example.net.";
    let a = "lb.example.net. 60 IN A 192.0.2.99";
    let aaaa = "lb.example.net. 60 IN AAAA 2001:db8::99";
    let srv = "web.shop.example.org. 30 IN SRV 0 100 80 lb.example.net.";
    check(&served, "web.shop.example.org.", "A", "NOERROR", [&[alias, a], &[], &[]]).await;
    check(&served, "web.shop.example.org.", "AAAA", "NOERROR", [&[alias, aaaa], &[], &[]]).await;
    check(&served, "web.shop.example.org.", "SRV", "NOERROR", [&[srv], &[], &[a, aaaa]]).await;
    let alias = "lost.shop.example.org. 30 IN CNAME nowhere.example.net.";
    check(&served, "lost.shop.example.org.", "A", "NOERROR", [&[alias], &[], &[]]).await;
    let alias = "quiet.shop.example.org. 30 IN CNAME lb.silent.";
    check(&served, "quiet.shop.example.org.", "A", "NOERROR", [&[alias], &[], &[]]).await;
}

#[tokio::test]
async fn no_more_names_of_load_balancers_are_resolved_than_allowed() {
    let names: Vec<String> = (0..40).map(|n| format!("{n}.lb.example.net")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let served = served("k8s_external example.org", &[("web", &names)]).await;
    listed(&served);
    let received = served.ask(&Question::new("web.shop.example.org.", "SRV")).await;
    assert_eq!(received.reply.section(Section::Answer).count(), 40);
    assert_eq!(received.reply.section(Section::Additional).count(), 2 * 16);
}

#[tokio::test]
async fn names_that_do_not_exist_may_fall_through() {
    let soa =
        "example.org. 60 IN SOA ns1.edge.example.org. hostmaster.edge.example.org. 1 7200 1800 86400 60";
    let options = "k8s_external example.org {\napex edge\nttl 60\nheadless\n";
    let strict = served(&format!("{options}}}"), &[("web", &["192.0.2.1"])]).await;
    let loose = served(&format!("{options}fallthrough\n}}"), &[("web", &["192.0.2.1"])]).await;
    // No name is denied before the cluster has been listed.
    let early = strict.ask(&Question::new("new.shop.example.org.", "A")).await;
    assert_eq!(Rcode(early.reply.rcode).to_string(), "SERVFAIL");
    listed(&strict);
    listed(&loose);
    check(
        &strict,
        "web.shop.example.org.",
        "A",
        "NOERROR",
        [&["web.shop.example.org. 60 IN A 192.0.2.1"], &[], &[]],
    )
    .await;
    check(&strict, "new.shop.example.org.", "A", "NXDOMAIN", [&[], &[soa], &[]]).await;
    let next = loose.ask(&Question::new("new.shop.example.org.", "A")).await;
    assert_eq!(next.records(Section::Additional).len(), 2, "whoami");
    check(&loose, "shop.example.org.", "A", "NOERROR", [&[], &[soa], &[]]).await;
    check(&strict, "example.org.", "AXFR", "REFUSED", [&[], &[], &[]]).await;
}

#[test]
fn mistakes_are_reported_with_their_line() {
    for (text, wanted) in [
        (
            "example.org {\nk8s_external\n}\n",
            "Corefile:2 - Error during parsing: k8s_external: kubernetes plugin not loaded",
        ),
        ("example.org {\nkubernetes cluster.local\nk8s_external {\nttl 3601\n}\n}\n", "Corefile:4"),
        ("example.org {\nkubernetes cluster.local\nk8s_external {\nttl\n}\n}\n", "Corefile:4"),
        (
            "example.org {\nkubernetes cluster.local\nk8s_external {\napex a..b\n}\n}\n",
            "Corefile:4 - Error during parsing: invalid apex a..b",
        ),
        ("example.org {\nkubernetes cluster.local\nk8s_external {\nheadless yes\n}\n}\n", "Corefile:4"),
        (
            "example.org {\nkubernetes cluster.local\nk8s_external {\nupstream\n}\n}\n",
            "unknown property 'upstream'",
        ),
        ("example.org {\nkubernetes cluster.local\nk8s_external\nk8s_external\n}\n", "Corefile:4"),
    ] {
        let errors = build(text).err().expect(text);
        assert!(errors.contains(wanted), "{wanted}\nin\n{errors}");
    }
}
