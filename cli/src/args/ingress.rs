//! The command line of `portolan ingress`: the flags of ingress-nginx (controller 1.15), and the source of the cluster.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use cluster::{Key, LabelSelector};
use ingress_proxy::MetricsOptions;
use ingress_routes::Level;
use ingress_routes::NeutralValues::{self, False, OnlyEmpty, True, Words};

use super::flag::FlagSupport::{Honoured, NotNeeded};
use super::flag::ValueKind::{Bool, Duration as Time, Number, Text};
use super::flag::{Flag, FlagSupport, FlagValues, UnsupportedFlag, ValueKind};
use super::logging::{self, LogArgs};
use crate::command_error::CommandError;

/// Arguments of `portolan ingress`.
#[derive(Clone, Debug)]
pub struct IngressArgs {
    /// `--cluster`: manifests instead of an API server.
    pub manifests: Vec<PathBuf>,
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
    /// `--apiserver-host`.
    pub apiserver: Option<String>,
    /// `--certificate-authority`.
    pub certificate_authority: Option<PathBuf>,
    /// `--http-port`.
    pub http_port: u16,
    /// `--https-port`.
    pub https_port: u16,
    /// `--healthz-host` and `--healthz-port`.
    pub healthz: (Option<String>, u16),
    /// `--health-check-path`.
    pub health_path: String,
    /// `--controller-class`.
    pub controller_class: String,
    /// `--ingress-class`.
    pub ingress_class: String,
    /// `--ingress-class-by-name`.
    pub class_by_name: bool,
    /// `--watch-ingress-without-class`.
    pub without_class: bool,
    /// `--watch-namespace`.
    pub namespace: Option<String>,
    /// `--watch-namespace-selector`.
    pub namespace_selector: Option<LabelSelector>,
    /// `--configmap`, as `namespace/name`.
    pub config_map: Option<Key>,
    /// `--annotations-prefix`.
    pub annotations_prefix: String,
    /// `--default-backend-service`, as `namespace/name`.
    pub default_backend: Option<Key>,
    /// `--default-ssl-certificate`, as `namespace/name`.
    pub default_certificate: Option<Key>,
    /// `--disable-catch-all`.
    pub disable_catch_all: bool,
    /// `--disable-svc-external-name`.
    pub disable_external_name: bool,
    /// `--enable-metrics`.
    pub metrics: bool,
    /// `--metrics-per-host` and the other flags of request metrics.
    pub request_metrics: MetricsOptions,
    /// `--shutdown-grace-period`.
    pub shutdown_grace: Duration,
    /// `--post-shutdown-grace-period`.
    pub post_shutdown_grace: Duration,
    /// `--workers`: threads; one per CPU if not given.
    pub workers: Option<usize>,
    /// `--log-format` and `-v`.
    pub log: LogArgs,
    /// Flags on the command line that are accepted but not supported yet.
    pub unsupported: Vec<UnsupportedFlag>,
    /// `--version`: print the version and exit.
    pub version: bool,
}

