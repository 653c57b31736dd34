//! What a folder of 20,000 manifest files costs: the first scan, one changed file, and no change at all.
//!
//! `cargo run --release -p sources --no-default-features --example manifest_folder [files]`

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use cluster::{Kind, Kinds, ObjectChange, Projection, Snapshot};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use sources::manifests::ManifestSource;
use sources::{Cluster, Source};
use telemetry::Reports;
use telemetry::metrics::Registry;

const FILES: usize = 20_000;
const CHANGES: usize = 200;
const QUIET: Duration = Duration::from_secs(10);

/// Reads Ingresses and has no view.
struct Ingresses;

impl Projection for Ingresses {
    type View = ();

    fn kinds(&self) -> Kinds {
        Kinds::of(&[Kind::Ingress])
    }

    fn build(&self, _: &Snapshot) {}

    fn advance(&self, (): &(), _: &Snapshot, _: &[ObjectChange]) {}
}

fn main() {
    let files = std::env::args().nth(1).and_then(|files| files.parse().ok()).unwrap_or(FILES);
    let folder = tempfile::tempdir().expect("a temporary folder");
    (0..files).for_each(|number| write(folder.path(), number, "web"));
    let registry = Registry::new();
    let cluster = Cluster::start(&registry).expect("a thread");
    let (sender, batches) = mpsc::channel();
    cluster.observe(move |_, touched| sender.send(touched.len()).unwrap_or_default());
    let _view = cluster.project(Ingresses);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");

    let (started, before) = (Instant::now(), cpu());
    let source = ManifestSource::new([folder.path()], &Reports::new(&registry)).expect("the folder exists");
    runtime.spawn(Box::new(source).run(cluster.sink()));
    let mut read = 0;
    while read < files {
        read += batches.recv_timeout(Duration::from_secs(60)).expect("all files are read");
    }
    println!("{files} files read in {:.0?}, CPU {:.0?}", started.elapsed(), cpu() - before);

    // File times of this age no longer make a file doubtful.
    std::thread::sleep(Duration::from_secs(3));
    let before = cpu();
    std::thread::sleep(QUIET);
    println!("without changes: CPU {:.1?} a second", (cpu() - before) / QUIET.as_secs() as u32);

    let before = cpu();
    let mut delays: Vec<Duration> = (0..CHANGES)
        .map(|change| {
            let written = Instant::now();
            write(folder.path(), change * 7919 % files, &format!("web-{change}"));
            batches.recv_timeout(Duration::from_secs(10)).expect("the change takes effect");
            written.elapsed()
        })
        .collect();
    let used = (cpu() - before) / CHANGES as u32;
    delays.sort_unstable();
    let at = |share: usize| delays[(CHANGES - 1) * share / 100];
    println!("a change: p50 {:.1?}, p99 {:.1?}, CPU {used:.2?}", at(50), at(99));
}

fn write(folder: &Path, number: usize, service: &str) {
    let text = format!(
        "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop-{number}
  namespace: team-{}
  annotations: {{ nginx.ingress.kubernetes.io/affinity: cookie }}
spec:
  ingressClassName: nginx
  rules:
  - host: shop-{number}.customers.example.com
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {{ service: {{ name: {service}, port: {{ number: 80 }} }} }}
",
        number % 200
    );
    fs::write(folder.join(format!("shop-{number:05}.yaml")), text).expect("the folder is writable");
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("of this process");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}
