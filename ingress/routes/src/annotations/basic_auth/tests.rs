//! Basic authentication of requests, and what a change of the Secret or the ConfigMap does.

use std::sync::Arc;

use cluster::{Key, Kind, Object, Secret};

use crate::exchange::tests::get;
use crate::plan::access::{AccessCheck, AccessStep, Services};
use crate::plan::password_check::RememberedPassword;
use crate::testing::{FixedServices, TestCluster, edited_request};

const INGRESSES: &str = "
metadata: {name: file, annotations: {auth-type: basic, auth-secret: users, auth-realm: 'a \"b\"'}}
spec: {rules: [{host: file.example, paths: [[/, Prefix, web], [/.well-known/acme-challenge, Prefix, acme], [/open, Prefix, open]]}]}
---
metadata: {name: map, annotations: {auth-type: basic, auth-secret: default/map, auth-secret-type: auth-map}}
spec: {rules: [{host: map.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: far, annotations: {auth-type: basic, auth-secret: other/users}}
spec: {rules: [{host: far.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: open}
spec: {rules: [{host: file.example, paths: [[/free, Prefix, free]]}]}
";

const BCRYPT: &str = "$2b$05$abcdefghijklmnopqrstuuUq7qXkDOZJ5Q8HA9wCOH0FErWp6q0b6";

fn secret(key: Key, entries: &[(&str, &str)]) -> Object {
    let mut other: Vec<_> =
        entries.iter().map(|(name, value)| ((*name).into(), value.as_bytes().into())).collect();
    other.sort_unstable();
    let (certificate, private_key) = <(Box<[u8]>, Box<[u8]>)>::default();
    Object::Secret(Arc::new(Secret { key, certificate, private_key, other: other.into() }))
}

fn users(text: &str) -> Object {
    secret(Key::new("default", "users"), &[("auth", text)])
}

/// The outcome of a request with these credentials, in base64; passwords are verified as the proxy would.
fn ask(cluster: &TestCluster, url: &str, credentials: &str) -> String {
    let header = format!("Basic {credentials}");
    let headers = [("authorization", header.as_str())];
    let mut exchange = get(url, if credentials.is_empty() { &[] } else { &headers });
    let table = cluster.table.load();
    let route = table.find(exchange.host(), exchange.path()).route().clone();
    let access = &route.plan.access;
    let mut check = AccessCheck::default();
    if let AccessStep::Verify(password) = check.run(access, &mut exchange, &FixedServices) {
        let is_valid = password.verify();
        match check.verified(access, &mut exchange, &FixedServices, is_valid) {
            AccessStep::Pass => return format!("{} after verifying", route.service.as_ref().unwrap().0),
            AccessStep::Respond(response) => return format!("{} after verifying", response.status.as_u16()),
            step => panic!("{step:?}"),
        }
    }
    cluster.ask(url, if credentials.is_empty() { &[] } else { &headers }, 0)
}

const FOO_BAR: &str = "Zm9vOmJhcg==";
const FOO_BAZ: &str = "Zm9vOmJheg==";
const BAR_BAR: &str = "YmFyOmJhcg==";

#[test]
fn users_of_a_file_are_let_in_with_their_password() {
    let mut cluster = TestCluster::configured(INGRESSES);
    assert_eq!(ask(&cluster, "file.example/", FOO_BAR), "503", "the Secret is missing");
    let missing =
        "nginx.ingress.kubernetes.io/auth-secret: Secret default/users does not exist; the routes answer 503";
    assert!(cluster.problems().iter().any(|problem| problem.ends_with(missing)), "{:?}", cluster.problems());
    cluster.apply([users(&format!(
        "# users\n\nfoo:{BCRYPT}:comment\r\nbar:{{SHA}}Ys23Ag/5IOWqZCw9QGaVDdHwH00=\nfoo:{{PLAIN}}baz\n"
    ))]);
    for (credentials, outcome) in [
        ("", "401"),
        (FOO_BAR, "web after verifying"),
        (FOO_BAZ, "401 after verifying"),
        (BAR_BAR, "web"),
        ("YmFyOmJheg==", "401"),
        ("bm9ib2R5OmJhcg==", "401"),
    ] {
        assert_eq!(ask(&cluster, "file.example/", credentials), outcome, "{credentials}");
    }
    assert_eq!(ask(&cluster, "file.example/.well-known/acme-challenge/x", ""), "acme");
    assert_eq!(ask(&cluster, "file.example/free", ""), "free");
    cluster.configure(&[("no-auth-locations", "/open")]);
    assert_eq!(ask(&cluster, "file.example/open/x", ""), "open");
    assert_eq!(ask(&cluster, "file.example/.well-known/acme-challenge/x", ""), "401");
    for empty in ["", " ", ","] {
        cluster.configure(&[("no-auth-locations", empty)]);
        for path in ["open/x", ".well-known/acme-challenge/x"] {
            assert_eq!(ask(&cluster, &format!("file.example/{path}"), ""), "401", "{path}: {empty:?}");
        }
    }
}

#[test]
fn a_changed_secret_changes_the_routes() {
    let mut cluster = TestCluster::configured(INGRESSES);
    for (text, outcome) in [
        ("bar:{PLAIN}bar", "web"),
        ("bar:{PLAIN}other", "401"),
        ("other:{PLAIN}bar", "401"),
        ("bar:{PLAIN}bar", "web"),
        ("", "401"),
    ] {
        cluster.apply([users(text)]);
        assert_eq!(ask(&cluster, "file.example/", BAR_BAR), outcome, "{text}");
    }
    cluster.apply([secret(Key::new("default", "users"), &[("other", "bar:{PLAIN}bar")])]);
    assert_eq!(ask(&cluster, "file.example/", BAR_BAR), "503");
    cluster.remove(Kind::Secret, Key::new("default", "users"));
    assert_eq!(ask(&cluster, "file.example/", BAR_BAR), "503");
}

#[test]
fn entries_of_a_map_are_users() {
    let mut cluster = TestCluster::configured(INGRESSES);
    cluster.apply([secret(
        Key::new("default", "map"),
        &[("foo", BCRYPT), ("bar", "{PLAIN}bar\n"), ("old", "crypt")],
    )]);
    assert_eq!(ask(&cluster, "map.example/", FOO_BAR), "web after verifying");
    assert_eq!(ask(&cluster, "map.example/", BAR_BAR), "web");
    assert_eq!(ask(&cluster, "map.example/", "b2xkOmNyeXB0"), "401");
    let left_out = "the password hash of user \"old\" in Secret default/map is not supported; it is left out";
    assert!(cluster.problems().iter().any(|problem| problem.ends_with(left_out)), "{:?}", cluster.problems());
}

#[test]
fn a_secret_of_another_namespace_needs_the_key() {
    let mut cluster = TestCluster::configured(INGRESSES);
    let about = |cluster: &TestCluster| {
        cluster.problems().into_iter().find(|problem| problem.contains("default/far")).unwrap_or_default()
    };
    assert!(about(&cluster).contains("Secret other/users is in another namespace"), "{}", about(&cluster));
    cluster.apply([secret(Key::new("other", "users"), &[("auth", "bar:{PLAIN}bar")])]);
    assert_eq!(ask(&cluster, "far.example/", BAR_BAR), "503");
    cluster.configure(&[("allow-cross-namespace-resources", "true")]);
    assert_eq!((ask(&cluster, "far.example/", BAR_BAR), about(&cluster)), ("web".into(), String::new()));
    cluster.remove(Kind::Secret, Key::new("other", "users"));
    assert_eq!(ask(&cluster, "far.example/", BAR_BAR), "503");
    assert!(about(&cluster).contains("Secret other/users does not exist"), "{}", about(&cluster));
}

#[test]
fn the_challenge_has_the_realm_and_the_endpoint_gets_no_password() {
    let mut cluster = TestCluster::configured(INGRESSES);
    cluster.apply([users("bar:{PLAIN}bar")]);
    let challenge = |url: &str| {
        let mut exchange = get(url, &[]);
        let table = cluster.table.load();
        let plan = &table.find(exchange.host(), exchange.path()).route().plan;
        match AccessCheck::default().run(&plan.access, &mut exchange, &FixedServices) {
            AccessStep::Respond(response) => response.fields[0].1.to_str().unwrap().to_owned(),
            step => panic!("{step:?}"),
        }
    };
    assert_eq!(challenge("file.example/"), "Basic realm=\"a \\\"b\\\"\"");
    let table = cluster.table.load();
    let plan = &table.find("file.example", "/").route().plan;
    let exchange = get("file.example/", &[]);
    let mut edits = crate::plan::head_edits::HeadEdits::default();
    plan.edit_request_head(&exchange, &mut edits);
    assert!(edits.replace("authorization"));
    assert_eq!(edited_request(&cluster, &mut get("file.example/", &[])), Vec::<String>::new());
}

/// Services whose digest of a password is its last byte.
struct RememberingServices;

fn digest(password: &[u8]) -> [u8; 32] {
    [*password.last().unwrap(); 32]
}

impl Services for RememberingServices {
    fn now(&self) -> std::time::Duration {
        FixedServices.now()
    }

    fn request_id(&self) -> &[u8] {
        b""
    }

    fn remembers(&self, remembered: &RememberedPassword, password: &[u8]) -> bool {
        remembered.is(|| digest(password))
    }
}

#[test]
fn a_remembered_password_needs_no_check_until_the_secret_changes() {
    let mut cluster = TestCluster::configured(INGRESSES);
    let run = |cluster: &TestCluster, credentials: &str| {
        let header = format!("Basic {credentials}");
        let mut exchange = get("file.example/", &[("authorization", &header)]);
        let table = cluster.table.load();
        let access = &table.find(exchange.host(), exchange.path()).route().plan.access;
        AccessCheck::default().run(access, &mut exchange, &RememberingServices)
    };
    cluster.apply([users(&format!("foo:{BCRYPT}\n"))]);
    let AccessStep::Verify(check) = run(&cluster, FOO_BAR) else { panic!("nothing is remembered yet") };
    check.remembered().set(digest(check.password()));
    assert_eq!(run(&cluster, FOO_BAR), AccessStep::Pass);
    assert!(matches!(run(&cluster, FOO_BAZ), AccessStep::Verify(_)), "another password");
    cluster.apply([users("foo:$apr1$ab$eIePjsejfBGR8ITtu2z0U1\n")]);
    assert!(matches!(run(&cluster, FOO_BAR), AccessStep::Verify(_)), "another hash");
}
