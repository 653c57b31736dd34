//! Credentials and permissions: how Portolan authenticates to the API server, and what it lists and watches.

use std::time::Duration;

use nix::sys::signal::Signal;
use tests::backend::Backend;
use tests::credentials::CertificateAuthority;
use tests::stage::{SOON, Stage};
use tests::wait;
use tests::web::EDGE;

use crate::manifests::{self, CLASS, annotated, ingress, service, slice, tls_secret};

/// A Service, a slice and an Ingress with TLS for the host `<namespace>.test`; returns its certificate.
pub(crate) fn prepare(stage: &Stage, namespace: &str, cluster_ip: &str, pod: &str) -> Vec<u8> {
    let host = format!("{namespace}.test");
    let certified = CertificateAuthority::new("access").issue(&[&host]);
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

/// Allows the user `guest` to list and watch resources: one rule per (group, resources).
pub(crate) fn permit_guest(stage: &Stage, rules: &[(&str, &str)]) {
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

    // A permission granted later takes effect without a restart.
    permit_guest(stage, &[&allowed[..], &[("", "secrets")]].concat());
    wait::until("the Secret's certificate", SOON * 3, || match EDGE.certificate("access-secrets.test")? {
        shown if shown.to_vec() == certificate => Ok(()),
        _ => Err("another one".to_owned()),
    });
}

pub(crate) fn without_classes_the_ingresses_that_depend_on_one_are_listed(stage: &mut Stage) {
    prepare(stage, "access-classes", "10.96.0.66", "10.244.3.16");
    let _pod = Backend::start("a", "10.244.3.16:8080");
    let allowed = [
        ("", "namespaces, services, secrets, configmaps"),
        ("discovery.k8s.io", "endpointslices"),
        ("networking.k8s.io", "ingresses"),
    ];
    permit_guest(stage, &allowed);
    let ingress = stage.ingress("guest", &[]);
    ingress.wait_for_log(&["Ingress access-classes/", "IngressClasses cannot be read"]);
    assert!(ingress.problems().contains("IngressClasses cannot be read"), "{}", ingress.problems());
    EDGE.expect(SOON, "http://access-classes.test/ = 404");
    permit_guest(stage, &[&allowed[..], &[("networking.k8s.io", "ingressclasses")]].concat());
    EDGE.expect(SOON * 3, "http://access-classes.test/ = 200 a");
    wait::until("the end of the problem", SOON, || match ingress.problems() {
        problems if problems.contains("IngressClasses cannot be read") => Err(problems),
        _ => Ok(()),
    });
}

pub(crate) fn without_slices_cluster_addresses_are_answered(stage: &mut Stage) {
    prepare(stage, "access-slices", "10.96.0.71", "10.244.3.2");
    permit_guest(stage, &[("", "namespaces, services")]);
    // ClusterIPs are answered; names that need slices must not get NXDOMAIN.
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

/// Started without the right to list Ingresses it would answer 404 to everything, so it must not become ready.
pub(crate) fn without_ingresses_the_edge_is_not_ready_until_it_may_list_them(stage: &mut Stage) {
    prepare(stage, "access-ingresses", "10.96.0.90", "10.244.3.11");
    let _pod = Backend::start("a", "10.244.3.11:8080");
    let rest = [
        ("", "namespaces, services, secrets, configmaps"),
        ("discovery.k8s.io", "endpointslices"),
        ("networking.k8s.io", "ingressclasses"),
    ];
    let allowed = [&rest[..], &[("networking.k8s.io", "ingresses")]].concat();
    permit_guest(stage, &allowed);
    stage.ingress("guest", &[]).stop();

    permit_guest(stage, &rest);
    let kubeconfig = stage.plane.kubeconfig("guest", 6443);
    let mut ingress = stage.ingress_unready(&["--kubeconfig", &kubeconfig.to_string_lossy()]);
    let refused = |(status, text): (u16, String)| {
        let named = text.contains("watch") && text.contains("ingresses.networking.k8s.io");
        if status == 500 && named { Ok(()) } else { Err(format!("{status} {text}")) }
    };
    wait::until("the missing verb and resource", SOON, || ingress.health().and_then(refused));
    wait::throughout("a refused start", Duration::from_secs(3), || ingress.health().and_then(refused));

    permit_guest(stage, &allowed);
    // The API server is asked again after at most half a minute.
    wait::until("a healthy edge", SOON * 3, || match ingress.health()? {
        (200, _) => Ok(()),
        (status, text) => Err(format!("{status} {text}")),
    });
    EDGE.expect(SOON, "http://access-ingresses.test/ = 200 a");
    ingress.wait_for_page(10254, "/problems");
}

pub(crate) fn refused_credentials_and_certificates_are_reported_as_such(stage: &mut Stage) {
    let right = std::fs::read_to_string(stage.plane.kubeconfig("portolan", 6443)).expect("it is there");
    let other = stage.folder().join("other-ca.crt");
    std::fs::write(&other, CertificateAuthority::new("another").pem()).expect("the folder is ours");
    let authority = stage.plane.authority();
    let rows = [
        (
            right.replace("portolan-token", "wrong-token"),
            "our credentials are refused since",
            "(401: Unauthorized)",
        ),
        (
            right.replace(&*authority.to_string_lossy(), &other.to_string_lossy()),
            "its certificate is not accepted since",
            "UnknownIssuer",
        ),
    ];
    for (text, what, cause) in rows {
        let kubeconfig = stage.folder().join("refused.kubeconfig");
        std::fs::write(&kubeconfig, text).expect("the folder is ours");
        let kubeconfig = kubeconfig.to_string_lossy();
        let ingress = stage.ingress_unready(&["--kubeconfig", &kubeconfig]);
        let line = ingress.wait_for_log(&["API server https://127.0.0.1:6443", what, cause]);
        assert!(line.contains(&*kubeconfig), "it does not say what to fix: {line}");
        assert!(ingress.problems().contains(what), "{}", ingress.problems());
        let lines = ingress.log().lines().filter(|line| line.contains(what)).count();
        assert_eq!(lines, 1, "{}", ingress.log());
    }
}

/// With `--watch-namespace` a Role in that namespace is enough, except for the cluster-scoped IngressClasses.
pub(crate) fn watching_one_namespace_needs_only_its_role(stage: &mut Stage) {
    prepare(stage, "access-own", "10.96.0.76", "10.244.3.7");
    prepare(stage, "access-foreign", "10.96.0.77", "10.244.3.7");
    let _pod = Backend::start("a", "10.244.3.7:8080");
    permit_guest(stage, &[("networking.k8s.io", "ingressclasses")]);
    stage.plane.api.apply(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: guest, namespace: access-own }
rules:
- { apiGroups: [''], resources: [services, secrets, configmaps], verbs: [list, watch] }
- { apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch] }
- { apiGroups: [networking.k8s.io], resources: [ingresses], verbs: [list, watch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: guest, namespace: access-own }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: guest }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: guest }]
",
    );
    // The Role allows no writing: no Lease, no status.
    let reading = ["--disable-leader-election", "--update-status=false"];
    let ingress = stage.ingress("guest", &[&["--watch-namespace", "access-own"][..], &reading].concat());
    EDGE.expect(
        SOON,
        "
http://access-own.test/     = 200 a
https://access-own.test/    = 200 a
http://access-foreign.test/ = 404
",
    );
    let log = ingress.log();
    assert!(!log.contains("forbidden"), "everything it needs is allowed, but:\n{log}");
}

