//! TLS of clients' connections: ciphers and sessions.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;

use super::{Annotation, AnnotationFamily, FamilyKey, Phase, Rule, SettingReader, Settings};
use crate::cipher_list;
use crate::exchange::{Exchange, RequestScheme};
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::filter::{DirectResponse, FilterOutcome, RequestFilter};
use crate::problem::Effect;
use crate::settings::{TicketKey, TlsSettings, TlsVersions, parse_time};

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "tls",
    doc: "TLS of clients' connections; changes apply to new ones. Ciphers are those of TLS 1.2 that rustls has: ECDHE with AES-GCM or \
          ChaCha20-Poly1305. Others of a list are reported and not offered. A session can be resumed only with the host and the certificate \
          authorities with which it began.",
    annotations: &[
        Annotation {
            name: "ssl-ciphers",
            values: "a cipher list of OpenSSL",
            doc: "The ciphers of TLS 1.2 of the host. The first Ingress of the host that has the annotation decides.",
        },
        Annotation {
            name: "ssl-prefer-server-ciphers",
            values: "true, false, on, off; default on",
            doc: "The order of the server decides and not that of the client.",
        },
        Annotation {
            name: "ssl-passthrough",
            values: "true, false; default false",
            doc: "Needs `--enable-ssl-passthrough`. TLS connections whose server name (SNI) is the host are not decrypted but go to the \
                  Service of its path `/`, without any other annotation. The first Ingress of the host decides. The endpoints get \
                  no PROXY header. A connection that is idle for an hour is closed.",
        },
    ],
    keys: &[
        FamilyKey {
            name: "ssl-protocols",
            values: "TLSv1.2, TLSv1.3; default both",
            doc: "the versions of TLS that are offered; older ones in the list are reported and not offered. With an unknown word, or \
                  without TLSv1.2 and TLSv1.3, every request over https gets 503",
        },
        FamilyKey {
            name: "ssl-ciphers",
            values: "a cipher list of OpenSSL; default all that rustls has",
            doc: "the ciphers of TLS 1.2 of hosts without the annotation",
        },
        FamilyKey {
            name: "ssl-ecdh-curve",
            values: "auto, or a list of curves between colons; default auto",
            doc: "the groups of key exchange in order of preference: X25519MLKEM768, X25519, prime256v1 (P-256), secp384r1 (P-384); auto is \
                  these four. Others of a list are reported and not offered",
        },
        FamilyKey {
            name: "enable-ocsp",
            values: "true, false; default false",
            doc: "staples OCSP responses to certificates that name a responder (http URL) and whose issuer is in tls.crt. They are fetched in \
                  the background and renewed at half of their time; one that is not signed by the issuer, not good or expired is not \
                  stapled. A responder that does not answer is reported, and handshakes never wait for it",
        },
        FamilyKey {
            name: "ssl-session-cache",
            values: "true, false; default true",
            doc: "sessions are kept in memory, by all workers together, for resumption",
        },
        FamilyKey {
            name: "ssl-session-timeout",
            values: "a time; default 10m",
            doc: "how long a session can be resumed",
        },
        FamilyKey {
            name: "ssl-session-tickets",
            values: "true, false; default false",
            doc: "clients keep their sessions, encrypted with a key of the proxy",
        },
        FamilyKey {
            name: "ssl-session-ticket-key",
            values: "48 or 80 bytes in Base64; default a random key for each process",
            doc: "the key of session tickets: with it every replica resumes the sessions of the others",
        },
        FamilyKey {
            name: "ssl-reject-handshake",
            values: "true, false; default false",
            doc: "names that no Ingress has get no certificate: the handshake fails",
        },
    ],
    phases: &[Phase::Server],
    syntax: "ssl-ciphers: ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384\n\
             ssl-prefer-server-ciphers: 'off'\n\
             ssl-passthrough: 'true'",
    read,
    read_keys,
    plan,
};

const PROTOCOLS: &str = "ssl-protocols";
const CIPHERS: &str = "ssl-ciphers";
const CURVES: &str = "ssl-ecdh-curve";
const TICKET_KEY: &str = "ssl-session-ticket-key";
/// The longest lifetime of a session (RFC 8446 §4.6.1).
const MAX_SESSION: u64 = 7 * 24 * 60 * 60;

