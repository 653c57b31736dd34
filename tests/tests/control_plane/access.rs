//! As whom Portolan comes to the API server, and what it asks there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use tests::backend::Backend;
use tests::control_plane::API_SERVER;
use tests::credentials::Authority;
use tests::namespace::{ResolvConf, SERVICE_ACCOUNT};
use tests::stage::{Portolan, SOON, Stage};
use tests::upstream::{UPSTREAM, Upstream};
use tests::wait;
use tests::web::EDGE;

use crate::manifests::{self, CLASS, annotated, ingress, service, slice, tls_secret};

/// The Corefile that clusters have carried since 2018, word for word.
const COREFILE: &str = "
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        upstream
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
}
";

/// How long a new token may take to be used: programs read the file about once a minute.
const ROTATION: Duration = Duration::from_secs(100);

/// A Service, a slice and an Ingress with TLS for the host `<namespace>.test`; returns its certificate.
fn prepare(stage: &Stage, namespace: &str, cluster_ip: &str, pod: &str) -> Vec<u8> {
    let host = format!("{namespace}.test");
    let certified = Authority::new("access").certify(&[&host]);
    let ingress = annotated(
        &ingress(namespace, "web", &host, "/", "web"),
        "nginx.ingress.kubernetes.io/ssl-redirect: 'false'",
    );
    let manifests = [
        manifests::namespace(namespace),
        CLASS.to_owned(),
        service(namespace, "web", cluster_ip),
        slice(namespace, "web", pod),
        tls_secret(namespace, "web", &certified),
        ingress + &format!("  tls: [{{ hosts: [{host}], secretName: web }}]\n"),
    ];
    stage.plane.api.apply(&manifests.concat());
    certified.der.to_vec()
}

/// Lets the user `guest` list and watch these resources, given as one rule per line of (group, resources).
fn permit_guest(stage: &Stage, rules: &[(&str, &str)]) {
    let rules: Vec<String> = rules
        .iter()
        .map(|(group, resources)| {
            format!("{{apiGroups: ['{group}'], resources: [{resources}], verbs: [list, watch]}}")
        })
        .collect();
    stage.plane.api.apply(&format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{ name: guest }}
rules: [{}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{ name: guest }}
roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: guest }}
subjects: [{{ apiGroup: rbac.authorization.k8s.io, kind: User, name: guest }}]
",
        rules.join(", ")
    ));
}

pub(crate) fn without_secrets_everything_else_is_served(stage: &mut Stage) {
    let certificate = prepare(stage, "access-secrets", "10.96.0.70", "10.244.3.1");
    let _pod = Backend::start("a", "10.244.3.1:8080");
    let allowed = [
        ("", "namespaces, services, pods, configmaps"),
        ("discovery.k8s.io", "endpointslices"),
        ("networking.k8s.io", "ingresses, ingressclasses"),
    ];
    permit_guest(stage, &allowed);
    let ingress = stage.ingress("guest", &[]);
    let _dns = stage.dns(&stage.corefile("").replace("portolan-6443", "guest-6443"));
    EDGE.expect(SOON, "http://access-secrets.test/ = 200 a\n https://access-secrets.test/ = 200 a");
    stage.resolver().expect(SOON, "web.access-secrets.svc.cluster.local A = 10.96.0.70");
    let line = ingress.wait_for_log(&["secrets"]);
    assert!(line.contains("list") || line.contains("watch"), "the verb is missing: {line}");
    assert!(EDGE.certificate("access-secrets.test").is_ok_and(|shown| shown.to_vec() != certificate));

    // Once it is allowed it is used, without a restart.
    permit_guest(stage, &[&allowed[..], &[("", "secrets")]].concat());
    wait::until("the Secret's certificate", SOON * 3, || match EDGE.certificate("access-secrets.test")? {
        shown if shown.to_vec() == certificate => Ok(()),
        _ => Err("another one".to_owned()),
    });
}

