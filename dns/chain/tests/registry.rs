//! The plugin registry, and building chains from a Corefile.
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use dns_chain::plugins::{NOT_BUILT, PLUGINS};
use dns_chain::{ApiConnection, ApiLimits};
use support::{EmptyCluster, build, build_with, context, parse};
use telemetry::metrics::Registry;

/// CoreDNS 1.15's plugin.cfg.
const ORDER: &str = "root metadata geoip cancel proxyproto quic grpc_server https https3 timeouts multisocket reload \
    nsid bufsize bind debug trace ready health pprof shed prometheus errors log dnstap local dns64 siit any chaos \
    loadbalance tsig rewrite autopath acl cache header dnssec tls minimal template transfer dynupdate hosts route53 \
    azure clouddns k8s_external kubernetes file auto secondary etcd loop forward grpc erratic whoami on sign view nomad";

#[test]
fn plugins_are_in_the_order_of_coredns_and_every_directive_is_known() {
    let order: Vec<&str> = ORDER.split_whitespace().collect();
    let places: Vec<_> =
        PLUGINS.iter().map(|entry| order.iter().position(|name| *name == entry.name)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    for name in order {
        let built = PLUGINS.iter().any(|entry| entry.name == name);
        assert_ne!(built, NOT_BUILT.contains(&name), "{name} is either built or not");
    }
}

#[test]
fn every_syntax_example_loads_and_uses_metrics_of_the_registry_only() {
    let registry = Registry::new();
    PLUGINS.iter().for_each(|entry| (entry.metrics)(&registry));
    let listed = registry.descriptions();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("weights.txt"), "www.example.org\n10.0.0.1 3\n").unwrap();
    std::fs::write(folder.path().join("resolv.conf"), "nameserver 192.0.2.53\n").unwrap();
    for entry in PLUGINS {
        assert!(!entry.about.is_empty() && !entry.syntax.is_empty(), "{} is documented", entry.name);
        for example in entry.syntax {
            let weights = folder.path().join("weights.txt").display().to_string();
            let resolv = folder.path().join("resolv.conf").display().to_string();
            let example = example.replace("weights.txt", &weights).replace("/etc/resolv.conf", &resolv);
            let text = format!("example.org cluster.local {{\n{example}\n}}\n");
            let used = Registry::new();
            if let Err(errors) = build_with(&text, &used, true) {
                panic!("{}: {example}\n{errors}", entry.name);
            }
            for metric in used.descriptions() {
                assert!(listed.contains(&metric), "{}: {example}\nmetrics() lacks {metric:?}", entry.name);
            }
        }
    }
}

#[test]
fn the_documented_options_are_those_of_the_examples() {
    for plugin in PLUGINS {
        let mut shown = BTreeSet::new();
        for example in plugin.syntax {
            let corefile = parse(&format!(". {{\n{example}\n}}\n")).unwrap();
            let lines = corefile.blocks.iter().flat_map(|block| &block.directives);
            shown.extend(lines.flat_map(|directive| &directive.block).map(|line| line.name.text.clone()));
        }
        // A line that begins with an address is an entry of `hosts`.
        shown.retain(|word| word.starts_with(|ch: char| ch.is_ascii_lowercase()));
        let words = plugin.options.iter().filter_map(|option| option.syntax.split(' ').next());
        let documented: BTreeSet<String> = words
            .filter(|word| word.starts_with(|ch: char| ch.is_ascii_lowercase()))
            .map(str::to_owned)
            .collect();
        assert_eq!(documented, shown, "{}", plugin.name);
    }
}

