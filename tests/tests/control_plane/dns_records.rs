//! Every record of the Kubernetes DNS specification 1.1.0, from objects created through the API.
//!
//! CoreDNS 1.15.0 passes all of these cases (as `PORTOLAN_BINARY`, behind a script that drops the argument `dns`).

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use tests::dns::Transport;
use tests::namespace;
use tests::stage::{SOON, Stage};
use tests::upstream::{UPSTREAM, Upstream};

use crate::manifests;

/// Applies `manifest` in a namespace of this name, starts `portolan dns` and waits for the answers of `table`.
fn answers(stage: &Stage, namespace: &str, manifest: &str, corefile: &str, table: &str) {
    stage.plane.api.apply(&manifests::namespace(namespace));
    stage.plane.api.apply(manifest);
    let portolan = stage.dns(corefile);
    stage.resolver().expect(SOON, table);
    assert!(portolan.stop().success(), "SIGTERM is a good end");
}

pub(crate) fn a_cluster_ip_service_has_an_address_a_port_and_a_pointer(stage: &mut Stage) {
    answers(
        stage,
        "records-cluster-ip",
        "
apiVersion: v1
kind: Service
metadata: { name: web, namespace: records-cluster-ip }
spec:
  clusterIP: 10.96.0.20
  ports: [{ name: http, port: 80 }, { name: metrics, port: 9090 }, { name: dns, port: 53, protocol: UDP }]
---
apiVersion: v1
kind: Service
metadata: { name: plain, namespace: records-cluster-ip }
spec: { clusterIP: 10.96.0.21, ports: [{ port: 8080 }] }
",
        &stage.corefile(""),
        "
web.records-cluster-ip.svc.cluster.local                A    = 10.96.0.20
WEB.Records-Cluster-IP.svc.CLUSTER.local                A    = 10.96.0.20
web.records-cluster-ip.svc.cluster.local                AAAA = NODATA
web.records-cluster-ip.svc.cluster.local                MX   = NODATA
web.records-cluster-ip.svc.cluster.local                TXT  = NODATA
web.records-cluster-ip.svc.cluster.local                SRV  = 0 33 53 web.records-cluster-ip.svc.cluster.local., 0 33 80 web.records-cluster-ip.svc.cluster.local., 0 33 9090 web.records-cluster-ip.svc.cluster.local.
_http._tcp.web.records-cluster-ip.svc.cluster.local     SRV  = 0 100 80 web.records-cluster-ip.svc.cluster.local.
_dns._udp.web.records-cluster-ip.svc.cluster.local      SRV  = 0 100 53 web.records-cluster-ip.svc.cluster.local.
_dns._tcp.web.records-cluster-ip.svc.cluster.local      SRV  = NXDOMAIN
_none._tcp.web.records-cluster-ip.svc.cluster.local     SRV  = NXDOMAIN
plain.records-cluster-ip.svc.cluster.local              SRV  = 0 100 8080 plain.records-cluster-ip.svc.cluster.local.
20.0.96.10.in-addr.arpa                                 PTR  = web.records-cluster-ip.svc.cluster.local.
255.0.96.10.in-addr.arpa                                PTR  = NXDOMAIN
",
    );
}

pub(crate) fn a_dual_stack_service_has_an_address_of_each_family(stage: &mut Stage) {
    answers(
        stage,
        "records-families",
        "
apiVersion: v1
kind: Service
metadata: { name: dual, namespace: records-families }
spec:
  ipFamilyPolicy: RequireDualStack
  clusterIP: 10.96.0.22
  clusterIPs: [10.96.0.22, 'fd00:10:96::22']
  ports: [{ name: http, port: 80 }]
---
apiVersion: v1
kind: Service
metadata: { name: six, namespace: records-families }
spec: { ipFamilies: [IPv6], clusterIP: 'fd00:10:96::23', ports: [{ name: http, port: 80 }] }
",
        &stage.corefile(""),
        "
dual.records-families.svc.cluster.local                 A    = 10.96.0.22
dual.records-families.svc.cluster.local                 AAAA = fd00:10:96::22
_http._tcp.dual.records-families.svc.cluster.local      SRV  = 0 50 80 dual.records-families.svc.cluster.local.
six.records-families.svc.cluster.local                  A    = NODATA
six.records-families.svc.cluster.local                  AAAA = fd00:10:96::23
_http._tcp.six.records-families.svc.cluster.local       SRV  = 0 100 80 six.records-families.svc.cluster.local.
22.0.96.10.in-addr.arpa                                 PTR  = dual.records-families.svc.cluster.local.
2.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa PTR = dual.records-families.svc.cluster.local.
3.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa PTR = six.records-families.svc.cluster.local.
4.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa PTR = NXDOMAIN
",
    );
}