pub(crate) fn without_slices_cluster_addresses_are_answered(stage: &mut Stage) {
    prepare(stage, "access-slices", "10.96.0.71", "10.244.3.2");
    permit_guest(stage, &[("", "namespaces, services")]);
    // A bare ClusterIP answers; what needs slices must not be denied for good.
    let kubeconfig = stage.plane.kubeconfig("guest", 6443);
    let mine = stage.plane.kubeconfig("portolan", 6443);
    let corefile = stage.corefile("").replace(&*mine.to_string_lossy(), &kubeconfig.to_string_lossy());
    let dns = stage.dns_unready(&corefile);
    let line = dns.wait_for_log(&["endpointslices"]);
    assert!(line.contains("list") || line.contains("watch"), "the verb is missing: {line}");
    stage.resolver().expect(
        SOON,
        "
web.access-slices.svc.cluster.local  A = 10.96.0.71
none.access-slices.svc.cluster.local A = SERVFAIL
",
    );
}

pub(crate) fn a_client_certificate_opens_a_bare_endpoint(stage: &mut Stage) {
    prepare(stage, "access-certificate", "10.96.0.75", "10.244.3.6");
    let (certificate, key) = stage.plane.client_certificate();
    let authority = stage.plane.authority();
    let files = [certificate, key, authority].map(|path| path.to_string_lossy().into_owned()).join(" ");
    let corefile = stage.corefile("").replace(
        &format!("kubeconfig {}", stage.plane.kubeconfig("portolan", 6443).display()),
        &format!("endpoint https://127.0.0.1:6443\n        tls {files}"),
    );
    assert!(corefile.contains("endpoint"), "{corefile}");
    let before = stage.plane.audit("portolan").len();
    let dns = stage.dns(&corefile);
    stage.resolver().expect(SOON, "web.access-certificate.svc.cluster.local A = 10.96.0.75");
    dns.stop();
    wait::until("the audit log", SOON, || match stage.plane.audit("portolan").len() > before {
        true => Ok(()),
        false => Err("nothing was asked as portolan".to_owned()),
    });
}

/// Every kind costs memory and the API server's time, so none is watched that nobody reads.
pub(crate) fn only_the_kinds_that_are_read_are_watched(stage: &mut Stage) {
    prepare(stage, "access-kinds", "10.96.0.72", "10.244.3.3");
    let _pod = Backend::start("a", "10.244.3.3:8080");
    for (options, wanted) in [
        ("pods insecure", "endpointslices, namespaces, services"),
        ("pods verified", "endpointslices, namespaces, pods, services"),
        ("noendpoints", "namespaces, services"),
    ] {
        let before = stage.plane.audit("portolan").len();
        let dns = stage.dns(&stage.corefile(options));
        stage.resolver().expect(SOON, "web.access-kinds.svc.cluster.local A = 10.96.0.72");
        dns.stop();
        // A watch is written down when it ends.
        let asked = wait::until("the audit log", SOON, || {
            let kinds = resources(&stage.plane.audit("portolan")[before..]);
            if kinds == wanted { Ok(kinds) } else { Err(kinds) }
        });
        assert_eq!(asked, wanted, "{options}");
    }
    let before = stage.plane.audit("portolan").len();
    let ingress = stage.ingress("portolan", &[]);
    EDGE.expect(SOON, "http://access-kinds.test/ = 200 a");
    ingress.stop();
    let asked = resources(&stage.plane.audit("portolan")[before..]);
    assert!(!asked.contains("pods"), "the ingress side has no use for Pods, but asked for {asked}");
}

fn resources(lines: &[String]) -> String {
    let mut kinds: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.join(", ")
}

/// A service account in `kube-system` that may read what DNS needs, with two Secrets for tokens to be bound to.
fn service_account(stage: &Stage) {
    stage.plane.api.apply(
        "
apiVersion: v1
kind: ServiceAccount
metadata: { name: coredns, namespace: kube-system }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: coredns }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: portolan }
subjects: [{ kind: ServiceAccount, name: coredns, namespace: kube-system }]
---
apiVersion: v1
kind: Secret
metadata: { name: first, namespace: kube-system }
---
apiVersion: v1
kind: Secret
metadata: { name: second, namespace: kube-system }
",
    );
}

