//! The API server or Portolan is unavailable for a while, and every answer stays correct.

use std::fs;
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;
use tests::backend::Backend;
use tests::dns::Transport;
use tests::stage::{Portolan, SOON, Stage};
use tests::wait;
use tests::web::EDGE;

use crate::manifests::{self, CLASS, ingress, service, slice};

/// How long answers are checked while the API server is unavailable.
pub(crate) const WHILE: Duration = Duration::from_secs(3);

/// Revisions of etcd that a restored backup does not have.
const REVISIONS: u32 = 500;

/// Services `kept`, `gone` and `moved`, each with an Ingress of its own and one endpoint.
pub(crate) fn prepare(stage: &Stage) {
    let api = &stage.plane.api;
    api.apply(&(manifests::namespace("faults") + CLASS));
    // Removes what an earlier case has created or moved.
    for kind in ["Service", "EndpointSlice", "Ingress"] {
        api.delete_all(kind, "faults", 1);
    }
    for (name, address, pod) in [
        ("kept", "10.96.0.60", "10.244.2.1"),
        ("gone", "10.96.0.61", "10.244.2.2"),
        ("moved", "10.96.0.62", "10.244.2.3"),
    ] {
        api.apply(&service("faults", name, address));
        api.apply(&slice("faults", name, pod));
        api.apply(&ingress("faults", name, &format!("{name}.test"), "/", name));
    }
}

pub(crate) const BEFORE_DNS: &str = "
kept.faults.svc.cluster.local  A = 10.96.0.60
gone.faults.svc.cluster.local  A = 10.96.0.61
moved.faults.svc.cluster.local A = 10.96.0.62
new.faults.svc.cluster.local   A = NXDOMAIN
";

const BEFORE_HTTP: &str = "
http://kept.test/  = 200 kept
http://gone.test/  = 200 gone
http://moved.test/ = 200 moved
http://new.test/   = 404
";

pub(crate) const AFTER_DNS: &str = "
kept.faults.svc.cluster.local  A = 10.96.0.60
gone.faults.svc.cluster.local  A = NXDOMAIN
61.0.96.10.in-addr.arpa      PTR = NXDOMAIN
moved.faults.svc.cluster.local A = 10.96.0.63
new.faults.svc.cluster.local   A = 10.96.0.64
";

const AFTER_HTTP: &str = "
http://kept.test/  = 200 kept
http://gone.test/  = 404
http://moved.test/ = 200 new
http://new.test/   = 200 new
";

/// Applies the changes from `BEFORE` to `AFTER`: deletes, moves and creates.
pub(crate) fn change(api: &tests::api::ApiClient) {
    for kind in ["Ingress", "EndpointSlice", "Service"] {
        api.delete(kind, "faults", "gone");
    }
    api.delete("Service", "faults", "moved");
    api.apply(&service("faults", "moved", "10.96.0.63"));
    api.apply(&slice("faults", "moved", "10.244.2.4"));
    api.apply(&service("faults", "new", "10.96.0.64"));
    api.apply(&slice("faults", "new", "10.244.2.4"));
    api.apply(&ingress("faults", "new", "new.test", "/", "new"));
}

fn backends() -> [Backend; 4] {
    [
        ("kept", "10.244.2.1:8080"),
        ("gone", "10.244.2.2:8080"),
        ("moved", "10.244.2.3:8080"),
        ("new", "10.244.2.4:8080"),
    ]
    .map(|(name, address)| Backend::start(name, address))
}

/// Starts both services and waits for every answer of `BEFORE`.
fn both(stage: &Stage) -> (Portolan, Portolan) {
    let both = (stage.dns(&stage.corefile("")), stage.ingress("portolan", &[]));
    stage.resolver().expect(SOON, BEFORE_DNS);
    EDGE.expect(SOON, BEFORE_HTTP);
    both
}

