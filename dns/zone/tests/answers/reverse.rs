//! PTR queries.

use crate::CLUSTER;
use crate::world::{ask, check, options, zone};

#[test]
fn reverse_queries_answer_with_service_and_endpoint_names() {
    check(&zone(options(), CLUSTER), &[], "
1.0.96.10.in-addr.arpa PTR NoError
    1.0.96.10.in-addr.arpa. 5 IN PTR web.shop.svc.cluster.local.
3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa PTR NoError
    3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa. 5 IN PTR dual.shop.svc.cluster.local.
1.0.244.10.in-addr.arpa PTR NoError
    1.0.244.10.in-addr.arpa. 5 IN PTR 10-244-0-1.web.shop.svc.cluster.local.
1.1.244.10.in-addr.arpa PTR NoError
    1.1.244.10.in-addr.arpa. 5 IN PTR state-0.state.shop.svc.cluster.local.
99.0.0.172.in-addr.arpa PTR NoError
    99.0.0.172.in-addr.arpa. 5 IN PTR 172-0-0-99.orphan.shop.svc.cluster.local.
9.9.244.10.in-addr.arpa PTR NoError
    9.9.244.10.in-addr.arpa. 5 IN PTR 10-244-9-9.web.hidden.svc.cluster.local.
66.0.0.172.in-addr.arpa PTR NXDomain
    ! in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
0.96.10.in-addr.arpa PTR NXDomain
    ! in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
1.0.96.10.in-addr.arpa A NXDomain
    ! in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
1.0.96.10.in-addr.arpa SOA NoError
    ! in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
in-addr.arpa PTR NoError
    ! in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
in-addr.arpa SOA NoError
    in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
web.shop.svc.cluster.local PTR NoError
    ! SOA
nope.shop.svc.cluster.local PTR NXDomain
    ! SOA
");
    let (_, mut lines) = ask(&zone(options(), CLUSTER), &[], "2.0.0.172.in-addr.arpa", "PTR");
    lines.sort();
    assert_eq!(
        lines,
        [
            "2.0.0.172.in-addr.arpa. 5 IN PTR 172-0-0-2.heads.shop.svc.cluster.local.",
            "2.0.0.172.in-addr.arpa. 5 IN PTR 172-0-0-2.shared.shop.svc.cluster.local.",
            "NoError",
        ],
        "two Services share the address, one of them in two slices"
    );
}
