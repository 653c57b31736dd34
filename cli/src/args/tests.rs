use super::*;

fn parse(line: &str) -> Result<ParsedCommand, CommandError> {
    read(line.split_whitespace().map(OsString::from))
}

#[test]
fn clap_accepts_the_definition() {
    command().debug_assert();
}

#[test]
fn the_examples_of_the_help_are_valid() {
    let command = command();
    for command in std::iter::once(&command).chain(command.get_subcommands()) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = help.lines().filter(|line| line.starts_with("  portolan "));
        let examples = examples.map(|line| line.split(['>', '|']).next().unwrap());
        let wanted = if ["portolan", "up", "dns", "ingress"].contains(&command.get_name()) { 3 } else { 0 };
        assert!(examples.clone().count() >= wanted, "{}: {help}", command.get_name());
        for example in examples {
            assert!(parse(example.trim()).is_ok(), "{example}");
        }
    }
}

#[test]
fn coredns_flags_have_one_dash_or_two() {
    for line in [
        "portolan dns -conf /etc/coredns/Corefile -dns.port 1053 -quiet",
        "portolan dns --conf=/etc/coredns/Corefile -p 1053 --quiet",
        "portolan dns -conf=/etc/coredns/Corefile -dns.port=1053 -quiet",
    ] {
        let Ok(ParsedCommand::Dns(args)) = parse(line) else { panic!("{line}") };
        assert_eq!(args.conf.as_deref(), Some(std::path::Path::new("/etc/coredns/Corefile")), "{line}");
        assert_eq!((args.port, args.quiet, args.legacy_metrics), (1053, true, true), "{line}");
    }
}

#[test]
fn the_last_value_of_a_repeated_flag_applies_as_in_go() {
    let line =
        "portolan dns -dns.port 1 -p 2 -quiet -quiet=false -legacy-metrics=false --cluster a --cluster b";
    let Ok(ParsedCommand::Dns(args)) = parse(line) else { panic!("{line}") };
    assert_eq!((args.port, args.quiet, args.manifests.len()), (2, false, 2));
    assert!(!args.legacy_metrics);
    let line =
        "portolan ingress --v=2 --http-port=80 --v=3 --http-port=81 --enable-metrics --enable-metrics=false";
    let Ok(ParsedCommand::Ingress(args)) = parse(line) else { panic!("{line}") };
    assert_eq!((args.http_port, args.metrics), (81, false));
}

#[test]
fn a_flag_that_disables_an_unsupported_feature_is_not_reported() {
    let line = "portolan ingress --update-status=false --max-buckets=50 --bucket-factor=0";
    let Ok(ParsedCommand::Ingress(args)) = parse(line) else { panic!("{line}") };
    let names: Vec<_> = args.unsupported.iter().map(|flag| (flag.name, flag.value.as_str())).collect();
    assert_eq!(names, [("max-buckets", "50")]);
}

#[test]
fn an_unknown_go_style_flag_keeps_its_name() {
    let rewritten = go_style::rewrite(["portolan", "dns", "-nosuch", "-p", "53"].map(OsString::from));
    assert_eq!(rewritten, ["portolan", "dns", "--nosuch", "-p", "53"]);
}

#[test]
fn the_arguments_of_the_ingress_nginx_chart_are_accepted() {
    let line = "portolan ingress --publish-service=ns/ctl --election-id=ingress-nginx-leader \
                --controller-class=k8s.io/ingress-nginx --ingress-class=nginx --configmap=ns/ctl \
                --validating-webhook=:8443 --validating-webhook-certificate=/c --validating-webhook-key=/k \
                --enable-metrics=true --http-port=8080 --shutdown-grace-period=5 -v=2 --logtostderr";
    let Ok(ParsedCommand::Ingress(args)) = parse(line) else { panic!("{line}") };
    assert_eq!(args.http_port, 8080);
    assert!(args.metrics);
    assert_eq!(args.shutdown_grace, std::time::Duration::from_secs(5));
    assert_eq!(args.config_map, Some(cluster::Key::new("ns", "ctl")));
    let names: Vec<_> = args.unsupported.iter().map(|flag| flag.name).collect();
    assert_eq!(names, [""; 0]);
}

