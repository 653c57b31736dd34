//! `health`: a page for liveness probes, and the time between the request to shut down and the shutdown (`lameduck`).

use std::time::{Duration, Instant};

use telemetry::AdminResponse as Page;
use telemetry::metrics::{Counter, Histogram, Registry, exponential};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::setup::{PluginEntry, PluginGuard, PluginInstances, PluginOption, Setup, SetupErrors, each_line};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "health",
    about: "a page for liveness probes",
    syntax: &["health", "health :8080 {\n    lameduck 5s\n}"],
    options: &[
        PluginOption { syntax: "[ADDRESS]", default: ":8080", about: "Address of the page `/health`." },
        PluginOption {
            syntax: "lameduck DURATION",
            default: "0s",
            about: "How long queries are still answered after the request to shut down, while `/ready` already answers 503. If queries keep arriving, they are answered for up to 25 s in all.",
        },
    ],
    early: false,
    metrics: |metrics| {
        HealthMetrics::new(metrics);
    },
    setup,
};

/// How often the process requests its own page, and the time limit of a request. A slow page is a sign of overload.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// The metrics of the requests to the own page.
struct HealthMetrics {
    duration: Histogram,
    failures: Counter,
}

impl HealthMetrics {
    fn new(metrics: &Registry) -> Self {
        Self {
            duration: metrics.histogram(
                "coredns_health_request_duration_seconds",
                "Histogram of the time (in seconds) each request took.",
                &exponential(0.00025, 10.0, 5),
            ),
            failures: metrics.counter(
                "coredns_health_request_failures_total",
                "The number of times the health check failed.",
            ),
        }
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let (mut address, mut lameduck) = (":8080".to_owned(), Duration::ZERO);
    // As in CoreDNS the directive may be repeated. There is one page, and the last directive takes effect.
    for (index, directive) in setup.directives.clone().into_iter().enumerate() {
        if index > 0 {
            setup.warn(
                directive,
                "health is repeated: there is one page, and the last directive takes effect",
            );
        }
        if let Some(word) = directive.optional_arg("[ADDRESS]").map_err(|error| vec![error])? {
            address = word.host_port(None).map_err(|error| vec![error])?.to_string();
        }
        each_line(directive, |line| match line.name.text.as_str() {
            "lameduck" => {
                lameduck = line.arg("DURATION")?.duration_or_zero()?;
                Ok(())
            }
            _ => Err(line.unknown(&["lameduck"])),
        })?;
    }
    setup.lameduck(lameduck);

    let HealthMetrics { duration, failures } = HealthMetrics::new(&setup.context.metrics);
    let admin = setup.context.admin.clone();
    setup.on_start(move || async move {
        let pages = admin.listen(&address).await.map_err(|error| format!("health: {error}"))?;
        let local = pages.local_addr().map_err(|error| format!("health: {address}: {error}"))?;
        let route = pages.route("/health", |_| Page::ok("OK"));
        let watcher = tokio::spawn(async move {
            let mut tick = interval(PROBE_INTERVAL);
            // Requests that were missed during a slow one are skipped.
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let start = Instant::now();
                match timeout(PROBE_TIMEOUT, probe(local)).await {
                    Ok(Ok(())) => duration.observe(start.elapsed().as_secs_f64()),
                    _ => failures.inc(),
                }
            }
        });
        Ok(Box::new((route, super::Task(watcher))) as PluginGuard)
    });
    Ok(Vec::new())
}

/// Requests the page as a probe would.
async fn probe(mut address: std::net::SocketAddr) -> std::io::Result<()> {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    if status.ends_with(b" 200") { Ok(()) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}
