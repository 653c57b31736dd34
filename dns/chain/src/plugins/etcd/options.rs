//! The options of `etcd`.

use std::sync::Arc;

use config::{ConfigError, Directive, Word};
use rustls::ClientConfig;

use crate::authorities;
use crate::http_client::HttpServer;
use crate::names::Zones;
use crate::setup::{PluginOption, Setup, SetupErrors, each_line};

/// The options of `etcd`.
pub(super) struct EtcdOptions {
    pub path: String,
    pub servers: Vec<HttpServer>,
    pub credentials: Option<(String, String)>,
    pub tls: Arc<ClientConfig>,
    pub fallthrough: Option<Zones>,
    pub lease_ttls: (u32, u32),
    pub no_apex_fallback: bool,
}

/// The options as the reference shows them.
pub(super) const OPTIONS: &[PluginOption] = &[
    PluginOption {
        syntax: "[ZONE…]",
        default: "the zones of the server block",
        about: "Zones whose names are looked up. A reverse zone may be a CIDR.",
    },
    PluginOption {
        syntax: "path PATH",
        default: "/skydns",
        about: "The beginning of all keys. The record of `web.skydns.local` is at `PATH/local/skydns/web`, or those below.",
    },
    PluginOption {
        syntax: "endpoint URL…",
        default: "http://localhost:2379",
        about: "Members of the etcd cluster, `http://` or `https://`, as `--listen-client-urls` has them. Their JSON gateway is used (`--enable-grpc-gateway`, which is the default).",
    },
    PluginOption {
        syntax: "credentials USER PASSWORD",
        default: "",
        about: "The user of etcd, who may read the keys. `{$NAME}` takes the password from the environment, where a Secret can put it.",
    },
    PluginOption {
        syntax: "tls [CERT KEY] [CACERT]",
        default: "the authorities of the system",
        about: "Files of the client certificate and of the authority, for `https://`.",
    },
    PluginOption {
        syntax: "fallthrough [ZONE…]",
        default: "",
        about: "Passes queries for names that do not exist to the next plugin, for these zones or for all.",
    },
    PluginOption {
        syntax: "min-lease-ttl DURATION",
        default: "30s",
        about: "The shortest TTL of a record whose key has a lease; otherwise the TTL is the rest of the lease.",
    },
    PluginOption {
        syntax: "max-lease-ttl DURATION",
        default: "24h",
        about: "The longest TTL of a record whose key has a lease.",
    },
    PluginOption {
        syntax: "no_apex_fallback",
        default: "",
        about: "The zone itself has the addresses below `apex.dns.ZONE` only, and without these not those of all names.",
    },
];

const KNOWN: &[&str] = &[
    "path",
    "endpoint",
    "credentials",
    "tls",
    "fallthrough",
    "min-lease-ttl",
    "max-lease-ttl",
    "no_apex_fallback",
];

/// Options without effect in CoreDNS as well.
const REMOVED: &[(&str, &str)] = &[
    ("stubzones", "a forward in a server block of the zone does the same"),
    ("upstream", "the server itself resolves external names"),
    ("debug", "it had no effect"),
];

const DEFAULT_PORT: u16 = 2379;

pub(super) fn read(setup: &mut Setup<'_>, directive: &Directive) -> Result<EtcdOptions, SetupErrors> {
    let mut options = EtcdOptions {
        path: "/skydns".to_owned(),
        servers: Vec::new(),
        credentials: None,
        tls: Arc::new(authorities::client_config(None, None).map_err(|why| vec![directive.error(why, "")])?),
        fallthrough: None,
        lease_ttls: (30, 86_400),
        no_apex_fallback: false,
    };
    each_line(directive, |line| match REMOVED.iter().find(|(name, _)| *name == line.name.text) {
        Some((name, why)) => {
            setup.warn(line, format!("etcd: {name} is ignored, CoreDNS has removed it: {why}"));
            Ok(())
        }
        None => options.line(setup, line),
    })?;
    if options.servers.is_empty() {
        let word = Word::new("http://localhost:2379", &directive.name.at);
        let server = HttpServer::read(&word, &word, DEFAULT_PORT).map_err(|error| vec![error])?;
        options.servers.push(server.0);
    }
    Ok(options)
}

impl EtcdOptions {
    fn line(&mut self, setup: &Setup<'_>, line: &Directive) -> Result<(), ConfigError> {
        match line.name.text.as_str() {
            "path" => self.path.clone_from(&line.arg("PATH")?.text),
            "endpoint" => {
                self.servers.clear();
                for word in line.args_from(1, "URL…")? {
                    let (server, path) = HttpServer::read(word, word, DEFAULT_PORT)?;
                    if !path.trim_matches('/').is_empty() {
                        return Err(word.error(format!("{word} has a path"), "http://HOST:PORT"));
                    }
                    self.servers.push(server);
                }
            }
            "credentials" => {
                let [user, password] = line.args::<2>("USER PASSWORD")?;
                self.credentials = Some((user.text.clone(), password.text.clone()));
            }
            "tls" => {
                let files = line.args_between(0, 3, "[CERT KEY] [CACERT]")?;
                let path = |word: &Word| setup.path(word);
                let (identity, authority) = match files {
                    [] => (None, None),
                    [ca] => (None, Some(path(ca))),
                    [cert, key, ca @ ..] => (Some((path(cert), path(key))), ca.first().map(path)),
                };
                let config = authorities::client_config(authority.as_deref(), identity.as_ref());
                let config =
                    config.map_err(|why| line.error(format!("etcd: {why}"), "readable PEM files"))?;
                self.tls = Arc::new(config);
            }
            "fallthrough" => {
                let named = Zones::read(&line.args)?;
                self.fallthrough = Some(if named.is_empty() { Zones::new(["."]) } else { named });
            }
            "min-lease-ttl" => self.lease_ttls.0 = seconds(line, self.lease_ttls.0)?,
            "max-lease-ttl" => self.lease_ttls.1 = seconds(line, self.lease_ttls.1)?,
            "no_apex_fallback" => {
                line.no_args()?;
                self.no_apex_fallback = true;
            }
            _ => return Err(line.unknown(KNOWN)),
        }
        Ok(())
    }
}

/// Seconds, or a duration; 0 stands for the default.
fn seconds(line: &Directive, default: u32) -> Result<u32, ConfigError> {
    let word = line.arg("DURATION")?;
    let seconds = match word.text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => word.integer(0..=u32::MAX)?,
        false => u32::try_from(word.duration_or_zero()?.as_secs()).unwrap_or(u32::MAX),
    };
    Ok(if seconds == 0 { default } else { seconds })
}
