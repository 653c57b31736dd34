//! Counts lost lookups and requests from inside a Pod (`tests/pods/measure.go`): one every ten milliseconds, without a second try.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::http::Connection;
use crate::node::ClusterNode;
use crate::pod_images::PODS;

/// Time between two lookups or requests of a series.
pub const INTERVAL: Duration = Duration::from_millis(10);

/// A Pod that measures.
#[derive(Clone, Copy, Debug)]
pub struct Meter(SocketAddr);

/// A running series of lookups or requests.
#[derive(Debug)]
#[must_use]
pub struct Series {
    meter: Meter,
    id: String,
    what: String,
}

/// What a series counted.
#[derive(Clone, Debug)]
pub struct Report {
    /// Lookups or requests that were sent.
    pub sent: u64,
    /// Those with the expected answer.
    pub right: u64,
    /// Those with another answer.
    pub wrong: u64,
    /// The slowest one.
    pub slowest: Duration,
    text: String,
}

impl Meter {
    /// The Pod that measures. It is started by the first call.
    #[track_caller]
    pub fn of(node: &ClusterNode) -> Meter {
        if node.read("default", "pod/meter").is_none() {
            node.apply(&format!(
                "
apiVersion: v1
kind: Pod
metadata: {{ name: meter, namespace: default }}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {{ name: meter, image: {PODS}, args: [measure], readinessProbe: {{ tcpSocket: {{ port: 8080 }}, periodSeconds: 1 }} }}
"
            ));
        }
        node.wait_for("default", "pod/meter", "condition=Ready");
        let address = node.field("default", "pod/meter", "{.status.podIP}");
        Meter(SocketAddr::new(address.parse().expect("a ready Pod has an address"), 8080))
    }

    /// Starts lookups of A records of `name` (fully qualified) at `server`; `address` has to be in each answer.
    #[track_caller]
    pub fn lookups(self, server: &str, name: &str, address: &str) -> Series {
        self.start(name, &format!("server={server}:53&lookup={name}&expect={address}"))
    }

    /// Starts GET requests of `url` with a Host header, each over its own connection; `part` has to be in each body.
    #[track_caller]
    pub fn requests(self, url: &str, host: &str, part: &str) -> Series {
        self.start(&format!("{host} at {url}"), &format!("url={url}&host={host}&expect={part}"))
    }

    fn start(self, what: &str, parameters: &str) -> Series {
        let interval = format!("{}ms", INTERVAL.as_millis());
        let id = self.post(&format!("/start?interval={interval}&{parameters}"));
        Series { meter: self, id, what: what.to_owned() }
    }

    fn post(self, target: &str) -> String {
        let mut connection = Connection::plain(self.0).expect("the Pod of the meter listens");
        let headers = [("host", "meter"), ("content-length", "0")];
        let response = connection.send("POST", target, &headers, b"").expect("the meter answers");
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        response.text()
    }
}

impl Series {
    /// Ends the series and waits for its last replies.
    pub fn end(self) -> Report {
        let text = self.meter.post(&format!("/stop?id={}", self.id));
        let report: Value = serde_json::from_str(&text).expect("the meter answers JSON");
        let number = |name: &str| report[name].as_u64().unwrap_or_default();
        let report = Report {
            sent: number("sent"),
            right: number("right"),
            wrong: number("wrong"),
            slowest: Duration::from_nanos(number("slowest")),
            text: format!("{}: {text}", self.what),
        };
        eprintln!(
            "    {}: {} sent, {} right, {} wrong, slowest {:.1?}",
            self.what, report.sent, report.right, report.wrong, report.slowest
        );
        report
    }
}

impl Report {
    /// Panics unless every answer was right. A series that sent less than `at_least` proves nothing.
    #[track_caller]
    pub fn expect_no_loss(&self, at_least: u64) {
        assert_eq!(self.right, self.sent, "{}", self.text);
        assert!(self.sent >= at_least, "only {} in all: {}", self.sent, self.text);
    }
}
