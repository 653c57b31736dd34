//! The environment of a Pod: a Corefile, environment variables, and a service account token that is rotated.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use tests::control_plane::API_SERVER;
use tests::namespace::{ResolvConf, SERVICE_ACCOUNT};
use tests::stage::{Portolan, SOON, Stage};
use tests::upstream::{UPSTREAM, Upstream};

use crate::access::prepare;

/// The Corefile of clusters that kubeadm 1.11 to 1.15 made, with the option `upstream` of those years.
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

/// How long a new token may take to be used: clients read the file about once a minute.
const ROTATION: Duration = Duration::from_secs(100);

/// A service account in `kube-system` that may read what DNS needs, with two Secrets for tokens to be bound to.
pub(crate) fn service_account(stage: &Stage) {
    stage.plane.api.apply(
        "
apiVersion: v1
kind: ServiceAccount
metadata: { name: coredns, namespace: kube-system }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: in-a-pod }
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

/// Writes a token to the path in a Pod, like kubelet: into a new folder, then one rename.
pub(crate) fn mount_token(stage: &Stage, version: &str, token: &str) {
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

/// Starts `portolan dns` as in a Pod: with the Corefile, the environment and the mounted service account only.
fn dns_in_a_pod(stage: &Stage, corefile: &str) -> Portolan {
    let path = stage.folder().join("Corefile");
    fs::write(&path, corefile).expect("the scratch folder is writable");
    let environment = [("KUBERNETES_SERVICE_HOST", API_SERVER), ("KUBERNETES_SERVICE_PORT", "6443")];
    stage.run_with(&["dns", "-conf", &path.to_string_lossy()], &[], &environment)
}

pub(crate) fn the_kubeadm_corefile_works_in_a_pod(stage: &mut Stage) {
    prepare(stage, "access-pod", "10.96.0.73", "10.244.3.4");
    service_account(stage);
    mount_token(stage, "pod", &stage.plane.api.token("kube-system", "coredns", "first"));
    let upstream = Upstream::start(&[("www.example.test.", [192, 0, 2, 8])]);
    let _node = ResolvConf::mount(&format!("nameserver {UPSTREAM}\n"), stage.folder());
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
    assert!(upstream.query_count() > 0);
    let warning = dns.wait_for_log(&["upstream", "Corefile"]);
    assert!(warning.contains(":8"), "the warning names the line: {warning}");
    dns.wait_for_page(8080, "/health");
    dns.wait_for_page(9153, "/metrics");
    assert!(dns.stop().success(), "SIGTERM is a good end");
}

pub(crate) fn a_rotated_token_is_used(stage: &mut Stage) {
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

    // The old token is invalid from here on; the restart removes it from the API server's authentication cache.
    mount_token(stage, "second", &second);
    stage.plane.api.delete("Secret", "kube-system", "first");
    stage.plane.server.kill();
    stage.plane.server.start(&[]);
    let refused =
        tests::api::ApiClient::new(stage.plane.server.address(), tests::http::Trust::AnyCertificate, &first);
    assert_eq!(refused.get("/api/v1/services").expect("the API server answers").status, 401);

    stage.plane.api.delete("Service", "access-token", "web");
    server.expect(ROTATION, "web.access-token.svc.cluster.local A = NXDOMAIN");
    assert_eq!(dns.ready(), Ok(200));
}
