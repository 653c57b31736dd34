//! Memory of Portolan's Pods under load, against the chart's default limits.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use tests::cgroups;
use tests::dns::{DnsClient, Transport};
use tests::http::Connection;
use tests::node::ClusterNode;
use tests::stage::DNS;

use crate::backends::SHOP;
use crate::chart::{NAMESPACE, default_memory_limit, ensure_ingress};
use crate::security::processes;

/// How long the load lasts.
const LOAD: Duration = Duration::from_secs(5);

/// Connections, each with one request after the other, and as many clients of the name server.
const CLIENTS: usize = 16;

/// Runs `exchange` in a loop in several threads, and returns the number of exchanges. The argument is the thread's number.
fn load(exchange: impl Fn(usize, usize) + Sync) -> usize {
    let count = AtomicUsize::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..CLIENTS {
            let (count, exchange) = (&count, &exchange);
            scope.spawn(move || {
                while start.elapsed() < LOAD {
                    exchange(thread, count.fetch_add(1, Ordering::Relaxed));
                }
            });
        }
    });
    count.into_inner()
}

pub(crate) fn memory_stays_below_the_default_limits_under_load(node: &mut ClusterNode) {
    let service = ensure_ingress(node);
    let dns = DnsClient((DNS.parse::<Ipv4Addr>().expect("an address"), 53).into());
    let lookups = load(|_, at| {
        // Half of the names do not exist, each of them is another entry of the cache.
        let name = if at % 2 == 0 {
            format!("web.{SHOP}.svc.cluster.local")
        } else {
            format!("none-{at}.example.com")
        };
        dns.query(Transport::Udp, &name, RecordType::A).expect("a reply");
    });
    let address = (service.parse::<Ipv4Addr>().expect("a ClusterIP"), 80).into();
    let connections: Vec<_> = (0..CLIENTS)
        .map(|_| std::sync::Mutex::new(Connection::plain(address).expect("the Service answers")))
        .collect();
    let body = vec![b'x'; 64 * 1024];
    let requests = load(|thread, _| {
        let mut connection = connections[thread].lock().expect("only this thread locks it");
        let response = connection.send("POST", "/", &[("host", "shop.example")], &body).expect("an answer");
        assert_eq!(response.status, 200);
        // After a thousand requests (`keep-alive-requests`).
        if response.header("connection") == Some("close") {
            *connection = Connection::plain(address).expect("the Service answers");
        }
    });
    eprintln!("    {lookups} lookups and {requests} requests of 64 KiB in {LOAD:?} each");

    for id in processes() {
        let arguments = std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let (name, section) =
            if arguments.contains("-conf\0") { ("DNS", "dns") } else { ("ingress", "controller") };
        let peak =
            cgroups::memory(id, &["memory.max_usage_in_bytes", "memory.peak"]).expect("a memory cgroup");
        let limit = cgroups::memory(id, &["memory.limit_in_bytes", "memory.max"]);
        let limit = limit.expect("the chart sets a limit");
        eprintln!("    {name}: at most {} of {} MiB", peak >> 20, limit >> 20);
        assert_eq!(limit, default_memory_limit(section), "{name} has the limit of the chart's values");
        assert!(peak < limit / 2, "{name}: {peak} of {limit} bytes");
        assert_eq!(cgroups::oom_kills(id), Some(0), "{name}");
    }
    // A container whose only process was killed is another one by now.
    let restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    let selector = "app.kubernetes.io/instance=portolan";
    let restarts = node.kubectl(&["get", "pods", "-n", NAMESPACE, "-l", selector, "-o", restarts]);
    assert!(restarts.split(' ').all(|count| count == "0"), "no container was killed: {restarts}");
}
