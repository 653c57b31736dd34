//! The command line of `portolan ingress`: the flags of ingress-nginx (controller 1.15), and the source of the cluster.

mod flags;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use cluster::{Key, LabelSelector};
use ingress_controller::{
    AddressSource, ControllerOptions, ElectionOptions, PodIdentity, StatusOptions, WebhookCertificateSource,
    WebhookOptions,
};
use ingress_proxy::MetricsOptions;
use ingress_routes::GeoEdition;

use super::flag::{Flag, FlagSupport, FlagValues, UnsupportedFlag};
use super::live::{self, LiveAccess};
use super::logging::{self, LogArgs};
use crate::command_error::CommandError;

pub use flags::{FLAG_GROUPS, flags};

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
    /// `--tcp-services-configmap`, as `namespace/name`.
    pub tcp_services: Option<Key>,
    /// `--udp-services-configmap`, as `namespace/name`.
    pub udp_services: Option<Key>,
    /// `--annotations-prefix`.
    pub annotations_prefix: String,
    /// `--default-backend-service`, as `namespace/name`.
    pub default_backend: Option<Key>,
    /// `--default-ssl-certificate`, as `namespace/name`.
    pub default_certificate: Option<Key>,
    /// `--enable-ssl-passthrough`.
    pub ssl_passthrough: bool,
    /// `--enable-ssl-chain-completion`.
    pub completes_chains: bool,
    /// `--disable-catch-all`.
    pub disable_catch_all: bool,
    /// `--disable-svc-external-name`.
    pub disable_external_name: bool,
    /// `--enable-topology-aware-routing`.
    pub topology_aware_routing: bool,
    /// `--maxmind-edition-ids`.
    pub geoip_editions: Arc<[GeoEdition]>,
    /// `--geoip-folder`: where their files are.
    pub geoip_folder: PathBuf,
    /// `--enable-metrics`.
    pub metrics: bool,
    /// `--metrics-per-host` and the other flags of request metrics.
    pub request_metrics: MetricsOptions,
    /// `--secrets=tls`: only Secrets of the type `kubernetes.io/tls` are read.
    pub tls_secrets_only: bool,
    /// `--shutdown-grace-period`.
    pub shutdown_grace: Duration,
    /// `--post-shutdown-grace-period`.
    pub post_shutdown_grace: Duration,
    /// What is written to the cluster: `--update-status`, `--election-id` and their like.
    pub controller: ControllerOptions,
    /// `--workers`: threads; one per CPU if not given.
    pub workers: Option<usize>,
    /// `--log-format` and `-v`.
    pub log: LogArgs,
    /// `--live-page`.
    pub live: LiveAccess,
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
        let given_flags = flags().filter(|flag| given.has(flag.name));
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
            tcp_services: key("tcp-services-configmap")?,
            udp_services: key("udp-services-configmap")?,
            annotations_prefix: text("annotations-prefix", "nginx.ingress.kubernetes.io"),
            default_backend: key("default-backend-service")?,
            default_certificate: key("default-ssl-certificate")?,
            ssl_passthrough: given.on("enable-ssl-passthrough", false),
            completes_chains: given.on("enable-ssl-chain-completion", false),
            disable_catch_all: given.on("disable-catch-all", false),
            disable_external_name: given.on("disable-svc-external-name", false),
            topology_aware_routing: given.on("enable-topology-aware-routing", false),
            geoip_editions: geoip_editions(&given)?,
            geoip_folder: matches.get_one::<PathBuf>("geoip-folder").cloned().unwrap_or_default(),
            metrics: given.on("enable-metrics", false),
            request_metrics: request_metrics(&given)?,
            tls_secrets_only: given.text("secrets").is_some_and(|mode| mode == "tls"),
            shutdown_grace: given.duration("shutdown-grace-period", Duration::ZERO),
            post_shutdown_grace: given.duration("post-shutdown-grace-period", Duration::from_secs(10)),
            controller: controller(&given)?,
            workers: matches.get_one::<u16>("workers").map(|&count| usize::from(count)),
            log: LogArgs::read(matches),
            live: LiveAccess::read(matches),
            unsupported,
            version: given.on("version", false),
        })
    }
}