/// The annotations of an Ingress.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HostConnections {
    /// `ssl-ciphers`: IANA's numbers.
    pub(crate) suites: Option<Arc<[u16]>>,
    /// `ssl-prefer-server-ciphers`.
    pub(crate) prefers_server: Option<bool>,
    /// `ssl-passthrough`.
    pub(crate) passthrough: bool,
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let flag = |value: &str| match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => crate::unsupported::parse_bool(value),
    };
    let prefers_server =
        reader.value("ssl-prefer-server-ciphers", "true or false", Effect::DefaultUsed, flag);
    let passthrough = reader.flag("ssl-passthrough").unwrap_or(false);
    let suites = ciphers(reader, CIPHERS).map(Arc::from);
    let host = HostConnections { suites, prefers_server, passthrough };
    if host != HostConnections::default() {
        settings.values.set(host);
    }
}

/// A cipher list: IANA's numbers of the suites of TLS 1.2.
pub(super) fn ciphers(reader: &mut SettingReader<'_>, name: &'static str) -> Option<Vec<u16>> {
    const WANTED: &str = "a cipher list of OpenSSL with ECDHE and AES-GCM or ChaCha20-Poly1305";
    let list = reader.value(name, WANTED, Effect::DefaultUsed, cipher_list::parse)?;
    if !list.missing.is_empty() {
        let what = format!("{} cannot be offered; the other ciphers are", list.missing.join(", "));
        reader.problem(name, what, Effect::Differs);
    }
    Some(list.suites)
}

/// Reports the obsolete versions in a list that also has others.
pub(super) fn report_obsolete_versions(
    reader: &mut SettingReader<'_>,
    name: &'static str,
    obsolete: &[&str],
) {
    if !obsolete.is_empty() {
        let what =
            format!("{}: obsolete (RFC 8996) and not offered; the other versions are", obsolete.join(", "));
        reader.problem(name, what, Effect::Differs);
    }
}

/// `ssl-protocols` has no version that can be offered.
#[derive(Debug, PartialEq)]
struct WithoutVersion;

/// The value of `ssl-protocols`. An invalid one closes routes over https: which versions it should keep out is not known.
fn versions(reader: &mut SettingReader<'_>, values: &mut FamilyValues) -> Option<TlsVersions> {
    let list = reader.text(PROTOCOLS)?;
    let Some((versions, obsolete)) = TlsVersions::parse(list) else {
        let what = format!("{list:?} should be {}; every request over https gets 503", TlsVersions::WANTED);
        reader.problem(PROTOCOLS, what, Effect::ClosesOthers);
        values.set(WithoutVersion);
        return None;
    };
    report_obsolete_versions(reader, PROTOCOLS, &obsolete);
    Some(versions)
}

/// Answers requests over https 503. It runs after redirects, which may redirect to http.
#[derive(Debug)]
struct ClosedOverHttps;

impl RequestFilter for ClosedOverHttps {
    fn request(&self, exchange: &mut Exchange) -> FilterOutcome {
        match exchange.scheme {
            RequestScheme::Http => FilterOutcome::Continue,
            RequestScheme::Https => {
                FilterOutcome::respond(DirectResponse::status(StatusCode::SERVICE_UNAVAILABLE))
            }
        }
    }
}

fn plan(_: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    if rule.globals.get::<WithoutVersion>().is_some() {
        plan.rewrite.push(Box::new(ClosedOverHttps));
    }
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let defaults = values.take::<Arc<TlsSettings>>().unwrap_or_default();
    let timeout = |value: &str| parse_time(value).filter(|time| (1..=MAX_SESSION).contains(&time.as_secs()));
    let timeout = reader.value("ssl-session-timeout", "a time from 1s to 7d", Effect::DefaultUsed, timeout);
    let ciphers = ciphers(reader, CIPHERS).map(Arc::from);
    let tls = TlsSettings {
        versions: versions(reader, values).unwrap_or(defaults.versions),
        ciphers: ciphers.or_else(|| defaults.ciphers.clone()),
        groups: groups(reader).unwrap_or_else(|| defaults.groups.clone()),
        staples: reader.flag("enable-ocsp").unwrap_or(defaults.staples),
        session_cache: reader.flag("ssl-session-cache").unwrap_or(defaults.session_cache),
        session_timeout: timeout.unwrap_or(defaults.session_timeout),
        session_tickets: reader.flag("ssl-session-tickets").unwrap_or(defaults.session_tickets),
        ticket_key: ticket_key(reader).or_else(|| defaults.ticket_key.clone()),
        rejects_unknown_names: reader.flag("ssl-reject-handshake").unwrap_or(defaults.rejects_unknown_names),
    };
    values.set(if tls == *defaults { defaults } else { Arc::new(tls) });
}