/// The containers of manifests, with `/portolan` as the entry point of the image. kubelet has replaced `$(POD_NAMESPACE)`.
#[test]
fn stock_manifests_start_the_service_that_they_name() {
    // kubeadm, k3s, EKS and the coredns chart.
    let Ok(ParsedCommand::Dns(args)) = parse("/portolan -conf /etc/coredns/Corefile") else { panic!() };
    assert_eq!(args.conf.as_deref(), Some(std::path::Path::new("/etc/coredns/Corefile")));
    let common = "/portolan /nginx-ingress-controller --election-id=ingress-nginx-leader \
                  --controller-class=k8s.io/ingress-nginx --ingress-class=nginx \
                  --configmap=ingress-nginx/ingress-nginx-controller --validating-webhook=:8443 \
                  --validating-webhook-certificate=/usr/local/certificates/cert \
                  --validating-webhook-key=/usr/local/certificates/key";
    for (provider, flags, without_class) in [
        ("cloud", "--publish-service=ingress-nginx/ingress-nginx-controller", false),
        ("baremetal", "", false),
        (
            "kind",
            "--watch-ingress-without-class=true --publish-status-address=localhost --enable-metrics=false",
            true,
        ),
    ] {
        let Ok(ParsedCommand::Ingress(args)) = parse(&format!("{common} {flags}")) else {
            panic!("{provider}")
        };
        assert_eq!((args.http_port, args.https_port, args.healthz), (80, 443, (None, 10254)), "{provider}");
        assert_eq!(args.health_path, "/healthz", "{provider}");
        assert_eq!(args.without_class, without_class, "{provider}");
    }
    assert!(matches!(parse("/wait-shutdown"), Ok(ParsedCommand::WaitShutdown)));
}

#[test]
fn serve_takes_the_flags_of_both_services() {
    let line = "portolan serve --conf=/etc/coredns/Corefile --dns.port 1053 --legacy-metrics=false --configmap=edge/settings --http-port=8080 \
                --kubeconfig=admin.conf --workers 2 --enable-metrics --publish-service=a/b --log-format json";
    let Ok(ParsedCommand::Serve(args)) = parse(line) else { panic!("{line}") };
    assert_eq!(args.dns.conf.as_deref(), Some(std::path::Path::new("/etc/coredns/Corefile")));
    assert_eq!((args.dns.port, args.dns.legacy_metrics), (1053, false));
    assert_eq!((args.ingress.http_port, args.ingress.metrics), (8080, true));
    assert_eq!((args.dns.workers, args.ingress.workers), (Some(2), Some(2)));
    assert_eq!(args.dns.kubeconfig.as_deref(), Some(std::path::Path::new("admin.conf")));
    assert_eq!(args.ingress.kubeconfig, args.dns.kubeconfig);
    assert!(args.ingress.log.json);
    assert_eq!(args.ingress.unsupported, []);
}

#[test]
fn metrics_flags_are_those_of_ingress_nginx() {
    let line = "portolan ingress --metrics-per-host=false --report-status-classes --time-buckets=0.1,1 \
                --size-buckets 10 --exclude-socket-metrics=bytes_sent,nginx_ingress_controller_request_size";
    let Ok(ParsedCommand::Ingress(args)) = parse(line) else { panic!("{line}") };
    let wanted = ingress_proxy::MetricsOptions {
        per_host: false,
        status_classes: true,
        time_buckets: vec![0.1, 1.0],
        size_buckets: vec![10.0],
        exclude: vec!["bytes_sent".to_owned(), "nginx_ingress_controller_request_size".to_owned()],
        ..Default::default()
    };
    assert_eq!(args.request_metrics, wanted);
    assert_eq!(args.unsupported, []);
}

