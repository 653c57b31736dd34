//! Values of the chart: mistakes are refused with their key, and old keys without effect are listed.

use std::fs;

use tests::stage::Stage;

use super::{chart, helm, helm_output, prepare, repository};

/// Values, as `--set` takes them, and words of the message.
const REFUSED: &[(&str, &[&str])] = &[
    // A typing error.
    ("controller.confg.a=b", &["/controller", "'confg' not allowed"]),
    ("dns.replicas=2", &["/dns", "'replicas' not allowed"]),
    ("dns.service.clusterIp=10.96.0.10", &["/dns/service", "'clusterIp' not allowed"]),
    ("foo=bar", &["'foo' not allowed"]),
    ("controller.extraArgs.watch-namespaces=shop", &["controller.extraArgs.watch-namespaces", "no flag"]),
    // A wrong value.
    ("controller.kind=Pod", &["/controller/kind", "'Deployment', 'DaemonSet'"]),
    ("controller.replicaCount=two", &["/controller/replicaCount", "'two'"]),
    ("controller.service.type=None", &["/controller/service/type"]),
    ("image.pullPolicy=Sometimes", &["/image/pullPolicy"]),
    ("tcp.http=a/b:80", &["'http'"]),
    // A key at the wrong level.
    ("config.use-gzip=true", &["config: is not a key of the root; did you mean controller.config?"]),
    ("ingressClassResource.name=edge", &["did you mean controller.ingressClassResource?"]),
    ("replicaCount=2", &["did you mean controller.replicaCount or dns.replicaCount?"]),
    ("servers[0].port=53", &["did you mean dns.servers?"]),
    // Images of the programs that are replaced.
    ("controller.image.image=ingress-nginx/controller", &["controller.image.image", "delete the line"]),
    (
        "controller.image.repository=mirror.example.com/ingress-nginx/controller",
        &["controller.image.repository"],
    ),
    ("controller.image.tag=v1.15.1", &["controller.image.tag: v1.15.1", "delete the line"]),
    ("controller.image.digest=sha256:abc", &["controller.image.digest: sha256:abc"]),
    ("dns.image.repository=registry.k8s.io/coredns/coredns", &["dns.image.repository"]),
    ("dns.image.tag=v1.13.1", &["dns.image.tag: v1.13.1"]),
    // What protects and would be lost.
    ("controller.customTemplate.configMapName=tmpl", &["controller.customTemplate.configMapName"]),
    ("controller.extraModules[0].name=modsecurity", &["controller.extraModules"]),
    // What does not go together.
    ("controller.keda.enabled=true,controller.autoscaling.enabled=true", &["controller.keda.enabled"]),
    ("rbac.scope=true", &["rbac.scope", "controller.scope.enabled"]),
    ("dns.enabled=true,dns.deployment.dnsPolicy=None", &["dns.deployment.dnsConfig"]),
    ("dns.enabled=true,dns.prometheus.monitor.enabled=true", &["dns.prometheus.service.enabled"]),
    // What this version cannot do.
    ("secrets.mode=namespaces", &["secrets.mode", "controller.scope.enabled"]),
    ("secrets.mode=some", &["/secrets/mode"]),
    ("mode=combined", &["mode: combined needs controller.enabled, dns.enabled"]),
    (
        "mode=combined,dns.enabled=true,controller.scope.enabled=true,dns.kind=DaemonSet,dns.hpa.enabled=true",
        &[
            "controller.scope.enabled: DNS needs",
            "use controller.kind: DaemonSet",
            "use controller.autoscaling.enabled",
        ],
    ),
    (
        "mode=combined,dns.enabled=true,dns.namespaceOverride=kube-system",
        &["dns.namespaceOverride", "must be the same"],
    ),
    (
        "dns.enabled=true,dns.nodeCache.enabled=true,dns.nodeCache.localIP=10.96.0.10",
        &["dns.nodeCache.localIP", "link-local"],
    ),
    ("dns.nodeCache.enabled=true", &["dns.nodeCache.enabled", "dns.enabled"]),
    ("dns.enabled=true,dns.nodeHosts=true,dns.existingConfigMap=own", &["dns.nodeHosts", "plugin hosts"]),
    (
        "dns.enabled=true,dns.nodeHosts=true,dns.servers[0].plugins[0].name=hosts,dns.servers[0].plugins[1].name=kubernetes",
        &["dns.nodeHosts", "dns.servers[0].plugins[0]"],
    ),
    (
        "dns.enabled=true,dns.servers[0].port=53,dns.servers[0].plugins[0].name=route53",
        &[
            "dns.servers[0].plugins[0].name",
            "no plugin route53",
            "dns.livenessProbe.enabled: needs the plugin health",
        ],
    ),
    ("dns.enabled=true,dns.servers[0].zones[0].scheme=tls://", &["dns.servers[0].zones[0].scheme", "tls://"]),
];

