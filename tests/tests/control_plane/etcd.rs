//! The plugin `etcd` on a real etcd.
//!
//! CoreDNS 1.15.0 passes the first case (as `PORTOLAN_BINARY`, behind a script that drops the argument `dns`).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;
use tests::credentials::CertificateAuthority;
use tests::dns::Transport;
use tests::process::Process;
use tests::stage::{SOON, Stage};
use tests::wait;

/// A Corefile with the zone of the cluster and these lines.
fn corefile(stage: &Stage, lines: &str) -> String {
    stage.corefile("").replace("    errors", &format!("    errors\n{lines}"))
}

pub(crate) fn records_of_skydns_are_answered_and_followed(stage: &mut Stage) {
    let key = |name: &str| {
        let mut labels: Vec<&str> = name.split('.').collect();
        labels.reverse();
        format!("/skydns/{}", labels.join("/"))
    };
    let records = [
        ("a.web.prod.skydns.test", r#"{"host":"192.0.2.1","port":8080}"#),
        ("b.web.prod.skydns.test", r#"{"host":"192.0.2.2","port":8080,"priority":20}"#),
        ("six.web.prod.skydns.test", r#"{"host":"2001:db8::1","port":8080}"#),
        ("web.dev.skydns.test", r#"{"host":"192.0.2.9"}"#),
        ("alias.skydns.test", r#"{"host":"a.web.prod.skydns.test"}"#),
        ("cluster.skydns.test", r#"{"host":"kubernetes.default.svc.cluster.local"}"#),
        ("loop1.skydns.test", r#"{"host":"loop2.skydns.test"}"#),
        ("loop2.skydns.test", r#"{"host":"loop1.skydns.test"}"#),
        ("txt.skydns.test", r#"{"text":"some text"}"#),
        ("mx.skydns.test", r#"{"host":"192.0.2.25","mail":true,"priority":5}"#),
        ("a.ns.dns.skydns.test", r#"{"host":"192.0.2.53"}"#),
        ("a.apex.dns.skydns.test", r#"{"host":"192.0.2.80"}"#),
        ("x1.group.skydns.test", r#"{"host":"192.0.2.41","group":"g1"}"#),
        ("x2.y.group.skydns.test", r#"{"host":"192.0.2.42","group":"g2"}"#),
        ("10.2.0.192.in-addr.arpa", r#"{"host":"reverse.example.org"}"#),
    ];
    for (name, document) in records {
        stage.plane.put_in_etcd(&key(name), Some(document), None);
    }
    let lease = stage.plane.lease_in_etcd(600);
    stage.plane.put_in_etcd(&key("leased.skydns.test"), Some(r#"{"host":"192.0.2.60"}"#), Some(lease));
    let block = "skydns.test 192.0.2.0/24 {\n    errors\n    etcd {\n        endpoint http://127.0.0.1:2379\n    }\n}\n";
    let portolan = stage.dns(&format!("{}{block}", stage.corefile("")));
    let server = stage.resolver();
    server.expect(
        SOON,
        "
a.web.prod.skydns.test       A     = 192.0.2.1
web.prod.skydns.test         A     = 192.0.2.1, 192.0.2.2
WEB.prod.SkyDNS.test         AAAA  = 2001:db8::1
web.prod.skydns.test         SRV   = 10 50 8080 a.web.prod.skydns.test., 20 100 8080 b.web.prod.skydns.test., 10 50 8080 six.web.prod.skydns.test.
web.*.skydns.test            A     = 192.0.2.1, 192.0.2.2, 192.0.2.9
any.dev.skydns.test          A     = 192.0.2.9
alias.skydns.test            A     = CNAME a.web.prod.skydns.test., 192.0.2.1
alias.skydns.test            CNAME = a.web.prod.skydns.test.
alias.skydns.test            AAAA  = NODATA
cluster.skydns.test          A     = CNAME kubernetes.default.svc.cluster.local., 10.96.0.1
loop1.skydns.test            A     = NODATA
txt.skydns.test              TXT   = some text
txt.skydns.test              A     = NODATA
mx.skydns.test               MX    = 5 mx.skydns.test.
skydns.test                  NS    = a.ns.dns.skydns.test.
skydns.test                  A     = 192.0.2.80
skydns.test                  AAAA  = NODATA
group.skydns.test            A     = 192.0.2.41
leased.skydns.test           A     = 192.0.2.60
10.2.0.192.in-addr.arpa      PTR   = reverse.example.org.
11.2.0.192.in-addr.arpa      PTR   = NXDOMAIN
none.skydns.test             A     = NXDOMAIN
web.prod.skydns.test         HINFO = NODATA
none.prod.skydns.test        SRV   = NXDOMAIN
",
    );
    let leased = server.query(Transport::Udp, "leased.skydns.test", RecordType::A).expect("a reply");
    let ttl = leased.answers.first().expect("a record").ttl;
    assert!((30..=600).contains(&ttl), "the rest of the lease, not {ttl}");
    let soa = server.query(Transport::Udp, "skydns.test", RecordType::SOA).expect("a reply");
    let soa = soa.answers.first().expect("a record").to_string();
    assert!(
        soa.contains("30 IN SOA ns.dns.skydns.test. hostmaster.skydns.test.")
            && soa.ends_with("7200 1800 86400 30"),
        "{soa}"
    );
    // A change is visible with the next query.
    stage.plane.put_in_etcd(&key("alias.skydns.test"), Some(r#"{"host":"192.0.2.77"}"#), None);
    stage.plane.put_in_etcd(&key("web.dev.skydns.test"), None, None);
    server
        .matches("alias.skydns.test A = 192.0.2.77\nweb.dev.skydns.test A = NXDOMAIN")
        .expect("new answers");
    assert!(portolan.stop().success(), "SIGTERM is a good end");
    for (name, _) in records {
        stage.plane.put_in_etcd(&key(name), None, None);
    }
    stage.plane.put_in_etcd(&key("leased.skydns.test"), None, None);
}

/// A member of its own with TLS, client certificates and users.
struct SecuredEtcd<'s> {
    stage: &'s Stage,
    process: Process,
}

/// Its port; the network namespace belongs to the tests.
const SECURED: &str = "127.0.0.1:2479";

impl<'s> SecuredEtcd<'s> {
    fn start(stage: &'s Stage, folder: &Path) -> Self {
        let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let url = format!("https://{SECURED}");
        let mut command = Command::new(stage.plane.binary());
        command
            .args([
                "etcd",
                "--unsafe-no-fsync",
                "--log-level",
                "warn",
                "--listen-peer-urls",
                "http://127.0.0.1:2480",
            ])
            .args(["--initial-advertise-peer-urls", "http://127.0.0.1:2480"])
            .args(["--initial-cluster", "default=http://127.0.0.1:2480"])
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--cert-file", &file("server.crt"), "--key-file", &file("server.key")])
            // The gateway is a client of its own server.
            .args(["--client-cert-file", &file("client.crt"), "--client-key-file", &file("client.key")])
            .args(["--trusted-ca-file", &file("ca.crt"), "--data-dir", &file("data")]);
        Self { stage, process: Process::start("etcd-secured", command, folder) }
    }

    /// Runs `curl` with a body and returns the response.
    fn call(&self, folder: &Path, path: &str, token: &str, body: &str) -> Result<String, String> {
        let file = |name: &str| folder.join(name);
        let header = format!("Authorization: {token}");
        let url = format!("https://{SECURED}{path}");
        let output = Command::new("curl")
            .args(["-sS", "--fail-with-body", "--cacert"])
            .arg(file("ca.crt"))
            .arg("--cert")
            .arg(file("client.crt"))
            .arg("--key")
            .arg(file("client.key"))
            .args(["-H", &header, "-d", body, &url])
            .output()
            .expect("curl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(text) } else { Err(format!("{path}: {error} {text}")) }
    }
}

pub(crate) fn a_member_with_tls_and_users_is_asked_and_may_be_away(stage: &mut Stage) {
    let folder = stage.folder().join("secured-etcd");
    fs::create_dir_all(&folder).expect("the scratch folder is writable");
    let authority = CertificateAuthority::new("etcd");
    let server = authority.issue(&["localhost", "127.0.0.1"]);
    let client = authority.issue_client_certificate("portolan");
    for (name, text) in [
        ("ca.crt", authority.pem()),
        ("server.crt", server.certificate),
        ("server.key", server.key),
        ("client.crt", client.certificate),
        ("client.key", client.key),
    ] {
        fs::write(folder.join(name), text).expect("the scratch folder is writable");
    }
    let stage = &*stage;
    let etcd = SecuredEtcd::start(stage, &folder);
    wait::until("etcd to be ready", Duration::from_secs(60), || {
        etcd.call(&folder, "/v3/maintenance/status", "", "{}").map(drop)
    });
    // base64 of /skydns/test/secured/web and of its document.
    let pair = r#"{"key":"L3NreWRucy90ZXN0L3NlY3VyZWQvd2Vi","value":"eyJob3N0IjoiMTkyLjAuMi45MSJ9"}"#;
    for (path, body) in [
        ("/v3/kv/put", pair),
        ("/v3/auth/user/add", r#"{"name":"root","password":"first"}"#),
        ("/v3/auth/role/add", r#"{"name":"root"}"#),
        ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("/v3/auth/user/add", r#"{"name":"dns","password":"secret"}"#),
        ("/v3/auth/role/add", r#"{"name":"reader"}"#),
        // All keys.
        (
            "/v3/auth/role/grant",
            r#"{"name":"reader","perm":{"permType":"READ","key":"AA==","range_end":"AA=="}}"#,
        ),
        ("/v3/auth/user/grant", r#"{"user":"dns","role":"reader"}"#),
        ("/v3/auth/enable", "{}"),
    ] {
        etcd.call(&folder, path, "", body).expect("etcd accepts it");
    }
    let options = |user: &str| {
        format!(
            "    etcd secured.test {{\n        endpoint https://localhost:2479\n        tls {0}/client.crt {0}/client.key {0}/ca.crt\n        {user}\n    }}\n    prometheus :9153",
            folder.display()
        )
    };
    let name = "web.secured.test A";
    let cluster = "kubernetes.default.svc.cluster.local A = 10.96.0.1";
    for (user, answer) in
        [("", "SERVFAIL"), ("credentials dns wrong", "SERVFAIL"), ("credentials dns secret", "192.0.2.91")]
    {
        let dns = etcd.stage.dns(&corefile(etcd.stage, &options(user)));
        stage.resolver().expect(SOON, &format!("{name} = {answer}\n{cluster}"));
        drop(dns);
    }
    // A member that is silent, and then gone, costs the other zones nothing.
    let dns = stage.dns(&corefile(stage, &options("credentials dns secret")));
    stage.resolver().expect(SOON, &format!("{name} = 192.0.2.91"));
    etcd.process.signal(Signal::SIGSTOP);
    std::thread::scope(|scope| {
        let silent =
            scope.spawn(|| stage.resolver().query(Transport::Udp, "web.secured.test", RecordType::A));
        for _ in 0..50 {
            stage.resolver().matches(cluster).expect("the zone of the cluster is answered");
        }
        assert!(!silent.is_finished(), "the silent member is still waited for");
    });
    etcd.process.signal(Signal::SIGCONT);
    stage.resolver().expect(SOON, &format!("{name} = 192.0.2.91"));
    etcd.process.kill();
    stage.resolver().expect(SOON, &format!("{name} = SERVFAIL\n{cluster}"));
    assert!(dns.dns_metrics().contains("portolan_etcd_requests_total{result=\"failed\"}"));
}
