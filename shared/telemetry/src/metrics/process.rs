//! What this process uses of the machine.

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, MetricFamily};

/// A look at this process, for those who show it under names of their own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    /// User and system time.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub resident: f64,
    /// Virtual memory in bytes.
    pub mapped: f64,
    /// When it started, in Unix seconds.
    pub started: f64,
    /// Bytes that it had read from storage.
    pub read: f64,
    /// Bytes that it had written to storage.
    pub written: f64,
}

impl Process {
    /// As it is now. What the system does not tell stays 0.
    pub fn now() -> Self {
        let mut seen = Self::default();
        for family in ProcessCollector::for_self().collect() {
            let Some(metric) = family.get_metric().first() else { continue };
            let place = match family.name() {
                "process_resident_memory_bytes" => &mut seen.resident,
                "process_virtual_memory_bytes" => &mut seen.mapped,
                "process_start_time_seconds" => &mut seen.started,
                _ => continue,
            };
            *place = metric.get_gauge().get_value();
        }
        seen.cpu_seconds = cpu_seconds();
        let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
        let bytes = |name: &str| {
            let line = io.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
        };
        (seen.read, seen.written) = (bytes("read_bytes:"), bytes("write_bytes:"));
        seen
    }
}

/// `process_*` as every Prometheus client shows them; the library's own has whole seconds of processor time only, of which
/// no rate can be made.
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

/// User and system time out of `/proc/self/stat` (proc(5)).
fn cpu_seconds_of(stat: &str) -> f64 {
    // The name of the process may have spaces in it; behind it comes field 3.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
    // Fields 14 and 15, in ticks of which Linux shows programs 100 a second.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_a_start() {
        let seen = Process::now();
        assert!(seen.resident > 1e5 && seen.mapped > seen.resident, "{seen:?}");
        assert!(seen.started > 1.7e9, "{seen:?}");
    }

    #[test]
    fn processor_time_is_that_of_user_and_system() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 1234 66 0 0 20 0 9 0 5 1 2";
        assert_eq!(cpu_seconds_of(stat), 13.0);
        assert_eq!(cpu_seconds_of(""), 0.0);
    }

    #[test]
    fn processor_time_is_shown_in_parts_of_a_second() {
        let shown = || {
            let families = ProcessMetrics::new().collect();
            let cpu = families.iter().find(|family| family.name() == "process_cpu_seconds_total").unwrap();
            cpu.get_metric()[0].get_counter().get_value()
        };
        let begun = shown();
        while shown() == begun {
            std::hint::black_box(std::fs::read_to_string("/proc/self/status").unwrap());
        }
        assert!(shown() - begun < 0.9, "{begun}");
    }
}