/// A method that is not among the hooks of its plugin is never called.
#[test]
fn a_plugin_names_the_methods_that_it_has() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plugins");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        if !text.contains("impl Plugin for") {
            continue;
        }
        checked += 1;
        let names = |hook: &str| text.contains(hook);
        // Without a list of its own a plugin has `query` only.
        let queries = !names("fn hooks(&self)") || names("Hooks::QUERY");
        for (method, is_named) in [
            ("fn query(", queries),
            ("fn reply(", names("Hooks::REPLY")),
            ("fn seal(", names("Hooks::SEAL")),
            ("fn sent(", names("Hooks::SENT")),
        ] {
            let has = text.contains(method);
            assert_eq!(has, is_named, "{}: {method}", path.display());
        }
    }
    assert!(checked > 20, "{checked} plugins");
}

#[test]
fn legacy_names_of_metrics_can_be_left_out() {
    for (legacy, wanted) in [(true, 4), (false, 0)] {
        let metrics = Registry::new();
        build_with(". {\nforward . 192.0.2.53\n}\n", &metrics, legacy)
            .map_err(|error| panic!("{error}"))
            .unwrap();
        let names = metrics.descriptions();
        let is_legacy = |help: &str| help.contains("Legacy");
        assert_eq!(names.iter().filter(|metric| is_legacy(&metric.help)).count(), wanted, "{names:?}");
        assert!(names.iter().any(|metric| metric.name == "coredns_proxy_request_duration_seconds"));
    }
}

#[test]
fn a_weight_file_may_be_created_later_unless_it_is_read_only_once() {
    let missing = tempfile::tempdir().unwrap().path().join("weights.txt").display().to_string();
    assert!(build(&format!("example.org {{\nloadbalance weighted {missing}\n}}\n")).is_ok());
    let Err(errors) =
        build(&format!("example.org {{\nloadbalance weighted {missing} {{\nreload 0s\n}}\n}}\n"))
    else {
        panic!("it was accepted");
    };
    assert!(
        errors.to_string().contains("Corefile:2") && errors.to_string().contains("weights.txt"),
        "{errors}"
    );
}

#[test]
fn a_corefile_with_removed_options_loads_with_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let resolv = folder.path().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 192.0.2.53\n").unwrap();
    let text = format!(
        ".:53 {{
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        pods insecure
        upstream
        resyncperiod 5m
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus :9153
    proxy . {}
    cache 30
    loop
    reload
    loadbalance
}}",
        resolv.display()
    );
    let (servers, _) = build(&text).unwrap();
    let warnings: Vec<String> = servers.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for (warning, part) in
        warnings.iter().zip(["Corefile:13 - proxy", "Corefile:7 - kubernetes: upstream", "resyncperiod"])
    {
        assert!(warning.contains(part), "{warning}");
    }
    assert_eq!(servers.listeners.len(), 1);
    assert_eq!(servers.reload.map(|reload| reload.interval.as_secs()), Some(30));
}

#[test]
fn all_errors_are_reported_at_once_with_their_lines() {
    let text = ".:53 {
    errors {
        consolidate 5m
    }
    kubernetes in-addr.arpa
    cache 0
    cache
    forward .
    dnssec
    loadbalance fancy
    health :8080 {
        lameduck soon
    }
    reload 1s
    forwrad . 10.0.0.1
    wibblewobble
}
tls://example.org {
    whoami
}
example.net {
    kubernetes cluster.local {
        pods sometimes
        ttl 4000
        multicluster cluster.local set.local
        labels a in
        namespaces a
        namespace_labels b=c
        wibble
    }
    forward . 10.0.0.1 {
        policy best
        failover NOERROR
        max_age 1s
    }
    log {
        class some
    }
}";
    let errors = build(text).err().unwrap();
    for part in [
        "Corefile:3 - Error during parsing: Wrong argument count",
        "Corefile:5 - Error during parsing: non-reverse zone name must be used",
        "Corefile:7 - Error during parsing: plugin/cache: this plugin can only be used once per Server Block",
        "Corefile:8 - Error during parsing: Wrong argument count",
        "Corefile:9 - Error during parsing: plugin dnssec is not built yet",
        "Corefile:10 - Error during parsing: unknown policy: fancy",
        "Corefile:12 - Error during parsing: time: invalid duration \"soon\"",
        "Corefile:14 - Error during parsing: duration out of range \"1s\"",
        "Corefile:15 - Error during parsing: Unknown directive 'forwrad'; wanted forward? (one of root, metadata,",
        "Corefile:16 - Error during parsing: Unknown directive 'wibblewobble'; wanted one of root, metadata,",
        "Corefile:18 - Error during parsing: tls://example.org.:853: serving tls:// is not built yet",
        "Corefile:23 - Error during parsing: unknown value \"sometimes\"",
        "Corefile:24 - Error during parsing: invalid number \"4000\"",
        "Corefile:25 - Error during parsing: is not authoritative for the multicluster zone set.local",
        "Corefile:26 - Error during parsing: unable to parse label selector value: 'a in'",
        "Corefile:29 - Error during parsing: unknown property 'wibble'",
        "Corefile:32 - Error during parsing: unknown value \"best\"",
        "Corefile:33 - Error during parsing: NOERROR is not allowed in failover",
        "Corefile:37 - Error during parsing: unknown value \"some\"",
    ] {
        assert!(errors.contains(part), "{part}\nin\n{errors}");
    }
}

