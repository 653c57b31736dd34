use std::sync::mpsc as signal;
use std::time::Duration;

use cluster::{Key, Namespace, Object, Service, ServiceKind};
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::testing::Reads;

/// How long a test waits for a signal before it fails.
const LONG: Duration = Duration::from_secs(20);

/// The names of all namespaces, and how many views there have been.
struct Names;

impl Projection for Names {
    type View = (usize, Vec<String>);

    fn kinds(&self) -> Kinds {
        Kinds::of(&[Kind::Namespace])
    }

    fn build(&self, cluster: &Snapshot) -> Self::View {
        let mut names: Vec<_> =
            cluster.iter::<Namespace>().map(|namespace| namespace.key.name.to_string()).collect();
        names.sort();
        (1, names)
    }

    fn advance(&self, last: &Self::View, cluster: &Snapshot, _: &[ObjectChange]) -> Self::View {
        (last.0 + 1, self.build(cluster).1)
    }
}

fn namespace(name: &str) -> Event {
    Event::Apply(Object::Namespace(Arc::new(Namespace { key: Key::cluster(name), labels: vec![] })))
}

/// A cluster, its view of names, and a signal after each batch that changed something.
fn started() -> (Cluster, Current<<Names as Projection>::View>, signal::Receiver<usize>) {
    let cluster = Cluster::start(&Registry::new()).unwrap();
    let names = cluster.project(Names);
    let (batch, batches) = signal::channel();
    cluster.observe(move |_, touched| batch.send(touched.len()).unwrap());
    (cluster, names, batches)
}

fn send(cluster: &Cluster, events: impl IntoIterator<Item = Event>) {
    for event in events {
        futures_util::FutureExt::now_or_never(cluster.sink().send(event))
            .expect("the queue has room")
            .unwrap();
    }
}

#[test]
fn a_single_event_is_published_without_waiting_for_another() {
    let (cluster, names, batches) = started();
    send(&cluster, [namespace("shop")]);
    assert_eq!(batches.recv_timeout(LONG), Ok(1));
    assert_eq!(**names.load(), (2, vec!["shop".to_owned()]));
}

#[test]
fn a_burst_of_events_results_in_few_views() {
    let (cluster, names, batches) = started();
    // During `read` the writer waits with its current batch, and the events that arrive meanwhile become the next batch.
    cluster.read(|_| send(&cluster, (0..1000).map(|number| namespace(&number.to_string()))));
    let mut seen = 0;
    while seen < 1000 {
        seen += batches.recv_timeout(LONG).expect("all thousand must come");
    }
    let (views, names) = &**names.load();
    assert_eq!(names.len(), 1000);
    assert!(*views <= 3, "the first view, one of the batch before `read` ended, one of the rest: {views}");
}

#[test]
fn a_first_list_is_published_when_it_ends_and_does_not_delay_other_kinds() {
    let (cluster, names, batches) = started();
    send(&cluster, [Event::Restart(Kind::Namespace), namespace("a")]);
    let class = cluster::IngressClass { key: Key::cluster("nginx"), controller: "x".into(), default: false };
    send(&cluster, [Event::Apply(Object::IngressClass(Arc::new(class)))]);
    assert_eq!(batches.recv_timeout(LONG), Ok(1), "the class");
    assert_eq!(names.load().0, 1, "an incomplete view is not published");
    send(&cluster, [namespace("b"), Event::Synced(Kind::Namespace)]);
    assert_eq!(batches.recv_timeout(LONG), Ok(2), "both namespaces at once");
    assert_eq!(names.load().1, ["a", "b"]);
}

#[test]
fn objects_of_a_later_list_are_published_before_it_ends() {
    let (cluster, names, batches) = started();
    send(&cluster, [Event::Restart(Kind::Namespace), namespace("a"), Event::Synced(Kind::Namespace)]);
    assert_eq!(batches.recv_timeout(LONG), Ok(1));
    send(&cluster, [Event::Restart(Kind::Namespace), namespace("b")]);
    assert_eq!(batches.recv_timeout(LONG), Ok(1));
    assert_eq!(names.load().1, ["a", "b"], "old objects stay until the list ends");
    send(&cluster, [Event::Synced(Kind::Namespace)]);
    assert_eq!(batches.recv_timeout(LONG), Ok(1));
    assert_eq!(names.load().1, ["b"]);
}

#[test]
fn an_endless_first_list_is_published_in_chunks() {
    let mut lists = InitialLists::default();
    let snapshot = Snapshot::default();
    let mut batch = Vec::new();
    lists.pass(Event::Restart(Kind::Namespace), &snapshot, &mut batch);
    for number in 0..CHUNK.start() - 2 {
        lists.pass(namespace(&number.to_string()), &snapshot, &mut batch);
    }
    assert_eq!(batch.len(), 0);
    lists.pass(namespace("last"), &snapshot, &mut batch);
    assert_eq!(batch.len(), *CHUNK.start());
}

