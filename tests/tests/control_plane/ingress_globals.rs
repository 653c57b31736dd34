//! Settings for all Ingresses: the ConfigMap of `--configmap` and the selector of namespaces, as they change.

use tests::backend::Backend;
use tests::stage::{SOON, Stage};
use tests::web::EDGE;

use crate::access::permit_guest;
use crate::ingress_traffic::prepare;
use crate::manifests::{CLASS, annotated, config_map, ingress, service, slice, workload};

/// The port of the health page.
const HEALTHZ: u16 = 10254;

/// A Role that may read the one ConfigMap and no other.
fn permit_config_map(namespace: &str) -> String {
    format!(
        "
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{ name: guest, namespace: {namespace} }}
rules: [{{ apiGroups: [''], resources: [configmaps], resourceNames: [controller], verbs: [list, watch] }}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{ name: guest, namespace: {namespace} }}
roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: Role, name: guest }}
subjects: [{{ apiGroup: rbac.authorization.k8s.io, kind: User, name: guest }}]
"
    )
}

fn permit_all_but_config_maps(stage: &Stage) {
    let allowed = [
        ("", "services, secrets"),
        ("discovery.k8s.io", "endpointslices"),
        ("networking.k8s.io", "ingresses, ingressclasses"),
    ];
    permit_guest(stage, &allowed);
}

/// What is not honoured yet must not leave open what it protects, and only that.
pub(crate) fn a_guard_in_the_config_map_closes_and_opens_routes_live(stage: &mut Stage) {
    prepare(stage, "globals");
    let _pod = Backend::start("a", "10.244.1.91:8080");
    let api = &stage.plane.api;
    api.apply(&workload("globals", "web", &["10.244.1.91"]));
    api.apply(&ingress("globals", "shop", "globals.test", "/", "web"));
    let free = ingress("globals", "free", "free.test", "/", "web");
    api.apply(&annotated(&free, "nginx.ingress.kubernetes.io/enable-global-auth: 'false'"));
    permit_all_but_config_maps(stage);
    api.apply(&permit_config_map("globals"));
    // There is no such ConfigMap yet: the defaults hold.
    let portolan = stage.ingress("guest", &["--configmap", "globals/controller"]);
    EDGE.expect(SOON, "http://globals.test/ = 200 a\n http://free.test/ = 200 a");

    api.apply(&config_map("globals", "{enable-modsecurity: 'true', no-such-key: 'true'}"));
    EDGE.expect(SOON, "http://globals.test/ = 503\n http://free.test/ = 503");
    portolan.wait_for_log(&["ConfigMap globals/controller", "enable-modsecurity", "503", "(closed)"]);
    portolan.wait_for_log(&["ConfigMap globals/controller", "no-such-key", "is not known"]);

    api.apply(&config_map("globals", "{global-auth-url: 'http://auth.test/'}"));
    // The host of the server has no address: nothing passes.
    EDGE.expect(SOON, "http://globals.test/ = 500\n http://free.test/ = 200 a");

    api.apply(&config_map("globals", "{bind-address: eth0}"));
    EDGE.expect(SOON, "http://globals.test/ = 503\n http://other.test/ = 503");

    api.apply(&config_map("globals", "{bind-address: ''}"));
    EDGE.expect(SOON, "http://globals.test/ = 200 a\n http://other.test/ = 404");

    api.apply(&config_map("globals", "{http-snippet: auth_basic x;}"));
    EDGE.expect(SOON, "http://globals.test/ = 503");
    api.delete("ConfigMap", "globals", "controller");
    EDGE.expect(SOON, "http://globals.test/ = 200 a");
    // This account may not write to the cluster.
    let log = portolan.log();
    let log: Vec<&str> = log.lines().filter(|line| !line.contains("Lease default/")).collect();
    let log = log.join("\n");
    assert!(!log.contains("forbidden"), "a Role for the one ConfigMap is enough, but:\n{log}");
}