/// The endpointslice controller creates the slices from Pods whose status the test writes.
pub(crate) fn a_headless_service_has_the_addresses_of_its_ready_pods(stage: &mut Stage) {
    let pod = |name: &str, address: &str, ready: bool, spec: &str| {
        manifests::pod("records-headless", name, "db", address, ready, spec)
    };
    let pods = [
        pod("db-0", "10.244.0.21", true, "hostname: db-0, subdomain: db,"),
        pod("db-1", "10.244.0.22", true, "hostname: db-1, subdomain: db,"),
        pod("extra", "10.244.0.23", true, ""),
        pod("late", "10.244.0.24", false, ""),
    ];
    let services = "
---
apiVersion: v1
kind: Service
metadata: { name: db, namespace: records-headless }
spec: { clusterIP: None, selector: { app: db }, ports: [{ name: sql, port: 5432 }] }
---
apiVersion: v1
kind: Service
metadata: { name: peers, namespace: records-headless }
spec: { clusterIP: None, publishNotReadyAddresses: true, selector: { app: db } }
---
apiVersion: v1
kind: Service
metadata: { name: empty, namespace: records-headless }
spec: { clusterIP: None, selector: { app: nothing }, ports: [{ name: sql, port: 5432 }] }
";
    answers(
        stage,
        "records-headless",
        &(pods.concat() + services),
        &stage.corefile(""),
        "
db.records-headless.svc.cluster.local                A    = 10.244.0.21, 10.244.0.22, 10.244.0.23
db.records-headless.svc.cluster.local                AAAA = NODATA
db-0.db.records-headless.svc.cluster.local           A    = 10.244.0.21
db-1.db.records-headless.svc.cluster.local           A    = 10.244.0.22
10-244-0-23.db.records-headless.svc.cluster.local    A    = 10.244.0.23
10-244-0-21.db.records-headless.svc.cluster.local    A    = NXDOMAIN
10-244-0-24.db.records-headless.svc.cluster.local    A    = NXDOMAIN
_sql._tcp.db.records-headless.svc.cluster.local      SRV  = 0 33 5432 db-0.db.records-headless.svc.cluster.local., 0 33 5432 db-1.db.records-headless.svc.cluster.local., 0 33 5432 10-244-0-23.db.records-headless.svc.cluster.local.
21.0.244.10.in-addr.arpa                             PTR  = db-0.db.records-headless.svc.cluster.local., 10-244-0-21.peers.records-headless.svc.cluster.local.
24.0.244.10.in-addr.arpa                             PTR  = 10-244-0-24.peers.records-headless.svc.cluster.local.
peers.records-headless.svc.cluster.local             A    = 10.244.0.21, 10.244.0.22, 10.244.0.23, 10.244.0.24
peers.records-headless.svc.cluster.local             SRV  = NODATA
10-244-0-24.peers.records-headless.svc.cluster.local A    = 10.244.0.24
empty.records-headless.svc.cluster.local             A    = NXDOMAIN
_sql._tcp.empty.records-headless.svc.cluster.local   SRV  = NXDOMAIN
",
    );
}

