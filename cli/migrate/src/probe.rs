//! Lookups and requests: once to several targets, or repeatedly to one. The same code runs in the command and in a check Pod.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use serde::{Deserialize, Serialize};

use crate::http_request::HttpRequest;
use crate::lookups::DnsLookup;

/// Lookups or requests in flight to one target.
const CONCURRENT: usize = 16;

/// The pause between two requests of a watch.
const INTERVAL: Duration = Duration::from_millis(50);

/// The pause of a watch before it repeats a request without an answer. Nodes send to a Pod that has just ended until their kube-proxy has
/// followed its endpoints, about a second.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Time between two reports of the counts of a watch.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// A server that is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProbeTarget {
    /// Its name in messages, such as `Pod portolan-dns-5d4f`.
    pub(crate) name: String,
    /// The address of DNS, or of HTTP.
    pub(crate) address: SocketAddr,
    /// The address of HTTPS.
    pub(crate) tls: Option<SocketAddr>,
}

/// A lookup or a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProbeRequest {
    /// A lookup.
    Dns(DnsLookup),
    /// A request.
    Http(HttpRequest),
}

impl ProbeRequest {
    /// Sends it and returns the answer as text. A missing answer is text as well, so that it can be compared.
    pub(crate) async fn send(&self, target: &ProbeTarget) -> String {
        let answer = match self {
            Self::Dns(request) => request.send(target.address).await,
            Self::Http(request) if request.tls => match target.tls {
                Some(address) => request.send(address).await,
                None => Err("no port for TLS".to_owned()),
            },
            Self::Http(request) => request.send(target.address).await,
        };
        answer.unwrap_or_else(|error| format!("{NO_ANSWER}{error}"))
    }

    /// Whether its answer is expected to stay the same.
    pub(crate) fn is_stable(&self) -> bool {
        match self {
            Self::Dns(request) => request.stable,
            Self::Http(_) => true,
        }
    }

    /// Whether it counts only if it is answered before the migration.
    pub(crate) fn is_external(&self) -> bool {
        matches!(self, Self::Dns(request) if request.external)
    }
}

/// Prefix of the text of a missing answer.
const NO_ANSWER: &str = "failed: ";

/// Whether the text stands for a missing answer.
pub(crate) fn is_missing(answer: &str) -> bool {
    answer.starts_with(NO_ANSWER)
}

impl std::fmt::Display for ProbeRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(request) => write!(f, "{} {}", request.name, request.kind),
            Self::Http(request) => request.fmt(f),
        }
    }
}

/// The task of a check Pod; its only argument, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProbeTask {
    /// The servers. A watch uses the first.
    pub(crate) targets: Vec<ProbeTarget>,
    /// The lookups or requests.
    pub(crate) requests: Vec<ProbeRequest>,
    /// The expected answers of a watch, in the order of the requests; `None` to send each once.
    pub(crate) expected: Option<Vec<String>>,
}

/// A report of a probe: a line of JSON in the log of a check Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProbeLine {
    /// The answers of each target, in the order of targets and requests.
    Answers(Vec<Vec<String>>),
    /// The counts of a watch so far: sent, and repeated because the first answer was missing or wrong.
    Running {
        /// Lookups or requests sent.
        sent: u64,
        /// Those sent twice.
        repeated: u64,
    },
    /// An answer was wrong or missing twice in a row.
    Wrong(WrongAnswer),
}

/// A difference between the expected and the actual answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WrongAnswer {
    /// The target's name.
    pub(crate) target: String,
    /// The request.
    pub(crate) request: String,
    /// The answer before the migration.
    pub(crate) expected: String,
    /// The answer now.
    pub(crate) got: String,
}

impl std::fmt::Display for WrongAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { target, request, expected, got } = self;
        write!(f, "{request}: {target} answers `{got}`, before the migration it was `{expected}`")
    }
}

/// Sends every request to every target.
pub(crate) async fn send_all(targets: &[ProbeTarget], requests: &[ProbeRequest]) -> Vec<Vec<String>> {
    let mut answers = Vec::new();
    for target in targets {
        let sent = stream::iter(requests).map(|request| request.send(target)).buffered(CONCURRENT);
        answers.push(sent.collect().await);
    }
    answers
}