/// Reads the flags about what is written to the cluster, and the Pod from the environment.
fn controller(given: &FlagValues<'_>) -> Result<ControllerOptions, CommandError> {
    let environment = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let text = |name, default: &str| given.text(name).unwrap_or_else(|| default.to_owned());
    let addresses = match (given.text("publish-status-address"), given.text("publish-service")) {
        (Some(list), _) => AddressSource::fixed(&list),
        (None, Some(service)) => AddressSource::Service(key("publish-service", &service)?),
        (None, None) => AddressSource::Nodes { internal: given.on("report-node-internal-ip-address", false) },
    };
    let status = StatusOptions {
        addresses,
        interval: Duration::from_secs(given.count("status-update-interval", 60)),
        remove_on_shutdown: given.on("update-status-on-shutdown", true),
    };
    let election = ElectionOptions {
        id: text("election-id", "ingress-controller-leader"),
        ttl: given.duration("election-ttl", Duration::from_secs(30)),
    };
    if election.ttl < ElectionOptions::MIN_TTL {
        return Err(CommandError::usage(format!(
            "--election-ttl {}s: wanted at least {}s",
            election.ttl.as_secs(),
            ElectionOptions::MIN_TTL.as_secs()
        )));
    }
    Ok(ControllerOptions {
        pod: PodIdentity {
            namespace: environment("POD_NAMESPACE").unwrap_or_else(|| "default".to_owned()),
            name: environment("POD_NAME").unwrap_or_default(),
        },
        controller_class: text("controller-class", "k8s.io/ingress-nginx"),
        election: (!given.on("disable-leader-election", false)).then_some(election),
        status: given.on("update-status", true).then_some(status),
        webhook: webhook(given)?,
        sync_events: !given.on("disable-sync-events", false),
    })
}

