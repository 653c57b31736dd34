//! The options of `kubernetes`.

use std::time::Duration;

use cluster::LabelSelector;
use config::{ConfigError, Directive, zones_or_keys};
use dns_wire::Name;
use dns_zone::{PodMode, ZoneOptions};

use crate::names::Zones;
use crate::setup::{ApiConnection, PluginOption, Setup, SetupErrors, each_line};

/// The options of `kubernetes`, grouped by their readers.
pub(super) struct KubernetesOptions {
    pub zone: ZoneOptions,
    pub connection: ApiConnection,
    pub fallthrough: Option<Zones>,
    pub startup_timeout: Duration,
    /// The `ndots` of the clients, if their search lists are followed.
    pub ndots: Option<usize>,
}

/// The options as the reference shows them.
pub(super) const OPTIONS: &[PluginOption] = &[
    PluginOption {
        syntax: "[ZONE…]",
        default: "the zones of the server block",
        about: "Zones of the cluster. At least one is not a reverse zone. A reverse zone may be a CIDR.",
    },
    PluginOption {
        syntax: "endpoint URL…",
        default: "",
        about: "The API server; the first URL is used. By default the service account of the Pod, or `--kubeconfig`.",
    },
    PluginOption {
        syntax: "tls CERT KEY CACERT",
        default: "",
        about: "Files of the client certificate and the authority for `endpoint`.",
    },
    PluginOption {
        syntax: "kubeconfig FILE [CONTEXT]",
        default: "",
        about: "The kubeconfig file for the API server.",
    },
    PluginOption {
        syntax: "apiserver_qps NUMBER",
        default: "no limit",
        about: "Requests a second to the API server.",
    },
    PluginOption {
        syntax: "apiserver_burst NUMBER",
        default: "10",
        about: "Requests that may exceed `apiserver_qps` for a moment.",
    },
    PluginOption {
        syntax: "apiserver_max_inflight NUMBER",
        default: "no limit",
        about: "Requests to the API server at a time.",
    },
    PluginOption {
        syntax: "namespaces NAMESPACE…", default: "all", about: "Serves only these namespaces."
    },
    PluginOption {
        syntax: "namespace_labels SELECTOR",
        default: "",
        about: "Serves only namespaces with these labels. Not together with `namespaces`.",
    },
    PluginOption {
        syntax: "labels SELECTOR",
        default: "",
        about: "Serves only Services, EndpointSlices and Pods with these labels.",
    },
    PluginOption {
        syntax: "pods disabled|insecure|verified",
        default: "disabled",
        about: "Names such as `10-244-1-5.NAMESPACE.pod.ZONE`: none; any address; only addresses of Pods of the namespace, which needs the permission to watch Pods.",
    },
    PluginOption {
        syntax: "endpoint_pod_names",
        default: "",
        about: "Names an endpoint without a hostname after its Pod instead of its address.",
    },
    PluginOption { syntax: "ttl SECONDS", default: "5", about: "TTL of the records, 0 to 3600." },
    PluginOption {
        syntax: "noendpoints",
        default: "",
        about: "Does not watch EndpointSlices: headless Services have no records.",
    },
    PluginOption {
        syntax: "fallthrough [ZONE…]",
        default: "",
        about: "Passes queries for names that do not exist to the next plugin, for these zones or for all.",
    },
    PluginOption {
        syntax: "ignore empty_service",
        default: "",
        about: "A ClusterIP Service without ready endpoints does not exist (NXDOMAIN).",
    },
    PluginOption {
        syntax: "multicluster [ZONE…]",
        default: "",
        about: "Zones that serve ServiceImports (`multicluster.x-k8s.io`).",
    },
    PluginOption {
        syntax: "zonal",
        default: "",
        about: "Adds the names `TOPOLOGYZONE.pin._zone.SERVICE…` for the endpoints of a headless Service in one topology zone, and `….prefer._zone.…` for the same or, if there are none, all. Not together with `noendpoints`.",
    },
    PluginOption {
        syntax: "ndots [NUMBER]",
        default: "off; 5",
        about: "Follows the search list of the Pods of a namespace for `NAME.NAMESPACE.svc.ZONE` that does not exist, and answers with what it ends in behind a CNAME. NAME has two labels at least, fewer than NUMBER dots, and does not end in a Service of the namespace. See [operations](../operations.md#search-lists). Not in CoreDNS.",
    },
    PluginOption {
        syntax: "startup_timeout DURATION",
        default: "5s",
        about: "How long the start waits for the objects of the cluster before the port is served without them.",
    },
];