pub(crate) fn mistakes_are_refused_with_their_key(stage: &mut Stage) {
    for (set, wanted) in REFUSED {
        let output = helm(stage, &["template", "wrong", &chart(), "--set", set]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{set} is accepted");
        wanted
            .iter()
            .for_each(|words| assert!(message.contains(words), "{set}: {words:?} is missing: {message}"));
    }
    // All mistakes are reported at once.
    let output =
        helm(stage, &["template", "wrong", &chart(), "--set", "mode=combined,config.a=b,rbac.scope=true"]);
    let message = String::from_utf8_lossy(&output.stderr);
    for key in ["mode:", "config:", "rbac.scope:"] {
        assert!(message.contains(key), "{key} is missing: {message}");
    }
}

pub(crate) fn an_old_values_file_is_installed_and_its_keys_without_effect_are_listed(stage: &mut Stage) {
    prepare(stage, "chart-old");
    let file = repository().join("charts/portolan/ci/ingress-nginx-values.yaml");
    let values = file.to_string_lossy();
    let class = "controller.ingressClassResource.name=chart-old,controller.ingressClassResource.aliases={chart-old-internal}";
    let notes =
        helm_output(stage, &["install", "old", &chart(), "-n", "chart-old", "-f", &values, "--set", class]);
    let (notes, idle) = notes.split_once("accepted and have no effect").expect("a warning");
    let (notes, different) = notes.split_once("do not have the effect").expect("a warning");
    for key in ["controller.addHeaders", "controller.proxySetHeaders"] {
        assert!(!notes.contains(key), "{key} is honoured: {notes}");
    }
    let key = "controller.admissionWebhooks.certManager.enabled:";
    assert!(different.contains(key), "{key} is missing: {different}");
    for key in
        ["controller.service.omitClusterIP:", "controller.admissionWebhooks.patch:", "podSecurityPolicy:"]
    {
        assert!(idle.contains(key), "{key} is missing: {idle}");
    }
    let warnings = format!("{different}{idle}");
    for key in ["enableMimalloc", "publishService", "electionID", "replicaCount", "controller.config"] {
        assert!(!warnings.contains(key), "{key} has an effect or is neutral: {warnings}");
    }
    let config =
        stage.plane.api.read("ConfigMap", "chart-old", "old-portolan-controller").expect("it is installed");
    for (key, value) in [
        ("max-worker-connections", "1000000"),
        ("strict-validate-path-type", "false"),
        ("allow-snippet-annotations", "true"),
        ("large-client-header-buffers", "4 16k"),
        ("add-headers", "chart-old/old-portolan-custom-add-headers"),
        ("proxy-set-headers", "chart-old/old-portolan-custom-proxy-headers"),
    ] {
        assert_eq!(config["data"][key], value, "{key}");
    }
    for (name, header, value) in [
        ("old-portolan-custom-add-headers", "X-Frame-Options", "SAMEORIGIN"),
        ("old-portolan-custom-proxy-headers", "X-Request-Start", "t=${msec}"),
    ] {
        let headers = stage.plane.api.read("ConfigMap", "chart-old", name).expect("it is installed");
        assert_eq!(headers["data"][header], value, "{name}");
    }
    let deployment =
        stage.plane.api.read("Deployment", "chart-old", "old-portolan-controller").expect("it is installed");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert!(
        container["image"]
            .as_str()
            .is_some_and(|image| image.starts_with("mirror.example.com/library/portolan:"))
    );
    assert_eq!(container["securityContext"]["runAsUser"], 101);
    let arguments = container["args"].to_string();
    assert!(arguments.contains("--default-ssl-certificate=kube-system/wildcard"), "{arguments}");
    helm_output(stage, &["uninstall", "old", "-n", "chart-old"]);

    let set = "controller.ingressClassResource.enabled=false,tcp.5432=shop/db:5432";
    let notes = helm_output(stage, &["install", "old", &chart(), "-n", "chart-old", "--set", set]);
    assert!(!notes.contains("what these values configure is not served"), "{notes}");
    let services =
        stage.plane.api.read("ConfigMap", "chart-old", "old-portolan-tcp").expect("it is installed");
    assert_eq!(services["data"]["5432"], "shop/db:5432");
    helm_output(stage, &["uninstall", "old", "-n", "chart-old"]);
}

/// `portolan migrate values` and the chart agree: what the command leaves is accepted, and what it takes out is not.
pub(crate) fn migrated_values_files_are_accepted_by_helm(stage: &mut Stage) {
    let folder = repository().join("tests/values");
    let files =
        fs::read_dir(&folder).expect("there are values files").map(|entry| entry.expect("it reads").path());
    let mut count = 0;
    for file in files {
        let name = file.file_name().expect("a file").to_string_lossy().into_owned();
        let (given, new) = (file.to_string_lossy(), stage.folder().join(&name));
        let new = new.to_string_lossy();
        let output = stage.output(&["migrate", "values", &given, "-o", &new]);
        let report = String::from_utf8_lossy(&output.stderr).into_owned();
        let has = |outcome: &str| report.lines().any(|line| line.starts_with(outcome));
        let is_refused = has("refused ");
        let code = i32::from(is_refused || has("closed "));
        assert_eq!(output.status.code(), Some(code), "{name}: {report}");
        helm_output(stage, &["lint", "--strict", &chart(), "-f", &new]);
        let rendered = helm_output(stage, &["template", "new", &chart(), "-f", &new]);
        assert!(rendered.contains("kind: ServiceAccount"), "{name}: {rendered}");
        if is_refused && name.starts_with("ingress-nginx") {
            let message = helm(stage, &["template", "old", &chart(), "-f", &given]);
            let message = String::from_utf8_lossy(&message.stderr).into_owned();
            assert!(
                message.contains("controller.image.tag") || message.contains("config:"),
                "{name}: {message}"
            );
        }
        count += 1;
    }
    assert!(count >= 5, "{count} files");
}

/// The Corefile of `dns.servers` is the text that the coredns chart makes of the same values.
pub(crate) fn the_corefile_of_the_values_is_served(stage: &mut Stage) {
    prepare(stage, "chart-corefile");
    let file = repository().join("charts/portolan/ci/coredns-values.yaml");
    let set = "dns.service.name=names,dns.service.clusterIP=,dns.fullnameOverride=names";
    let values = file.to_string_lossy();
    helm_output(stage, &["install", "names", &chart(), "-n", "chart-corefile", "-f", &values, "--set", set]);
    let config = stage.plane.api.read("ConfigMap", "chart-corefile", "names").expect("it is installed");
    let corefile = config["data"]["Corefile"].as_str().expect("a Corefile");
    assert_eq!(
        corefile,
        "\
import /etc/coredns/custom/*.server
.:53 {
    errors
    health {
        lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods verified
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus 0.0.0.0:9153
    forward . 192.0.2.53
    cache 30
    reload
    loadbalance
}
corp.example.com.:5353 {
    forward . 198.51.100.53
}"
    );
    let service = stage.plane.api.read("Service", "chart-corefile", "names").expect("it is installed");
    let ports: Vec<String> = service["spec"]["ports"]
        .as_array()
        .expect("ports")
        .iter()
        .map(|port| format!("{} {} {}", port["name"], port["port"], port["targetPort"]).replace('"', ""))
        .collect();
    assert_eq!(ports, ["udp-53 53 53", "tcp-53 53 53", "udp-5353 53530 5353"]);
    helm_output(stage, &["uninstall", "names", "-n", "chart-corefile"]);
}