/// Puts a token where a Pod finds it, swapping it as kubelet does: a folder of the new files, then one rename.
fn mount_token(stage: &Stage, version: &str, token: &str) {
    let place = Path::new(SERVICE_ACCOUNT);
    let folder = place.join(format!("..{version}"));
    fs::create_dir_all(&folder).expect("the folder is the test's own");
    fs::write(folder.join("token"), token).expect("the folder is the test's own");
    fs::write(folder.join("namespace"), "kube-system").expect("the folder is the test's own");
    fs::copy(stage.plane.authority(), folder.join("ca.crt")).expect("the folder is the test's own");
    let new = place.join("..data_tmp");
    symlink(format!("..{version}"), &new).expect("the folder is the test's own");
    fs::rename(new, place.join("..data")).expect("the folder is the test's own");
    for name in ["token", "namespace", "ca.crt"] {
        if !place.join(name).exists() {
            symlink(format!("..data/{name}"), place.join(name)).expect("the folder is the test's own");
        }
    }
}

/// Starts `portolan dns` as in a Pod: nothing but the Corefile, the environment and the mounted service account.
fn dns_in_a_pod(stage: &Stage, corefile: &str) -> Portolan {
    let path = stage.folder().join("Corefile");
    fs::write(&path, corefile).expect("the scratch folder is writable");
    let environment = [("KUBERNETES_SERVICE_HOST", API_SERVER), ("KUBERNETES_SERVICE_PORT", "6443")];
    stage.run_with(&["dns", "-conf", &path.to_string_lossy()], &[], &environment)
}

pub(crate) fn the_usual_corefile_works_in_a_pod(stage: &mut Stage) {
    prepare(stage, "access-pod", "10.96.0.73", "10.244.3.4");
    service_account(stage);
    mount_token(stage, "pod", &stage.plane.api.token("kube-system", "coredns", "first"));
    let upstream = Upstream::start(&[("www.example.test.", [192, 0, 2, 8])]);
    let _node = ResolvConf::lay(&format!("nameserver {UPSTREAM}\n"), stage.folder());
    let mut dns = dns_in_a_pod(stage, COREFILE);
    dns.wait_for_ready();
    stage.resolver().expect(
        SOON,
        "
web.access-pod.svc.cluster.local     A   = 10.96.0.73
10-244-3-4.access-pod.pod.cluster.local A = 10.244.3.4
73.0.96.10.in-addr.arpa              PTR = web.access-pod.svc.cluster.local.
none.access-pod.svc.cluster.local    A   = NXDOMAIN
www.example.test                     A   = 192.0.2.8
",
    );
    assert!(upstream.asked() > 0);
    let warning = dns.wait_for_log(&["upstream", "Corefile"]);
    assert!(warning.contains(":8"), "the warning names the line: {warning}");
    dns.wait_for_page(8080, "/health");
    dns.wait_for_page(9153, "/metrics");
    assert!(dns.stop().success(), "SIGTERM is a good end");
}

pub(crate) fn a_rotated_token_is_taken_up(stage: &mut Stage) {
    prepare(stage, "access-token", "10.96.0.74", "10.244.3.5");
    service_account(stage);
    let api = &stage.plane.api;
    let (first, second) =
        (api.token("kube-system", "coredns", "first"), api.token("kube-system", "coredns", "second"));
    mount_token(stage, "first", &first);
    let corefile =
        stage.corefile("").lines().filter(|line| !line.contains("kubeconfig")).collect::<Vec<_>>().join("\n");
    let mut dns = dns_in_a_pod(stage, &corefile);
    dns.wait_for_ready();
    let server = stage.resolver();
    server.expect(SOON, "web.access-token.svc.cluster.local A = 10.96.0.74");

    // The old token is worthless from here on, and a restarted API server has forgotten that it was ever good.
    mount_token(stage, "second", &second);
    stage.plane.api.delete("Secret", "kube-system", "first");
    stage.plane.server.kill();
    stage.plane.server.start(&[]);
    let refused = tests::api::Api::new(stage.plane.server.address(), tests::http::Trust::Anyone, &first);
    assert_eq!(refused.get("/api/v1/services").expect("the API server answers").status, 401);

    stage.plane.api.delete("Service", "access-token", "web");
    server.expect(ROTATION, "web.access-token.svc.cluster.local A = NXDOMAIN");
    assert_eq!(dns.ready(), Ok(200));
}
