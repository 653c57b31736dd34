use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};

use dns_wire::codes::rtype;
use dns_wire::{Owner, Section};
use telemetry::metrics::Registry;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::*;
use crate::chain::Link;
use crate::limits::ChainLimits;
use crate::plugin::{After, EncodedReply, Hooks, Plugin};
use crate::query_metrics::QueryMetrics;
use crate::request::Transport;

/// Never answers.
struct Silent;

impl Plugin for Silent {
    fn query(&self, _: &mut Request, _: &mut Answer) -> Flow {
        Flow::Wait
    }

    fn wait<'a>(&'a self, _: &'a mut Request, _: &'a mut Answer, _: &'a dyn Runner) -> BoxFuture<'a, Flow> {
        Box::pin(std::future::pending())
    }
}

/// Panics on a refresh in the background.
struct PanicsInRefresh;

impl Plugin for PanicsInRefresh {
    fn query(&self, request: &mut Request, _: &mut Answer) -> Flow {
        assert_ne!(request.purpose, Purpose::Refresh, "deliberate panic");
        Flow::Done
    }
}

/// Answers, requests refreshes, and records the response codes of their answers.
#[derive(Default)]
struct Refreshing {
    rcodes: Mutex<Vec<u16>>,
    changed: Notify,
    has_stale_answer: AtomicBool,
}

impl Plugin for Refreshing {
    fn hooks(&self) -> Hooks {
        Hooks::QUERY.and(Hooks::REPLY)
    }

    fn query(&self, _: &mut Request, _: &mut Answer) -> Flow {
        if self.has_stale_answer.load(SeqCst) { Flow::Wait } else { Flow::Refresh }
    }

    fn overloaded(&self, _: &Request, answer: &mut Answer) -> bool {
        answer.reply.authoritative = true;
        true
    }

    fn reply(&self, _: &mut Request, answer: &mut Answer) -> After {
        self.rcodes.lock().unwrap().push(answer.reply.rcode);
        self.changed.notify_one();
        After::Pass
    }
}

fn routes(waiting: usize, plugins: Vec<Arc<dyn Plugin>>) -> Arc<ZoneRoutes> {
    let metrics = Registry::new();
    let chain = Arc::new(Chain::new(plugins.into_iter().map(|plugin| Link::new("test", plugin)).collect()));
    let dropped = QueryMetrics::new(&metrics, ["dns://:53", "dropped", ""], 0);
    let limits = ChainLimits::with(&metrics, waiting, 0);
    let zones = vec![(Name::ROOT, ZoneRoute { chain, key: 0, filter: None })];
    Arc::new(ZoneRoutes::new(zones, dropped, Handle::current(), limits))
}

fn request() -> Request {
    let mut request = Request::new(Transport::Udp, ([127, 0, 0, 1], 53).into());
    request.query = Query::new(1, &"www.example.org.".parse().unwrap(), rtype::A);
    request
}

fn new_request() -> Request {
    request()
}

fn run_query(routes: &Arc<ZoneRoutes>) -> (Option<PendingQuery>, Answer) {
    let mut made = Answer::default();
    let pending = answer(routes, &mut request(), &mut made, |_| ());
    (pending, made)
}

#[tokio::test]
async fn queries_over_the_limit_get_servfail_until_another_has_ended() {
    let routes = routes(2, vec![Arc::new(Silent)]);
    let (first, _) = run_query(&routes);
    let (second, _) = run_query(&routes);
    assert!(first.is_some() && second.is_some());
    for _ in 0..3 {
        let (third, made) = run_query(&routes);
        assert!(third.is_none());
        assert_eq!(made.reply.rcode, rcode::SERVFAIL);
        assert_eq!(made.failure.map(|failure| failure.why), Some("".into()), "the failure is not logged");
    }
    drop(first);
    assert!(run_query(&routes).0.is_some(), "there is room again");
    assert_eq!(routes.limits.waiting.count(), 1);
}

