use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cluster::Kinds;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http_body::Frame;
use http_body_util::StreamBody;
use kube::Client;
use telemetry::metrics::Registry;
use tokio::sync::{Notify, mpsc, watch};

use super::super::access::{Access, Remedy};
use super::super::{Selection, ServerState};
use super::*;
use crate::metrics::SourceMetrics;
use crate::source::Message;
use crate::watch_status::WatchStatuses;

/// The reaction of the API server to a request.
enum Reply {
    /// No connection.
    Refuse,
    /// A status and a body.
    Status(u16, String),
    /// 200, these pieces, and the end of the body.
    End(Vec<String>),
    /// 200, these pieces, and then silence.
    Silence(Vec<String>),
}

type Body = StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>;

impl Reply {
    fn response(self) -> io::Result<http::Response<Body>> {
        let (status, pieces, silent) = match self {
            Self::Refuse => return Err(io::ErrorKind::ConnectionRefused.into()),
            Self::Status(status, body) => (status, vec![body], false),
            Self::End(pieces) => (200, pieces, false),
            Self::Silence(pieces) => (200, pieces, true),
        };
        let pieces = stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece.into()))));
        let body = if silent { pieces.chain(stream::pending()).boxed() } else { pieces.boxed() };
        Ok(http::Response::builder().status(status).body(StreamBody::new(body)).expect("a valid response"))
    }
}

/// A request, and the reported state when it arrived.
#[derive(Debug)]
struct Request {
    path: String,
    problems: Vec<String>,
    connected: bool,
    status: WatchStatus,
    at: Duration,
}

struct Outcome {
    /// One for each reply, and the one after the last.
    requests: Vec<Request>,
    /// The events, in short.
    events: Vec<String>,
}

/// Reads Services from an API server that sends these replies, until it receives one more request.
async fn reflect(replies: Vec<Reply>) -> Outcome {
    reflect_within((ResourceScope::new(Kind::Service, &Selection::default()), None), replies).await
}

/// The same, of a scope and the one that is read where it is forbidden.
async fn reflect_within(scopes: (ResourceScope, Option<ResourceScope>), replies: Vec<Reply>) -> Outcome {
    let kind = Kind::Service;
    let registry = Registry::new();
    let reports = Reports::new(&registry);
    let (events, mut queue) = mpsc::channel(1024);
    let (_writer, wanted) = watch::channel(Kinds::of(&[kind]));
    let statuses = watch::Sender::new(WatchStatuses::default());
    let sink = EventSink {
        events,
        in_bursts: Arc::new(tokio::sync::Semaphore::new(1024)),
        wanted,
        statuses,
        metrics: SourceMetrics::new(&registry),
    };
    let (replies, requests) =
        (Arc::new(Mutex::new(VecDeque::from(replies))), Arc::new(Mutex::new(Vec::new())));
    let done = Arc::new(Notify::new());
    let begun = Instant::now();
    let service = {
        let (sink, reports, requests, done) = (sink.clone(), reports.clone(), requests.clone(), done.clone());
        tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let problems = reports.current().into_iter().map(|(_, problem)| problem.to_string()).collect();
            requests.lock().unwrap().push(Request {
                path: request.uri().to_string(),
                problems,
                connected: registry.text().contains("portolan_source_connected{kind=\"Service\"} 1"),
                status: sink.status(kind),
                at: begun.elapsed(),
            });
            let reply = replies.lock().unwrap().pop_front();
            let done = done.clone();
            async move {
                match reply {
                    Some(reply) => reply.response(),
                    None => {
                        done.notify_one();
                        pending().await
                    }
                }
            }
        })
    };
    let client = Client::new(service, "default");
    let api = ApiClient::of(Access::InCluster, client, "https://server".into(), "server".into());
    let server = ServerState::new("https://server".into(), Remedy::default(), reports.clone());
    let reflector = tokio::spawn(Reflector::new(api, server, scopes, sink, reports.clone()).run());
    done.notified().await;
    reflector.abort();
    let _aborted = reflector.await;
    let mut events = Vec::new();
    let queued = std::iter::from_fn(|| queue.try_recv().ok()).flat_map(|message| match message {
        Message::Event(event) => vec![event],
        Message::Burst { events, .. } => events,
        Message::ViewDropped => Vec::new(),
    });
    for queued in queued {
        events.push(match queued.event {
            Event::Apply(object) => format!("+{}", object.key().name),
            Event::Remove(_, key) => format!("-{}", key.name),
            Event::Keep(_, key) => format!("={}", key.name),
            Event::Restart(_) => "[".into(),
            Event::Synced(_) => "]".into(),
            Event::Forget(_) => "forget".into(),
        });
    }
    let requests = std::mem::take(&mut *requests.lock().unwrap());
    Outcome { requests, events }
}

