//! Resources of the process, with ingress-nginx's names for the nginx processes.

use telemetry::metrics::{Process, Registry};

use super::names::{OWN, name, own};
use crate::options::Controller;

/// Name without prefix, help, and which number it is.
type Row = (&'static str, &'static str, fn(&Process) -> f64);

const GAUGES: [Row; 4] = [
    ("num_procs", "number of processes", |_| 1.0),
    ("resident_memory_bytes", "number of bytes of memory in use", |process| process.resident),
    ("virtual_memory_bytes", "number of bytes of memory in use", |process| process.mapped),
    ("oldest_start_time_seconds", "start time in seconds since 1970/01/01", |process| process.started),
];

const COUNTERS: [Row; 3] = [
    ("cpu_seconds_total", "Cpu usage in seconds", |process| process.cpu_seconds),
    ("read_bytes_total", "number of bytes read", |process| process.read),
    ("write_bytes_total", "number of bytes written", |process| process.written),
];

pub(super) fn show(registry: &Registry, controller: &Controller) {
    let full = |suffix| name(&format!("nginx_process_{suffix}"));
    for (suffix, help, number) in GAUGES {
        let controller = controller.clone();
        registry.callback_gauges(&full(suffix), help, OWN, move |report| {
            report(own(&controller), number(&Process::now()));
        });
    }
    for (suffix, help, number) in COUNTERS {
        let controller = controller.clone();
        registry.callback_counters(&full(suffix), help, OWN, move |report| {
            report(own(&controller), number(&Process::now()));
        });
    }
    let (labels, controller) =
        ([OWN[0], OWN[1], OWN[2], "release", "build", "repository"], controller.clone());
    let help = "A metric with a constant '1' labeled with information about the build.";
    registry.callback_gauges(&name("build_info"), help, labels, move |report| {
        let [class, namespace, pod] = own(&controller);
        report([class, namespace, pod, env!("CARGO_PKG_VERSION"), "portolan", ""], 1.0);
    });
}
