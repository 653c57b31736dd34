//! Writes Events about Ingresses and other objects.

mod correlator;

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;

use cluster::{Key, Kind};
use foldhash::fast::RandomState;
use ingress_routes::{Effect, RoutingProblem};
use jiff::Timestamp;
use serde_json::{Value, json};
use telemetry::Reports;
use telemetry::metrics::Counter;
use tokio::time::{Instant, sleep_until};

use self::correlator::{Correlator, EventAction, EventText};
use crate::api::{Api, MERGE_PATCH};
use crate::problems::ProblemReport;
use crate::token_bucket::TokenBucket;

/// The component that ingress-nginx names as the source of its Events.
const COMPONENT: &str = "nginx-ingress-controller";

/// Events a second in the long run, and at once.
const RATE: f64 = 20.0;
const BURST: u32 = 100;

/// Events that wait, as in client-go's broadcaster.
const QUEUE: usize = 1000;

/// Length of a message in bytes.
const MAX_MESSAGE: usize = 1024;

/// Queues and writes Events.
pub(crate) struct EventWriter {
    api: Api,
    correlator: Correlator,
    bucket: TokenBucket,
    hasher: RandomState,
    /// Hashes of the problems that have been said.
    said: HashSet<u64, RandomState>,
    warnings: VecDeque<EventText>,
    normal: VecDeque<EventText>,
    dropped: Counter,
    report: ProblemReport,
}

impl EventWriter {
    pub(crate) fn new(api: Api, dropped: Counter, reports: &Reports) -> Self {
        Self {
            api,
            correlator: Correlator::default(),
            bucket: TokenBucket::new(RATE, BURST, Instant::now()),
            hasher: RandomState::default(),
            said: HashSet::default(),
            warnings: VecDeque::new(),
            normal: VecDeque::new(),
            dropped,
            report: ProblemReport::new(reports, "Event", ""),
        }
    }

    /// Queues `Sync` for an Ingress that is served in a new version. Beyond the bound it is dropped.
    pub(crate) fn sync(&mut self, key: Key) {
        if self.normal.len() >= QUEUE {
            self.dropped.inc();
            return;
        }
        let message = "Scheduled for sync".to_owned();
        self.normal.push_back(EventText {
            kind: Kind::Ingress,
            key,
            is_warning: false,
            reason: "Sync",
            message,
        });
    }

    /// Queues a Warning for each problem that is new. One that finds no place in the queue is new again the next time.
    pub(crate) fn problems(&mut self, problems: impl IntoIterator<Item = RoutingProblem>, prefix: &str) {
        let mut current = HashSet::with_hasher(RandomState::default());
        for problem in problems {
            // Requests are served as configured: nothing to warn of.
            if problem.effect == Effect::Cosmetic {
                continue;
            }
            let hash = self.hasher.hash_one(&problem);
            if self.said.contains(&hash) {
                current.insert(hash);
            } else if self.warnings.len() < QUEUE && current.insert(hash) {
                self.warnings.push_back(warning(problem, prefix));
            }
        }
        self.said = current;
    }

    /// Writes up to `count` of the queued Events, warnings first. Returns whether more are queued.
    pub(crate) async fn write(&mut self, count: usize, uid: impl Fn(&Key) -> String) -> bool {
        for _ in 0..count {
            let Some(event) = self.warnings.pop_front().or_else(|| self.normal.pop_front()) else {
                return false;
            };
            let Some(action) = self.correlator.correlate(&event, Instant::now(), Timestamp::now()) else {
                self.dropped.inc();
                continue;
            };
            let uid = if event.kind == Kind::Ingress { uid(&event.key) } else { String::new() };
            self.perform(&event, action, &uid).await;
        }
        !(self.warnings.is_empty() && self.normal.is_empty())
    }