pub(crate) fn a_kubeconfig_is_found_by_flag_context_and_environment(stage: &mut Stage) {
    prepare(stage, "access-kubeconfig", "10.96.0.78", "10.244.3.8");
    let right = stage.plane.kubeconfig("portolan", 6443);
    let right = right.to_string_lossy();
    // The same file with an unusable current context.
    let text = std::fs::read_to_string(&*right).expect("it has been written just now");
    let text = text.replace("current-context: test", "current-context: wrong")
        + "- name: nobody\n  user: { token: none }\n";
    let text =
        text.replace("contexts:\n", "contexts:\n- name: wrong\n  context: { cluster: test, user: nobody }\n");
    let other = stage.folder().join("two-contexts.kubeconfig");
    std::fs::write(&other, text).expect("the scratch folder is writable");
    let other = other.to_string_lossy();
    let corefile = stage.folder().join("Corefile");
    let text: String = stage
        .corefile("")
        .lines()
        .filter(|line| !line.contains("kubeconfig"))
        .fold(String::new(), |text, line| text + line + "\n");
    std::fs::write(&corefile, text).expect("the scratch folder is writable");
    let command = ["dns", "-conf", &*corefile.to_string_lossy()];
    for (flags, environment) in [
        (&["--kubeconfig", &*right][..], &[][..]),
        (&["--kubeconfig", &*other, "--context", "test"], &[]),
        (&["--context", "test"], &[("KUBECONFIG", &*other)]),
    ] {
        let mut dns = stage.run_with(&command, flags, environment);
        dns.wait_for_ready();
        stage.resolver().expect(SOON, "web.access-kubeconfig.svc.cluster.local A = 10.96.0.78");
    }
    let dns = stage.run_with(&command, &["--kubeconfig", &*other], &[]);
    dns.wait_for_log(&["401"]);
    assert_eq!(dns.ready(), Ok(503));
}

