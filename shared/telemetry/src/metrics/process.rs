//! Resource usage of the process.

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, MetricFamily};

/// Resource usage of this process at one moment, for metrics with other names than `process_*`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    /// User and system CPU time.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub resident: f64,
    /// Virtual memory in bytes.
    pub mapped: f64,
    /// Start time, in seconds since the Unix epoch.
    pub started: f64,
    /// Bytes read from storage.
    pub read: f64,
    /// Bytes written to storage.
    pub written: f64,
}

impl Process {
    /// Reads the current values. A value that cannot be read is 0.
    pub fn now() -> Self {
        let mut usage = Self::default();
        for family in ProcessCollector::for_self().collect() {
            let Some(metric) = family.get_metric().first() else { continue };
            let value = match family.name() {
                "process_resident_memory_bytes" => &mut usage.resident,
                "process_virtual_memory_bytes" => &mut usage.mapped,
                "process_start_time_seconds" => &mut usage.started,
                _ => continue,
            };
            *value = metric.get_gauge().get_value();
        }
        usage.cpu_seconds = cpu_seconds();
        let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
        let bytes = |name: &str| {
            let line = io.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
        };
        (usage.read, usage.written) = (bytes("read_bytes:"), bytes("write_bytes:"));
        usage
    }
}

/// The standard `process_*` metrics. The library's collector rounds CPU time down to whole seconds, which is too coarse for
/// `rate()`; this one has hundredths.
pub(super) struct ProcessMetrics(ProcessCollector);

impl ProcessMetrics {
    pub(super) fn new() -> Self {
        Self(ProcessCollector::for_self())
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        let cpu = families.iter_mut().find(|family| family.name() == "process_cpu_seconds_total");
        if let Some(metric) = cpu.and_then(|family| family.mut_metric().first_mut()) {
            let mut counter = Counter::default();
            counter.set_value(cpu_seconds());
            metric.set_counter(counter);
        }
        families
    }
}

fn cpu_seconds() -> f64 {
    cpu_seconds_of(&std::fs::read_to_string("/proc/self/stat").unwrap_or_default())
}

/// User and system time from `/proc/self/stat` (proc(5)).
fn cpu_seconds_of(stat: &str) -> f64 {
    // The process name, in parentheses, may contain spaces; field 3 follows it.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
    // Fields 14 and 15, in ticks: Linux reports 100 per second to user space.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_a_start() {
        let usage = Process::now();
        assert!(usage.resident > 1e5 && usage.mapped > usage.resident, "{usage:?}");
        assert!(usage.started > 1.7e9, "{usage:?}");
    }

    #[test]
    fn cpu_time_is_the_sum_of_user_and_system_time() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 1234 66 0 0 20 0 9 0 5 1 2";
        assert_eq!(cpu_seconds_of(stat), 13.0);
        assert_eq!(cpu_seconds_of(""), 0.0);
    }

    #[test]
    fn cpu_time_has_fractions_of_a_second() {
        let shown = || {
            let families = ProcessMetrics::new().collect();
            let cpu = families.iter().find(|family| family.name() == "process_cpu_seconds_total").unwrap();
            cpu.get_metric()[0].get_counter().get_value()
        };
        let before = shown();
        while shown() == before {
            std::hint::black_box(std::fs::read_to_string("/proc/self/status").unwrap());
        }
        assert!(shown() - before < 0.9, "{before}");
    }
}
