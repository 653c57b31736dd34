//! CoreDNS and Portolan serve the same Corefiles beside each other, and get the same generated queries.

mod differences;
mod names;
mod corefiles;
mod upstream;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use hickory_proto::rr::RecordType;
use tests::differential::{QueryGenerator, ReplyDifference, compare};
use tests::dns::{DnsClient, Transport};
use tests::process::Process;
use tests::stage::{SOON, Stage};
use tests::upstream::{UPSTREAM, Upstream};
use tests::{http, programs, wait};

use crate::manifests;
use corefiles::{COREFILES, FILES, ServedCorefile};
use differences::common;

/// Addresses of CoreDNS and of Portolan.
const SERVERS: [&str; 2] = ["127.0.0.2", "127.0.0.3"];

/// Queries for each Corefile, unless `PORTOLAN_QUERIES` says another number.
const QUERIES: usize = 2_000;

/// Leaves out what differs by nature: the addresses and ports of `whoami`, the serial of a cluster zone.
fn comparable(line: String) -> Option<String> {
    let is_whoami = line.starts_with("additional _udp.") && line.contains(" srv 0 0 ");
    if !is_whoami && !line.contains(" soa ns.dns.") {
        return Some(line);
    }
    // Serials and ports are larger than the other numbers.
    let is_kept = |word: &&str| word.parse::<u64>().map_or(true, |number| number < 10_000);
    let kept: Vec<&str> = line.split(' ').filter(is_kept).collect();
    Some(kept.join(" "))
}

pub(crate) fn generated_queries_have_the_answers_of_coredns(stage: &mut Stage) {
    let api = &stage.plane.api;
    let namespace = manifests::namespace("beside") + &manifests::namespace("shop");
    api.apply(&namespace);
    api.apply(&manifests::workload("beside", "web", &["10.244.7.1", "10.244.7.2"]));
    api.apply(
        "
---
apiVersion: v1
kind: Service
metadata: { name: fixed, namespace: beside }
spec: { clusterIP: 10.96.0.200, ports: [{ name: http, port: 80 }, { name: dns, port: 53, protocol: UDP }] }
---
apiVersion: v1
kind: Service
metadata: { name: empty, namespace: beside }
spec: { selector: { app: nobody }, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: headless, namespace: beside }
spec: { clusterIP: None, selector: { app: web }, ports: [{ name: http, port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: out, namespace: beside }
spec: { type: ExternalName, externalName: www.example.test }
---
apiVersion: v1
kind: Service
metadata: { name: in, namespace: beside }
spec: { type: ExternalName, externalName: web.beside.svc.cluster.local }
",
    );
    for (name, text) in FILES {
        fs::write(stage.folder().join(name), text).expect("the scratch folder is writable");
    }
    let _upstream = Upstream::start_with(upstream::reply);
    let wanted = std::env::var("PORTOLAN_COREFILES").unwrap_or_default();
    let mut problems = Vec::new();
    for corefile in COREFILES.iter().filter(|corefile| corefile.name.contains(&wanted)) {
        problems.extend(differences(stage, corefile));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Serves a Corefile by both programs. Returns the differences that are not explained.
fn differences(stage: &Stage, served: &ServedCorefile) -> Vec<String> {
    let kubeconfig = stage.plane.kubeconfig("portolan", stage.plane.server.address().port());
    let paths = SERVERS.map(|address| {
        let path = stage.folder().join(format!("Corefile-{address}"));
        let lines = served.lines.replace("FOLDER", &stage.folder().to_string_lossy());
        let lines = lines.replace("KUBECONFIG", &kubeconfig.to_string_lossy());
        let lines = lines.replace("UPSTREAM", UPSTREAM);
        let text = format!(".:53 {{\nbind {address}\nready {address}:8181\nerrors\n{lines}\n}}\n");
        fs::write(&path, text).expect("the scratch folder is writable");
        path
    });
    let coredns = start_coredns(stage.folder(), &paths[0]);
    let portolan = stage.run(&["dns", "-conf", &paths[1].to_string_lossy()], &[]);
    for address in SERVERS {
        let ready = SocketAddr::new(address.parse().expect("an address"), 8181);
        wait::until(&format!("{}: {address} is ready", served.name), SOON, || {
            match http::get(ready, "localhost", "/ready") {
                Ok(response) if response.status == 200 => Ok(()),
                Ok(response) => Err(format!("{} {}\n{}", response.status, response.text(), portolan.log())),
                Err(error) => Err(format!("{error}\n{}\n{}", coredns.log(), portolan.log())),
            }
        });
    }
    let servers = SERVERS.map(|address| SocketAddr::new(address.parse().expect("an address"), 53));
    for server in servers {
        // The page may be there before the port.
        wait::until(&format!("{}: {server} answers", served.name), SOON, || {
            DnsClient(server)
                .query(Transport::Udp, served.names[0], RecordType::A)
                .map_err(|error| error.to_string())
        });
    }
    let count =
        std::env::var("PORTOLAN_QUERIES").ok().and_then(|count| count.parse().ok()).unwrap_or(QUERIES);
    let mut generator = QueryGenerator::new(served.names, 0x5eed_0000 + served.name.len() as u64);
    let found = compare(servers, &mut generator, count, comparable);
    let (answered, found) = found.unwrap_or_else(|error| panic!("{}: {error}", served.name));
    let (mut explained, mut unexplained) =
        (BTreeMap::<&str, usize>::new(), BTreeMap::<String, (usize, String)>::new());
    for difference in &found {
        match common(difference).or_else(|| (served.explain)(difference)) {
            Some(why) => *explained.entry(why).or_default() += 1,
            None => {
                let ReplyDifference { query, replies: [coredns, portolan] } = difference;
                let key = format!("{} {}", query.name.to_lowercase(), query.qtype);
                let text = format!("{}: {query}\nCoreDNS:\n{coredns}Portolan:\n{portolan}", served.name);
                unexplained.entry(key).or_insert((0, text)).0 += 1;
            }
        }
    }
    eprintln!(
        "{}: {count} queries, {answered} answered by both, {} differences, explained {explained:?}",
        served.name,
        found.len()
    );
    portolan.stop();
    coredns.stop();
    unexplained.into_values().take(12).map(|(times, text)| format!("{times} × {text}")).collect()
}

fn start_coredns(folder: &Path, corefile: &Path) -> Process {
    let mut program =
        Command::new(programs::coredns().expect("it was built before the namespace was entered"));
    program.args(["-conf", &corefile.to_string_lossy()]).current_dir(folder);
    Process::start("coredns", program, folder)
}