const KNOWN: &[&str] = &[
    "endpoint",
    "tls",
    "kubeconfig",
    "apiserver_qps",
    "apiserver_burst",
    "apiserver_max_inflight",
    "namespaces",
    "namespace_labels",
    "labels",
    "pods",
    "endpoint_pod_names",
    "ttl",
    "noendpoints",
    "fallthrough",
    "ignore",
    "multicluster",
    "zonal",
    "ndots",
    "startup_timeout",
];

/// Options of older Corefiles that CoreDNS has removed.
const REMOVED: &[(&str, &str)] = &[
    ("upstream", "the server itself resolves external names"),
    ("resyncperiod", "watches keep the objects current without a periodic list"),
];

pub(super) fn read(setup: &mut Setup<'_>, directive: &Directive) -> Result<KubernetesOptions, SetupErrors> {
    let mut errors = SetupErrors::new();
    let zones = zones_or_keys(&directive.args, setup.block).unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    });
    // CoreDNS accepts `in-addr.arpa` as the only zone of the cluster and serves Services under it, which is never intended.
    if errors.is_empty() && zones.iter().all(|zone| is_reverse(zone)) {
        errors.push(directive.error("non-reverse zone name must be used", "a zone such as cluster.local"));
    }
    let are_zones_valid = errors.is_empty();
    let names: Vec<Name> = zones.iter().filter_map(|zone| zone.parse().ok()).collect();
    let mut options = KubernetesOptions {
        zone: ZoneOptions::new(names),
        connection: ApiConnection::default(),
        fallthrough: None,
        startup_timeout: Duration::from_secs(5),
        ndots: None,
    };
    let mut labelled = false;
    let lines = each_line(directive, |line| match line.name.text.as_str() {
        "fallthrough" => {
            let named = Zones::read(&line.args)?;
            let all = Zones::new(zones.iter().map(String::as_str));
            options.fallthrough = Some(if named.is_empty() { all } else { named });
            Ok(())
        }
        "multicluster" => {
            let set = Zones::read(&line.args)?;
            let foreign = |zone: &&Name| !options.zone.zones.iter().any(|own| own.lower() == **zone);
            if let Some(zone) = set.names().iter().find(foreign).filter(|_| are_zones_valid) {
                let what = format!("is not authoritative for the multicluster zone {zone}");
                return Err(line.error(what, format!("zones of this plugin: {}", zones.join(" "))));
            }
            if set.is_empty() {
                setup.warn(line, "kubernetes: multicluster without a zone does nothing");
            }
            options.zone.multicluster = set.names().to_vec();
            Ok(())
        }
        "namespace_labels" => {
            labelled = true;
            options.line(line)
        }
        name => match REMOVED.iter().find(|(dropped, _)| *dropped == name) {
            Some((_, why)) => {
                setup.warn(line, format!("kubernetes: {name} is ignored, CoreDNS has removed it: {why}"));
                Ok(())
            }
            None => options.line(line),
        },
    });
    errors.extend(lines.err().into_iter().flatten());
    if labelled && !options.zone.namespaces.is_empty() {
        let what = "namespaces and namespace_labels cannot both be set";
        errors.push(directive.property("namespace_labels").error(what, "one of the two"));
    }
    if options.zone.zonal && !options.zone.endpoints {
        let zonal = directive.property("zonal");
        errors.push(zonal.error("zonal needs endpoints", "zonal without noendpoints"));
    }
    if errors.is_empty() { Ok(options) } else { Err(errors) }
}