/// A rejected Corefile means a cluster without DNS, so all Corefiles that CoreDNS accepts are accepted.
#[test]
fn corefiles_that_coredns_accepts_are_accepted() {
    for lines in [
        "cache {\nserve_stale 0\n}",
        "cache {\nserve_stale 1h verify 0s 0s 0s\n}",
        "cache {\nsuccess 0\ndenial -1\n}",
        "cache 3 {\nsuccess 100 3 10 more\nprefetch 10 -1m\n}",
        "errors {\nconsolidate 0 x\nconsolidate -1s y\n}",
        "errors {\nstacktrace }",
        "whoami\nwhoami",
        "template IN A {\nanswer \"{{ .Name }} A {{ .Grup.a }}\"\n}",
        "cancel 1s\ncancel",
        "dns64\ndns64 {\nallow_ipv4\n}",
        "local\nlocal {\nlocalhost_prefix off\n}",
        "erratic\nerratic {\ndrop\n}",
        "autopath /dev/null\nautopath example.org /dev/null",
        "auto {\ndirectory /none\n}\nauto {\nreload 10s\n}",
        "rewrite edns0 local set 0b101 x\nrewrite edns0 local set 017 x\nrewrite rcode a 23 NXDOMAIN",
        "view a {\nexpr \"any(split(name(), '.'), # in ['a'])\"\nexpr name()[0:3] == 'www'\n}\nwhoami",
        "health 127.0.0.1:0\nhealth {\nlameduck -5s\n}",
        "reload 10s\nreload 20s {\nodd words\n}",
        "loadbalance round_robin\nloadbalance {\nprefer\n}",
        "kubernetes cluster.local {\nignore\n}",
        "forward . 192.0.2.53 {\nexcept a.example\nexcept b.example\nnext NXDOMAIN\nnext SERVFAIL\n}",
        "forward . 192.0.2.53 {\npolicy random }",
        "forward . 192.0.2.53 {\nexpire 10s max_fails 3 policy sequential force_tcp\n}",
        "forward . 192.0.2.53 {\nmax_fails 3 except a.example b.example\n}",
        "forward . 192.0.2.53 {\nhealth_check 0\nresolver 192.0.2.53:5353\nmax_fails 4294967295\n}",
    ] {
        if let Err(errors) = build(&format!(".:53 {{\n{lines}\n}}")) {
            panic!("{lines}\n{errors}");
        }
    }
}