pub(crate) fn a_headless_service_without_a_selector_has_the_addresses_of_its_slices(stage: &mut Stage) {
    answers(
        stage,
        "records-slices",
        "
apiVersion: v1
kind: Service
metadata: { name: far, namespace: records-slices }
spec: { clusterIP: None, ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: far-4, namespace: records-slices, labels: { kubernetes.io/service-name: far } }
addressType: IPv4
ports: [{ name: http, port: 80 }]
endpoints:
- { addresses: [10.244.0.31], hostname: one }
- { addresses: [10.244.0.32], conditions: { ready: true } }
- { addresses: [10.244.0.33], conditions: { ready: false } }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: far-6, namespace: records-slices, labels: { kubernetes.io/service-name: far } }
addressType: IPv6
ports: [{ name: http, port: 80 }]
endpoints: [{ addresses: ['fd00:10:244::31'], hostname: one }]
",
        &stage.corefile(""),
        "
far.records-slices.svc.cluster.local                 A    = 10.244.0.31, 10.244.0.32
far.records-slices.svc.cluster.local                 AAAA = fd00:10:244::31
one.far.records-slices.svc.cluster.local             A    = 10.244.0.31
one.far.records-slices.svc.cluster.local             AAAA = fd00:10:244::31
10-244-0-32.far.records-slices.svc.cluster.local     AAAA = NODATA
10-244-0-33.far.records-slices.svc.cluster.local     A    = NXDOMAIN
1.3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.4.2.0.0.1.0.0.0.0.d.f.ip6.arpa PTR = one.far.records-slices.svc.cluster.local.
",
    );
}

pub(crate) fn an_external_name_is_a_cname_and_its_target_is_resolved(stage: &mut Stage) {
    let upstream = Upstream::start(&[("www.example.test.", [192, 0, 2, 7])]);
    let corefile = stage.corefile("").replace("    errors", &format!("    errors\n    forward . {UPSTREAM}"));
    answers(
        stage,
        "records-external",
        "
apiVersion: v1
kind: Service
metadata: { name: out, namespace: records-external }
spec: { type: ExternalName, externalName: www.example.test }
---
apiVersion: v1
kind: Service
metadata: { name: in, namespace: records-external }
spec: { type: ExternalName, externalName: web.records-external.svc.cluster.local }
---
apiVersion: v1
kind: Service
metadata: { name: over, namespace: records-external }
spec: { type: ExternalName, externalName: in.records-external.svc.cluster.local }
---
apiVersion: v1
kind: Service
metadata: { name: round, namespace: records-external }
spec: { type: ExternalName, externalName: round.records-external.svc.cluster.local }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: records-external }
spec: { clusterIP: 10.96.0.24, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: named, namespace: records-external }
spec: { clusterIP: None }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: named-1, namespace: records-external, labels: { kubernetes.io/service-name: named } }
addressType: FQDN
ports: [{ name: http, port: 80 }]
endpoints: [{ addresses: [www.example.test] }]
",
        &corefile,
        "
out.records-external.svc.cluster.local      CNAME = www.example.test.
out.records-external.svc.cluster.local      A     = 192.0.2.7, CNAME www.example.test.
out.records-external.svc.cluster.local      SRV   = NODATA
in.records-external.svc.cluster.local       A     = 10.96.0.24, CNAME web.records-external.svc.cluster.local.
over.records-external.svc.cluster.local     A     = 10.96.0.24, CNAME in.records-external.svc.cluster.local., CNAME web.records-external.svc.cluster.local.
over.records-external.svc.cluster.local     CNAME = in.records-external.svc.cluster.local.
round.records-external.svc.cluster.local    A     = NODATA
x.out.records-external.svc.cluster.local    A     = NXDOMAIN
named.records-external.svc.cluster.local    CNAME = www.example.test.
named.records-external.svc.cluster.local    A     = 192.0.2.7, CNAME www.example.test.
named.records-external.svc.cluster.local    SRV   = NODATA
www-example-test.named.records-external.svc.cluster.local A = 192.0.2.7, CNAME www.example.test.
",
    );
    assert!(upstream.query_count() > 0, "the chase leads out of the cluster");
}