#[tokio::test]
async fn a_plugin_with_a_stale_answer_serves_it_if_the_query_cannot_wait() {
    let plugin = Arc::new(Refreshing { has_stale_answer: true.into(), ..Refreshing::default() });
    let (pending, made) = run_query(&routes(0, vec![plugin]));
    assert!(pending.is_none());
    assert_eq!((made.reply.rcode, made.reply.authoritative), (rcode::NOERROR, true));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_query_fails_at_its_deadline() {
    let routes = routes(2, vec![Arc::new(Silent)]);
    let pending = run_query(&routes).0.unwrap();
    let (mut made, start) = (Answer::default(), tokio::time::Instant::now());
    pending.finish(&mut request(), &mut made, |_| ()).await;
    assert_eq!(made.reply.rcode, rcode::SERVFAIL);
    assert_eq!(made.failure.map(|failure| failure.why), Some("no answer within 10s".into()));
    assert_eq!((start.elapsed(), routes.limits.waiting.count()), (DEADLINE, 0));
}

#[tokio::test]
async fn a_panic_in_a_refresh_is_reported_to_the_plugin_that_requested_it() {
    let refreshing = Arc::new(Refreshing::default());
    let routes = routes(2, vec![refreshing.clone(), Arc::new(PanicsInRefresh)]);
    assert!(run_query(&routes).0.is_none());
    refreshing.changed.notified().await;
    assert_eq!(*refreshing.rcodes.lock().unwrap(), [rcode::SERVFAIL]);
    assert_eq!(routes.limits.panics.value(), 1);
}

/// Resolves its own name again, as a loop of ExternalNames over two server blocks does.
#[derive(Default)]
struct ResolvesItself {
    calls: AtomicU8,
}

impl Plugin for ResolvesItself {
    fn query(&self, _: &mut Request, _: &mut Answer) -> Flow {
        self.calls.fetch_add(1, SeqCst);
        Flow::Wait
    }

    fn wait<'a>(
        &'a self,
        request: &'a mut Request,
        _: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        Box::pin(async move {
            let name = request.query.to_name();
            runner.resolve(request, &name, rtype::A, &mut Answer::default()).await;
            Flow::Done
        })
    }
}

#[tokio::test]
async fn nested_resolutions_are_bounded() {
    let plugin = Arc::new(ResolvesItself::default());
    let pending = run_query(&routes(2, vec![plugin.clone()])).0.unwrap();
    pending.finish(&mut request(), &mut Answer::default(), |_| ()).await;
    assert_eq!(plugin.calls.load(SeqCst), 1 + MAX_DEPTH);
}

/// Asks for another name below, records the question that its answer has, and does as it is told.
struct Renames {
    to: &'static str,
    seen: Mutex<Vec<String>>,
}

impl Renames {
    fn new(to: &'static str) -> Arc<Self> {
        Arc::new(Self { to, seen: Mutex::default() })
    }
}

impl Plugin for Renames {
    fn hooks(&self) -> Hooks {
        Hooks::QUERY.and(Hooks::REPLY)
    }

    fn query(&self, request: &mut Request, _: &mut Answer) -> Flow {
        request.change_question(&self.to.parse().unwrap(), rtype::TXT, 1);
        Flow::Next
    }

    fn reply(&self, request: &mut Request, _: &mut Answer) -> After {
        self.seen.lock().unwrap().push(format!("{} {}", request.query.to_name(), request.query.qtype));
        After::Pass
    }
}

/// Answers with a record of the queried name.
struct Answers;

impl Plugin for Answers {
    fn query(&self, _: &mut Request, answer: &mut Answer) -> Flow {
        answer.reply.push(Section::Answer, Owner::Question, rtype::TXT, 5, b"\x01x");
        Flow::Done
    }
}

#[tokio::test]
async fn the_question_before_a_change_is_restored_where_the_answer_passes() {
    let (first, second) = (Renames::new("one."), Renames::new("two."));
    let routes = routes(1, vec![first.clone(), second.clone(), Arc::new(Answers)]);
    let (mut request, mut made) = (request(), Answer::default());
    assert!(answer(&routes, &mut request, &mut made, |_| ()).is_none());
    assert_eq!(*second.seen.lock().unwrap(), ["two. 16"]);
    assert_eq!(*first.seen.lock().unwrap(), ["one. 16"]);
    assert_eq!(request.query.question(), new_request().query.question());
    let owner = made.reply.owner(&made.reply.records()[0], &request.query);
    assert_eq!(owner.to_string(), "two.", "the record keeps the name that it was found by");
}