#[test]
fn corefiles_that_coredns_refuses_are_refused() {
    for (lines, what) in [
        ("timeouts {\nmaxtcpqueries 0\n}", "maxtcpqueries 0"),
        ("rewrite rcode a 24 NXDOMAIN", "invalid rcode \"24\""),
        ("rewrite name prefix a b answer auto answer name a b", "cannot be combined"),
        ("rewrite name suffix a b metadata", "only supported for regex"),
        ("template IN A {\nanswer \"{{ $x }}\"\n}", "undefined variable $x"),
        ("view a {\nexpr sortBy([1], #)\n}", "unknown function sortBy (column 1)"),
        ("view a {\nexpr type() == kind\n}", "unknown name kind (column 11)"),
        ("metadata\nmetadata", "only be used once"),
        ("multisocket\nmultisocket", "only be used once"),
    ] {
        let errors = build(&format!(".:53 {{\n{lines}\nwhoami\n}}")).err().unwrap_or_default();
        assert!(errors.contains(what), "{lines}: {errors}");
    }
}

#[test]
fn a_repeated_directive_is_reported_and_takes_effect_as_in_coredns() {
    let text = ".:53 {
    reload 10s
    reload 20s
    health 127.0.0.1:0 {
        lameduck 5s
    }
    health {
        lameduck 7s
    }
    loadbalance weighted /none
    loadbalance
}";
    let (servers, _) = build(text).unwrap();
    assert_eq!(servers.reload.map(|reload| reload.interval.as_secs()), Some(10), "the first");
    assert_eq!(servers.lameduck.as_secs(), 7, "the last");
    let lines: Vec<_> = servers.warnings.iter().map(|warning| warning.at.line()).collect();
    assert_eq!(lines, [3, 7, 11]);
}

#[test]
fn a_conflict_between_properties_is_reported_at_one_of_them() {
    for (lines, wanted) in [
        (
            "kubernetes cluster.local {\nttl 5\nnamespaces a\nnamespace_labels b=c\n}",
            "Corefile:5 - Error during parsing: namespaces and namespace_labels cannot both be set",
        ),
        (
            "kubernetes cluster.local {\nttl 5\nkubeconfig /none\n}",
            "Corefile:4 - Error during parsing: kubernetes: kubeconfig /none: it cannot be read",
        ),
        (
            "kubernetes cluster.local {\nzonal\nnoendpoints\n}",
            "Corefile:3 - Error during parsing: zonal needs endpoints",
        ),
        ("forward . 192.0.2.53 {\nexpire 10s\nmax_age 1s\n}", "Corefile:4 - Error during parsing: max_age"),
        (
            "forward . tls://192.0.2.53 {\nexpire 10s\ntls /none\n}",
            "Corefile:4 - Error during parsing: forward: /none",
        ),
        (
            "forward . 192.0.2.53 {\nexpire 10s 20s\n}",
            "Corefile:3 - Error during parsing: unknown property '20s'",
        ),
        (
            "forward . tls://192.0.2.53 {\ntls_servername a..b\n}",
            "Corefile:3 - Error during parsing: forward: tls_servername",
        ),
        (
            "loadbalance weighted",
            "Corefile:2 - Error during parsing: missing weight file argument; wanted round_robin, or weighted FILE",
        ),
        (
            "loadbalance round_robin x",
            "Corefile:2 - Error during parsing: unexpected argument 'x' of round_robin",
        ),
        (
            "cache {\nserve_stale 1h immediate 0s 0s 5s\n}",
            "Corefile:3 - Error during parsing: unexpected '5s' after serve_stale",
        ),
        ("forward . {$NONE}", "not an IP address or file: \"\" (written {$NONE})"),
    ] {
        let errors = build(&format!(".:53 {{\n{lines}\n}}")).err().expect(lines);
        assert!(errors.contains(wanted), "{wanted}\nin\n{errors}");
    }
}

#[test]
fn the_options_of_the_api_server_are_passed_on() {
    let text = "cluster.local {
    kubernetes {
        endpoint https://10.0.0.1:6443 https://10.0.0.2:6443
        tls cert key ca
        labels environment in (a, b),app=x
        apiserver_qps 2.5
        apiserver_burst 100
        apiserver_max_inflight 20
    }
}";
    let (_, connections) = build(text).unwrap();
    let wanted = ApiConnection {
        endpoint: Some("https://10.0.0.1:6443".to_owned()),
        tls: Some(["cert", "key", "ca"].map(str::to_owned)),
        kubeconfig: None,
        labels: Some("environment in (a, b),app=x".to_owned()),
        limits: ApiLimits { qps: 2.5, burst: 100, in_flight: 20 },
    };
    assert_eq!(connections, [wanted]);
}

