//! TLS to endpoints: `proxy-ssl-*`.

use std::sync::Arc;

use cluster::Key;
use rustls::pki_types::ServerName;

use super::authentication::namespace_error;
use super::tls::{ciphers, report_obsolete_versions};
use super::{Annotation, AnnotationFamily, Rule, SettingReader, Settings};
use crate::plan::Plan;
use crate::plan::phase::Phase;
use crate::problem::Effect;
use crate::settings::TlsVersions;
use crate::upstream_tls::{DEFAULT_NAME, UpstreamTls, UpstreamTlsSettings};

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "upstream TLS",
    doc: "TLS to endpoints with `backend-protocol` HTTPS, GRPCS or AUTO_HTTP. Without `proxy-ssl-secret` the other annotations have no \
          effect, as in ingress-nginx: endpoints are not verified and get no server name. While the Secret is missing or cannot \
          be used, the routes answer 503.",
    annotations: &[
        Annotation {
            name: SECRET,
            values: "namespace/name of a Secret",
            doc: "`tls.crt` and `tls.key` are the client certificate for endpoints that ask for one, `ca.crt` the authorities that \
                  endpoints are verified with. A Secret of another namespace needs the key allow-cross-namespace-resources.",
        },
        Annotation {
            name: VERIFY,
            values: "on, off; default off",
            doc: "with `on` the certificate of an endpoint must be signed by an authority in `ca.crt` and have the name of \
                  `proxy-ssl-name`; else the response is 502",
        },
        Annotation {
            name: DEPTH,
            values: "a whole number from 0; default 1",
            doc: "how many intermediate certificates a chain may have",
        },
        Annotation {
            name: NAME,
            values: "a host name; default upstream_balancer, nginx's name for all endpoints",
            doc: "the name that endpoints are verified for and that `proxy-ssl-server-name` sends",
        },
        Annotation {
            name: SERVER_NAME,
            values: "on, off; default off",
            doc: "with `on` the name is sent to endpoints (SNI)",
        },
        Annotation {
            name: CIPHERS,
            values: "a cipher list of OpenSSL; default DEFAULT",
            doc: "the ciphers for TLS 1.2: of the list those with ECDHE and AES-GCM or ChaCha20-Poly1305",
        },
        Annotation {
            name: PROTOCOLS,
            values: "versions between spaces; default TLSv1.2",
            doc: "TLSv1.2 and TLSv1.3 are supported, older versions are not offered",
        },
    ],
    phases: &[Phase::UpstreamRequest],
    syntax: "proxy-ssl-secret: default/endpoints\n\
             proxy-ssl-verify: 'on'\n\
             proxy-ssl-verify-depth: '2'\n\
             proxy-ssl-name: app.internal.example\n\
             proxy-ssl-server-name: 'on'\n\
             proxy-ssl-ciphers: ECDHE+AESGCM:ECDHE+CHACHA20\n\
             proxy-ssl-protocols: TLSv1.2 TLSv1.3",
    read,
    plan,
    ..AnnotationFamily::NONE
};

const SECRET: &str = "proxy-ssl-secret";
const VERIFY: &str = "proxy-ssl-verify";
const DEPTH: &str = "proxy-ssl-verify-depth";
const NAME: &str = "proxy-ssl-name";
const SERVER_NAME: &str = "proxy-ssl-server-name";
const CIPHERS: &str = "proxy-ssl-ciphers";
const PROTOCOLS: &str = "proxy-ssl-protocols";

/// TLS of an Ingress with `proxy-ssl-secret`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProxySsl(pub(super) Arc<UpstreamTls>);

/// The Secret, for the check of its namespace.
#[derive(Clone, Debug, PartialEq)]
struct NamedSecret(Key);

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    // A canary uses TLS of the rule that it belongs to.
    if settings.canary.is_some() {
        return;
    }
    let on_off = |value: &str| match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    };
    let verify = reader.value(VERIFY, "on or off", Effect::Closed, on_off).unwrap_or(false);
    let sends_name = reader.value(SERVER_NAME, "on or off", Effect::DefaultUsed, on_off).unwrap_or(false);
    let depth = reader.count(DEPTH).map_or(1, |depth| depth as usize);
    let server_name = |value: &str| ServerName::try_from(value.to_owned()).ok();
    let name = reader.value(NAME, "a host name", Effect::Closed, server_name);
    let ciphers = ciphers(reader, CIPHERS);
    let versions = reader.value(PROTOCOLS, TlsVersions::WANTED, Effect::DefaultUsed, TlsVersions::parse);
    let (versions, obsolete) = versions.unwrap_or((TlsVersions::Only12, Vec::new()));
    report_obsolete_versions(reader, PROTOCOLS, &obsolete);
    if reader.text(SECRET).is_none() {
        if verify {
            reader.problem(VERIFY, format!("without {SECRET} endpoints are not verified"), Effect::Differs);
        }
        return;
    }
    let named = reader.text(SECRET).filter(|value| value.contains('/'));
    let named = named.and_then(|value| reader.object_key(value));
    let key = reader.value(SECRET, "namespace/name of a Secret", Effect::Closed, |_| named);
    let Some(key) = key else { return };
    let Some(secret) = reader.secret(&key).cloned() else {
        return reader.problem(SECRET, format!("Secret {key} does not exist"), Effect::Closed);
    };
    if verify && name.is_none() {
        let what =
            format!("without {NAME} endpoints need a certificate for {DEFAULT_NAME}, as in ingress-nginx");
        reader.problem(VERIFY, what, Effect::Differs);
    }
    let default = UpstreamTlsSettings::default();
    let tls = UpstreamTls::new(UpstreamTlsSettings {
        secret: Some(secret),
        verify,
        depth,
        name: name.unwrap_or(default.name),
        sends_name,
        versions,
        ciphers,
    });
    match tls {
        Ok(tls) => settings.values.set(ProxySsl(Arc::new(tls))),
        Err(error) => return reader.problem(SECRET, error, Effect::Closed),
    }
    settings.values.set(NamedSecret(key));
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let Some(NamedSecret(named)) = settings.values.get() else { return };
    if let Some(error) = namespace_error(rule, "Secret", named) {
        plan.closed = Some((SECRET, error));
    }
}

#[cfg(test)]
mod tests;
