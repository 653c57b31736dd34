//! The flags of ingress-nginx, in groups.

use ingress_routes::Level;
use ingress_routes::NeutralValues::{self, OnlyEmpty, Words};

use crate::args::flag::FlagSupport::{Honoured, NotNeeded};
use crate::args::flag::ValueKind::{Bool, Duration as Time, Number, Text};
use crate::args::flag::{Flag, FlagSupport, ValueKind};

/// Flags under one heading of the help.
pub struct FlagGroup {
    /// The heading; `None` for the general options.
    pub heading: Option<&'static str>,
    /// The flags in the order of the help.
    pub flags: &'static [Flag],
}

/// All flags of all groups.
pub fn flags() -> impl Iterator<Item = &'static Flag> {
    FLAG_GROUPS.iter().flat_map(|group| group.flags)
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

const fn cosmetic(neutral: NeutralValues, consequence: &'static str) -> FlagSupport {
    FlagSupport::Unsupported { level: Level::Cosmetic, neutral, consequence }
}

const NOT_DOWNLOADED: &str = "databases are not downloaded: a CronJob or an init container with geoipupdate writes them into /etc/ingress-controller/geoip";

/// The flags of ingress-nginx 1.15, by theme. All flags that protect something are honoured.
#[rustfmt::skip]
pub const FLAG_GROUPS: &[FlagGroup] = &[
    FlagGroup { heading: Some("Cluster"), flags: &[
        flag("apiserver-host", Text, "in-cluster", "Address of the API server", Honoured),
        flag("certificate-authority", Text, "", "CA certificate file for --apiserver-host", Honoured),
        flag("kubeconfig", Text, "", "Kubeconfig file", Honoured),
    ] },
    FlagGroup { heading: Some("Ingresses"), flags: &[
        flag("watch-namespace", Text, "all", "Namespace to watch", Honoured),
        flag("watch-namespace-selector", Text, "", "Label selector of the namespaces to watch", Honoured),
        flag("ingress-class", Text, "nginx", "Value of the annotation kubernetes.io/ingress.class; with --ingress-class-by-name also the name of the IngressClass", Honoured),
        flag("controller-class", Text, "k8s.io/ingress-nginx", "spec.controller of the IngressClasses to serve", Honoured),
        flag("watch-ingress-without-class", Bool, "false", "Serve Ingresses without a class", Honoured),
        flag("ingress-class-by-name", Bool, "false", "Serve the IngressClass named by --ingress-class, whatever its controller", Honoured),
        flag("annotations-prefix", Text, "nginx.ingress.kubernetes.io", "Prefix of annotations", Honoured),
        flag("configmap", Text, "", "ConfigMap with global settings, as namespace/name", Honoured),
        flag("default-backend-service", Text, "built-in 404", "Service for requests that match no rule, as namespace/name", Honoured),
        flag("disable-catch-all", Bool, "false", "Ignore Ingresses with spec.defaultBackend", Honoured),
        flag("disable-svc-external-name", Bool, "false", "Do not serve Services of type ExternalName", Honoured),
        flag("enable-topology-aware-routing", Bool, "false", "Use endpoints with hints for the zone of this node, for Services that ask for it", Honoured),
        flag("enable-annotation-validation", Bool, "true", "Validate annotation values; always on", NotNeeded),
        flag("deep-inspect", Bool, "true", "Reject hosts and paths that inject nginx directives; always on in the admission webhook", NotNeeded),
        flag("sync-period", Time, "0s", "Interval of full resyncs; not needed to see changes", NotNeeded),
        flag("sync-rate-limit", Text, "0.3", "Rate of configuration updates; changes are applied at once", NotNeeded),
        flag("dynamic-configuration-retries", Number, "15", "Retries of the Lua configuration update", NotNeeded),
    ] },
    FlagGroup { heading: Some("Listeners and TLS"), flags: &[
        flag("http-port", Number, "80", "Port for HTTP", Honoured),
        flag("https-port", Number, "443", "Port for HTTPS", Honoured),
        flag("default-ssl-certificate", Text, "self-signed", "Secret with the default certificate, as namespace/name", Honoured),
        flag("enable-ssl-chain-completion", Bool, "false", "Fetch missing intermediate certificates", Honoured),
        flag("enable-ssl-passthrough", Bool, "false", "Enable TLS passthrough by SNI", Honoured),
        flag("ssl-passthrough-proxy-port", Number, "442", "Internal port of TLS passthrough", NotNeeded),
        flag("tcp-services-configmap", Text, "", "ConfigMap of TCP services, as namespace/name", Honoured),
        flag("udp-services-configmap", Text, "", "ConfigMap of UDP services, as namespace/name", Honoured),
        flag("default-server-port", Number, "8181", "Port of the built-in 404 server", NotNeeded),
        flag("status-port", Number, "10246", "Internal status port of nginx", NotNeeded),
        flag("stream-port", Number, "10247", "Internal stream port of nginx", NotNeeded),
        flag("internal-logger-address", Text, "127.0.0.1:11514", "Internal syslog address", NotNeeded),
    ] },
    FlagGroup { heading: Some("Health and shutdown"), flags: &[
        flag("healthz-port", Number, "10254", "Port of the health and metrics pages", Honoured),
        flag("healthz-host", Text, "all", "Address of the health and metrics pages", Honoured),
        flag("health-check-path", Text, "/healthz", "Path of the health page", Honoured),
        flag("health-check-timeout", Number, "10", "Time limit of the health check, seconds", NotNeeded),
        flag("shutdown-grace-period", Time, "0s", "Time between SIGTERM and closing the listeners; the health page answers 500 meanwhile", Honoured),
        flag("post-shutdown-grace-period", Time, "10s", "Time between the end of the last connection and the exit of the process", Honoured),
        flag("profiling", Bool, "true", "Serve the profiles of a Go program; use perf, and /metrics for memory and load", NotNeeded),
        flag("profiler-port", Number, "10245", "Port of the Go profiler", NotNeeded),
        flag("profiler-address", Text, "127.0.0.1", "Address of the Go profiler", NotNeeded),
    ] },
    FlagGroup { heading: Some("Status of Ingresses"), flags: &[
        flag("update-status", Bool, "true", "Write addresses to the status of Ingresses", Honoured),
        flag("update-status-on-shutdown", Bool, "true", "Remove the addresses when the last replica stops", Honoured),
        flag("status-update-interval", Number, "60", "Seconds between two updates of the status", Honoured),
        flag("publish-service", Text, "", "Service whose addresses are written to the status, as namespace/name", Honoured),
        flag("publish-status-address", Text, "", "Addresses to write to the status, comma separated", Honoured),
        flag("report-node-internal-ip-address", Bool, "false", "Write the internal addresses of nodes to the status", Honoured),
        flag("election-id", Text, "ingress-controller-leader", "Name of the leader election Lease", Honoured),
        flag("election-ttl", Time, "30s", "Duration of the leader election Lease", Honoured),
        flag("disable-leader-election", Bool, "false", "Disable leader election: every replica writes the status", Honoured),
        flag("disable-sync-events", Bool, "false", "Do not write Sync Events", Honoured),
    ] },
    FlagGroup { heading: Some("Admission webhook"), flags: &[
        flag("validating-webhook", Text, "", "Address of the admission webhook", Honoured),
        flag("validating-webhook-certificate", Text, "", "Certificate file of the admission webhook", Honoured),
        flag("validating-webhook-key", Text, "", "Key file of the admission webhook", Honoured),
        flag("disable-full-test", Bool, "false", "Validate only the new Ingress", NotNeeded),
    ] },
    FlagGroup { heading: Some("Metrics"), flags: &[
        flag("enable-metrics", Bool, "false", "Serve /metrics", Honoured),
        flag("metrics-per-host", Bool, "true", "Label request metrics with the host", Honoured),
        flag("metrics-per-undefined-host", Bool, "false", "Count requests for hosts of no Ingress", Honoured),
        flag("report-status-classes", Bool, "false", "Label the status as 2xx, 3xx, …", Honoured),
        flag("time-buckets", Text, "Prometheus default", "Buckets of duration histograms", Honoured),
        flag("length-buckets", Text, "10 to 100", "Buckets of length histograms", Honoured),
        flag("size-buckets", Text, "10 to 10^7", "Buckets of size histograms", Honoured),
        flag("exclude-socket-metrics", Text, "", "Request metrics to omit, comma separated", Honoured),
        flag("bucket-factor", Text, "0", "Growth factor of the buckets of native histograms", cosmetic(Words(&["0"]), "native histograms exist in the protobuf format only, and /metrics is text; the buckets of --time-buckets are exported in any case")),
        flag("max-buckets", Number, "100", "Maximum number of buckets of native histograms", cosmetic(OnlyEmpty, "it belongs to --bucket-factor")),
        flag("monitor-max-batch-size", Number, "10000", "Size of the internal queue", NotNeeded),
    ] },
    FlagGroup { heading: Some("GeoIP"), flags: &[
        flag("maxmind-license-key", Text, "", "MaxMind license key for GeoIP databases", cosmetic(OnlyEmpty, NOT_DOWNLOADED)),
        flag("maxmind-mirror", Text, "", "Mirror of the GeoIP databases", cosmetic(OnlyEmpty, NOT_DOWNLOADED)),
        flag("maxmind-edition-ids", Text, "GeoLite2-City,GeoLite2-ASN", "GeoIP databases to read, if the key use-geoip2 is true", Honoured),
        flag("maxmind-retries-count", Number, "1", "Attempts to download a GeoIP database", cosmetic(OnlyEmpty, NOT_DOWNLOADED)),
        flag("maxmind-retries-timeout", Time, "0s", "Time between attempts to download a GeoIP database", cosmetic(OnlyEmpty, NOT_DOWNLOADED)),
    ] },
    FlagGroup { heading: None, flags: &[
        flag("version", Bool, "false", "Print the version and exit", Honoured),
    ] },
];