#[test]
fn each_flag_sets_its_argument() {
    /// A command line, what of the arguments it sets, and the value.
    type Row = (&'static str, fn(&IngressArgs) -> String, &'static str);
    let rows: &[Row] = &[
        (
            "--apiserver-host=https://api.example:6443",
            |args| format!("{:?}", args.apiserver),
            "Some(\"https://api.example:6443\")",
        ),
        (
            "--certificate-authority=/ca.crt",
            |args| format!("{:?}", args.certificate_authority),
            "Some(\"/ca.crt\")",
        ),
        ("--ingress-class-by-name", |args| args.class_by_name.to_string(), "true"),
        ("--annotations-prefix=edge.example", |args| args.annotations_prefix.clone(), "edge.example"),
        ("--disable-svc-external-name=true", |args| args.disable_external_name.to_string(), "true"),
        ("--healthz-host=127.0.0.1", |args| format!("{:?}", args.healthz.0), "Some(\"127.0.0.1\")"),
        ("--health-check-path=/live", |args| args.health_path.clone(), "/live"),
        (
            "--default-backend-service=a/b",
            |args| format!("{:?}", args.default_backend.as_ref().map(ToString::to_string)),
            "Some(\"a/b\")",
        ),
        ("--enable-ssl-passthrough", |args| args.ssl_passthrough.to_string(), "true"),
        ("--enable-ssl-chain-completion", |args| args.completes_chains.to_string(), "true"),
        ("--disable-sync-events", |args| args.controller.sync_events.to_string(), "false"),
        ("--disable-leader-election", |args| args.controller.election.is_none().to_string(), "true"),
        (
            "--report-node-internal-ip-address",
            |args| format!("{:?}", args.controller.status.as_ref().map(|status| &status.addresses)),
            "Some(Nodes { internal: true })",
        ),
    ];
    for (flag, value, wanted) in rows {
        let of = |line: &str| match parse(line) {
            Ok(ParsedCommand::Ingress(args)) => value(&args),
            _ => panic!("{line}"),
        };
        assert_eq!(of(&format!("portolan ingress {flag}")), *wanted, "{flag}");
        assert_ne!(of("portolan ingress"), *wanted, "{flag} makes no difference");
    }
}

#[test]
fn an_invalid_command_line_has_exit_code_2() {
    for line in [
        "portolan ingress --no-such-flag",
        "portolan ingress --http-port 70000",
        "portolan ingress --secrets=some",
        "portolan ingress --default-ssl-certificate name-only",
        "portolan ingress --watch-namespace=a --watch-namespace-selector=b",
        "portolan ingress --watch-namespace-selector a=b=c",
        "portolan ingress --configmap name-only",
        "portolan ingress --maxmind-edition-ids GeoLite2-City,GeoLite2-Town",
        "portolan ingress --maxmind-edition-ids GeoLite2-City,,GeoLite2-ASN",
        "portolan ingress --shutdown-grace-period soon",
        "portolan ingress --time-buckets 1,1",
        "portolan ingress --length-buckets some",
        "portolan ingress --metrics-per-host=false --metrics-per-undefined-host",
        "portolan serve --watch-namespace shop",
        "portolan serve --no-such-flag",
        "portolan dns -no-such-flag",
        "portolan dns -dns.port many",
        "portolan up --dns nowhere",
        "portolan up --cluster a --kubeconfig b",
        "portolan sail",
    ] {
        assert_eq!(parse(line).err().map(|failure| failure.code), Some(2), "{line}");
    }
}

#[test]
fn a_number_that_is_none_is_told_what_is_wanted() {
    for flag in ["--http-port", "--status-update-interval"] {
        let error =
            command().try_get_matches_from(["portolan", "ingress", flag, "abc"]).unwrap_err().to_string();
        assert!(error.contains("'abc'") && error.contains("wanted a whole number"), "{error}");
    }
}

#[test]
fn every_flag_of_ingress_nginx_is_listed_once_and_has_a_consequence() {
    let mut listed: Vec<_> = ingress_flags().map(|flag| flag.name).collect();
    let mut wanted: Vec<_> = INGRESS_NGINX_FLAGS.split_whitespace().collect();
    listed.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(listed, wanted);
    for flag in ingress_flags() {
        if let FlagSupport::Unsupported { consequence, .. } = flag.support {
            assert!(!consequence.is_empty(), "{}", flag.name);
        }
    }
}