/// The value of `ssl-ecdh-curve`: IANA's numbers, or `None` for `auto`.
fn groups(reader: &mut SettingReader<'_>) -> Option<Option<Arc<[u16]>>> {
    const WANTED: &str = "auto, or a list with X25519MLKEM768, X25519, prime256v1 or secp384r1";
    let number = |name: &str| {
        Some(match name.to_ascii_lowercase().as_str() {
            "x25519mlkem768" => 0x11ec_u16,
            "x25519" => 0x001d,
            "prime256v1" | "secp256r1" | "p-256" => 0x0017,
            "secp384r1" | "p-384" => 0x0018,
            _ => return None,
        })
    };
    let list = reader.text(CURVES)?;
    if list == "auto" {
        return Some(None);
    }
    let (mut groups, mut missing) = <(Vec<u16>, Vec<&str>)>::default();
    for name in list.split(':').map(str::trim) {
        match number(name) {
            Some(group) if !groups.contains(&group) => groups.push(group),
            Some(_) => {}
            None => missing.push(name),
        }
    }
    let effect = if groups.is_empty() { Effect::DefaultUsed } else { Effect::LeftOut };
    reader.invalid_items(CURVES, &missing, WANTED, effect);
    (!groups.is_empty()).then(|| Some(groups.into()))
}

/// The value of `ssl-session-ticket-key`. Reports never contain it.
fn ticket_key(reader: &mut SettingReader<'_>) -> Option<TicketKey> {
    let value = reader.text(TICKET_KEY)?;
    let key = STANDARD.decode(value).ok().and_then(TicketKey::new);
    if key.is_none() {
        reader.problem(TICKET_KEY, "should be 48 or 80 bytes in Base64".into(), Effect::DefaultUsed);
    }
    key
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::key_value;

    fn read(data: &[(&str, &str)]) -> (TlsSettings, Vec<String>) {
        let (settings, problems) = key_value::<Arc<TlsSettings>>(read_keys, data);
        ((*settings).clone(), problems)
    }

    #[test]
    fn keys_become_settings() {
        assert_eq!(read(&[]), (TlsSettings::default(), vec![]));
        let key = STANDARD.encode([7; 80]);
        let wanted = TlsSettings {
            versions: TlsVersions::Only13,
            ciphers: Some([0xc02f].into()),
            groups: Some([0x0018, 0x001d].into()),
            staples: true,
            session_cache: false,
            session_timeout: Duration::from_secs(3600),
            session_tickets: true,
            ticket_key: TicketKey::new(vec![7; 80]),
            rejects_unknown_names: true,
        };
        let given = [
            ("ssl-protocols", "TLSv1.3"),
            ("ssl-ciphers", "ECDHE-RSA-AES128-GCM-SHA256"),
            ("ssl-ecdh-curve", "secp384r1:X25519:x25519"),
            ("enable-ocsp", "true"),
            ("ssl-session-cache", "false"),
            ("ssl-session-timeout", "1h"),
            ("ssl-session-tickets", "true"),
            ("ssl-session-ticket-key", &key),
            ("ssl-reject-handshake", "true"),
        ];
        assert_eq!(read(&given), (wanted, vec![]));
    }

    #[test]
    fn an_invalid_value_is_reported_and_the_default_used() {
        for (key, value) in [
            ("ssl-ciphers", "AES256-SHA"),
            ("ssl-ecdh-curve", "secp521r1"),
            ("enable-ocsp", "on"),
            ("ssl-session-cache", "shared"),
            ("ssl-session-timeout", "0"),
            ("ssl-session-timeout", "8d"),
            ("ssl-session-tickets", "on"),
        ] {
            let (settings, problems) = read(&[(key, value)]);
            assert_eq!(settings, TlsSettings::default(), "{key}: {value}");
            assert!(problems.len() == 1 && problems[0].contains(value), "{key}: {value}: {problems:?}");
        }
        let (settings, problems) = read(&[("ssl-session-ticket-key", "c2VjcmV0LWtleQ==")]);
        assert_eq!(settings, TlsSettings::default());
        assert!(problems.len() == 1 && !problems[0].contains("c2Vj"), "a key is not shown: {problems:?}");
        let (settings, problems) = read(&[("ssl-ciphers", "AES256-SHA:AES128+ECDHE:!ECDSA")]);
        assert_eq!(settings.ciphers.as_deref(), Some(&[0xc02f][..]));
        assert!(problems[0].contains("AES256-SHA cannot be offered"), "{problems:?}");
        let (settings, problems) = read(&[("ssl-protocols", "TLSv1 TLSv1.1 TLSv1.2")]);
        assert_eq!(settings.versions, TlsVersions::Only12);
        assert!(problems[0].contains("TLSv1, TLSv1.1: obsolete"), "{problems:?}");
    }
}