pub(crate) fn pod_names_follow_the_pods_option(stage: &mut Stage) {
    let pod = manifests::pod("records-pods", "one", "one", "10.244.0.41", true, "");
    for (mode, table) in [
        (
            "pods insecure",
            "
10-244-0-41.records-pods.pod.cluster.local  A    = 10.244.0.41
10-244-0-42.records-pods.pod.cluster.local  A    = 10.244.0.42
10-244-0-42.records-pods.pod.cluster.local  AAAA = NODATA
fd00--42.records-pods.pod.cluster.local     AAAA = fd00::42
10-244-0-999.records-pods.pod.cluster.local A    = NXDOMAIN
10-244-0-41.nowhere.pod.cluster.local       A    = NXDOMAIN
records-pods.pod.cluster.local              A    = NODATA
pod.cluster.local                           A    = NODATA
",
        ),
        (
            "pods verified",
            "
10-244-0-41.records-pods.pod.cluster.local  A    = 10.244.0.41
10-244-0-42.records-pods.pod.cluster.local  A    = NXDOMAIN
records-pods.pod.cluster.local              A    = NODATA
",
        ),
        (
            "pods disabled",
            "
10-244-0-41.records-pods.pod.cluster.local  A    = NXDOMAIN
records-pods.pod.cluster.local              A    = NXDOMAIN
pod.cluster.local                           A    = NODATA
",
        ),
    ] {
        answers(stage, "records-pods", &pod, &stage.corefile(mode), table);
    }
}

pub(crate) fn empty_non_terminals_exist_and_other_names_do_not(stage: &mut Stage) {
    answers(
        stage,
        "records-levels",
        "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: records-levels}, spec: {ports: [{port: 80}]}}",
        &stage.corefile(""),
        "
dns-version.cluster.local                      TXT  = 1.1.0
dns-version.cluster.local                      A    = NXDOMAIN
cluster.local                                  A    = NODATA
svc.cluster.local                              A    = NODATA
records-levels.svc.cluster.local               A    = NODATA
records-levels.svc.cluster.local               SRV  = NODATA
nowhere.svc.cluster.local                      A    = NXDOMAIN
none.records-levels.svc.cluster.local          A    = NXDOMAIN
none.records-levels.svc.cluster.local          AAAA = NXDOMAIN
web.nowhere.svc.cluster.local                  A    = NXDOMAIN
x.cluster.local                                A    = NXDOMAIN
a.b.c.web.records-levels.svc.cluster.local     A    = NXDOMAIN
*.records-levels.svc.cluster.local             A    = NXDOMAIN
example.test                                   A    = SERVFAIL
",
    );
}