#[test]
fn the_editions_of_geoip_databases_are_those_of_the_flag() {
    for (flags, wanted) in [
        ("", "GeoLite2-City GeoLite2-ASN /etc/ingress-controller/geoip"),
        ("--maxmind-edition-ids=", "/etc/ingress-controller/geoip"),
        (
            "--maxmind-edition-ids=GeoIP2-ISP,GeoLite2-Country --geoip-folder=/data",
            "GeoIP2-ISP GeoLite2-Country /data",
        ),
    ] {
        let line = format!("portolan ingress {flags}");
        let Ok(ParsedCommand::Ingress(args)) = parse(&line) else { panic!("{line}") };
        let folder = args.geoip_folder.display().to_string();
        let names: Vec<_> =
            args.geoip_editions.iter().map(|edition| edition.name()).chain([folder.as_str()]).collect();
        assert_eq!(names.join(" "), wanted, "{line}");
    }
}

#[test]
fn flags_without_effect_are_accepted_and_those_that_change_something_are_reported() {
    let parsed = |line: &str| {
        let line = format!("portolan ingress {line}");
        let Ok(ParsedCommand::Ingress(args)) = parse(&line) else { panic!("{line}") };
        args.unsupported.iter().map(|flag| flag.name).collect::<Vec<_>>()
    };
    for flag in [
        "--enable-annotation-validation=false",
        "--deep-inspect=false",
        "--sync-period=10m",
        "--sync-rate-limit=0.5",
        "--dynamic-configuration-retries=3",
        "--ssl-passthrough-proxy-port=9442",
        "--default-server-port=9181",
        "--status-port=9246",
        "--stream-port=9247",
        "--internal-logger-address=127.0.0.1:9514",
        "--health-check-timeout=20",
        "--profiling=false",
        "--profiler-port=9245",
        "--profiler-address=0.0.0.0",
        "--disable-full-test",
        "--monitor-max-batch-size=1",
    ] {
        assert_eq!(parsed(flag), [""; 0], "{flag}");
    }
    for (flag, name) in [
        ("--bucket-factor=1.1", "bucket-factor"),
        ("--max-buckets=50", "max-buckets"),
        ("--maxmind-license-key=abc", "maxmind-license-key"),
        ("--maxmind-mirror=https://mirror.example", "maxmind-mirror"),
        ("--maxmind-retries-count=3", "maxmind-retries-count"),
        ("--maxmind-retries-timeout=5s", "maxmind-retries-timeout"),
    ] {
        assert_eq!(parsed(flag), [name]);
    }
}

/// The 72 flags of ingress-nginx 1.15.1, without those of klog.
const INGRESS_NGINX_FLAGS: &str = "
    apiserver-host certificate-authority kubeconfig configmap watch-namespace watch-namespace-selector
    ingress-class controller-class watch-ingress-without-class ingress-class-by-name annotations-prefix
    enable-annotation-validation deep-inspect disable-catch-all disable-svc-external-name sync-period
    sync-rate-limit dynamic-configuration-retries enable-topology-aware-routing default-backend-service
    tcp-services-configmap udp-services-configmap http-port https-port default-server-port
    ssl-passthrough-proxy-port enable-ssl-passthrough default-ssl-certificate enable-ssl-chain-completion
    status-port stream-port internal-logger-address healthz-port healthz-host health-check-path
    health-check-timeout shutdown-grace-period post-shutdown-grace-period profiling profiler-port
    profiler-address update-status update-status-on-shutdown status-update-interval publish-service
    publish-status-address report-node-internal-ip-address election-id election-ttl disable-leader-election
    disable-sync-events validating-webhook validating-webhook-certificate validating-webhook-key
    disable-full-test enable-metrics metrics-per-host metrics-per-undefined-host report-status-classes
    time-buckets length-buckets size-buckets bucket-factor max-buckets exclude-socket-metrics
    monitor-max-batch-size version maxmind-license-key maxmind-mirror maxmind-edition-ids
    maxmind-retries-count maxmind-retries-timeout
";