#[test]
fn the_chunks_of_a_first_list_grow_with_what_is_published() {
    let (mut lists, mut cache) = (InitialLists::default(), Cache::default());
    let (mut batch, mut chunks) = (Vec::new(), Vec::new());
    lists.pass(Event::Restart(Kind::Namespace), cache.snapshot(), &mut batch);
    for number in 0..100_000 {
        lists.pass(namespace(&number.to_string()), cache.snapshot(), &mut batch);
        if !batch.is_empty() {
            chunks.push(batch.len());
            cache.apply(batch.drain(..), 0);
        }
    }
    // `Restart` is an event of the first.
    assert_eq!(chunks, [8_192, 8_192, 16_383, 32_766, 32_768]);
}

#[test]
fn a_projection_adds_its_kinds_to_those_that_are_read() {
    let cluster = Cluster::start(&Registry::new()).unwrap();
    let wanted = cluster.sink().wanted();
    assert_eq!(*wanted.borrow(), Kinds::default());
    let _names = cluster.project(Names);
    let _secrets = cluster.project(Reads(Kinds::of(&[Kind::Secret])));
    assert_eq!(*wanted.borrow(), Kinds::of(&[Kind::Namespace, Kind::Secret]));
}

#[test]
fn a_kind_without_readers_is_dropped_at_once() {
    let (cluster, names, batches) = started();
    let mut wanted = cluster.sink().wanted();
    let _secrets = cluster.project(Reads(Kinds::of(&[Kind::Secret])));
    send(&cluster, [Event::Restart(Kind::Namespace), namespace("shop"), Event::Synced(Kind::Namespace)]);
    assert_eq!(batches.recv_timeout(LONG), Ok(1));
    let kinds = Kinds::of(&[Kind::Namespace]);
    assert!(cluster.read(|snapshot| snapshot.synced(kinds)));
    let copy = names.clone();
    drop(names);
    drop(copy);
    // No event arrives, as in a cluster without changes.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let fewer = async { wanted.wait_for(|wanted| *wanted == Kinds::of(&[Kind::Secret])).await.map(|_| ()) };
    runtime.block_on(async { tokio::time::timeout(LONG, fewer).await }).unwrap().unwrap();
    send(&cluster, [Event::Forget(Kind::Namespace)]);
    assert_eq!(batches.recv_timeout(LONG), Ok(1));
    assert!(cluster.read(|snapshot| snapshot.count(Kind::Namespace) == 0 && !snapshot.synced(kinds)));
    let again = cluster.project(Names);
    assert_eq!(*wanted.borrow(), Kinds::of(&[Kind::Namespace, Kind::Secret]));
    send(&cluster, [Event::Restart(Kind::Namespace), namespace("shop"), Event::Synced(Kind::Namespace)]);
    assert_eq!(batches.recv_timeout(LONG), Ok(1));
    assert_eq!(**again.load(), (2, vec!["shop".to_owned()]));
}

#[test]
fn the_writer_ends_with_its_last_handle() {
    let cluster = Cluster::start(&Registry::new()).unwrap();
    let (done, ended) = signal::channel::<()>();
    // The observer, and with it the sender, lives as long as the writer.
    cluster.observe(move |_, _| {
        let _ = &done;
    });
    drop(cluster);
    assert_eq!(ended.recv_timeout(LONG), Err(signal::RecvTimeoutError::Disconnected));
}

#[test]
fn a_change_of_endpoints_is_timed_once_its_view_is_published() {
    let registry = Registry::new();
    let cluster = Cluster::start(&registry).unwrap();
    cluster.measure_programming(&registry);
    let (batch, batches) = signal::channel();
    cluster.observe(move |_, touched| batch.send(touched.len()).unwrap());
    let wait_until = |seen: &dyn Fn(&Snapshot) -> bool| {
        while !cluster.read(seen) {
            batches.recv_timeout(LONG).unwrap();
        }
    };
    let sink = cluster.sink();
    let slice = |service: &str, zone: &str, since: &str| {
        let slice = cluster::EndpointSlice {
            key: Key::new("shop", format!("{service}-1")),
            service: service.into(),
            import: None,
            aliases: Box::default(),
            ports: Default::default(),
            endpoints: Default::default(),
            zones: [zone.into()].into(),
        };
        let event = Event::Apply(Object::EndpointSlice(Arc::new(slice)));
        let sent = sink.send_triggered(event, since.into());
        futures_util::FutureExt::now_or_never(sent).expect("the queue has room").unwrap();
    };
    let service = |name: &str, kind: ServiceKind| {
        let service = Service {
            key: Key::new("shop", name),
            kind,
            ports: Default::default(),
            external: Box::default(),
            prefers_own_zone: false,
        };
        Event::Apply(Object::Service(Arc::new(service)))
    };
    let services =
        [service("web", ServiceKind::ClusterIp(Default::default())), service("db", ServiceKind::Headless)];
    send(&cluster, services);
    send(&cluster, [Event::Restart(Kind::EndpointSlice)]);
    let ago = |seconds| (Timestamp::now() - SignedDuration::from_secs(seconds)).to_string();
    slice("web", "in the first list", &ago(3600));
    send(&cluster, [Event::Synced(Kind::EndpointSlice)]);
    wait_until(&|snapshot| snapshot.synced(Kinds::of(&[Kind::EndpointSlice])));
    slice("web", "in the first list", &ago(3600));
    slice("web", "changed", &ago(3));
    slice("web", "by hand", "");
    slice("web", "with an invalid time", "yesterday");
    slice("db", "new", &ago(100));
    slice("db", "ahead of our clock", &ago(-100));
    slice("without-service", "new", &ago(3));
    slice("last", "new", "");
    let last = Key::new("shop", "last-1");
    wait_until(&|snapshot| snapshot.get::<cluster::EndpointSlice>(&last).is_some());
    let text = registry.text();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("programming")).collect();
    let buckets = |kind: &str| -> String {
        let of_kind = format!("service_kind=\"{kind}\"");
        let lines = lines.iter().filter(|line| line.contains("_bucket") && line.contains(&of_kind));
        lines.map(|line| line.rsplit(' ').next().unwrap()).collect()
    };
    assert_eq!(
        lines[..2],
        [
            "# HELP coredns_kubernetes_dns_programming_duration_seconds Histogram of the time (in seconds) it took to program a dns instance.",
            "# TYPE coredns_kubernetes_dns_programming_duration_seconds histogram",
        ]
    );
    // 3 s is above 2.048 s; 100 s above 65.536 s.
    assert_eq!(buckets("cluster_ip"), "000000000000111111111", "{text}");
    assert_eq!(buckets("headless_with_selector"), "111111111111111112222", "{text}");
    assert!(lines.iter().any(|line| line.contains("le=\"524.288\"")), "{text}");
}