impl KubernetesOptions {
    fn line(&mut self, line: &Directive) -> Result<(), ConfigError> {
        let limit = || line.arg("NUMBER")?.integer(0..=i32::MAX as u32);
        match line.name.text.as_str() {
            "endpoint" => {
                // As in CoreDNS several are accepted and the first one is used.
                self.connection.endpoint = line.args_from(1, "URL…")?.first().map(|url| url.text.clone());
            }
            "tls" => {
                let files = line.args::<3>("CERT KEY CACERT")?;
                self.connection.tls = Some(files.each_ref().map(|file| file.text.clone()));
            }
            "kubeconfig" => {
                let args = line.args_between(1, 2, "FILE [CONTEXT]")?;
                let context = args.get(1).map(|context| context.text.clone());
                self.connection.kubeconfig = Some((args[0].text.clone(), context));
            }
            "apiserver_qps" => {
                let word = line.arg("NUMBER")?;
                let rate = word.text.parse().ok().filter(|rate: &f32| rate.is_finite() && *rate >= 0.0);
                let wrong = || word.error(format!("invalid number {word}"), "requests a second, 0 or more");
                self.connection.limits.qps = rate.ok_or_else(wrong)?;
            }
            "apiserver_burst" => self.connection.limits.burst = limit()?,
            "apiserver_max_inflight" => self.connection.limits.in_flight = limit()?,
            "namespaces" => {
                let words = line.args_from(1, "NAMESPACE…")?;
                self.zone.namespaces.extend(words.iter().map(|word| word.text.clone()));
            }
            "namespace_labels" => self.zone.namespace_labels = selector(line)?,
            "labels" => {
                // Parsed only to check it. The selector is applied by the watches.
                selector(line)?;
                self.connection.labels = Some(joined(line));
            }
            "pods" => {
                self.zone.pods = line.arg("disabled|insecure|verified")?.choice(&[
                    ("disabled", PodMode::Disabled),
                    ("insecure", PodMode::Insecure),
                    ("verified", PodMode::Verified),
                ])?;
            }
            "endpoint_pod_names" => {
                line.no_args()?;
                self.zone.endpoint_pod_names = true;
            }
            "ttl" => self.zone.ttl = line.arg("SECONDS")?.integer(0..=3600)?,
            "noendpoints" => {
                line.no_args()?;
                self.zone.endpoints = false;
            }
            "ignore" => {
                // Without an argument it has no effect, as in CoreDNS.
                if let Some(word) = line.optional_arg("empty_service")? {
                    word.choice(&[("empty_service", ())])?;
                    self.zone.ignore_empty_service = true;
                }
            }
            "zonal" => {
                line.no_args()?;
                self.zone.zonal = true;
            }
            "ndots" => {
                let number = line.optional_arg("NUMBER")?.map(|word| word.integer(1..=15)).transpose()?;
                self.ndots = Some(number.unwrap_or(5) as usize);
            }
            "startup_timeout" => self.startup_timeout = line.arg("DURATION")?.duration()?,
            _ => return Err(line.unknown(KNOWN)),
        }
        Ok(())
    }
}

/// A label selector may contain spaces: `environment in (a, b),app=x`.
fn joined(line: &Directive) -> String {
    line.args.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}

fn selector(line: &Directive) -> Result<LabelSelector, ConfigError> {
    line.args_from(1, "SELECTOR")?;
    let text = joined(line);
    text.parse().map_err(|error: cluster::BadLabelSelector| {
        line.error(format!("unable to parse label selector value: '{text}': {}", error.found), error.wanted)
    })
}

fn is_reverse(zone: &str) -> bool {
    let zone = zone.trim_end_matches('.');
    ["in-addr.arpa", "ip6.arpa"]
        .iter()
        .any(|arpa| zone.strip_suffix(arpa).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}
