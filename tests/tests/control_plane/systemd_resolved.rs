//! systemd-resolved itself as the client: programs ask its stub on 127.0.0.53, and it forwards to the DNS server of the cluster.

use std::fs;
use std::path::Path;
use std::process::Command;

use hickory_proto::rr::RecordType;
use tests::dns::{DnsClient, Transport};
use tests::namespace::ResolvConf;
use tests::process::Process;
use tests::programs;
use tests::stage::{DNS, SOON, Stage};
use tests::upstream::{UPSTREAM, Upstream};
use tests::wait;

use crate::manifests::namespace;
use crate::resolvers::getent;

const STUB: &str = "127.0.0.53";

/// Where systemd-resolved reads settings, in the test's own /run.
const SETTINGS: &str = "/run/systemd/resolved.conf.d";

/// The user that systemd-resolved changes to is root, the only user in a user namespace. The folder and the program are arguments.
const START: &str = r#"
set -e
(echo 'systemd-resolve:x:0:0::/:/bin/false'; cat /etc/passwd) >"$0/passwd"
mount --bind "$0/passwd" /etc/passwd
exec "$1"
"#;

/// Starts systemd-resolved for the DNS server at [`DNS`]. It needs an interface that is not the loopback one: [`Upstream`] has one.
fn start(folder: &Path) -> Process {
    let program = programs::systemd_resolved().unwrap_or_else(|problem| panic!("{problem}"));
    // Names in `local` are forwarded only where a domain says so (RFC 6762).
    let settings = format!(
        "[Resolve]\nDNS=\nDNS={DNS}\nFallbackDNS=\nDomains=\nDomains=~cluster.local\nDNSSEC=no\nLLMNR=no\nMulticastDNS=no\n"
    );
    let written = fs::create_dir_all(SETTINGS)
        .and_then(|()| fs::write(Path::new(SETTINGS).join("portolan.conf"), settings));
    written.expect("/run is the test's own");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", START]).arg(folder).arg(&program);
    command.env("LD_LIBRARY_PATH", program.parent().unwrap_or(Path::new("/")));
    command.env("SYSTEMD_LOG_LEVEL", "debug").env("SYSTEMD_LOG_TARGET", "console");
    let mut process = Process::start("systemd-resolved", command, folder);
    let stub = DnsClient((STUB.parse::<std::net::Ipv4Addr>().expect("an address"), 53).into());
    wait::until("systemd-resolved", SOON, || match process.exit_status() {
        Some(status) => panic!("systemd-resolved has exited: {status}: {}", process.log()),
        // It answers this name itself.
        None => stub.query(Transport::Udp, "localhost", RecordType::A).map_err(|error| error.to_string()),
    });
    process
}

pub(crate) fn systemd_resolved_forwards_names_of_the_cluster_and_others(stage: &mut Stage) {
    let api = &stage.plane.api;
    api.apply(&namespace("resolved"));
    let endpoints: Vec<String> =
        (1..=100).map(|last| format!("{{ addresses: [10.244.92.{last}] }}")).collect();
    api.apply(&format!(
        "
apiVersion: v1
kind: Service
metadata: {{ name: web, namespace: resolved }}
spec:
  ipFamilyPolicy: RequireDualStack
  clusterIP: 10.96.0.85
  clusterIPs: [10.96.0.85, 'fd00:10:96::85']
  ports: [{{ name: http, port: 80 }}]
---
apiVersion: v1
kind: Service
metadata: {{ name: out, namespace: resolved }}
spec: {{ type: ExternalName, externalName: www.example.test }}
---
# More addresses than fit into the longest reply over UDP.
apiVersion: v1
kind: Service
metadata: {{ name: many, namespace: resolved }}
spec: {{ clusterIP: None, ports: [{{ name: http, port: 80 }}] }}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: many, namespace: resolved, labels: {{ kubernetes.io/service-name: many }} }}
addressType: IPv4
ports: [{{ name: http, port: 80 }}]
endpoints: [{}]
",
        endpoints.join(", ")
    ));
    let _upstream = Upstream::start(&[("www.example.test.", [192, 0, 2, 9])]);
    // The stub has port 53 of its own address.
    let more = format!("    errors\n    bind {DNS}\n    cache\n    forward . {UPSTREAM}");
    let corefile = stage.corefile("").replace("    errors", &more);
    let dns = stage.dns(&corefile);
    stage.resolver().expect(SOON, "web.resolved.svc.cluster.local A = 10.96.0.85");
    let resolved = start(stage.folder());

    // glibc asks the stub.
    let search = "search resolved.svc.cluster.local svc.cluster.local cluster.local";
    let _settings =
        ResolvConf::mount(&format!("{search}\nnameserver {STUB}\noptions ndots:5 edns0\n"), stage.folder());
    let expect = || {
        for (database, key, wanted) in [
            ("hosts", "10.96.0.85", "10.96.0.85 web.resolved.svc.cluster.local"),
            (
                "ahostsv4",
                "web",
                "10.96.0.85 DGRAM, 10.96.0.85 RAW, 10.96.0.85 STREAM web.resolved.svc.cluster.local",
            ),
            (
                "ahostsv6",
                "web.resolved",
                "fd00:10:96::85 DGRAM, fd00:10:96::85 RAW, fd00:10:96::85 STREAM web.resolved.svc.cluster.local",
            ),
            ("ahostsv4", "out", "192.0.2.9 DGRAM, 192.0.2.9 RAW, 192.0.2.9 STREAM www.example.test"),
            ("hosts", "www.example.test", "192.0.2.9 www.example.test"),
            ("hosts", "none.resolved", ""),
            ("hosts", "none.example.test", ""),
        ] {
            let found = getent(database, key);
            if found != wanted {
                return Err(format!("getent {database} {key}: {found:?}"));
            }
        }
        let many = getent("ahostsv4", "many");
        match many.matches(" STREAM").count() {
            100 => Ok(()),
            count => Err(format!("{count} addresses: {many}")),
        }
    };
    expect().unwrap_or_else(|problem| panic!("{problem}"));
    let log = resolved.log();
    assert!(
        log.contains(&format!("Verified we get a response at feature level UDP+EDNS0 from DNS server {DNS}")),
        "{log}"
    );
    assert!(!log.contains("Using degraded feature set"), "{log}");
    // What a client does with its connections is not worth a line.
    let log = dns.log();
    let odd: Vec<&str> = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    assert_eq!(odd, Vec::<&str>::new());

    // It keeps to the server while that is restarted.
    assert!(dns.stop().success());
    let _dns = stage.dns(&corefile);
    wait::until("answers after the restart", SOON, expect);
    assert!(!resolved.log().contains("Using degraded feature set"), "{}", resolved.log());
}
