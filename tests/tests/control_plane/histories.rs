//! The law of projections end to end: after any history of changes and broken connections, running services give the
//! same answers as newly started ones.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::rr::RecordType;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tests::api::ApiClient;
use tests::backend::Backend;
use tests::dns::{DnsClient, Transport};
use tests::relay::Relay;
use tests::stage::{SOON, Stage};
use tests::wait;
use tests::web::{EDGE, EdgeClient};

use crate::manifests::{self, CLASS, annotated, ingress};

const ROUNDS: usize = 3;

const CHANGES: usize = 60;

/// How many Services, slices, Ingresses and addresses there are to change.
const MANY: usize = 6;

/// Requests for each URL: enough to reach every endpoint.
const TURNS: usize = 8;

pub(crate) fn after_a_history_of_changes_answers_equal_those_of_a_new_start(stage: &mut Stage) {
    let seed = std::env::var("PORTOLAN_SEED").ok().and_then(|seed| seed.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let seed = seed.unwrap_or_else(now);
    // Prints the seed, to repeat the same history after a failure.
    println!("    PORTOLAN_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);

    stage.plane.api.apply(&(manifests::namespace("histories") + CLASS));
    let _pods: Vec<Backend> = (0..MANY)
        .map(|number| Backend::start(&address(number), &format!("{}:8080", address(number))))
        .collect();
    let relay = Relay::start(stage.plane.server.address());
    let _dns = stage.dns(&stage.corefile_at(relay.port(), "pods insecure"));
    let kubeconfig = stage.plane.kubeconfig("portolan", relay.port());
    let mut old = stage.ingress_unready(&["--kubeconfig", &kubeconfig.to_string_lossy()]);
    old.wait_for_page(10254, "/healthz");

    for round in 0..ROUNDS {
        for _ in 0..CHANGES {
            change(&stage.plane.api, &mut random, &relay);
        }
        if round == ROUNDS / 2 {
            // A restarted API server does not know older resource versions: everything is listed again.
            relay.cut();
            (0..CHANGES).for_each(|_| change(&stage.plane.api, &mut random, &relay));
            stage.plane.server.kill();
            stage.plane.server.start(&[]);
        }
        relay.restore();
        compare(stage, round);
    }
}

/// Starts new instances of both services and waits until the old ones give the same answers.
fn compare(stage: &Stage, round: usize) {
    let corefile = stage.corefile("pods insecure").replace(".:53", ".:54").replace("ready", "ready :8182");
    let mut dns = stage.dns_unready(&corefile);
    let kubeconfig = stage.plane.kubeconfig("portolan", stage.plane.server.address().port());
    let ports = ["--http-port", "81", "--https-port", "444", "--healthz-port", "10255"];
    let more = ["--post-shutdown-grace-period", "0", "--kubeconfig", &*kubeconfig.to_string_lossy()];
    let mut ingress = stage.run(&["ingress"], &[&ports[..], &more[..]].concat());
    dns.wait_for_page(8182, "/ready");
    ingress.wait_for_page(10255, "/healthz");

    let (old, mut new) = (stage.resolver(), stage.resolver());
    new.0.set_port(54);
    wait::until(&format!("the same answers in round {round}"), SOON, || same(&names(&old), &names(&new)));
    let fresh = EdgeClient { http: 81, https: 444 };
    wait::until(&format!("the same responses in round {round}"), SOON, || same(&urls(&EDGE), &urls(&fresh)));
}

fn same(old: &str, new: &str) -> Result<(), String> {
    let pairs = old.lines().zip(new.lines()).filter(|(old, new)| old != new);
    let differences: Vec<String> = pairs.map(|(old, new)| format!("old {old}\n  new {new}")).collect();
    if differences.is_empty() { Ok(()) } else { Err(format!("\n  {}", differences.join("\n  "))) }
}

/// All DNS queries about this cluster, with their answers.
fn names(server: &DnsClient) -> String {
    let mut text = String::new();
    let mut ask = |name: &str, kind| {
        let said = server.summary(Transport::Udp, name, kind);
        writeln!(text, "{name} {kind} = {said}").expect("a String takes everything");
    };
    for number in 0..MANY {
        let service = format!("s{number}.histories.svc.cluster.local");
        for kind in [RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::CNAME] {
            ask(&service, kind);
        }
        ask(&format!("_http._tcp.{service}"), RecordType::SRV);
        for other in 0..MANY {
            ask(&format!("h{other}.{service}"), RecordType::A);
            ask(&format!("{}.{service}", address(other).replace('.', "-")), RecordType::A);
        }
        ask(&format!("{}.6.244.10.in-addr.arpa", number + 1), RecordType::PTR);
    }
    text
}

/// For each URL, all statuses and backends over several requests.
fn urls(edge: &EdgeClient) -> String {
    let mut text = String::new();
    for host in 0..MANY {
        for path in ["", "a", "a/b", "c"] {
            let url = format!("http://h{host}.histories.test/{path}");
            let results: BTreeSet<String> = (0..TURNS)
                .map(|_| match edge.get(&url, &[]) {
                    Ok(response) => format!("{} {:?}", response.status, response.header("x-backend")),
                    Err(problem) => problem,
                })
                .collect();
            writeln!(text, "{url} = {results:?}").expect("a String takes everything");
        }
    }
    text
}

/// One step of a history.
fn change(api: &ApiClient, random: &mut StdRng, relay: &Relay) {
    let mut pick = || random.random_range(0..MANY);
    let (this, other, third, address) = (pick(), pick(), pick(), address(pick()));
    let delete = |kind: &str, name: String| {
        if api.read(kind, "histories", &name).is_some() {
            api.delete(kind, "histories", &name);
        }
    };
    match random.random_range(0..12) {
        0..=2 => {
            // The type of a Service cannot always be changed in place.
            delete("Service", format!("s{this}"));
            let port = 80 + other;
            let spec = match third {
                0 => format!("clusterIP: None, ports: [{{name: http, port: {port}}}]"),
                1 => "clusterIP: None".to_owned(),
                2 => format!("type: ExternalName, externalName: s{other}.histories.svc.cluster.local"),
                3 => "ipFamilyPolicy: RequireDualStack, ports: [{name: http, port: 80}]".to_owned(),
                _ => format!("ports: [{{name: http, port: {port}}}, {{name: more, port: 443}}]"),
            };
            api.apply(&format!(
                "{{apiVersion: v1, kind: Service, metadata: {{name: s{this}, namespace: histories}}, spec: {{{spec}}}}}"
            ));
        }
        3 => delete("Service", format!("s{this}")),
        4..=6 => {
            let second = self::address(other);
            let ready = third != 0;
            api.apply(&format!(
                "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: e{this}, namespace: histories, labels: {{ kubernetes.io/service-name: s{third} }} }}
addressType: IPv4
ports: [{{ name: http, port: 8080 }}]
endpoints:
- {{ addresses: [{address}], hostname: h{other} }}
- {{ addresses: [{second}], conditions: {{ ready: {ready} }} }}
"
            ));
        }
        7 => delete("EndpointSlice", format!("e{this}")),
        8 | 9 => {
            let path = ["/", "/a", "/a/b", "/c", "/", "/"][third];
            let host = format!("h{other}.histories.test");
            let text = ingress("histories", &format!("i{this}"), &host, path, &format!("s{third}"));
            let text = if third == 5 { text.replace("ClassName: nginx", "ClassName: other") } else { text };
            let rewrite = "nginx.ingress.kubernetes.io/rewrite-target: /new";
            api.apply(&if third == 4 { annotated(&text, rewrite) } else { text });
        }
        10 => delete("Ingress", format!("i{this}")),
        _ if this % 2 == 0 => relay.cut(),
        _ => relay.restore(),
    }
}

fn address(number: usize) -> String {
    format!("10.244.6.{}", number + 1)
}