    async fn perform(&mut self, event: &EventText, action: EventAction, uid: &str) {
        sleep_until(self.bucket.reserve(Instant::now())).await;
        let list = format!("/api/v1/namespaces/{}/events", namespace(event));
        let now = Timestamp::now();
        let result = match &action {
            EventAction::Create { name, message } => {
                self.api.create(&list, &object(event, name, message, 1, (now, now), uid)).await
            }
            EventAction::Count { name, message, count, .. } => {
                let patch = json!({"count": count, "message": message, "lastTimestamp": time(now)});
                self.api.patch(&format!("{list}/{name}"), MERGE_PATCH, &patch).await
            }
        };
        let result = match (result, &action) {
            // It has expired, or was deleted.
            (Err(error), EventAction::Count { name, message, count, first }) if error.status == 404 => {
                sleep_until(self.bucket.reserve(Instant::now())).await;
                self.api.create(&list, &object(event, name, message, *count, (*first, now), uid)).await
            }
            (result, _) => result,
        };
        match result {
            Ok(_) => self.report.solved(),
            // The namespace is being deleted, or another object has the name.
            Err(error) if matches!(error.status, 404 | 409) => {}
            Err(error) => {
                if let EventAction::Create { name, .. } = &action {
                    self.correlator.forget(name);
                }
                self.dropped.inc();
                self.report.failed(&error, "Events are not written");
            }
        }
    }
}

/// Objects without a namespace have their Events in `default`.
fn namespace(event: &EventText) -> &str {
    if event.key.namespace.is_empty() { "default" } else { &event.key.namespace }
}

fn object(
    event: &EventText,
    name: &str,
    message: &str,
    count: u32,
    (first, last): (Timestamp, Timestamp),
    uid: &str,
) -> Value {
    let EventText { kind, key, is_warning, reason, .. } = event;
    let mut involved =
        json!({"apiVersion": kind.api_version(), "kind": kind.name(), "name": key.name.as_str()});
    for (field, text) in [("namespace", key.namespace.as_str()), ("uid", uid)] {
        if !text.is_empty() {
            involved[field] = text.into();
        }
    }
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"namespace": namespace(event), "name": name},
        "involvedObject": involved,
        "type": if *is_warning { "Warning" } else { "Normal" },
        "reason": reason, "message": message, "count": count,
        "firstTimestamp": time(first), "lastTimestamp": time(last),
        "source": {"component": COMPONENT}, "reportingComponent": COMPONENT, "reportingInstance": "",
    })
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn warning(problem: RoutingProblem, prefix: &str) -> EventText {
    let reason = reason(&problem, prefix);
    let RoutingProblem { kind, key, field, what, effect } = problem;
    let colon = if field.is_empty() { "" } else { ": " };
    let mut message = format!("{field}{colon}{what}{}", effect.suffix());
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE - '…'.len_utf8()).rev().find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or_default());
        message.push('…');
    }
    EventText { kind, key, is_warning: true, reason, message }
}

/// The reason of a Warning. That of annotations is ingress-nginx's.
fn reason(problem: &RoutingProblem, prefix: &str) -> &'static str {
    let is_annotation =
        problem.kind == Kind::Ingress && (problem.field.starts_with(prefix) || problem.field.is_empty());
    match problem.effect {
        Effect::Closed | Effect::LeftOut | Effect::IngressLeftOut | Effect::DefaultUsed if is_annotation => {
            "AnnotationParsingFailed"
        }
        Effect::Closed | Effect::ClosesOthers => "RoutesClosed",
        Effect::LeftOut | Effect::Ignored | Effect::IngressLeftOut => "LeftOut",
        Effect::DefaultUsed => "DefaultUsed",
        Effect::Differs | Effect::Cosmetic => "NotHonoured",
    }
}

#[cfg(test)]
mod tests {
    use telemetry::metrics::Registry;

    use super::*;
    use crate::testing::FakeApi;

    const PREFIX: &str = "nginx.ingress.kubernetes.io";

    fn writer(api: &FakeApi) -> EventWriter {
        let registry = Registry::new();
        let dropped = registry.counter("dropped", "Dropped.");
        EventWriter::new(api.client(), dropped, &Reports::new(&registry))
    }

