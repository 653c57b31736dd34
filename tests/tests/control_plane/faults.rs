//! What goes wrong between Portolan and the API server, and that no answer suffers from it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::backend::Backend;
use tests::relay::Relay;
use tests::stage::{Portolan, SOON, Stage};
use tests::wait;
use tests::web::EDGE;

use crate::manifests::{self, CLASS, ingress, service, slice};
use crate::scale;

/// How long answers are watched while the API server is away.
const WHILE: Duration = Duration::from_secs(3);

/// Bytes of a list after which its connection is held: some hundred Services of two thousand.
const PART_OF_A_LIST: usize = 400_000;

/// A flag for an API server that answers a streamed list as those before 1.32 do: not at all.
const NO_STREAMED_LISTS: &str = "--feature-gates=WatchList=false";

/// Services `kept`, `gone` and `moved`, each with an Ingress of its own and one endpoint.
fn prepare(stage: &Stage) {
    let api = &stage.plane.api;
    api.apply(&(manifests::namespace("faults") + CLASS));
    // What an earlier case has made or moved.
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

const BEFORE_DNS: &str = "
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

const AFTER_DNS: &str = "
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

/// Deletes, moves and creates: what turns `BEFORE` into `AFTER`.
fn change(api: &tests::api::Api) {
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

/// Both services, with every answer as it is before the change.
fn both(stage: &Stage) -> (Portolan, Portolan) {
    let both = (stage.dns(&stage.corefile("")), stage.ingress("portolan", &[]));
    stage.resolver().expect(SOON, BEFORE_DNS);
    EDGE.expect(SOON, BEFORE_HTTP);
    both
}

fn nothing_changes(stage: &Stage, dns: &Portolan) {
    let server = stage.resolver();
    wait::throughout("the answers without an API server", WHILE, || {
        server.matches(BEFORE_DNS)?;
        EDGE.matches(BEFORE_HTTP)?;
        match dns.ready()? {
            200 => Ok(()),
            status => Err(format!("/ready says {status}")),
        }
    });
}

pub(crate) fn answers_go_on_while_the_api_server_is_stopped(stage: &mut Stage) {
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
pub(crate) fn what_changed_while_the_api_server_was_dead_is_seen_when_it_is_back(stage: &mut Stage) {
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
    stage.resolver().expect(SOON, AFTER_DNS);
    EDGE.expect(SOON, AFTER_HTTP);
}

/// The API server keeps no watch cache here, so that a watch from before the compaction is etcd's to refuse, and does
/// not stream lists, as those of earlier releases.
pub(crate) fn a_compaction_of_etcd_loses_nothing(stage: &mut Stage) {
    prepare(stage);
    stage.plane.server.kill();
    stage.plane.server.start(&["--watch-cache=false", NO_STREAMED_LISTS]);
    let relay = Relay::start(stage.plane.server.address());
    let dns = stage.dns(&stage.corefile_at(relay.port(), ""));
    let server = stage.resolver();
    server.expect(SOON, BEFORE_DNS);

    let version = stage.plane.api.version("Service");
    relay.cut();
    change(&stage.plane.api);
    stage.plane.compact();
    let refused = stage.plane.api.watch("Service", &version).expect("the API server answers");
    assert!(refused.status == 410 || refused.text().contains("\"code\":410"), "{refused:?}");
    server.matches(BEFORE_DNS).unwrap_or_else(|problem| panic!("nothing was to be seen yet: {problem}"));

    relay.mend();
    server.expect(SOON, AFTER_DNS);
    assert_eq!(dns.ready(), Ok(200));
    stage.plane.server.kill();
}

pub(crate) fn a_list_broken_in_the_middle_makes_no_name_wrong(stage: &mut Stage) {
    scale::burst(stage);
    let wanted = scale::wanted(stage);
    let relay = Relay::start(stage.plane.server.address());
    relay.hold_after(PART_OF_A_LIST);
    let mut dns = stage.dns_unready(&stage.corefile_at(relay.port(), ""));
    relay.wait_until_held(SOON);
    let server = stage.resolver();
    let unknown = |word: &str| format!("none.burst.svc.cluster.local A = {word}");
    server.expect(SOON, &unknown("SERVFAIL"));
    assert_eq!(dns.ready(), Ok(503), "half a list is not ready");

    stage.plane.server.kill();
    relay.cut();
    server.expect(SOON, &unknown("SERVFAIL"));
    stage.plane.server.start(&[]);
    relay.mend();
    dns.wait_for_ready();
    scale::all_answer(&server, &wanted);
    server.expect(SOON, &unknown("NXDOMAIN"));
}

pub(crate) fn a_relist_broken_in_the_middle_loses_no_answer(stage: &mut Stage) {
    scale::burst(stage);
    let mut wanted = scale::wanted(stage);
    let relay = Relay::start(stage.plane.server.address());
    let dns = stage.dns(&stage.corefile_at(relay.port(), ""));
    let server = stage.resolver();
    scale::all_answer(&server, &wanted);

    // A restarted API server remembers no version before its start, so everything is listed anew.
    relay.cut();
    stage.plane.server.kill();
    let mut second = stage.plane.second_server();
    second.start(&[]);
    stage.plane.api.at(second.address()).delete("Service", "burst", "s0");
    second.stop();
    stage.plane.compact();
    stage.plane.server.start(&[]);
    relay.mend();
    relay.hold_after(PART_OF_A_LIST);
    relay.wait_until_held(SOON);
    stage.plane.server.kill();
    relay.cut();
    wanted.retain(|(name, _)| !name.starts_with("s0."));
    scale::all_answer(&server, &wanted);
    assert_eq!(dns.ready(), Ok(200));

    stage.plane.server.start(&[]);
    relay.mend();
    server.expect(SOON, "s0.burst.svc.cluster.local A = NXDOMAIN");
    scale::all_answer(&server, &wanted);
}

/// A frozen server is worse than a dead one: connections stay open and nothing comes.
pub(crate) fn answers_go_on_while_the_api_server_hangs(stage: &mut Stage) {
    prepare(stage);
    let _pods = backends();
    let (dns, _ingress) = both(stage);
    stage.plane.server.freeze();
    nothing_changes(stage, &dns);
    stage.plane.server.thaw();
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
    // Neither a wrong "there is no such name" nor silence.
    server.expect(SOON, "kept.faults.svc.cluster.local A = SERVFAIL");
    assert_eq!(dns.ready(), Ok(503));
    stage.plane.server.start(&[]);
    dns.wait_for_ready();
    server.expect(SOON, BEFORE_DNS);
}

/// The API server still has its ports open, but nothing to say: 5xx and time-outs.
pub(crate) fn an_api_server_without_etcd_is_asked_until_it_answers(stage: &mut Stage) {
    prepare(stage);
    let relay = Relay::start(stage.plane.server.address());
    let corefile = stage.corefile_at(relay.port(), "");
    let dns = stage.dns(&corefile);
    let server = stage.resolver();
    server.expect(SOON, BEFORE_DNS);
    stage.plane.kill_etcd();
    relay.cut();
    relay.mend();
    wait::throughout("the answers without etcd", WHILE, || server.matches(BEFORE_DNS));
    dns.kill();

    let mut dns = stage.dns_unready(&corefile);
    server.expect(SOON, "none.faults.svc.cluster.local A = SERVFAIL");
    assert_eq!(dns.ready(), Ok(503));
    stage.plane.heal();
    dns.wait_for_ready();
    change(&stage.plane.api);
    server.expect(SOON, AFTER_DNS);
}

/// One request at a time, and other clients in the way: most of what Portolan asks is refused with 429.
pub(crate) fn a_busy_api_server_is_asked_again(stage: &mut Stage) {
    scale::burst(stage);
    prepare(stage);
    stage.plane.server.kill();
    stage.plane.server.start(&[
        // Watches are not counted, and a streamed list is one.
        NO_STREAMED_LISTS,
        "--enable-priority-and-fairness=false",
        "--max-requests-inflight=1",
    ]);
    let before = stage.plane.audit("portolan").len();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (plane, done) = (&stage.plane, &done);
        for _ in 0..2 {
            scope.spawn(move || {
                let api = plane.api.at(plane.server.address());
                while !done.load(Ordering::Relaxed) {
                    let _ = api.get("/api/v1/services");
                }
            });
        }
        let _dns = stage.dns_unready(&stage.corefile(""));
        let refused = catch_unwind(AssertUnwindSafe(|| {
            wait::until("a request refused with 429", SOON, || {
                let refused = plane.audit("portolan")[before..].iter().any(|line| line.ends_with(" 429"));
                if refused { Ok(()) } else { Err("there is none".to_owned()) }
            });
        }));
        done.store(true, Ordering::Relaxed);
        refused.unwrap_or_else(|panic| resume_unwind(panic));
        stage.resolver().expect(SOON, BEFORE_DNS);
    });
    stage.plane.server.kill();
}
