//! A whole service on loopback: Corefile in, packets out.

mod support;

use dns_wire::codes::{rcode, rtype};
use support::{Client, Service, answers};

const KUBE: &str = ".:0 {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus localhost:0
    loadbalance
}";

#[tokio::test(flavor = "multi_thread")]
async fn cluster_names_are_answered_over_udp_and_tcp() {
    let service = Service::start(KUBE).await;
    for client in [Client::udp(service.address), Client::tcp(service.address)] {
        for (name, qtype, code, wanted) in [
            ("web.default.svc.cluster.local.", rtype::A, rcode::NOERROR, "A 10.96.0.10"),
            ("WEB.default.svc.cluster.local.", rtype::A, rcode::NOERROR, "A 10.96.0.10"),
            ("10-1-2-3.default.pod.cluster.local.", rtype::A, rcode::NOERROR, "A 10.1.2.3"),
            ("none.default.svc.cluster.local.", rtype::A, rcode::NXDOMAIN, ""),
            ("web.default.svc.cluster.local.", rtype::AAAA, rcode::NOERROR, ""),
            ("10.0.96.10.in-addr.arpa.", rtype::PTR, rcode::NOERROR, "PTR web.default.svc.cluster.local."),
        ] {
            let (query, reply) = client.ask(name, qtype);
            assert_eq!(
                (reply.rcode, answers(&reply, &query).as_str()),
                (code, wanted),
                "{name} {qtype} {client:?}"
            );
        }
    }
    service.stop().await;
}