/// Reads the flags of the admission webhook.
fn webhook(given: &FlagValues<'_>) -> Result<Option<WebhookOptions>, CommandError> {
    let Some(address) = given.text("validating-webhook") else { return Ok(None) };
    let bad = || {
        CommandError::usage(format!(
            "--validating-webhook {address}: wanted an address such as :8443 or 127.0.0.1:8443"
        ))
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
    let host = match host.trim_matches(['[', ']']) {
        "" => None,
        host => Some(host.parse().map_err(|_| bad())?),
    };
    let files = ["validating-webhook-certificate", "validating-webhook-key"].map(|name| given.text(name));
    let certificate = match (files, given.text("validating-webhook-configuration")) {
        ([Some(certificate), Some(key)], _) => {
            WebhookCertificateSource::Files { certificate: certificate.into(), key: key.into() }
        }
        ([None, None], Some(configuration)) => WebhookCertificateSource::Own { configuration },
        ([None, None], None) => WebhookCertificateSource::Temporary,
        _ => {
            return Err(CommandError::usage(
                "--validating-webhook-certificate and --validating-webhook-key need each other",
            ));
        }
    };
    Ok(Some(WebhookOptions { host, port: port.parse().map_err(|_| bad())?, certificate }))
}

impl IngressArgs {
    /// The ConfigMaps that flags name.
    pub fn config_maps(&self) -> Vec<Key> {
        [&self.config_map, &self.tcp_services, &self.udp_services].into_iter().flatten().cloned().collect()
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

/// Reads `--maxmind-edition-ids`.
fn geoip_editions(given: &FlagValues<'_>) -> Result<Arc<[GeoEdition]>, CommandError> {
    let flag = "maxmind-edition-ids";
    if !given.has(flag) {
        return Ok(GeoEdition::DEFAULT.into());
    }
    let Some(text) = given.text(flag) else { return Ok(Arc::new([])) };
    let edition = |name| {
        GeoEdition::named(name).ok_or_else(|| {
            let wanted = GeoEdition::all().map(GeoEdition::name).collect::<Vec<_>>().join(", ");
            CommandError::usage(format!("--{flag} {name:?}: wanted names between commas of {wanted}"))
        })
    };
    text.split(',').map(edition).collect()
}

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
            .value_name("PATH")
            .action(ArgAction::Append)
            .value_parser(clap::value_parser!(PathBuf))
            .help_heading(CLUSTER)
            .help("Read manifests from this directory or file instead of an API server; may be repeated"),
        Arg::new("context")
            .long("context")
            .value_name("NAME")
            .help_heading(CLUSTER)
            .help("Context of the kubeconfig"),
        Arg::new("validating-webhook-configuration")
            .long("validating-webhook-configuration")
            .value_name("NAME")
            .help_heading("Admission webhook")
            .help("ValidatingWebhookConfiguration whose caBundle is written, and Secret of the certificate, which is made and renewed here"),
        Arg::new("geoip-folder")
            .long("geoip-folder")
            .value_name("PATH")
            .value_parser(clap::value_parser!(PathBuf))
            .default_value(GEOIP_FOLDER)
            .help_heading("GeoIP")
            .help("Directory of the GeoIP databases"),
        Arg::new("secrets")
            .long("secrets")
            .value_name("WHICH")
            .value_parser(["all", "tls"])
            .hide_possible_values(true)
            .help_heading(CLUSTER)
            .help("Secrets to read: all, or tls for those of the type kubernetes.io/tls [default: all]"),
    ];
    let workers = Arg::new("workers")
        .long("workers")
        .value_name("N")
        .value_parser(clap::value_parser!(u16).range(1..=1024))
        .help_heading("Listeners and TLS")
        .help("Worker threads [default: one per CPU]");
    Command::new("ingress")
        .about("Run the ingress proxy; takes the flags of ingress-nginx")
        .args_override_self(true)
        .after_help(
            "Examples:\n  \
             # Serve the Ingresses of a cluster on unprivileged ports\n  \
             portolan ingress --kubeconfig ~/.kube/config --http-port 8080 --https-port 8443\n\n  \
             # Serve the Ingresses of manifests and follow their changes\n  \
             portolan ingress --cluster manifests/ --http-port 8080 --https-port 8443\n\n  \
             # In a Pod, with the ConfigMap and the metrics of ingress-nginx's chart\n  \
             portolan ingress --configmap ingress-nginx/ingress-nginx-controller --enable-metrics\n\n\
             Without --cluster, --kubeconfig or --apiserver-host, the service account of the Pod is used.",
        )
        .args(own)
        .args(honoured())
        .arg(workers)
        .arg(live::arg())
        .args(logging::args())
        .args(ignored())
        .args(logging::klog_args())
}

const CLUSTER: &str = "Cluster";

/// That of ingress-nginx.
const GEOIP_FOLDER: &str = "/etc/ingress-controller/geoip";

/// The supported flags, under the heading of their group.
fn honoured() -> impl Iterator<Item = Arg> {
    let is_honoured = |flag: &&Flag| matches!(flag.support, FlagSupport::Honoured);
    FLAG_GROUPS.iter().flat_map(move |group| {
        group.flags.iter().filter(is_honoured).map(|flag| flag.arg().help_heading(group.heading))
    })
}

/// The flags that have no effect, under two headings at the end of the help.
fn ignored() -> impl Iterator<Item = Arg> {
    let unsupported = flags().filter(|flag| matches!(flag.support, FlagSupport::Unsupported { .. }));
    let not_needed = flags().filter(|flag| matches!(flag.support, FlagSupport::NotNeeded));
    let unsupported =
        unsupported.map(|flag| flag.arg().help_heading("Accepted, not honoured (reported if set)"));
    unsupported.chain(not_needed.map(|flag| flag.arg().help_heading("Accepted, not needed")))
}
