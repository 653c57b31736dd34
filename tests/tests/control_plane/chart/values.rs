//! Values of the chart: mistakes are refused with their key, and old keys without effect are listed.

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
    ("controller.proxySetHeaders.X-Real-User=none", &["controller.proxySetHeaders", "503"]),
    ("controller.customTemplate.configMapName=tmpl", &["controller.customTemplate.configMapName"]),
    ("controller.extraModules[0].name=modsecurity", &["controller.extraModules"]),
    // What does not go together.
    ("controller.keda.enabled=true,controller.autoscaling.enabled=true", &["controller.keda.enabled"]),
    ("rbac.scope=true", &["rbac.scope", "controller.scope.enabled"]),
    ("dns.enabled=true,dns.deployment.dnsPolicy=None", &["dns.deployment.dnsConfig"]),
    ("dns.enabled=true,dns.prometheus.monitor.enabled=true", &["dns.prometheus.service.enabled"]),
    // What this version cannot do.
    ("mode=combined", &["mode: combined"]),
    (
        "dns.enabled=true,dns.nodeCache.enabled=true,dns.nodeCache.localIP=10.96.0.10",
        &["dns.nodeCache.localIP", "link-local"],
    ),
    ("dns.nodeCache.enabled=true", &["dns.nodeCache.enabled", "dns.enabled"]),
    ("dns.nodeHosts=true", &["dns.nodeHosts", "existingConfigMap"]),
    (
        "dns.enabled=true,dns.servers[0].port=53,dns.servers[0].plugins[0].name=rewrite",
        &[
            "dns.servers[0].plugins[0].name",
            "no plugin rewrite",
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

pub(crate) fn an_old_values_file_is_installed_and_its_idle_keys_are_listed(stage: &mut Stage) {
    prepare(stage, "chart-old");
    let file = repository().join("charts/portolan/ci/ingress-nginx-values.yaml");
    let values = file.to_string_lossy();
    let class = "controller.ingressClassResource.name=chart-old,controller.ingressClassResource.aliases={chart-old-internal}";
    let notes =
        helm_output(stage, &["install", "old", &chart(), "-n", "chart-old", "-f", &values, "--set", class]);
    let (_, warnings) = notes.split_once("accepted and have no effect").expect("a warning");
    for key in [
        "controller.admissionWebhooks.enabled:",
        "controller.electionID:",
        "controller.addHeaders:",
        "controller.service.omitClusterIP:",
        "podSecurityPolicy:",
    ] {
        assert!(warnings.contains(key), "{key} is missing: {warnings}");
    }
    for key in ["enableMimalloc", "publishService", "replicaCount", "controller.config"] {
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
    ] {
        assert_eq!(config["data"][key], value, "{key}");
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