impl IngressArgs {
    /// Reads the arguments from clap's matches.
    ///
    /// # Errors
    /// When a value is invalid for its flag, or two flags are mutually exclusive.
    pub fn read(matches: &ArgMatches) -> Result<Self, CommandError> {
        let given = FlagValues(matches);
        for (one, other) in CONFLICTS {
            if given.has(one) && given.has(other) {
                return Err(CommandError::usage(format!(
                    "flags --{one} and --{other} are mutually exclusive"
                )));
            }
        }
        let port = |name, default| given.port(name, default).map_err(CommandError::usage);
        let key = |name| given.text(name).map(|text| key(name, &text)).transpose();
        let text = |name, default: &str| given.text(name).unwrap_or_else(|| default.to_owned());
        let given_flags = FLAGS.iter().filter(|flag| given.has(flag.name));
        let unsupported = given_flags.filter_map(|flag| UnsupportedFlag::of(flag, given.raw(flag.name)));
        let unsupported = unsupported.collect();
        Ok(Self {
            manifests: matches.get_many("cluster").map(|paths| paths.cloned().collect()).unwrap_or_default(),
            kubeconfig: given.text("kubeconfig").map(PathBuf::from),
            context: given.text("context"),
            apiserver: given.text("apiserver-host"),
            certificate_authority: given.text("certificate-authority").map(PathBuf::from),
            http_port: port("http-port", 80)?,
            https_port: port("https-port", 443)?,
            healthz: (given.text("healthz-host"), port("healthz-port", 10254)?),
            health_path: text("health-check-path", "/healthz"),
            controller_class: text("controller-class", "k8s.io/ingress-nginx"),
            ingress_class: text("ingress-class", "nginx"),
            class_by_name: given.on("ingress-class-by-name", false),
            without_class: given.on("watch-ingress-without-class", false),
            namespace: given.text("watch-namespace"),
            namespace_selector: given.text("watch-namespace-selector").map(selector).transpose()?,
            config_map: key("configmap")?,
            annotations_prefix: text("annotations-prefix", "nginx.ingress.kubernetes.io"),
            default_backend: key("default-backend-service")?,
            default_certificate: key("default-ssl-certificate")?,
            disable_catch_all: given.on("disable-catch-all", false),
            disable_external_name: given.on("disable-svc-external-name", false),
            metrics: given.on("enable-metrics", false),
            request_metrics: request_metrics(&given)?,
            shutdown_grace: given.duration("shutdown-grace-period", Duration::ZERO),
            post_shutdown_grace: given.duration("post-shutdown-grace-period", Duration::from_secs(10)),
            workers: matches.get_one::<u16>("workers").map(|&count| usize::from(count)),
            log: LogArgs::read(matches),
            unsupported,
            version: given.on("version", false),
        })
    }
}

fn selector(text: String) -> Result<LabelSelector, CommandError> {
    text.parse().map_err(|error: cluster::BadLabelSelector| {
        CommandError::usage(format!("--watch-namespace-selector {text:?}: {error}"))
    })
}

/// Pairs of mutually exclusive flags.
const CONFLICTS: &[(&str, &str)] =
    &[("publish-service", "publish-status-address"), ("watch-namespace", "watch-namespace-selector")];

/// Reads the flags of request metrics.
fn request_metrics(given: &FlagValues<'_>) -> Result<MetricsOptions, CommandError> {
    let default = MetricsOptions::default();
    let list = |name| given.text(name).map(|text| text.split(',').map(|one| one.trim().to_owned()).collect());
    let buckets = |name, default| match given.text(name) {
        Some(text) => buckets(name, &text),
        None => Ok(default),
    };
    let options = MetricsOptions {
        per_host: given.on("metrics-per-host", true),
        per_undefined_host: given.on("metrics-per-undefined-host", false),
        status_classes: given.on("report-status-classes", false),
        time_buckets: buckets("time-buckets", default.time_buckets)?,
        length_buckets: buckets("length-buckets", default.length_buckets)?,
        size_buckets: buckets("size-buckets", default.size_buckets)?,
        exclude: list("exclude-socket-metrics").unwrap_or_default(),
    };
    if options.per_undefined_host && !options.per_host {
        return Err(CommandError::usage(
            "--metrics-per-undefined-host=true must be passed with --metrics-per-host=true",
        ));
    }
    Ok(options)
}

/// Parses ascending upper bounds, such as `0.1,1,10`.
fn buckets(flag: &str, text: &str) -> Result<Vec<f64>, CommandError> {
    let bounds: Option<Vec<f64>> = text.split(',').map(|bound| bound.trim().parse().ok()).collect();
    let ascending = |bounds: &Vec<f64>| {
        bounds.iter().all(|bound| bound.is_finite()) && bounds.windows(2).all(|pair| pair[0] < pair[1])
    };
    bounds.filter(ascending).ok_or_else(|| {
        CommandError::usage(format!("--{flag} {text}: wanted ascending numbers, such as 0.1,1,10"))
    })
}