pub(crate) fn the_apex_has_a_start_of_authority_and_name_servers(stage: &mut Stage) {
    let own = namespace::OWN_ADDRESS;
    stage.plane.api.apply(&format!(
        "
apiVersion: v1
kind: Service
metadata: {{ name: kube-dns, namespace: kube-system }}
spec: {{ clusterIP: 10.96.0.10, ports: [{{ name: dns, port: 53, protocol: UDP }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: kube-dns, namespace: kube-system, labels: {{ kubernetes.io/service-name: kube-dns }} }}
addressType: IPv4
ports: [{{ name: dns, port: 53, protocol: UDP }}]
endpoints: [{{ addresses: [{own}] }}]
"
    ));
    let _portolan = stage.dns(&stage.corefile("ttl 30"));
    let server = stage.resolver();
    server.expect(SOON, "cluster.local NS = kube-dns.kube-system.svc.cluster.local.");

    let reply = server.query(Transport::Udp, "cluster.local", RecordType::SOA).expect("a reply");
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert!(reply.metadata.authoritative, "AA");
    let soa = reply.answers.first().expect("a record").data.to_string();
    let words: Vec<&str> = soa.split(' ').collect();
    assert_eq!(words[..2], ["ns.dns.cluster.local.", "hostmaster.cluster.local."]);
    assert_eq!(words[3..], ["7200", "1800", "86400", "30"], "refresh, retry, expire, minimum = ttl");
    let serial: u32 = words[2].parse().expect("a number");
    assert!(serial > 1_700_000_000, "the serial is the time of the last change, not {serial}");
    // Other cases install a DNS server at this address.
    stage.plane.api.delete("Service", "kube-system", "kube-dns");
    stage.plane.api.delete("EndpointSlice", "kube-system", "kube-dns");
}

pub(crate) fn external_names_follow_addresses_and_load_balancers(stage: &mut Stage) {
    let namespace = "records-external";
    stage.plane.api.apply(&manifests::namespace(namespace));
    stage.plane.api.apply(
        "
apiVersion: v1
kind: Service
metadata: { name: fixed, namespace: records-external }
spec: { externalIPs: [192.0.2.10, '2001:db8::10'], ports: [{ name: http, port: 80 }, { name: https, port: 443 }] }
---
apiVersion: v1
kind: Service
metadata: { name: balanced, namespace: records-external }
spec: { type: LoadBalancer, ports: [{ name: http, port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: inside, namespace: records-external }
spec: { ports: [{ name: http, port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: heads, namespace: records-external }
spec: { clusterIP: None, ports: [{ name: http, port: 80 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: heads, namespace: records-external, labels: { kubernetes.io/service-name: heads } }
addressType: IPv4
ports: [{ name: http, port: 80 }]
endpoints: [{ addresses: [10.244.77.1], hostname: h0 }, { addresses: [10.244.77.2] }]
",
    );
    let status = |ingress: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: balanced, namespace: {namespace}}}, \
             status: {{loadBalancer: {{ingress: [{ingress}]}}}}}}"
        )
    };
    stage.plane.api.apply_status(&status("{ip: 192.0.2.20}"));
    let options = "}\nk8s_external example.org in-addr.arpa {\nheadless\nfallthrough in-addr.arpa";
    let portolan = stage.dns(&stage.corefile(options));
    stage.resolver().expect(
        SOON,
        "
fixed.records-external.example.org               A    = 192.0.2.10
fixed.records-external.example.org               AAAA = 2001:db8::10
FIXED.Records-External.example.ORG               A    = 192.0.2.10
fixed.records-external.example.org               TXT  = NODATA
fixed.records-external.example.org               SRV  = 0 25 80 fixed.records-external.example.org., 0 25 443 fixed.records-external.example.org.
_https._tcp.fixed.records-external.example.org   SRV  = 0 50 443 fixed.records-external.example.org.
_dns._udp.fixed.records-external.example.org     SRV  = NXDOMAIN
any.fixed.records-external.example.org           A    = 192.0.2.10
a.b.c.fixed.records-external.example.org         A    = NXDOMAIN
10.2.0.192.in-addr.arpa                          PTR  = fixed.records-external.example.org.
balanced.records-external.example.org            A    = 192.0.2.20
20.2.0.192.in-addr.arpa                          PTR  = balanced.records-external.example.org.
inside.records-external.example.org              A    = NXDOMAIN
heads.records-external.example.org               A    = 10.244.77.1, 10.244.77.2
h0.heads.records-external.example.org            A    = 10.244.77.1
10-244-77-2.heads.records-external.example.org   A    = 10.244.77.2
_http._tcp.heads.records-external.example.org    SRV  = 0 50 80 h0.heads.records-external.example.org., 0 50 80 10-244-77-2.heads.records-external.example.org.
records-external.example.org                     A    = NODATA
nowhere.example.org                              A    = NXDOMAIN
example.org                                      NS   = ns1.dns.example.org.
dns.example.org                                  A    = NODATA
ns2.dns.example.org                              A    = NXDOMAIN
",
    );
    // The name of a load balancer is resolved through the server.
    let name = "hostname: fixed.records-external.example.org";
    stage.plane.api.apply_status(&status(&format!("{{{name}}}")));
    stage.resolver().expect(
        SOON,
        "
balanced.records-external.example.org    A    = CNAME fixed.records-external.example.org., 192.0.2.10
balanced.records-external.example.org    SRV  = 0 100 80 fixed.records-external.example.org.
20.2.0.192.in-addr.arpa                  PTR  = NXDOMAIN
",
    );
    assert!(portolan.stop().success(), "SIGTERM is a good end");
}