pub(crate) fn a_client_certificate_authenticates_to_an_endpoint_url(stage: &mut Stage) {
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

/// Every watched kind costs memory and load on the API server, so only kinds with a reader are watched.
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
        // The audit log records a watch when it ends.
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

/// A kind that a new Corefile does not need is dropped.
pub(crate) fn a_reload_stops_watching_a_kind_without_readers(stage: &mut Stage) {
    prepare(stage, "access-dropped", "10.96.0.79", "10.244.3.9");
    let corefile = stage.corefile("pods verified");
    let dns = stage.dns(&corefile);
    stage.resolver().expect(SOON, "web.access-dropped.svc.cluster.local A = 10.96.0.79");
    let before = stage.plane.audit("portolan").len();
    std::fs::write(stage.folder().join("Corefile"), corefile.replace("verified", "insecure"))
        .expect("the folder is ours");
    dns.signal(Signal::SIGUSR1);
    // The cluster does not change meanwhile.
    wait::until("the end of the watch of Pods", SOON, || {
        match resources(&stage.plane.audit("portolan")[before..]).as_str() {
            "pods" => Ok(()),
            other => Err(format!("ended: {other:?}")),
        }
    });
    stage.resolver().expect(SOON, "web.access-dropped.svc.cluster.local A = 10.96.0.79");
}

/// The first reload changes only the limits; the second causes a request that they apply to.
pub(crate) fn a_reload_applies_limits_to_existing_connections(stage: &mut Stage) {
    prepare(stage, "access-limits", "10.96.0.87", "10.244.3.10");
    let corefile = |options: &str| {
        stage.corefile(options).replace("    ready\n", "    ready\n    prometheus 127.0.0.1:9153\n")
    };
    let held = "coredns_kubernetes_rest_client_rate_limiter_duration_seconds_count";
    let dns = stage.dns(&corefile(""));
    assert!(!dns.dns_metrics().contains(held), "there is no limit yet");
    for (options, resets) in [("apiserver_qps 1000", 1), ("apiserver_qps 1000\n pods verified", 2)] {
        std::fs::write(stage.folder().join("Corefile"), corefile(options)).expect("the folder is ours");
        dns.signal(Signal::SIGUSR1);
        wait::until("the reload", SOON, || match dns.log().matches("Reloading complete").count() {
            seen if seen == resets => Ok(()),
            seen => Err(format!("{seen} of {resets}")),
        });
    }
    wait::until("a request that was held", SOON, || match dns.dns_metrics() {
        metrics if metrics.contains(held) => Ok(()),
        metrics => Err(metrics),
    });
    stage.resolver().expect(SOON, "web.access-limits.svc.cluster.local A = 10.96.0.87");
}

pub(crate) fn resources(lines: &[String]) -> String {
    let mut kinds: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.join(", ")
}