    fn problem(name: &str, effect: Effect) -> RoutingProblem {
        let field = format!("{PREFIX}/canary-weight");
        RoutingProblem::of_ingress(&Key::new("shop", name), field, "\"x\" should be a number", effect)
    }

    #[tokio::test(start_paused = true)]
    async fn a_problem_is_said_once_while_it_lasts_and_again_when_it_returns() {
        let api = FakeApi::default();
        let mut writer = writer(&api);
        let uid = |_: &Key| "7".to_owned();
        for problems in [1, 1, 0, 1] {
            writer.problems(vec![problem("web", Effect::DefaultUsed); problems], PREFIX);
            assert!(!writer.write(100, uid).await);
        }
        let events = api.objects("/events/");
        assert_eq!(events.len(), 1, "{events:?}");
        let event = &events[0];
        assert_eq!(event["count"], 2);
        assert_eq!(event["type"], "Warning");
        assert_eq!(event["reason"], "AnnotationParsingFailed");
        assert_eq!(event["involvedObject"]["uid"], "7");
        assert_eq!(
            event["message"],
            "nginx.ingress.kubernetes.io/canary-weight: \"x\" should be a number; its default is used"
        );
        assert_eq!(api.requests().len(), 2, "{:?}", api.requests());
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_event_is_created_again() {
        let api = FakeApi::default();
        let mut writer = writer(&api);
        writer.sync(Key::new("shop", "web"));
        writer.write(1, |_| String::new()).await;
        api.objects("/events/").iter().for_each(|event| {
            api.remove(&format!(
                "/api/v1/namespaces/shop/events/{}",
                event["metadata"]["name"].as_str().unwrap()
            ));
        });
        writer.sync(Key::new("shop", "web"));
        writer.write(1, |_| String::new()).await;
        let events = api.objects("/events/");
        assert_eq!((events.len(), &events[0]["count"], &events[0]["reason"]), (1, &json!(2), &json!("Sync")));
    }

    #[tokio::test(start_paused = true)]
    async fn twenty_thousand_ingresses_cause_a_bounded_number_of_requests() {
        let api = FakeApi::default();
        let mut writer = writer(&api);
        (0..20_000).for_each(|number| writer.sync(Key::new("shop", format!("web-{number}"))));
        let start = Instant::now();
        while writer.write(100, |_| String::new()).await {}
        assert_eq!(api.requests().len(), QUEUE);
        assert_eq!(writer.dropped.value(), 19_000);
        assert!(start.elapsed().as_secs() >= 44, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn warnings_come_first_and_all_of_them_in_time() {
        let api = FakeApi::default();
        let mut writer = writer(&api);
        writer.sync(Key::new("shop", "synced"));
        let problems = || (0..2500).map(|number| problem(&format!("web-{number}"), Effect::Closed));
        for _ in 0..100 {
            writer.problems(problems(), PREFIX);
            writer.write(100, |_| String::new()).await;
        }
        assert_eq!(api.objects("/events/").len(), 2501);
        let first = api.requests().iter().position(|request| request.starts_with("POST")).unwrap();
        assert_eq!(first, 0);
        assert_eq!(writer.dropped.value(), 0);
    }

    #[test]
    fn the_reason_tells_the_consequence() {
        let key = Key::new("shop", "web");
        let of = |field: &str, effect| reason(&RoutingProblem::of_ingress(&key, field, "", effect), PREFIX);
        assert_eq!(of("nginx.ingress.kubernetes.io/auth-url", Effect::Closed), "AnnotationParsingFailed");
        assert_eq!(of("spec.rules[0].host", Effect::LeftOut), "LeftOut");
        assert_eq!(of("spec.rules[0].host", Effect::Closed), "RoutesClosed");
        assert_eq!(of("nginx.ingress.kubernetes.io/x", Effect::Differs), "NotHonoured");
        let long = warning(RoutingProblem::of_ingress(&key, "é".repeat(2000), "", Effect::Closed), PREFIX);
        assert!(long.message.len() <= MAX_MESSAGE && long.message.ends_with('…'));
    }
}