fn object(name: &str, version: u32, spec: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"shop","resourceVersion":"{version}"}},"spec":{spec}}}"#
    )
}

fn added(name: &str, version: u32) -> String {
    line("ADDED", &object(name, version, "{}"))
}

fn line(what: &str, object: &str) -> String {
    format!("{{\"type\":\"{what}\",\"object\":{object}}}\n")
}

/// The reply to a list of one object, at this version.
fn first_of_list(version: u32) -> Reply {
    let first = object("first", 1, "{}");
    Reply::End(vec![format!(
        r#"{{"metadata":{{"resourceVersion":"{version}","continue":"more"}},"items":[{first}]}}"#
    )])
}

/// The bookmark that ends a streaming list.
fn synced(version: u32) -> String {
    let annotations = r#"{"k8s.io/initial-events-end":"true"}"#;
    line(
        "BOOKMARK",
        &format!(r#"{{"metadata":{{"resourceVersion":"{version}","annotations":{annotations}}}}}"#),
    )
}

fn bookmark(version: u32) -> String {
    line("BOOKMARK", &format!(r#"{{"metadata":{{"resourceVersion":"{version}"}}}}"#))
}

fn since(request: &Request) -> &str {
    request.path.split_once("resourceVersion=").map_or("", |(_, version)| version)
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_continues_at_its_last_version() {
    let Outcome { requests, events } = reflect(vec![
        Reply::Silence(vec![added("a", 5), synced(7)]),
        first_of_list(7),
        Reply::Silence(vec![added("b", 9)]),
        first_of_list(12),
        Reply::Silence(vec![]),
        first_of_list(12),
    ])
    .await;
    assert_eq!(events, ["[", "+a", "]", "+b"]);
    let (checks, requests): (Vec<_>, Vec<_>) =
        requests.into_iter().partition(|request| request.path.contains("limit=1"));
    assert_eq!(checks.len(), 3, "each continued watch is preceded by one check");
    assert_eq!(requests.iter().map(since).collect::<Vec<_>>(), ["", "7", "9", "9"]);
    for request in &requests[1..] {
        assert_eq!((request.connected, &request.status), (true, &WatchStatus::Synced), "{request:?}");
        assert!(request.problems.is_empty(), "{request:?}");
    }
    for pair in requests.windows(2) {
        let silence = pair[1].at - pair[0].at;
        assert!(silence >= SILENCE.mul_f64(0.8) && silence <= SILENCE.mul_f64(1.2), "{silence:?}");
    }
}

/// A server restored from a backup accepts a watch from a version that it has not reached, and sends nothing.
#[tokio::test(start_paused = true)]
async fn a_server_that_counts_from_an_earlier_version_is_listed_again() {
    let broken = || vec![added("a", 500), synced(700), line("ERROR", r#"{"code":500,"message":"broken"}"#)];
    // The check follows a silent watch, and a watch that broke.
    for before in [Reply::Silence(vec![added("a", 500), synced(700)]), Reply::End(broken())] {
        let Outcome { requests, events } =
            reflect(vec![before, first_of_list(90), Reply::Silence(vec![added("b", 80), synced(91)])]).await;
        assert_eq!(events, ["[", "+a", "]", "[", "+b", "]"]);
        assert!(requests[1].path.ends_with("?limit=1"), "{requests:#?}");
        assert!(requests[2].path.contains("sendInitialEvents"), "{requests:#?}");
    }
}

/// Its versions may have caught up meanwhile, so that the versions do not show that its history is another.
#[tokio::test(start_paused = true)]
async fn a_kind_is_listed_again_after_an_outage() {
    let Outcome { requests, events } = reflect(vec![
        Reply::End(vec![added("a", 5), synced(7), line("ERROR", r#"{"code":500,"message":"broken"}"#)]),
        Reply::Refuse,
        Reply::Status(503, "starting".into()),
        Reply::Silence(vec![added("b", 6), synced(9)]),
    ])
    .await;
    assert_eq!(events, ["[", "+a", "]", "[", "+b", "]"]);
    assert!(requests[1].path.ends_with("?limit=1"), "{requests:#?}");
    for listed in &requests[2..4] {
        assert!(listed.path.contains("sendInitialEvents"), "{requests:#?}");
    }
}

/// A server that is away for an hour gets a request every few seconds, and the state is read again as soon as it is back.
#[tokio::test(start_paused = true)]
async fn an_outage_of_an_hour_costs_a_thousand_requests_and_no_object() {
    const FAILED: usize = 1000;
    let mut replies = vec![Reply::End(vec![added("a", 5), added("b", 6), synced(7)])];
    replies.extend((0..FAILED).map(|_| Reply::Refuse));
    replies.push(Reply::Silence(vec![added("b", 6), added("c", 8), synced(9)]));
    let Outcome { requests, events } = reflect(replies).await;
    assert_eq!(events, ["[", "+a", "+b", "]", "[", "+b", "+c", "]"]);
    let away = requests[FAILED + 1].at - requests[1].at;
    assert!((3000..=5000).contains(&away.as_secs()), "{away:?} for {FAILED} requests");
    let longest = requests.windows(2).map(|pair| pair[1].at - pair[0].at).take(FAILED + 1).max();
    assert!(longest <= Some(Duration::from_secs(5)), "{longest:?}");
    assert_eq!(requests[FAILED + 1].problems.len(), 1, "it is reported until it is back");
    assert!(requests[FAILED + 2].problems.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_role_that_allows_no_list_does_not_end_a_watch() {
    let Outcome { requests, events } = reflect(vec![
        Reply::Silence(vec![synced(7)]),
        Reply::Status(403, r#"{"message":"services is forbidden","code":403}"#.into()),
        Reply::Silence(vec![added("a", 8)]),
    ])
    .await;
    assert_eq!(events, ["[", "]", "+a"]);
    assert_eq!(since(&requests[2]), "7", "{requests:#?}");
    assert!(requests[3].problems.is_empty(), "{requests:#?}");
}

#[test]
fn versions_that_are_no_numbers_are_not_compared() {
    for (version, other, before) in
        [("9", "10", true), ("10", "9", false), ("9", "9", false), ("a", "b", false), ("", "7", false)]
    {
        assert_eq!(is_before(version, other), before, "{version} {other}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_visible_until_the_server_is_back() {
    let Outcome { requests, events } = reflect(vec![
        Reply::Refuse,
        Reply::Refuse,
        Reply::End(vec![added("a", 5), synced(7), bookmark(8)]),
        Reply::Refuse,
        Reply::Refuse,
        Reply::Silence(vec![added("a", 5), synced(9)]),
    ])
    .await;
    assert_eq!(events, ["[", "+a", "]", "[", "+a", "]"]);
    let seen: Vec<_> = requests.iter().map(|request| (request.connected, request.problems.len())).collect();
    assert_eq!(
        seen,
        [(false, 0), (false, 0), (false, 1), (true, 0), (false, 0), (false, 1), (true, 0)],
        "{requests:#?}"
    );
    let (first, second) = (&requests[2].problems[0], &requests[5].problems[0]);
    assert!(first.starts_with("API server https://server: unreachable since "), "{first}");
    assert!(first.ends_with(" (connection refused); nothing has been read yet"), "{first}");
    assert!(second.ends_with(" (connection refused); serving the last known state"), "{second}");
}

#[tokio::test(start_paused = true)]
async fn rejected_credentials_are_reported_as_such() {
    let refused = || Reply::Status(401, r#"{"message":"Unauthorized","code":401}"#.into());
    let Outcome { requests, .. } = reflect(vec![refused(), refused(), Reply::Silence(vec![synced(7)])]).await;
    let problem_text = &requests[2].problems[0];
    assert!(problem_text.contains("our credentials are refused since "), "{problem_text}");
    assert!(problem_text.contains("(401: Unauthorized)"), "{problem_text}");
    assert!(requests[3].problems.is_empty(), "{requests:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_request_is_reported_with_verb_and_resource_and_repeated() {
    let forbidden = || Reply::Status(403, r#"{"message":"services is forbidden","code":403}"#.into());
    let Outcome { requests, events } =
        reflect(vec![forbidden(), Reply::Silence(vec![added("a", 5), synced(7)])]).await;
    assert_eq!(
        requests[1].problems,
        [
            "Service: watch: 403: services is forbidden; wanted a role that may list and watch services in the whole cluster, \
             as those that `portolan reference rbac` prints"
        ]
    );
    assert!(!requests[1].connected);
    assert!(matches!(requests[1].status, WatchStatus::Forbidden { verb: "watch", .. }));
    assert!(requests[2].problems.is_empty() && requests[2].connected, "{requests:#?}");
    assert_eq!(events, ["[", "+a", "]"]);
}

#[tokio::test(start_paused = true)]
async fn what_may_be_read_is_read_where_a_role_does_not_allow_all() {
    let forbidden = || Reply::Status(403, r#"{"message":"services is forbidden","code":403}"#.into());
    let shop = Selection { namespace: Some("shop".into()), ..Selection::default() };
    let [all, shop] = [&Selection::default(), &shop].map(|one| ResourceScope::new(Kind::Service, one));
    let list = || Reply::Silence(vec![added("a", 5), synced(7)]);
    let Outcome { requests, events } = reflect_within(
        (all, Some(shop)),
        vec![
            forbidden(),
            forbidden(),
            forbidden(),
            list(),
            // The check after the silence, the watch, and both again.
            forbidden(),
            forbidden(),
            first_of_list(7),
            list(),
        ],
    )
    .await;
    let in_shop: Vec<_> = requests.iter().map(|request| request.path.contains("/shop/")).collect();
    // Once listed, a scope is kept: a server that restarts forbids everything for a moment.
    assert_eq!(in_shop, [false, true, false, true, true, true, true, true, true], "{requests:#?}");
    assert!(requests[1].problems.is_empty(), "{requests:#?}");
    assert!(requests[2].problems[0].contains("services in namespace shop"), "{requests:#?}");
    assert_eq!(requests[0].at, requests[1].at, "at once");
    assert_eq!(events[..3], ["[", "+a", "]"]);
}

#[tokio::test(start_paused = true)]
async fn an_undecodable_object_keeps_its_last_version_and_is_reported_until_it_is_valid() {
    let bad = object("bad", 6, r#"{"clusterIP":"ten"}"#);
    let expired = line("ERROR", r#"{"code":410,"message":"too old"}"#);
    let list = |items: &[String]| {
        format!(r#"{{"metadata":{{"resourceVersion":"20"}},"items":[{}]}}"#, items.join(","))
    };
    let Outcome { requests, events } = reflect(vec![
        Reply::Silence(vec![added("a", 4), added("bad", 5), synced(7)]),
        first_of_list(7),
        Reply::End(vec![line("MODIFIED", &bad), expired]),
        // A streaming list, then the same by pages.
        Reply::Silence(vec![added("a", 4), line("ADDED", &bad), synced(9)]),
        Reply::Status(400, "the watch is refused".into()),
        Reply::Status(400, "streaming lists are unknown".into()),
        Reply::End(vec![list(&[object("a", 4, "{}"), bad])]),
        Reply::Silence(vec![line("MODIFIED", &object("bad", 30, "{}"))]),
    ])
    .await;
    assert_eq!(
        events,
        ["[", "+a", "+bad", "]", "=bad", "[", "+a", "=bad", "]", "[", "+a", "=bad", "]", "+bad"],
        "{requests:#?}"
    );
    let problem_text: Vec<_> = requests.iter().map(|request| request.problems.join("|")).collect();
    let problem = r#"Service shop/bad: spec.clusterIP: "ten"; wanted an IP address or "None""#;
    assert_eq!(problem_text, ["", "", "", problem, problem, problem, problem, problem, ""]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_watches_at_once_gets_no_tight_loop_of_requests() {
    for with_news in [true, false] {
        let mut replies = vec![Reply::End(vec![synced(7)])];
        replies.extend(
            (8..40).map(|version| {
                Reply::End(if with_news { vec![bookmark(version)] } else { vec![bookmark(7)] })
            }),
        );
        let Outcome { requests, .. } = reflect(replies).await;
        let (last, first) = (&requests[requests.len() - 1], &requests[0]);
        assert!((last.at - first.at) > Duration::from_secs(2), "{with_news}: {last:?}");
        assert_eq!(last.problems, ["Service: watch: the server ends watches at once"], "{with_news}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_names_itself_as_the_next_ends_the_list() {
    let page = r#"{"metadata":{"resourceVersion":"20","continue":"again"},"items":[]}"#;
    let page = || Reply::End(vec![page.to_owned()]);
    let Outcome { requests, events } = reflect(vec![
        Reply::Status(400, "streaming lists are unknown".into()),
        page(),
        page(),
        Reply::Silence(vec![]),
    ])
    .await;
    assert_eq!(events, ["[", "["], "the list never ends");
    assert!(
        matches!(&requests[3].status, WatchStatus::Retrying(error) if error.contains("is its own")),
        "{requests:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_of_fifty_megabytes_is_left_out_and_reported() {
    let padding = "x".repeat(1 << 20);
    let mut pieces = vec![added("a", 4), r#"{"type":"ADDED","object":{"metadata":{"name":""#.to_owned()];
    pieces.extend(std::iter::repeat_n(padding, 50));
    pieces.extend(["\"}}}\n".to_owned(), added("b", 5), synced(7)]);
    let Outcome { requests, events } = reflect(vec![Reply::Silence(pieces)]).await;
    assert_eq!(events, ["[", "+a", "+b", "]"]);
    let problem_text = &requests[1].problems[0];
    assert!(problem_text.starts_with("Service (name unknown): "), "{problem_text}");
    assert!(
        problem_text.ends_with("; wanted an object of at most 16 MiB") && problem_text.len() < 500,
        "{problem_text}"
    );
}