#[tokio::test(start_paused = true)]
async fn the_question_is_restored_when_a_changed_query_fails_or_takes_too_long() {
    let renames = Renames::new("one.");
    let routes = routes(1, vec![renames.clone(), Arc::new(Silent)]);
    let (mut request, mut made) = (request(), Answer::default());
    let pending = answer(&routes, &mut request, &mut made, |_| ()).unwrap();
    pending.finish(&mut request, &mut made, |_| ()).await;
    assert_eq!(made.reply.rcode, rcode::SERVFAIL);
    assert_eq!(request.query.question(), new_request().query.question());
    assert_eq!(*renames.seen.lock().unwrap(), ["one. 16"]);
}

/// Needs time for every answer, and counts those that it finishes.
#[derive(Default)]
struct Finishes {
    finished: AtomicU8,
}

impl Plugin for Finishes {
    fn hooks(&self) -> Hooks {
        Hooks::REPLY
    }

    fn query(&self, _: &mut Request, _: &mut Answer) -> Flow {
        panic!("it is not among its methods");
    }

    fn reply(&self, _: &mut Request, _: &mut Answer) -> After {
        After::Wait
    }

    fn finish<'a>(
        &'a self,
        _: &'a mut Request,
        answer: &'a mut Answer,
        _: &'a dyn Runner,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.finished.fetch_add(1, SeqCst);
            answer.reply.authoritative = true;
        })
    }
}

#[tokio::test]
async fn an_answer_waits_for_each_plugin_that_needs_time_for_it() {
    let (above, below) = (Arc::new(Finishes::default()), Arc::new(Finishes::default()));
    let routes = routes(1, vec![above.clone(), below.clone(), Arc::new(Answers)]);
    let (mut request, mut made) = (request(), Answer::default());
    let pending = answer(&routes, &mut request, &mut made, |_| ()).unwrap();
    pending.finish(&mut request, &mut made, |_| ()).await;
    assert_eq!((above.finished.load(SeqCst), below.finished.load(SeqCst)), (1, 1));
    assert_eq!((made.reply.records().len(), made.reply.authoritative), (1, true), "the answer is kept");
}

#[tokio::test]
async fn an_answer_that_cannot_wait_is_servfail() {
    let plugin = Arc::new(Finishes::default());
    let (pending, made) = run_query(&routes(0, vec![plugin.clone(), Arc::new(Answers)]));
    assert!(pending.is_none());
    assert_eq!((made.reply.rcode, plugin.finished.load(SeqCst)), (rcode::SERVFAIL, 0));
}

/// Drops every query.
struct Drops;

impl Plugin for Drops {
    fn query(&self, _: &mut Request, _: &mut Answer) -> Flow {
        Flow::Drop
    }
}

#[tokio::test]
async fn a_dropped_query_has_no_reply() {
    let mut written = false;
    let mut made = Answer::default();
    let pending = answer(&routes(0, vec![Arc::new(Drops)]), &mut request(), &mut made, |_| written = true);
    assert!(pending.is_none() && made.dropped && !written);
}

/// Signs replies by appending a byte, and records the messages that are sent.
#[derive(Default)]
struct Seals {
    sent: Mutex<Vec<u8>>,
}

impl Plugin for Seals {
    fn hooks(&self) -> Hooks {
        Hooks::SEAL.and(Hooks::SENT)
    }

    fn seal(&self, _: &Request, reply: &mut EncodedReply<'_>) {
        assert!(reply.append(b"!"));
    }

    fn sent(&self, _: &Request, _: &Answer, message: &[u8]) {
        self.sent.lock().unwrap().extend_from_slice(message);
    }
}

#[tokio::test]
async fn the_message_that_is_sent_is_the_sealed_one() {
    let seals = Arc::new(Seals::default());
    let routes = routes(0, vec![seals.clone(), Arc::new(Answers)]);
    let mut message = vec![0; 512];
    let mut length = 0;
    answer(&routes, &mut request(), &mut Answer::default(), |encode| length = encode(&mut message));
    message.truncate(length);
    assert_eq!(message.last(), Some(&b'!'));
    assert_eq!(*seals.sent.lock().unwrap(), message);
}
