//! The keys of ingress-nginx's ConfigMap, each with its support here.
//!
//! An unsupported key closes routes if it protects them: so do the keys of the firewall. All others are only reported.

use crate::annotations::FAMILIES;
use crate::unsupported::NeutralValues::{self, False, OnlyEmpty, Words};
use crate::unsupported::{UnsupportedSetting, closed, cosmetic};

/// A key of the ConfigMap.
#[derive(Clone, Copy, Debug)]
pub struct ConfigMapKey {
    /// Its name.
    pub name: &'static str,
    /// Whether and how it is supported.
    pub support: KeySupport,
}

/// Whether a key is supported.
#[derive(Clone, Copy, Debug)]
pub enum KeySupport {
    /// It is supported; its effect.
    Honoured(&'static str),
    /// It configures a part of nginx that Portolan does not have, so nothing is lost; the reason, as one clause.
    NotNeeded(&'static str),
    /// It is not supported yet.
    Unsupported {
        /// The consequence.
        setting: UnsupportedSetting,
        /// The routes that it closes, if it protects something.
        guard: Option<&'static Guard>,
    },
}

/// The routes that an unsupported key closes because it would protect them.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// An annotation that exempts an Ingress when it is false.
    pub opt_out: Option<&'static str>,
}

impl Guard {
    /// The closed routes, as a clause.
    pub fn describe(&self) -> String {
        let unless = self.opt_out.map(|name| format!(" unless its Ingress has {name}: \"false\""));
        format!("every request gets 503{}", unless.unwrap_or_default())
    }
}

const FIREWALL: Guard = Guard { opt_out: Some("enable-modsecurity") };

const fn honoured(name: &'static str, doc: &'static str) -> ConfigMapKey {
    ConfigMapKey { name, support: KeySupport::Honoured(doc) }
}

const fn not_needed(name: &'static str, why: &'static str) -> ConfigMapKey {
    ConfigMapKey { name, support: KeySupport::NotNeeded(why) }
}

const fn served(setting: UnsupportedSetting) -> ConfigMapKey {
    let support = KeySupport::Unsupported { setting, guard: None };
    ConfigMapKey { name: setting.name, support }
}

const fn guarded(
    name: &'static str,
    neutral: NeutralValues,
    consequence: &'static str,
    guard: &'static Guard,
) -> ConfigMapKey {
    let setting = closed(name, neutral, consequence);
    ConfigMapKey { name, support: KeySupport::Unsupported { setting, guard: Some(guard) } }
}

const NOT_READ: &str = "ingress-nginx reads it without effect";
const NGINX_TABLE: &str = "it sizes a table of nginx";
const WITH_FIREWALL: &str = "without enable-modsecurity it has no effect, and with it routes are closed";
const STREAMED: &str = "bodies are streamed and not buffered";

/// All 194 keys of ingress-nginx 1.15: those of annotation families, and those without one.
pub fn keys() -> impl Iterator<Item = ConfigMapKey> {
    let of_families = FAMILIES.iter().flat_map(|family| family.keys).map(|key| honoured(key.name, key.doc));
    of_families.chain(KEYS.iter().copied())
}

/// The keys that no annotation family has, in the order of the documentation of ingress-nginx, by theme.
#[rustfmt::skip]
pub(super) const KEYS: &[ConfigMapKey] = &[
    // Security and governance.
    // Headers and client address.
    not_needed("forwarded-for-proxy-protocol-header", "it names a header that only nginx itself reads"),
    // Redirects, paths, defaults of annotations.
    not_needed("app-root", NOT_READ),
    not_needed("upstream-hash-by", NOT_READ),
    not_needed("upstream-hash-by-subset", NOT_READ),
    not_needed("upstream-hash-by-subset-size", NOT_READ),
    served(cosmetic("proxy-buffering", Words(&["off"]), STREAMED)),
    served(cosmetic("proxy-buffers-number", Words(&["4"]), STREAMED)),
    served(cosmetic("proxy-busy-buffers-size", OnlyEmpty, STREAMED)),
    served(cosmetic("proxy-max-temp-file-size", Words(&["1024m"]), STREAMED)),
    not_needed("proxy-ssl-location-only", "it moves directives within the configuration of nginx"),
    not_needed("grpc-buffer-size-kb", "messages are passed on as they arrive, and heads may have 64 KiB"),
    // Client connections and protocol limits.
    not_needed("client-header-buffer-size", "heads of requests take the memory that they need"),
    not_needed("http2-max-field-size", NOT_READ),
    not_needed("http2-max-header-size", NOT_READ),
    not_needed("http2-max-requests", NOT_READ),
    // TLS.
    not_needed("ssl-dh-param", "no cipher with finite-field DHE is offered"),
    served(cosmetic("ssl-early-data", False, "early data of TLS 1.3 can be replayed by others and is not accepted; clients send it again in the same round trip as without it")),
    not_needed("ssl-session-cache-size", "it sizes a table of nginx"),
    not_needed("ssl-buffer-size", "it sizes a buffer of nginx"),
    // Logs.
    not_needed("access-log-params", "they are options of nginx for a log file"),
    served(cosmetic("error-log-path", Words(&["/var/log/nginx/error.log", "/dev/stderr", "stderr"]), "messages go to standard error and not into a file")),
    // Tracing.
    not_needed("opentelemetry-config", "it is a file of an nginx module, whose settings are the keys otlp-* and otel-*"),
    // The process, what is inside nginx, and what is refused.
    not_needed("max-worker-open-files", "the limit of open files is raised to the maximum"),
    not_needed("worker-cpu-affinity", "the kernel places the workers"),
    not_needed("enable-serial-reloads", "nothing is reloaded"),
    not_needed("reuse-port", "each worker has a socket of its own, as with true"),
    not_needed("enable-multi-accept", "each worker accepts all waiting connections"),
    not_needed("enable-aio-write", "no bodies are written to files"),
    not_needed("map-hash-bucket-size", NGINX_TABLE),
    not_needed("server-name-hash-max-size", NGINX_TABLE),
    not_needed("server-name-hash-bucket-size", NGINX_TABLE),
    not_needed("proxy-headers-hash-max-size", NGINX_TABLE),
    not_needed("proxy-headers-hash-bucket-size", NGINX_TABLE),
    not_needed("variables-hash-max-size", NGINX_TABLE),
    not_needed("variables-hash-bucket-size", NGINX_TABLE),
    not_needed("lua-shared-dicts", "there is no Lua"),
    not_needed("debug-connections", "it is a debug log of nginx"),
    not_needed("nginx-status-ipv4-whitelist", "there is no status page of nginx"),
    not_needed("nginx-status-ipv6-whitelist", "there is no status page of nginx"),
    not_needed("geoip2-autoreload-in-minutes", "files of databases that change are read again within five seconds, whatever it is"),
    guarded("enable-modsecurity", False, "the web application firewall would not check requests", &FIREWALL),
    served(cosmetic("enable-owasp-modsecurity-crs", False, WITH_FIREWALL)),
    served(cosmetic("modsecurity-snippet", OnlyEmpty, WITH_FIREWALL)),
];

/// Whether ingress-nginx no longer reads a key that manifests still have.
pub(super) fn is_obsolete(name: &str) -> bool {
    const PREFIXES: &[&str] = &["jaeger-", "zipkin-", "datadog-", "opentracing-"];
    matches!(name, "use-geoip" | "enable-opentracing")
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