/// What a ConfigMap protects is unknown while it may not be read.
pub(crate) fn a_config_map_that_may_not_be_read_keeps_the_edge_from_serving(stage: &mut Stage) {
    prepare(stage, "globals-forbidden");
    let _pod = Backend::start("a", "10.244.1.92:8080");
    let api = &stage.plane.api;
    api.apply(&workload("globals-forbidden", "web", &["10.244.1.92"]));
    api.apply(&ingress("globals-forbidden", "shop", "forbidden.test", "/", "web"));
    permit_all_but_config_maps(stage);
    let kubeconfig = stage.plane.kubeconfig("guest", stage.plane.server.address().port());
    let kubeconfig = kubeconfig.to_string_lossy();
    let flags = ["--kubeconfig", &*kubeconfig, "--configmap", "globals-forbidden/controller"];
    let mut portolan = stage.ingress_unready(&flags);
    portolan.wait_for_log(&["configmaps", "globals-forbidden", "list and watch"]);
    let open = EDGE.matches("http://forbidden.test/ = 200 a");
    assert!(open.is_err(), "what is protected is not known");
    let (status, text) = portolan.health().expect("the page is there");
    assert!(status == 500 && text.contains("configmaps"), "{status} {text}");

    api.apply(&permit_config_map("globals-forbidden"));
    portolan.wait_for_page(HEALTHZ, "/healthz");
    EDGE.expect(SOON, "http://forbidden.test/ = 200 a");
}

pub(crate) fn only_ingresses_of_selected_namespaces_are_served(stage: &mut Stage) {
    prepare(stage, "globals-in");
    prepare(stage, "globals-out");
    let _pod = Backend::start("a", "10.244.1.93:8080");
    let api = &stage.plane.api;
    for (namespace, host) in [("globals-in", "in.test"), ("globals-out", "out.test")] {
        api.apply(&workload(namespace, "web", &["10.244.1.93"]));
        api.apply(&ingress(namespace, "shop", host, "/", "web"));
    }
    let label = |namespace: &str, stage: &str| {
        let labels = format!("{{\"metadata\": {{\"labels\": {{\"stage\": {stage}}}}}}}");
        api.merge("Namespace", "", namespace, &labels);
    };
    label("globals-in", "\"prod\"");
    label("globals-out", "\"test\"");
    let _portolan = stage.ingress("portolan", &["--watch-namespace-selector", "stage in (prod)"]);
    EDGE.expect(SOON, "http://in.test/ = 200 a\n http://out.test/ = 404");
    label("globals-out", "\"prod\"");
    EDGE.expect(SOON, "http://in.test/ = 200 a\n http://out.test/ = 200 a");
    label("globals-in", "null");
    EDGE.expect(SOON, "http://in.test/ = 404\n http://out.test/ = 200 a");
}

/// An Ingress of a manifest that cannot be decoded may protect a path that another one covers.
pub(crate) fn a_manifest_that_cannot_be_decoded_keeps_the_edge_from_serving(stage: &mut Stage) {
    let _pod = Backend::start("a", "10.244.1.94:8080");
    let folder = stage.folder().join("undecoded");
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(&folder).expect("the scratch folder is writable");
        std::fs::write(folder.join(name), text).expect("the scratch folder is writable");
    };
    let web = service("undecoded", "web", "10.96.0.94") + &slice("undecoded", "web", "10.244.1.94");
    write("web.yaml", &(web + CLASS + &ingress("undecoded", "all", "undecoded.test", "/", "web")));
    let admin = ingress("undecoded", "admin", "undecoded.test", "/admin", "none");
    let bad = "nginx.ingress.kubernetes.io/proxy-body-size: 8";
    write("admin.yaml", &annotated(&admin, bad));
    let mut portolan = stage.ingress_unready(&["--cluster", &folder.to_string_lossy()]);
    portolan.wait_for_log(&["no Ingress is used", "admin.yaml:", "(Ingress undecoded/admin)"]);
    let (status, text) = portolan.health().expect("the page is there");
    assert!(status == 500 && text.contains("admin.yaml:") && text.contains("undecoded/admin"), "{text}");
    let problems = portolan.problems();
    assert!(problems.contains("Ingress undecoded/admin: metadata.annotations"), "{problems}");
    assert!(EDGE.matches("http://undecoded.test/admin = 200 a").is_err(), "/ covers what /admin closes");

    write("admin.yaml", &admin);
    portolan.wait_for_page(HEALTHZ, "/healthz");
    EDGE.expect(SOON, "http://undecoded.test/ = 200 a\n http://undecoded.test/admin = 503");
}