/// Checks that the answers stay those of `BEFORE`.
fn nothing_changes(stage: &Stage, dns: &Portolan) {
    answers_stay(stage, dns, BEFORE_DNS, BEFORE_HTTP);
}

fn answers_stay(stage: &Stage, dns: &Portolan, records: &str, pages: &str) {
    let server = stage.resolver();
    wait::throughout("the answers without an API server", WHILE, || {
        server.matches(records)?;
        EDGE.matches(pages)?;
        match dns.ready()? {
            200 => Ok(()),
            status => Err(format!("/ready says {status}")),
        }
    });
}

pub(crate) fn answers_continue_while_the_api_server_is_stopped(stage: &mut Stage) {
    prepare(stage);
    let _pods = backends();
    let (dns, _ingress) = both(stage);
    stage.plane.server.stop();
    nothing_changes(stage, &dns);
    stage.plane.server.start(&[]);
    change(&stage.plane.api);
    stage.resolver().expect(SOON, AFTER_DNS);
    EDGE.expect(SOON, AFTER_HTTP);
}

/// The changes go through a second API server on the same etcd while the one that Portolan knows is away.
pub(crate) fn changes_during_an_api_server_outage_take_effect_afterwards(stage: &mut Stage) {
    prepare(stage);
    let _pods = backends();
    let (dns, _ingress) = both(stage);
    stage.plane.server.kill();
    let mut second = stage.plane.second_server();
    second.start(&[]);
    change(&stage.plane.api.at(second.address()));
    second.stop();
    nothing_changes(stage, &dns);

    stage.plane.server.start(&[]);
    let ready = Instant::now();
    stage.resolver().expect(SOON, AFTER_DNS);
    EDGE.expect(SOON, AFTER_HTTP);
    println!("    from a ready API server to everything seen: {:.1?}", ready.elapsed());
}

/// The restored etcd counts its revisions from the backup, so that the API server has not reached the versions that Portolan knows. It
/// accepts a watch from one of those, and would send nothing.
pub(crate) fn a_control_plane_restored_from_a_backup_is_followed(stage: &mut Stage) {
    prepare(stage);
    let _pods = backends();
    stage.plane.back_up();
    let (dns, _ingress) = both(stage);
    change(&stage.plane.api);
    // More revisions than the start of an API server writes.
    for number in 0..REVISIONS {
        stage.plane.put_in_etcd("/after-the-backup", Some(&number.to_string()), None);
    }
    stage.resolver().expect(SOON, AFTER_DNS);
    EDGE.expect(SOON, AFTER_HTTP);

    stage.plane.stop();
    answers_stay(stage, &dns, AFTER_DNS, AFTER_HTTP);
    stage.plane.restore();
    let ready = Instant::now();
    stage.resolver().expect(SOON, BEFORE_DNS);
    EDGE.expect(SOON, BEFORE_HTTP);
    println!("    from a ready API server to the restored state: {:.1?}", ready.elapsed());
    // Its changes are followed, too, though their versions are earlier than those before the restore.
    change(&stage.plane.api);
    stage.resolver().expect(SOON, AFTER_DNS);
    EDGE.expect(SOON, AFTER_HTTP);
}

/// A stopped process keeps its connections open and sends nothing.
pub(crate) fn answers_continue_while_the_api_server_hangs(stage: &mut Stage) {
    prepare(stage);
    let _pods = backends();
    let (dns, _ingress) = both(stage);
    stage.plane.server.pause();
    nothing_changes(stage, &dns);
    stage.plane.server.resume();
    change(&stage.plane.api);
    stage.resolver().expect(SOON, AFTER_DNS);
    EDGE.expect(SOON, AFTER_HTTP);
}