#[test]
fn the_keys_of_a_block_share_one_view_of_the_cluster() {
    let text = "cluster.local example.org:1053 {\nkubernetes cluster.local\n}";
    let (servers, connections) = build(text).unwrap();
    assert_eq!((servers.listeners.len(), connections.len()), (2, 1));
}

#[test]
fn a_zone_is_served_once_at_an_address_whatever_it_is_called() {
    for (text, wanted) in [
        (
            ". {\nbind 127.0.0.1\nwhoami\n}\n. {\nbind lo\nwhoami\n}\n",
            "Corefile:5 - Error during parsing: cannot serve dns://.:53 on 127.0.0.1 - it is already defined",
        ),
        (
            ". {\nbind 127.0.0.1\nwhoami\n}\n. {\nwhoami\n}\n",
            "Corefile:5 - Error during parsing: cannot serve dns://.:53 - zone overlap listener capacity",
        ),
        (
            ". {\nbind 0.0.0.0\nwhoami\n}\n. {\nbind ::\nwhoami\n}\n",
            "Corefile:5 - Error during parsing: cannot serve dns://.:53 on 0.0.0.0 - it is already defined",
        ),
    ] {
        let errors = build(text).err().expect(text);
        assert!(errors.contains(wanted), "{wanted}\nin\n{errors}");
    }
    let apart =
        ". {\nbind 127.0.0.1\nwhoami\n}\n. {\nbind lo {\nexcept 127.0.0.1\n}\nbind 127.0.0.2\nwhoami\n}\n";
    assert!(build(apart).is_ok(), "except is taken into account");
    let (servers, _) = build(". a.test {\nbind 127.0.0.1 0.0.0.0 ::\nwhoami\n}\n").unwrap();
    let listeners: Vec<_> = servers.listeners.iter().map(|listener| listener.listen.bound).collect();
    assert_eq!(listeners, [None, Some(([127, 0, 0, 1], 53).into())]);
}

/// Mistakes of the text, of zones, of repeated directives and of options do not hide each other.
#[test]
fn mistakes_of_all_stages_are_reported_at_once_in_the_order_of_their_lines() {
    let text = "a.org {
    cache -1
    cache {
        success x
    }
    kubernetes in-addr.arpa {
        ttl 99999
        fooo
    }
    acl {
        block type FOO net 1.2.3.400
    }
    import nofile
    minimal x
}
b.org:99999 {
    whoami y
}
tls://c.org {
    wohami
}
a.org {
    ready x y
}
";
    let options = config::ParseOptions { dns_port: 53, directives: &[], env: &|_| None };
    let corefile = config::Corefile::read("Corefile", text, &config::Disk, &options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let context = context(Arc::new(EmptyCluster::default()), runtime.handle().clone(), &Registry::new());
    let errors = dns_chain::build(&corefile, &context).err().unwrap();
    let lines: Vec<u32> = errors.0.iter().map(|error| error.at.line()).collect();
    assert_eq!(lines, [2, 3, 4, 6, 7, 8, 11, 11, 13, 14, 16, 17, 19, 20, 22, 23], "{errors}");
    assert!(config::Corefile::parse("Corefile", text, &config::Disk, &options).is_err());
    // A mistake that leaves open what belongs where ends the reading.
    let unclosed = format!("{text}d.org {{\n cache 1 }} }}\n");
    let errors = config::Corefile::read("Corefile", &unclosed, &config::Disk, &options).unwrap_err();
    assert!(errors.0.iter().all(|error| error.at.line() != 14), "{errors}");
}