#[test]
fn batches_events_and_objects_are_counted() {
    let registry = Registry::new();
    let cluster = Cluster::start(&registry).unwrap();
    let (batch, batches) = signal::channel();
    cluster.observe(move |_, _| batch.send(()).unwrap());
    send(
        &cluster,
        [Event::Restart(Kind::Namespace), namespace("a"), namespace("b"), Event::Synced(Kind::Namespace)],
    );
    batches.recv_timeout(LONG).unwrap();
    let text = registry.text();
    for line in [
        "portolan_cluster_events_total 4",
        "portolan_cluster_publish_seconds_count 1",
        "portolan_cluster_objects{kind=\"Namespace\"} 2",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn the_metrics_show_whether_a_source_is_connected_and_when_it_last_sent_anything() {
    let registry = Registry::new();
    let cluster = Cluster::start(&registry).unwrap();
    let sink = cluster.sink();
    sink.set_connected(Kind::Service, false);
    sink.set_connected(Kind::Pod, true);
    let before = unix_now().as_secs_f64();
    sink.received(Kind::Pod);
    let text = registry.text();
    assert!(text.contains("portolan_source_connected{kind=\"Service\"} 0"), "{text}");
    assert!(text.contains("portolan_source_connected{kind=\"Pod\"} 1"), "{text}");
    let name = "portolan_source_last_event_timestamp_seconds{kind=\"Pod\"} ";
    let time = text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse::<f64>().unwrap();
    assert!(time >= before, "{time} < {before}");
    futures_util::FutureExt::now_or_never(sink.forget(Kind::Pod)).unwrap().unwrap();
    assert!(!registry.text().contains("kind=\"Pod\"}"), "the kind is no longer read");
}

/// Builds its view only after a signal of the test.
struct Slow {
    building: signal::Sender<()>,
    go_on: std::sync::Mutex<signal::Receiver<()>>,
}

impl Projection for Slow {
    type View = usize;

    fn kinds(&self) -> Kinds {
        Names.kinds()
    }

    fn build(&self, cluster: &Snapshot) -> usize {
        self.building.send(()).unwrap();
        self.go_on.lock().unwrap().recv_timeout(LONG).expect("the test goes on");
        cluster.count(Kind::Namespace)
    }

    fn advance(&self, _: &usize, cluster: &Snapshot, _: &[ObjectChange]) -> usize {
        cluster.count(Kind::Namespace)
    }
}

#[test]
fn a_view_that_takes_long_to_build_does_not_block_the_writer() {
    let (cluster, names, batches) = started();
    send(&cluster, [namespace("a")]);
    assert_eq!(batches.recv_timeout(LONG), Ok(1));
    let (building, begun) = signal::channel();
    let (go, go_on) = signal::channel();
    let slow = Slow { building, go_on: std::sync::Mutex::new(go_on) };
    let adding = std::thread::spawn({
        let cluster = cluster.clone();
        move || cluster.project(slow)
    });
    begun.recv_timeout(LONG).unwrap();
    send(&cluster, [namespace("b")]);
    assert_eq!(batches.recv_timeout(LONG), Ok(1), "the writer works while the view is built");
    assert_eq!(names.load().1, ["a", "b"]);
    go.send(()).unwrap();
    assert_eq!(**adding.join().unwrap().load(), 2, "the view contains the objects that arrived meanwhile");
}
