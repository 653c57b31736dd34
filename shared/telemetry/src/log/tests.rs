use std::io;
use std::sync::{Arc, Mutex};

use super::*;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(format: LogFormat, filter: &str) -> String {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let (subscriber, _) = subscriber(format, filter, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(target: "plugin/reload", "Running configuration");
        tracing::warn!(target: "sources", kind = "Secret", tries = 3, "cannot \"list\"");
        tracing::debug!("unseen");
    });
    String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn the_dns_log_has_the_format_of_coredns() {
    let wanted = "[INFO] plugin/reload: Running configuration\n\
                  [WARNING] cannot \"list\" kind=\"Secret\" tries=3\n";
    assert_eq!(logged(LogFormat::CoreDns, "info"), wanted);
}

#[test]
fn a_filter_sets_levels_of_targets() {
    assert_eq!(logged(LogFormat::CoreDns, "off,sources=warn").lines().count(), 1);
    assert!(matches!(init(LogFormat::Json, LogOutput::Stderr, "loud"), Err(LogError::Filter(_))));
}

#[test]
fn the_level_of_a_target_can_be_changed_while_events_are_logged() {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let (subscriber, filter) = subscriber(LogFormat::CoreDns, "info", move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let warn = |text: &str| tracing::warn!(target: "some_crate::module", "{text}");
        warn("first");
        filter.set_level("some_crate", Some(Level::ERROR));
        warn("hidden");
        tracing::warn!(target: "other", "of another target");
        filter.set_level("some_crate", None);
        warn("last");
    });
    let log = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log, "[WARNING] first\n[WARNING] of another target\n[WARNING] last\n");
}

#[test]
fn events_beyond_the_bound_of_a_blocked_output_are_dropped_and_counted() {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    struct Blocked(std::sync::mpsc::Receiver<()>);
    impl io::Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ends_with_the_test = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let dropped = Counter::default();
    let lines = LogWriter::new(Blocked(receiver), dropped.clone());
    let queue = lines.clone();
    let (subscriber, _) = subscriber(LogFormat::CoreDns, "info", move || QueueWriter(queue.clone())).unwrap();
    let long = "x".repeat(64 << 10);
    tracing::subscriber::with_default(subscriber, || {
        (0..100).for_each(|_| tracing::info!(target: "plugin/errors", "{long}"));
    });
    // At most one buffer is being written and one is queued; each is bounded by 1 MiB and one line.
    assert!(dropped.value() >= 64, "{} dropped", dropped.value());
    drop(sender);
}

#[test]
fn text_lines_are_wrapped_in_json_objects() {
    let mut output = Vec::new();
    let lines = b"10.0.0.1 - - \"GET /\" 200\nsecond\n";
    assert_eq!(io::Write::write(&mut JsonLines::new(&mut output, "access"), lines).unwrap(), lines.len());
    let text = String::from_utf8(output).unwrap();
    let ends: Vec<_> =
        text.lines().filter_map(|line| line.split_once(",\"msg\":")).map(|(_, end)| end).collect();
    let wanted = [r#""10.0.0.1 - - \"GET /\" 200","target":"access"}"#, r#""second","target":"access"}"#];
    assert_eq!(ends, wanted);
}

#[test]
fn the_ingress_log_has_the_format_of_klog() {
    let log = logged(LogFormat::Klog, "info");
    let line = log.lines().nth(1).unwrap();
    let (head, message) = line.split_once("] ").unwrap();
    assert_eq!(message, "cannot \"list\" kind=\"Secret\" tries=3");
    let parts: Vec<_> = head.split_whitespace().collect();
    assert_eq!((parts[0].len(), parts[1].len(), parts.len()), (5, 15, 4), "{head}");
    assert!(head.starts_with('W') && parts[3].starts_with("tests.rs:"), "{head}");
}

#[test]
fn json_lines_have_the_keys_of_coredns() {
    let log = logged(LogFormat::Json, "info");
    let (time, rest) = log.lines().nth(1).unwrap().split_once(",\"level\"").unwrap();
    assert!(time.starts_with("{\"time\":\"20") && time.ends_with("Z\""), "{time}");
    let wanted =
        ":\"WARN\",\"msg\":\"cannot \\\"list\\\"\",\"target\":\"sources\",\"kind\":\"Secret\",\"tries\":3}";
    assert_eq!(rest, wanted);
    assert!(log.contains("\"msg\":\"Running configuration\",\"plugin\":\"reload\"}"), "{log}");
}
