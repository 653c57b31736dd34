//! Steps that stop the proxy.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::super::expectation::StepResult;
use super::super::known_keys;
use super::super::pods::Pod;
use super::{CaseRun, GRACE};

impl CaseRun<'_> {
    /// Sends requests at the same time, and stops the proxy while they are open.
    pub(super) fn parallel(&mut self, steps: &[Value]) -> Result<(), String> {
        let (mut requests, mut stops) = (Vec::new(), Vec::new());
        for step in steps {
            known_keys(step, &["request", "expect", "shutdown"])?;
            match step.get("shutdown") {
                None => requests.push((self.case_request(&step["request"], 0)?, &step["expect"])),
                Some(stop) => {
                    known_keys(stop, &["signal", "after_ms"])?;
                    stops.push(Duration::from_millis(stop["after_ms"].as_u64().unwrap_or_default()));
                }
            }
        }
        if self.changed {
            sleep(GRACE);
            self.changed = false;
        }
        let connections_before = self.pods.iter().map(Pod::connections).sum();
        let portolan = self.portolan.as_ref().ok_or("portolan has been stopped")?;
        let exchanges: Vec<_> = std::thread::scope(|scope| {
            let sent: Vec<_> = requests.iter().map(|(request, _)| scope.spawn(|| request.send())).collect();
            for after in stops {
                sleep(after);
                portolan.signal(Signal::SIGTERM);
            }
            sent.into_iter().map(|sent| sent.join().expect("a client does not panic")).collect()
        });
        for (exchange, (request, expect)) in exchanges.into_iter().zip(requests) {
            let list = vec![(exchange, request.varying)];
            let result =
                StepResult { list, pods: &self.pods, certificates: &self.certificates, connections_before };
            result.check(expect, &mut self.saved)?;
        }
        Ok(())
    }

    pub(super) fn shutdown(&mut self, value: &Value, expect: &Value) -> Result<(), String> {
        known_keys(value, &["signal", "background"])?;
        known_keys(expect, &["exit_within_s"])?;
        let portolan = self.portolan.take().ok_or("portolan has been stopped")?;
        portolan.signal(Signal::SIGTERM);
        if value["background"] == true {
            self.portolan = Some(portolan);
            return Ok(());
        }
        let start = Instant::now();
        portolan.stop();
        match expect["exit_within_s"].as_u64() {
            Some(limit) if start.elapsed() > Duration::from_secs(limit) => {
                Err(format!("{:?}", start.elapsed()))
            }
            _ => Ok(()),
        }
    }
}
