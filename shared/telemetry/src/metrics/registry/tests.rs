use super::*;
use crate::metrics::exponential;

#[test]
fn metrics_are_written_in_the_text_format() {
    let registry = Registry::new();
    registry.counters("nginx_ingress_controller_requests", "Requests.", ["host", "status"]);
    let requests = registry.counters("nginx_ingress_controller_requests", "Requests.", ["host", "status"]);
    requests.with(["a.example", "200"]).add(2);
    requests.with(["a\"b", "404"]).inc();
    registry.gauge("up", "Whether it is.").set(1.5);
    let sizes = registry.histograms("size_bytes", "Sizes.", ["proto"], &[1.0, 10.0]);
    for size in [0.5, 1.0, 5.0, 50.0] {
        sizes.with(["udp"]).observe(size);
    }
    let wanted = "\
# HELP nginx_ingress_controller_requests Requests.
# TYPE nginx_ingress_controller_requests counter
nginx_ingress_controller_requests{host=\"a\\\"b\",status=\"404\"} 1
nginx_ingress_controller_requests{host=\"a.example\",status=\"200\"} 2
# HELP size_bytes Sizes.
# TYPE size_bytes histogram
size_bytes_bucket{proto=\"udp\",le=\"1\"} 2
size_bytes_bucket{proto=\"udp\",le=\"10\"} 3
size_bytes_bucket{proto=\"udp\",le=\"+Inf\"} 4
size_bytes_sum{proto=\"udp\"} 56.5
size_bytes_count{proto=\"udp\"} 4
# HELP up Whether it is.
# TYPE up gauge
up 1.5
";
    assert_eq!(registry.text(), wanted);
    let read = registry.read("nginx_ingress_controller_requests");
    let hosts: Vec<_> = read.iter().map(|sample| (sample.label("host"), sample.value)).collect();
    assert_eq!(hosts, [("a\"b", 1.0), ("a.example", 2.0)]);
    let sizes = registry.read("size_bytes");
    assert_eq!((sizes[0].value, sizes[0].count, &*sizes[0].buckets), (56.5, 4, &[(1.0, 2), (10.0, 3)][..]));
    assert_eq!(registry.read("unknown"), []);
}

#[test]
fn callbacks_are_called_at_each_scrape() {
    let registry = Registry::new();
    let level = crate::metrics::UpDownCounter::default();
    let read = level.clone();
    registry.callback_gauges("open", "What is open.", ["state"], move |sample| {
        if read.value() > 0 {
            sample(["now"], read.value() as f64);
        }
    });
    assert_eq!(registry.text(), "", "no samples");
    level.inc();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _slot = crate::ThreadSlot::claim();
            level.inc();
            level.inc();
        });
    });
    level.dec();
    assert!(registry.text().ends_with("open{state=\"now\"} 2\n"), "{}", registry.text());
}

#[test]
fn a_family_is_exported_under_a_second_name() {
    let registry = Registry::new();
    let labels = ["proxy_name", "to"];
    let source = registry.histograms("proxy_seconds", "Durations.", labels, &[1.0]);
    registry.renamed("forward_seconds", "Old.", ["to"], source.clone(), |[proxy, to]| {
        (proxy == "forward").then_some([to])
    });
    source.with(["forward", "a"]).observe(0.5);
    source.with(["grpc", "b"]).observe(0.5);
    let text = registry.text();
    let renamed: Vec<_> = text.lines().filter(|line| line.starts_with("forward_seconds")).collect();
    let wanted = [
        "forward_seconds_bucket{to=\"a\",le=\"1\"} 1",
        "forward_seconds_bucket{to=\"a\",le=\"+Inf\"} 1",
        "forward_seconds_sum{to=\"a\"} 0.5",
        "forward_seconds_count{to=\"a\"} 1",
    ];
    assert_eq!(renamed, wanted);
    assert!(text.contains("# TYPE forward_seconds histogram\n"), "{text}");
}

#[test]
fn metrics_without_values_are_described() {
    let registry = Registry::with_process();
    let requests = registry.counters("requests", "Requests.", ["host"]);
    registry.histograms("seconds", "Durations.", ["host"], &[1.0]);
    registry.callback_gauges("open", "What is open.", ["state"], |_| {});
    registry.renamed("old", "Requests.", [], requests, |_| Some([]));
    let described: Vec<_> = registry.descriptions();
    let line = |metric: &MetricDescription| {
        format!("{} {} [{}] {}", metric.name, metric.kind, metric.labels.join(","), metric.help)
    };
    let lines: Vec<_> = described.iter().map(line).collect();
    for wanted in [
        "old counter [] Requests.",
        "open gauge [state] What is open.",
        "requests counter [host] Requests.",
        "seconds histogram [host] Durations.",
    ] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted}: {lines:?}");
    }
    for line in registry.text().lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let known = described.iter().any(|metric| line == format!("{} {}", metric.name, metric.kind));
        assert!(known, "{line} is not described");
    }
}

#[test]
fn a_name_has_one_metric_and_removed_labels_are_not_exported() {
    let registry = Registry::new();
    registry.counter("queries_total", "Queries.").add(3);
    assert_eq!(registry.counter("queries_total", "Queries.").value(), 3);
    let hosts = registry.counters("requests", "Requests.", ["host"]);
    hosts.with(["kept"]).inc();
    hosts.with(["gone"]).inc();
    hosts.remove(&["gone".to_owned()]);
    assert!(registry.text().contains("kept") && !registry.text().contains("gone"));
}

#[test]
fn metrics_beyond_the_limit_of_a_family_are_counted() {
    let registry = Registry::with_process();
    let hosts = registry.counters("requests", "Requests.", ["host"]);
    (0..crate::metrics::family::MAX_SERIES).for_each(|host| drop(hosts.with([&host.to_string()])));
    hosts.with(["one-too-many"]).inc();
    hosts.with(["7"]).inc();
    let text = registry.text();
    assert!(!text.contains("one-too-many") && text.contains("requests{host=\"7\"} 1\n"));
    assert!(text.contains("portolan_metric_series_dropped_total 1\n"));
    let long = registry.counters("paths", "Paths.", ["path"]);
    long.with([&"ü".repeat(1 << 20)]).inc();
    assert!(registry.text().lines().all(|line| line.len() < 1100));
}

#[test]
fn a_registry_with_process_metrics_exports_them() {
    assert!(Registry::with_process().text().contains("process_resident_memory_bytes"));
}

#[test]
fn exponential_bounds_are_those_of_coredns() {
    let bounds = exponential(0.00025, 2.0, 16);
    assert_eq!((bounds.len(), bounds[15]), (16, 8.192));
}