/// Sends the requests in turn until `report` returns false or an answer is wrong or missing twice in a row, with a pause of `retry`
/// after a missing one. The first counts are reported after every request was sent once.
pub(crate) async fn watch(
    target: &ProbeTarget,
    requests: &[ProbeRequest],
    expected: &[String],
    retry: Duration,
    mut report: impl FnMut(ProbeLine) -> bool,
) {
    let (mut sent, mut repeated) = (0, 0);
    let mut reported = None::<Instant>;
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for (request, expected) in requests.iter().zip(expected).cycle() {
        ticks.tick().await;
        let mut got = request.send(target).await;
        sent += 1;
        if got != *expected {
            repeated += 1;
            if is_missing(&got) {
                tokio::time::sleep(retry).await;
            }
            got = request.send(target).await;
        }
        if got != *expected {
            let wrong = WrongAnswer {
                target: target.name.clone(),
                request: request.to_string(),
                expected: expected.clone(),
                got,
            };
            report(ProbeLine::Wrong(wrong));
            return;
        }
        let is_due = reported.is_none_or(|last| last.elapsed() >= REPORT_INTERVAL);
        if sent >= requests.len() as u64 && is_due {
            reported = Some(Instant::now());
            if !report(ProbeLine::Running { sent, repeated }) {
                return;
            }
        }
    }
}

/// Runs a task in a check Pod: writes lines of JSON with `print`.
///
/// # Errors
/// When the task is not valid JSON.
pub async fn run_probe(task: &str, print: &(dyn Fn(&str) + Sync)) -> Result<(), String> {
    let task: ProbeTask =
        serde_json::from_str(task).map_err(|error| format!("the task of the probe: {error}"))?;
    let report = |line: &ProbeLine| print(&format!("{}\n", serde_json::json!(line)));
    match (&task.expected, task.targets.first()) {
        (Some(expected), Some(target)) => {
            watch(target, &task.requests, expected, RETRY_PAUSE, |line| {
                report(&line);
                true
            })
            .await;
        }
        _ => report(&ProbeLine::Answers(send_all(&task.targets, &task.requests).await)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// The status of a connection that is closed without a response.
    const CLOSED: u16 = 0;

    /// A server that answers its n-th request with the n-th status, and all later ones with the last.
    async fn server(statuses: &'static [u16]) -> ProbeTarget {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, Ordering::Relaxed).min(statuses.len() - 1);
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                if statuses[number] == CLOSED {
                    continue;
                }
                let response = format!("HTTP/1.1 {} X\r\ncontent-length: 0\r\n\r\n", statuses[number]);
                let _ = stream.write_all(response.as_bytes()).await;
            }
        });
        ProbeTarget { name: "it".into(), address, tls: None }
    }

    fn request() -> ProbeRequest {
        ProbeRequest::Http(HttpRequest { tls: false, host: "a.test".into(), path: "/".into() })
    }

    /// Watches until a wrong answer, at most four requests. Returns the count of repeated ones and the wrong answer.
    async fn watched(statuses: &'static [u16]) -> (u64, Option<WrongAnswer>) {
        let (mut count, mut wrong) = (0, None);
        let report = |line| match line {
            ProbeLine::Running { sent, repeated } => {
                count = repeated;
                sent < 4
            }
            ProbeLine::Wrong(answer) => {
                wrong = Some(answer);
                false
            }
            ProbeLine::Answers(_) => true,
        };
        let requests = [request(), request(), request(), request()];
        let expected = ["200"; 4].map(str::to_owned);
        watch(&server(statuses).await, &requests, &expected, Duration::from_millis(1), report).await;
        (count, wrong)
    }

    #[tokio::test]
    async fn one_wrong_or_missing_answer_is_repeated_and_two_in_a_row_end_the_watch() {
        assert_eq!(watched(&[200, 503, 200, 200, 200]).await, (1, None));
        assert_eq!(watched(&[200, CLOSED, 200, 200, 200]).await, (1, None));
        for (statuses, wanted) in
            [(&[200, 503, 200, 200, 502][..], "502"), (&[200, CLOSED, CLOSED], "failed: ")]
        {
            let wrong = watched(statuses).await.1.expect("two in a row");
            assert_eq!(wrong.expected, "200");
            assert!(wrong.got.starts_with(wanted), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_task_survives_its_way_through_json() {
        let target = server(&[204]).await;
        let task = ProbeTask { targets: vec![target], requests: vec![request()], expected: None };
        let printed = std::sync::Mutex::new(String::new());
        run_probe(&serde_json::json!(task).to_string(), &|text| printed.lock().unwrap().push_str(text))
            .await
            .unwrap();
        let line: ProbeLine = serde_json::from_str(&printed.lock().unwrap()).unwrap();
        assert_eq!(line, ProbeLine::Answers(vec![vec!["204".to_owned()]]));
        assert!(run_probe("{", &|_| {}).await.is_err());
    }

    #[tokio::test]
    async fn a_missing_answer_is_reported_as_such() {
        let target = ProbeTarget { name: "none".into(), address: "127.0.0.1:1".parse().unwrap(), tls: None };
        assert!(is_missing(&request().send(&target).await));
        assert!(!is_missing(&request().send(&server(&[500]).await).await));
    }
}