pub(crate) fn a_restarted_portolan_answers_as_before(stage: &mut Stage) {
    prepare(stage);
    let _pods = backends();
    let (dns, ingress) = both(stage);
    assert!(dns.stop().success(), "SIGTERM is a good end");
    assert!(ingress.stop().success(), "SIGTERM is a good end");
    change(&stage.plane.api);
    let (dns, ingress) = (stage.dns(&stage.corefile("")), stage.ingress("portolan", &[]));
    stage.resolver().expect(SOON, AFTER_DNS);
    EDGE.expect(SOON, AFTER_HTTP);
    dns.kill();
    ingress.kill();
    let _both = (stage.dns(&stage.corefile("")), stage.ingress("portolan", &[]));
    stage.resolver().expect(SOON, AFTER_DNS);
    EDGE.expect(SOON, AFTER_HTTP);
}

pub(crate) fn a_start_without_an_api_server_waits_for_it(stage: &mut Stage) {
    prepare(stage);
    stage.plane.server.kill();
    let mut dns = stage.dns_unready(&stage.corefile(""));
    let server = stage.resolver();
    // SERVFAIL, neither NXDOMAIN nor silence.
    server.expect(SOON, "kept.faults.svc.cluster.local A = SERVFAIL");
    assert_eq!(dns.ready(), Ok(503));
    stage.plane.server.start(&[]);
    dns.wait_for_ready();
    server.expect(SOON, BEFORE_DNS);
}

/// A reload keeps the cluster state.
pub(crate) fn a_reload_without_an_api_server_keeps_every_answer(stage: &mut Stage) {
    prepare(stage);
    let corefile = stage.corefile("ttl 17");
    let dns = stage.dns(&corefile);
    let server = stage.resolver();
    server.expect(SOON, BEFORE_DNS);
    stage.plane.server.kill();
    fs::write(stage.folder().join("Corefile"), corefile.replace("ttl 17", "ttl 18"))
        .expect("the folder is ours");
    dns.signal(Signal::SIGUSR1);
    wait::until("the new ttl", SOON, || {
        server
            .matches(BEFORE_DNS)
            .unwrap_or_else(|problem| panic!("the reload has cost an answer: {problem}"));
        let reply = server.query(Transport::Udp, "kept.faults.svc.cluster.local", RecordType::A);
        match reply.map_err(|error| error.to_string())?.answers.first().map(|record| record.ttl) {
            Some(18) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(dns.ready(), Ok(200));
}

/// The last known state is served, and the problem is visible in the log, the metrics and `/problems`.
pub(crate) fn an_api_server_that_is_away_is_a_problem_until_it_is_back(stage: &mut Stage) {
    prepare(stage);
    let ingress = stage.ingress("portolan", &["--enable-metrics"]);
    let connected = |value: u8| {
        let line = format!("portolan_source_connected{{kind=\"Ingress\"}} {value}");
        let metrics = ingress.metrics();
        let named = ["portolan_source_last_event_timestamp_seconds{kind=\"Ingress\"}", &line];
        if named.iter().all(|name| metrics.contains(name)) { Ok(()) } else { Err(metrics) }
    };
    wait::until("a connected source", SOON, || connected(1));
    stage.plane.server.kill();
    wait::until("the problem", SOON, || match ingress.problems() {
        text if text.contains("API server https://127.0.0.1:6443: unreachable since ")
            && text.contains("(connection refused); serving the last known state") =>
        {
            Ok(())
        }
        text => Err(text),
    });
    connected(0).expect("no kind is connected");
    // The log has a queue of its own: its line may be written after the problem is listed.
    ingress.wait_for_log(&["unreachable"]);
    wait::throughout("one log line", WHILE, || {
        let log = ingress.log();
        let lines =
            log.lines().filter(|line| line.contains("unreachable") || line.contains("failed")).count();
        if lines == 1 { Ok(()) } else { Err(log) }
    });
    assert_eq!(ingress.health().map(|(status, _)| status), Ok(200));
    stage.plane.server.start(&[]);
    wait::until("the end of the problem", SOON, || match ingress.problems() {
        text if text.contains("unreachable") => Err(text),
        _ => connected(1),
    });
    ingress.wait_for_log(&["solved: API server https://127.0.0.1:6443: unreachable since"]);
}