fn key(flag: &str, text: &str) -> Result<Key, CommandError> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(Key::new(namespace, name))
        }
        _ => Err(CommandError::usage(format!("--{flag} {text}: wanted namespace/name"))),
    }
}

/// The definition of the command for clap.
pub fn command() -> Command {
    let own = [
        Arg::new("cluster")
            .long("cluster")
            .value_name("DIR")
            .action(ArgAction::Append)
            .value_parser(clap::value_parser!(PathBuf))
            .help("Read manifests from this folder or file in place of an API server; may be given several times"),
        Arg::new("context").long("context").value_name("NAME").help("Context of the kubeconfig"),
        Arg::new("workers")
            .long("workers")
            .value_name("N")
            .value_parser(clap::value_parser!(u16).range(1..=1024))
            .help("Worker threads [default: one per core]"),
    ];
    Command::new("ingress")
        .about("Serve Ingresses; takes ingress-nginx's flags")
        .args_override_self(true)
        .after_help(
            "Examples:\n  portolan ingress --kubeconfig ~/.kube/config --http-port 8080 --https-port 8443\n  portolan ingress --cluster \
             manifests/ --http-port 8080 --https-port 8443\n\nWithout --kubeconfig, --apiserver-host or --cluster the Pod's service account is used.",
        )
        .args(own)
        .args(logging::args())
        .args(FLAGS.iter().map(Flag::arg))
        .args(KLOG.iter().map(|name| Flag { name, takes: klog_kind(name), ..KLOG_FLAG }.arg().hide(true)))
}

/// Flags of klog, accepted without effect and hidden in the help.
const KLOG: &[&str] = &[
    "add_dir_header",
    "alsologtostderr",
    "log_backtrace_at",
    "log_dir",
    "log_file",
    "log_file_max_size",
    "logtostderr",
    "one_output",
    "skip_headers",
    "skip_log_headers",
    "stderrthreshold",
    "vmodule",
];

const KLOG_FLAG: Flag =
    Flag { name: "", takes: Text, default: "", help: "klog", support: FlagSupport::NotNeeded };

fn klog_kind(name: &str) -> ValueKind {
    if matches!(
        name,
        "log_backtrace_at" | "log_dir" | "log_file" | "log_file_max_size" | "stderrthreshold" | "vmodule"
    ) {
        Text
    } else {
        Bool
    }
}

const fn flag(
    name: &'static str,
    takes: ValueKind,
    default: &'static str,
    help: &'static str,
    support: FlagSupport,
) -> Flag {
    Flag { name, takes, default, help, support }
}

const fn differs(neutral: NeutralValues, consequence: &'static str) -> FlagSupport {
    FlagSupport::Unsupported { level: Level::Differs, neutral, consequence }
}

const fn cosmetic(neutral: NeutralValues, consequence: &'static str) -> FlagSupport {
    FlagSupport::Unsupported { level: Level::Cosmetic, neutral, consequence }
}

