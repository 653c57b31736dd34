//! Entry points of the fuzz targets: any text as annotation values, as paths, as a snippet. They check invariants of the
//! result.

mod request_fields;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use cluster::{
    Backend, Cache, ConfigMap, Event, Ingress, IngressPath, IngressRule, Key, Kind, Object, PathType,
    PortRef, Secret, ServiceBackend,
};
use ingress_wire::request::ParsedRequest;
use ingress_wire::request_head::HeadLimits;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::client_certificate::{CertificateVariable, ClientAuthority, ClientCertificateRules, VerifyClient};
use crate::exchange::{Exchange, RequestScheme};
use crate::family_values::FamilyValues;
use crate::geo::{GeoDatabase, GeoDatabases, GeoEdition, GeoVariable};
use crate::options::RouteOptions;
use crate::password::PasswordHash;
use crate::path::{encode, normalise};
use crate::pattern::Pattern;
use crate::plan::filter::FilterOutcome;
use crate::problem::Effect;
use crate::snippet::{Context, KnownNames, SnippetFinding, compile};
use crate::table::{RouteIndex, RouteTable};
use crate::trace_context::{ParentSpan, Sampler, TraceContext, join_state};

pub use self::request_fields::request_fields;

const PREFIX: &str = "nginx.ingress.kubernetes.io";

/// Annotations as lines of `name: value`, on an Ingress that then serves a request.
///
/// # Panics
/// When a problem does not name its annotation, or when reading or serving panics.
pub fn annotation_values(data: &str) {
    let line = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        // A tab stands for the line breaks that values must not have.
        Some((format!("{PREFIX}/{name}").into(), value.replace('\t', "\r\n")))
    };
    let mut annotations: Vec<_> = data.lines().filter_map(line).collect();
    annotations.sort_unstable();
    annotations.dedup_by(|(one, _), (other, _)| one == other);
    let ingress = ingress(annotations, &[("/a(/|$)(.*)", PathType::ImplementationSpecific)]);
    let (settings, findings) =
        crate::annotations::read(&ingress, PREFIX, &cluster::Snapshot::default(), &FamilyValues::default());
    for problem in &findings.problems {
        assert!(problem.field.starts_with(PREFIX) || problem.field.is_empty(), "{problem}");
    }
    // Snippets leave the Ingress out without a ConfigMap that allows them.
    let is_left_out = crate::annotations::left_out(&FamilyValues::default(), &ingress, PREFIX).is_some();
    let table = table(ingress);
    let outcome = serve(&table, "/a/b?c=d");
    // A denied Ingress answers 503, or 403 for the whole host, unless it is a canary, which has no route of its own.
    if !is_left_out && settings.denied.is_some() && settings.canary.is_none() {
        assert!(
            matches!(outcome, Some(FilterOutcome::Respond(response)) if matches!(response.status.as_u16(), 403 | 503)),
            "{settings:?}"
        );
    }
}

/// A `traceparent` as the first line, and `tracestate` fields as the others.
///
/// # Panics
/// When what is passed on is not what a server would read from it.
pub fn trace_fields(data: &[u8]) {
    let mut fields = data.split(|byte| *byte == b'\n');
    let parent = ParentSpan::parse(fields.next().unwrap_or_default());
    let state = join_state(fields);
    assert_eq!(join_state([state.as_bytes()].into_iter()), state);
    let context =
        TraceContext::begin(parent.map(|parent| (parent, state)), Sampler::ratio(0.5, true), &mut || 7);
    let passed = ParentSpan::parse(context.traceparent().as_bytes()).expect("a valid field");
    assert_eq!(
        (passed.trace_id, passed.span_id, passed.is_sampled),
        (context.trace_id, context.span_id, context.is_sampled)
    );
    if let Some(parent) = parent {
        assert_eq!((passed.trace_id, passed.is_sampled), (parent.trace_id, parent.is_sampled));
    }
}

/// The file of a GeoIP database, in which addresses are looked up.
///
/// # Panics
/// When a look-up panics.
pub fn geo_database(data: &[u8]) {
    for edition in GeoEdition::all() {
        let Ok(database) = GeoDatabase::parse(edition, data.into()) else { return };
        let databases = GeoDatabases::new(vec![Arc::new(database)]);
        for variable in edition.variables().filter_map(GeoVariable::parse) {
            for address in ["192.0.2.7", "198.51.100.1", "2001:db8::1", "ffff::ffff"] {
                databases.value(variable, address.parse().expect("an address"));
            }
        }
    }
}

/// A password as the first line, and hashes as in htpasswd as the others.
///
/// # Panics
/// When a check panics, or when a plain password does not match itself.
pub fn htpasswd(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let password = lines.next().unwrap_or_default();
    for line in lines.filter_map(|line| std::str::from_utf8(line).ok()) {
        let Some(hash) = PasswordHash::parse(line) else { continue };
        if let Some(plain) = line.strip_prefix("{PLAIN}").filter(|plain| plain.len() <= 512) {
            assert!(hash.verify(plain.as_bytes()), "{hash:?}");
        }
        // The others that are accepted take up to five seconds.
        if hash.is_fast() || is_cheap(line) {
            hash.verify(password);
        }
    }
}

