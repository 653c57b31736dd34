//! Client certificates (`auth-tls-*`). They apply to whole hosts: the first Ingress of a host that has `auth-tls-secret` decides.

use std::sync::Arc;

use cluster::Key;

use super::{Annotation, AnnotationFamily, Phase, SettingReader, Settings};
use crate::client_certificate::{ClientAuthority, ClientCertificateRules, VerifyClient};
use crate::pattern::Pattern;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "client certificates",
    doc: "Certificates of clients, for whole hosts over https: the first Ingress of a host that has `auth-tls-secret` decides. Endpoints and \
          authentication servers get `ssl-client-verify` (SUCCESS, NONE or FAILED:reason), `ssl-client-subject-dn` and \
          `ssl-client-issuer-dn`, and never what the client sends as these. The Secret is followed; while that of the first Ingress \
          cannot be used, every request to the host gets 403. A request on a connection that was opened for another host, with other certificate authorities, \
          gets 421.",
    annotations: &[
        Annotation {
            name: "auth-tls-secret",
            values: "namespace/name of a Secret",
            doc: "The certificate authorities (`ca.crt`) and, optionally, revocation lists (`ca.crl`). A Secret of another namespace needs \
                  the key allow-cross-namespace-resources.",
        },
        Annotation {
            name: "auth-tls-verify-client",
            values: "on, off, optional, optional_no_ca; default on",
            doc: "`on`: a client without a verified certificate gets 400. `optional`: only one with an invalid certificate does. \
                  `optional_no_ca`: certificates of unknown authorities are accepted, too, as FAILED. `off`: none is asked for.",
        },
        Annotation {
            name: "auth-tls-verify-depth",
            values: "a number; default 1",
            doc: "How many certificates may be between that of the client and a self-signed one of the Secret.",
        },
        Annotation {
            name: "auth-tls-error-page",
            values: "an http or https URL",
            doc: "Redirects there (302) instead of 400.",
        },
        Annotation {
            name: "auth-tls-pass-certificate-to-upstream",
            values: "true, false; default false",
            doc: "Endpoints get the certificate as `ssl-client-cert`, in percent-encoded PEM.",
        },
        Annotation {
            name: "auth-tls-match-cn",
            values: "a regular expression that begins with CN=",
            doc: "It must be found in the subject of the certificate, in which the names are in the order of RFC 2253; otherwise 403.",
        },
    ],
    phases: &[Phase::Server, Phase::UpstreamRequest],
    syntax: "auth-tls-secret: default/ca\n\
             auth-tls-verify-client: optional_no_ca\n\
             auth-tls-verify-depth: '2'\n\
             auth-tls-error-page: https://shop.example/certificate\n\
             auth-tls-pass-certificate-to-upstream: 'true'\n\
             auth-tls-match-cn: CN=client-[0-9]+",
    read,
    ..AnnotationFamily::NONE
};

/// The consequence of an invalid annotation.
pub(crate) const HOSTS_CLOSED: &str =
    "every request to its hosts gets 403, except hosts where an earlier Ingress has auth-tls-secret";
const SECRET: &str = "auth-tls-secret";
const VERIFY: &str = "auth-tls-verify-client";
const DEPTH: &str = "auth-tls-verify-depth";
const PAGE: &str = "auth-tls-error-page";
const PASS: &str = "auth-tls-pass-certificate-to-upstream";
const MATCH: &str = "auth-tls-match-cn";

/// The annotations of an Ingress.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AuthTls {
    /// The Secret, if its name is valid.
    pub(crate) secret: Option<Key>,
    /// The certificates that its hosts ask for, or why every request to them gets 403.
    pub(crate) rule: Result<Arc<ClientCertificateRules>, String>,
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    if reader.text(SECRET).is_none() {
        let others = [VERIFY, DEPTH, PAGE, PASS, MATCH];
        if let Some(name) = others.into_iter().find(|name| reader.text(name).is_some()) {
            reader.problem(name, "has no effect without auth-tls-secret".into(), Effect::Differs);
        }
        return;
    }
    let named =
        |reader: &SettingReader<'_>, value: &str| reader.object_key(value).filter(|_| value.contains('/'));
    let secret = reader.text(SECRET).and_then(|value| named(reader, value));
    let rule = match &secret {
        Some(secret) => rule(reader, secret).map(Arc::new),
        None => {
            Err((SECRET, format!("{:?} should be namespace/name", reader.text(SECRET).unwrap_or_default())))
        }
    };
    let rule = rule.map_err(|(name, what)| {
        // The effect is wider than that of a closed Ingress: other Ingresses may have the same hosts.
        reader.problem(name, format!("{what}; {HOSTS_CLOSED}"), Effect::ClosesOthers);
        format!("{name}: {what}")
    });
    settings.values.set(AuthTls { secret, rule });
}

fn rule(
    reader: &mut SettingReader<'_>,
    secret: &Key,
) -> Result<ClientCertificateRules, (&'static str, String)> {
    let verify = |value: &str| match value {
        "on" => Some(VerifyClient::On),
        "off" => Some(VerifyClient::Off),
        "optional" => Some(VerifyClient::Optional),
        "optional_no_ca" => Some(VerifyClient::OptionalNoCa),
        _ => None,
    };
    // The defaults are the strictest values.
    let verify = reader.value(VERIFY, "on, off, optional or optional_no_ca", Effect::DefaultUsed, verify);
    let depth = reader.value(DEPTH, "a whole number from 0", Effect::DefaultUsed, |value| value.parse().ok());
    let page = reader.value(PAGE, "an http or https URL", Effect::DefaultUsed, error_page);
    let passes_certificate = reader.flag(PASS).unwrap_or(false);
    let subject = match reader.text(MATCH) {
        None => None,
        Some(value) => Some(pattern(value).map_err(|what| (MATCH, what))?),
    };
    let Some(found) = reader.secret(secret) else {
        return Err((SECRET, format!("Secret {secret} does not exist, or is not among those read")));
    };
    Ok(ClientCertificateRules {
        authority: ClientAuthority::read(found).map_err(|what| (SECRET, what))?,
        verify: verify.unwrap_or(VerifyClient::On),
        depth: depth.unwrap_or(1),
        error_page: page,
        passes_certificate,
        subject,
    })
}

fn error_page(value: &str) -> Option<String> {
    let url: http::Uri = value.parse().ok()?;
    let is_http = matches!(url.scheme_str(), Some("http" | "https"));
    (is_http && url.host().is_some_and(|host| !host.is_empty())).then(|| value.to_owned())
}

fn pattern(value: &str) -> Result<Pattern, String> {
    if !value.starts_with("CN=") || value.contains(['\r', '\n']) {
        return Err(format!("{value:?} should be a regular expression that begins with CN="));
    }
    Pattern::new(value, false).map_err(|error| format!("{value:?} should be a regular expression ({error})"))
}

#[cfg(test)]
mod tests;