/// The flags of ingress-nginx, by theme, in the order of its documentation. All that protect something are honoured.
#[rustfmt::skip]
pub const FLAGS: &[Flag] = &[
    flag("apiserver-host", Text, "in-cluster", "Address of the API server", Honoured),
    flag("certificate-authority", Text, "", "CA file for --apiserver-host", Honoured),
    flag("kubeconfig", Text, "", "Kubeconfig file", Honoured),
    flag("configmap", Text, "", "namespace/name of the ConfigMap with global settings", Honoured),
    flag("version", Bool, "false", "Print the version and end", Honoured),
    flag("watch-namespace", Text, "all", "Watch this namespace only", Honoured),
    flag("watch-namespace-selector", Text, "", "Watch namespaces with these labels only", Honoured),
    flag("ingress-class", Text, "nginx", "Value of the annotation kubernetes.io/ingress.class; the class name with --ingress-class-by-name", Honoured),
    flag("controller-class", Text, "k8s.io/ingress-nginx", "spec.controller that an IngressClass must have", Honoured),
    flag("watch-ingress-without-class", Bool, "false", "Take Ingresses without any class", Honoured),
    flag("ingress-class-by-name", Bool, "false", "Take a class with the name of --ingress-class, whatever its controller", Honoured),
    flag("annotations-prefix", Text, "nginx.ingress.kubernetes.io", "Prefix of all other annotations", Honoured),
    flag("enable-annotation-validation", Bool, "true", "Check annotation values; Portolan always does", NotNeeded),
    flag("deep-inspect", Bool, "true", "Refuse injection text; Portolan has no template to inject into", NotNeeded),
    flag("disable-catch-all", Bool, "false", "Ignore Ingresses with spec.defaultBackend", Honoured),
    flag("disable-svc-external-name", Bool, "false", "Do not serve Services of type ExternalName", Honoured),
    flag("sync-period", Time, "0s", "Full resync; every change is seen without one", NotNeeded),
    flag("sync-rate-limit", Text, "0.3", "Pace of rebuilds; changes are applied at once", NotNeeded),
    flag("dynamic-configuration-retries", Number, "15", "Retries of the Lua update", NotNeeded),
    flag("enable-topology-aware-routing", Bool, "false", "Honour zone hints", differs(False, "endpoints of all zones take turns")),
    flag("default-backend-service", Text, "built-in 404", "namespace/name of the Service behind unknown hosts", Honoured),
    flag("tcp-services-configmap", Text, "", "namespace/name of the TCP services", differs(OnlyEmpty, "the ports of that ConfigMap are not opened")),
    flag("udp-services-configmap", Text, "", "namespace/name of the UDP services", differs(OnlyEmpty, "the ports of that ConfigMap are not opened")),
    flag("http-port", Number, "80", "Port for HTTP", Honoured),
    flag("https-port", Number, "443", "Port for HTTPS", Honoured),
    flag("default-server-port", Number, "8181", "Port of the built-in 404 server", NotNeeded),
    flag("ssl-passthrough-proxy-port", Number, "442", "Inner port of TLS passthrough", NotNeeded),
    flag("enable-ssl-passthrough", Bool, "false", "TLS passthrough by SNI", differs(False, "TLS ends at the proxy, whatever ssl-passthrough says")),
    flag("default-ssl-certificate", Text, "self-made", "namespace/name of the Secret with the default certificate", Honoured),
    flag("enable-ssl-chain-completion", Bool, "false", "Fetch missing intermediate certificates", differs(False, "certificates are served without the intermediates that their Secrets lack")),
    flag("status-port", Number, "10246", "Inner status port of nginx", NotNeeded),
    flag("stream-port", Number, "10247", "Inner stream port of nginx", NotNeeded),
    flag("internal-logger-address", Text, "127.0.0.1:11514", "Inner syslog", NotNeeded),
    flag("healthz-port", Number, "10254", "Port for health and metrics", Honoured),
    flag("healthz-host", Text, "all", "Address for health and metrics", Honoured),
    flag("health-check-path", Text, "/healthz", "Path of the health page", Honoured),
    flag("health-check-timeout", Number, "10", "Time limit of the health check, seconds", NotNeeded),
    flag("shutdown-grace-period", Time, "0s", "Time between SIGTERM and the end of listening; health answers 500 in it", Honoured),
    flag("post-shutdown-grace-period", Time, "10s", "Time to wait after the last connection before the process ends", Honoured),
    flag("profiling", Bool, "true", "Profiles over HTTP", cosmetic(False, "there are no profiles over HTTP")),
    flag("profiler-port", Number, "10245", "Port of the profiler", cosmetic(OnlyEmpty, "there are no profiles over HTTP")),
    flag("profiler-address", Text, "127.0.0.1", "Address of the profiler", cosmetic(OnlyEmpty, "there are no profiles over HTTP")),
    flag("update-status", Bool, "true", "Write addresses to the status of Ingresses", differs(False, "the status of Ingresses stays as it is")),
    flag("update-status-on-shutdown", Bool, "true", "Take them back when the last replica stops", cosmetic(False, "no status is written that could be taken back")),
    flag("status-update-interval", Number, "60", "Seconds between two writes", cosmetic(OnlyEmpty, "the status of Ingresses stays as it is")),
    flag("publish-service", Text, "", "namespace/name of the Service whose addresses are written", differs(OnlyEmpty, "the status of Ingresses has no address, and what reads it (external-dns, kubectl get ingress) finds none")),
    flag("publish-status-address", Text, "", "Addresses to write, comma separated", differs(OnlyEmpty, "the status of Ingresses has no address, and what reads it (external-dns, kubectl get ingress) finds none")),
    flag("report-node-internal-ip-address", Bool, "false", "Write internal addresses of nodes", cosmetic(False, "the status of Ingresses stays as it is")),
    flag("election-id", Text, "ingress-controller-leader", "Name of the Lease", cosmetic(OnlyEmpty, "no Lease is held, since nothing is written that needs a leader")),
    flag("election-ttl", Time, "30s", "Life of the Lease", cosmetic(OnlyEmpty, "no Lease is held, since nothing is written that needs a leader")),
    flag("disable-leader-election", Bool, "false", "Every replica writes", cosmetic(True, "no Lease is held, since nothing is written that needs a leader")),
    flag("disable-sync-events", Bool, "false", "No Sync Events", cosmetic(True, "no Events are written")),
    flag("validating-webhook", Text, "", "Address of the admission webhook", differs(OnlyEmpty, "the admission webhook does not answer: no Ingress is checked, and with failurePolicy Fail none can be changed")),
    flag("validating-webhook-certificate", Text, "", "Its certificate file", cosmetic(OnlyEmpty, "the admission webhook does not answer")),
    flag("validating-webhook-key", Text, "", "Its key file", cosmetic(OnlyEmpty, "the admission webhook does not answer")),
    flag("disable-full-test", Bool, "false", "Test only the new Ingress", NotNeeded),
    flag("enable-metrics", Bool, "false", "Serve /metrics", Honoured),
    flag("metrics-per-host", Bool, "true", "Label host on request metrics", Honoured),
    flag("metrics-per-undefined-host", Bool, "false", "Count hosts that no Ingress names", Honoured),
    flag("report-status-classes", Bool, "false", "Label status as 2xx, 3xx, …", Honoured),
    flag("time-buckets", Text, "Prometheus default", "Buckets of times", Honoured),
    flag("length-buckets", Text, "10 to 100", "Buckets of lengths", Honoured),
    flag("size-buckets", Text, "10 to 10^7", "Buckets of sizes", Honoured),
    flag("bucket-factor", Text, "0", "Native histograms", cosmetic(Words(&["0"]), "there are no native histograms")),
    flag("max-buckets", Number, "100", "Native histograms", cosmetic(OnlyEmpty, "there are no native histograms")),
    flag("exclude-socket-metrics", Text, "", "Metrics to leave out", Honoured),
    flag("monitor-max-batch-size", Number, "10000", "Inner queue", NotNeeded),
    flag("maxmind-license-key", Text, "", "GeoIP", cosmetic(OnlyEmpty, "there are no variables of GeoIP")),
    flag("maxmind-mirror", Text, "", "GeoIP", cosmetic(OnlyEmpty, "there are no variables of GeoIP")),
    flag("maxmind-edition-ids", Text, "GeoLite2-City,GeoLite2-ASN", "GeoIP", cosmetic(OnlyEmpty, "there are no variables of GeoIP")),
    flag("maxmind-retries-count", Number, "1", "GeoIP", cosmetic(OnlyEmpty, "there are no variables of GeoIP")),
    flag("maxmind-retries-timeout", Time, "0s", "GeoIP", cosmetic(OnlyEmpty, "there are no variables of GeoIP")),
];