/// Whether the hash of a line has few rounds.
fn is_cheap(line: &str) -> bool {
    let after = |prefix: &str| line.strip_prefix(prefix)?.split('$').next()?.parse::<u32>().ok();
    let bcrypt = ["$2y$", "$2a$", "$2b$"].iter().find_map(|prefix| after(prefix));
    let sha_crypt = ["$5$rounds=", "$6$rounds="].iter().find_map(|prefix| after(prefix));
    let is_md5 = line.starts_with("$apr1$") || line.starts_with("$1$");
    is_md5 || bcrypt.is_some_and(|cost| cost <= 4) || sha_crypt.is_some_and(|rounds| rounds <= 1000)
}

/// Rules as lines (`=` before an exact path, `~` before a pattern, otherwise a prefix), and a request target as the last line.
///
/// # Panics
/// When a normalised path is not normal, when encoding and normalising it changes it, or when matching panics.
pub fn path_matching(data: &str) {
    let (rules, target) = data.rsplit_once('\n').unwrap_or(("", data));
    let path = target.split(['?', '#']).next().unwrap_or_default();
    if let Ok(normal) = normalise(path) {
        assert!(normal.starts_with('/') && !normal.contains("//"), "{path:?} became {normal:?}");
        assert!(
            !normal.split('/').any(|segment| segment == "." || segment == ".."),
            "{path:?} became {normal:?}"
        );
        assert_eq!(normalise(&encode(&normal)).as_ref(), Ok(&normal), "{path:?}");
    }
    let regex = rules.lines().any(|rule| rule.starts_with('~'));
    let rules: Vec<_> = rules
        .lines()
        .map(|rule| match rule.strip_prefix('=') {
            Some(path) => (path, PathType::Exact),
            None => (rule.strip_prefix('~').unwrap_or(rule), PathType::Prefix),
        })
        .collect();
    let annotations =
        regex.then(|| (format!("{PREFIX}/use-regex").into(), "true".into())).into_iter().collect();
    serve(&table(ingress(annotations, &rules)), target);
}

/// Lines of `name: value` as keys of the ConfigMap, and a request that is then served.
///
/// # Panics
/// When a problem of the ConfigMap has an effect of Ingresses, or when reading or serving panics.
pub fn config_map_values(data: &str) {
    let line = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.into(), value.replace('\t', "\r\n")))
    };
    let mut keys: Vec<_> = data.lines().filter_map(line).collect();
    keys.sort_unstable();
    keys.dedup_by(|(one, _), (other, _)| one == other);
    let table = configured(keys, ingress(Vec::new(), &[("/a", PathType::Prefix)]));
    for problem in table.problems(Duration::ZERO) {
        // A ConfigMap has no routes of its own.
        assert!(problem.kind != Kind::ConfigMap || problem.effect != Effect::Closed, "{problem}");
    }
    serve(&table, "/a/b?c=d");
}

/// Bytes as the certificate of a client, and of its authority.
///
/// # Panics
/// When a field for endpoints has a control character, or when reading or verifying panics.
pub fn client_certificate(data: &[u8]) {
    let now = Duration::from_secs(1_780_000_000);
    let names = ["raw_cert", "cert", "escaped_cert", "serial", "fingerprint", "v_start", "v_end", "v_remain"];
    for name in names {
        let variable = CertificateVariable::parse(&format!("ssl_client_{name}")).expect("a known name");
        variable.value(data, now);
    }
    let pem = CertificateVariable::Pem.value(data, now).unwrap_or_default();
    let secret = Secret {
        key: Key::new("default", "ca"),
        certificate: Box::default(),
        private_key: Box::default(),
        other: [("ca.crt".into(), pem.as_bytes().into())].into(),
    };
    let Ok(authority) = ClientAuthority::read(&Arc::new(secret)) else { return };
    let rules = ClientCertificateRules {
        authority,
        verify: VerifyClient::OptionalNoCa,
        depth: 1,
        error_page: None,
        passes_certificate: true,
        subject: Pattern::new("CN=(a|b)+$", false).ok(),
    };
    let certificate = rules.check(&[CertificateDer::from(data)], UnixTime::since_unix_epoch(now));
    for (name, value) in certificate.fields() {
        assert!(!value.contains(|c: char| c.is_ascii_control()), "{name}: {value:?}");
    }
    rules.refusal(&certificate);
}

