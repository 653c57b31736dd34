//! The API server refuses requests or breaks off: 410, 422, 429, 5xx, half a list.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use tests::relay::Relay;
use tests::stage::{SOON, Stage};
use tests::wait;

use crate::faults::{AFTER_DNS, BEFORE_DNS, WHILE, change, prepare};
use crate::scale;

/// Bytes of a list after which its connection is held: about a hundred of two thousand Services.
const PART_OF_A_LIST: usize = 400_000;

/// API server flag that disables streamed lists, as before 1.32.
const NO_STREAMED_LISTS: &str = "--feature-gates=WatchList=false";

/// The API server runs without watch cache, so that etcd refuses a watch from before the compaction, and without streamed
/// lists, like earlier releases.
pub(crate) fn a_compaction_of_etcd_loses_nothing(stage: &mut Stage) {
    prepare(stage);
    stage.plane.server.kill();
    stage.plane.server.start(&["--watch-cache=false", NO_STREAMED_LISTS]);
    let relay = Relay::start(stage.plane.server.address());
    let dns = stage.dns(&stage.corefile_at(relay.port(), ""));
    let server = stage.resolver();
    server.expect(SOON, BEFORE_DNS);

    let version = stage.plane.api.resource_version("Service");
    relay.cut();
    change(&stage.plane.api);
    stage.plane.compact();
    let refused = stage.plane.api.watch("Service", &version).expect("the API server answers");
    assert!(refused.status == 410 || refused.text().contains("\"code\":410"), "{refused:?}");
    server.matches(BEFORE_DNS).unwrap_or_else(|problem| panic!("nothing was to be seen yet: {problem}"));

    relay.restore();
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
    relay.restore();
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

    // A restarted API server does not know older resource versions, so everything is listed again.
    relay.cut();
    stage.plane.server.kill();
    let mut second = stage.plane.second_server();
    second.start(&[]);
    stage.plane.api.at(second.address()).delete("Service", "burst", "s0");
    second.stop();
    stage.plane.compact();
    stage.plane.server.start(&[]);
    relay.restore();
    relay.hold_after(PART_OF_A_LIST);
    relay.wait_until_held(SOON);
    stage.plane.server.kill();
    relay.cut();
    wanted.retain(|(name, _)| !name.starts_with("s0."));
    scale::all_answer(&server, &wanted);
    assert_eq!(dns.ready(), Ok(200));

    stage.plane.server.start(&[]);
    relay.restore();
    server.expect(SOON, "s0.burst.svc.cluster.local A = NXDOMAIN");
    scale::all_answer(&server, &wanted);
}

/// The API server's ports are open, but requests end in 5xx and timeouts.
pub(crate) fn requests_are_repeated_while_etcd_is_down(stage: &mut Stage) {
    prepare(stage);
    let relay = Relay::start(stage.plane.server.address());
    let corefile = stage.corefile_at(relay.port(), "");
    let dns = stage.dns(&corefile);
    let server = stage.resolver();
    server.expect(SOON, BEFORE_DNS);
    stage.plane.kill_etcd();
    relay.cut();
    relay.restore();
    wait::throughout("the answers without etcd", WHILE, || server.matches(BEFORE_DNS));
    dns.kill();

    let mut dns = stage.dns_unready(&corefile);
    server.expect(SOON, "none.faults.svc.cluster.local A = SERVFAIL");
    assert_eq!(dns.ready(), Ok(503));
    stage.plane.ensure_running();
    dns.wait_for_ready();
    change(&stage.plane.api);
    server.expect(SOON, AFTER_DNS);
}

/// The API server allows one request at a time and is busy with other clients: most of Portolan's requests get 429.
pub(crate) fn requests_are_repeated_after_429(stage: &mut Stage) {
    scale::burst(stage);
    prepare(stage);
    stage.plane.server.kill();
    stage.plane.server.start(&[
        // Watches are not limited, and a streamed list is a watch.
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