/// A snippet, for a server and for a location, which then serves a request.
///
/// # Panics
/// When a position is not in the text, when a syntax error does not name what follows it, or when reading or serving panics.
pub fn snippet(data: &str) {
    let (own, nothing) = (data.trim(), KnownNames::default());
    for context in [Context::Main, Context::Http, Context::Server, Context::Location, Context::Auth] {
        let (_, findings) = compile(own, context, &nothing);
        for SnippetFinding { at, .. } in findings {
            let line = own.split('\n').nth(at.line as usize - 1).expect("a line of the text");
            assert!(at.column >= 1 && at.column as usize <= line.chars().count() + 1, "{at}: {line:?}");
        }
    }
    let annotations = ["configuration-snippet", "server-snippet"];
    let annotations = annotations.map(|name| (format!("{PREFIX}/{name}").into(), own.to_owned()));
    let allowed = [("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];
    let keys = allowed.map(|(name, value)| (name.into(), value.to_owned()));
    let table = configured(keys.into(), ingress(annotations.into(), &[("/a", PathType::Prefix)]));
    serve(&table, "/a/b%0ac?d=e");
}

fn serve(table: &RouteTable, target: &str) -> Option<FilterOutcome> {
    let mut request = Box::<ParsedRequest>::default();
    let text = format!("GET {target} HTTP/1.1\r\nhost: a.example\r\n\r\n");
    let is_whole = request.parse(&mut BytesMut::from(text.as_str()), &HeadLimits::default()).ok()?;
    let peer = SocketAddr::from(([192, 0, 2, 1], 1));
    let mut exchange = Exchange::new(is_whole.then_some(request)?, peer, RequestScheme::Http).ok()?;
    let mut found = table.find_for(&exchange);
    let outcome = found.rewrite(&mut exchange);
    if let Some(target) = &exchange.target {
        assert!(target.starts_with('/'), "{target:?}");
    }
    Some(outcome)
}

/// The routes of an Ingress with these keys of the ConfigMap.
fn configured(data: Vec<(cluster::CompactString, String)>, ingress: Ingress) -> Arc<RouteTable> {
    let key = Key::new("default", "controller");
    let config_map = ConfigMap { key: key.clone(), data };
    let mut cache = Cache::default();
    let objects = [Object::ConfigMap(Arc::new(config_map)), Object::Ingress(Arc::new(ingress))];
    cache.apply(objects.map(Event::Apply), 1);
    cache.apply(Kind::ALL.map(Event::Synced), 1);
    let options =
        RouteOptions { watch_ingress_without_class: true, config_map: Some(key), ..RouteOptions::default() };
    cache.project(RouteIndex::new(options)).load_full()
}

fn table(ingress: Ingress) -> RouteTable {
    let mut cache = Cache::default();
    cache.apply([Event::Apply(Object::Ingress(Arc::new(ingress)))], 1);
    let options = RouteOptions { watch_ingress_without_class: true, ..RouteOptions::default() };
    let table = cache.project(RouteIndex::new(options)).load_full();
    RouteTable::clone(&table)
}

fn ingress(annotations: Vec<(cluster::CompactString, String)>, rules: &[(&str, PathType)]) -> Ingress {
    let backend = Backend::Service(ServiceBackend { name: "web".into(), port: PortRef::Number(80) });
    let path = |(path, kind): &(&str, PathType)| IngressPath {
        path: (*path).into(),
        kind: *kind,
        backend: backend.clone(),
    };
    Ingress {
        key: Key::new("default", "fuzz"),
        created: 0,
        annotations,
        class: None,
        default_backend: None,
        rules: vec![IngressRule { host: "a.example".into(), paths: rules.iter().map(path).collect() }],
        tls: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, proptest};

    use super::*;
    use crate::annotations::FAMILIES;

    #[test]
    fn the_kept_inputs_pass() {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        /// The name of a target, and what it does with an input.
        type Target<'t> = (&'t str, &'t dyn Fn(&[u8]));
        let targets: [Target<'_>; 7] = [
            ("annotation_values", &|bytes| annotation_values(&text(bytes))),
            ("config_map_values", &|bytes| config_map_values(&text(bytes))),
            ("path_matching", &|bytes| path_matching(&text(bytes))),
            ("client_certificate", &client_certificate),
            ("request_fields", &request_fields),
            ("htpasswd", &htpasswd),
            ("geo_database", &geo_database),
        ];
        for (target, entry) in targets {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
            let files = std::fs::read_dir(format!("{folder}/{target}")).expect("a kept corpus");
            for file in files {
                entry(&std::fs::read(file.expect("a file").path()).expect("bytes"));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn any_paths_are_matched(data in "([=~]?/[a/.%*+()\\[?2eF\u{e9}]{0,8}\n){0,4}/[a/.%?#2eEfFx\u{e9}]{0,16}") {
            path_matching(&data);
        }

        #[test]
        fn any_values_are_read(at in 0..64_usize, value in "[a-z$/:?\t;0-9%=(\\[ -]{0,16}") {
            let names: Vec<_> = FAMILIES.iter().flat_map(|family| family.annotations).map(|known| known.name).collect();
            annotation_values(&format!("{}: {value}\ncanary-by-header: x\naffinity: cookie", names[at % names.len()]));
        }
    }
}
