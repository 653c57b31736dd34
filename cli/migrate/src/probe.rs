//! Lookups and requests: once to several targets, or repeatedly to one. The same code runs in the command and in a check Pod.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use serde::{Deserialize, Serialize};

use crate::http_request::HttpQuestion;
use crate::questions::DnsQuestion;

/// Lookups or requests in flight to one target.
const CONCURRENT: usize = 16;

/// The pause between two questions of a watch.
const INTERVAL: Duration = Duration::from_millis(50);

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
pub(crate) enum Question {
    /// A lookup.
    Dns(DnsQuestion),
    /// A request.
    Http(HttpQuestion),
}

impl Question {
    /// Sends it and returns the answer as text. A missing answer is text as well, so that it can be compared.
    pub(crate) async fn ask(&self, target: &ProbeTarget) -> String {
        let answer = match self {
            Self::Dns(question) => question.ask(target.address).await,
            Self::Http(question) if question.tls => match target.tls {
                Some(address) => question.ask(address).await,
                None => Err("no port for TLS".to_owned()),
            },
            Self::Http(question) => question.ask(target.address).await,
        };
        answer.unwrap_or_else(|error| format!("{NO_ANSWER}{error}"))
    }

    /// Whether its answer is expected to stay the same.
    pub(crate) fn is_stable(&self) -> bool {
        match self {
            Self::Dns(question) => question.stable,
            Self::Http(_) => true,
        }
    }

    /// Whether it counts only if it is answered before the migration.
    pub(crate) fn is_external(&self) -> bool {
        matches!(self, Self::Dns(question) if question.external)
    }
}

/// Prefix of the text of a missing answer.
const NO_ANSWER: &str = "failed: ";

/// Whether the text stands for a missing answer.
pub(crate) fn is_missing(answer: &str) -> bool {
    answer.starts_with(NO_ANSWER)
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(question) => write!(f, "{} {}", question.name, question.kind),
            Self::Http(question) => question.fmt(f),
        }
    }
}

/// The task of a check Pod; its only argument, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProbeTask {
    /// The servers. A watch uses the first.
    pub(crate) targets: Vec<ProbeTarget>,
    /// The lookups or requests.
    pub(crate) questions: Vec<Question>,
    /// The expected answers of a watch, in the order of the questions; `None` to send each once.
    pub(crate) expected: Option<Vec<String>>,
}

/// A report of a probe: a line of JSON in the log of a check Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProbeLine {
    /// The answers of each target, in the order of targets and questions.
    Answers(Vec<Vec<String>>),
    /// The counts of a watch so far: sent, and repeated because the first answer was missing or wrong.
    Running {
        /// Lookups or requests sent.
        asked: u64,
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
    /// The question.
    pub(crate) question: String,
    /// The answer before the migration.
    pub(crate) expected: String,
    /// The answer now.
    pub(crate) got: String,
}

impl std::fmt::Display for WrongAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { target, question, expected, got } = self;
        write!(f, "{question}: {target} answers `{got}`, before the migration it was `{expected}`")
    }
}

/// Sends every question to every target.
pub(crate) async fn ask_all(targets: &[ProbeTarget], questions: &[Question]) -> Vec<Vec<String>> {
    let mut answers = Vec::new();
    for target in targets {
        let asked = stream::iter(questions).map(|question| question.ask(target)).buffered(CONCURRENT);
        answers.push(asked.collect().await);
    }
    answers
}

/// Sends the questions in turn until `report` returns false or an answer is wrong twice in a row. The first counts are reported after
/// every question was sent once.
pub(crate) async fn watch(
    target: &ProbeTarget,
    questions: &[Question],
    expected: &[String],
    mut report: impl FnMut(ProbeLine) -> bool,
) {
    let (mut asked, mut repeated) = (0, 0);
    let mut reported = None::<Instant>;
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for (question, expected) in questions.iter().zip(expected).cycle() {
        ticks.tick().await;
        let mut got = question.ask(target).await;
        asked += 1;
        if got != *expected {
            repeated += 1;
            got = question.ask(target).await;
        }
        if got != *expected {
            let wrong = WrongAnswer {
                target: target.name.clone(),
                question: question.to_string(),
                expected: expected.clone(),
                got,
            };
            report(ProbeLine::Wrong(wrong));
            return;
        }
        let is_due = reported.is_none_or(|last| last.elapsed() >= REPORT_INTERVAL);
        if asked >= questions.len() as u64 && is_due {
            reported = Some(Instant::now());
            if !report(ProbeLine::Running { asked, repeated }) {
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
            watch(target, &task.questions, expected, |line| {
                report(&line);
                true
            })
            .await;
        }
        _ => report(&ProbeLine::Answers(ask_all(&task.targets, &task.questions).await)),
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
                let response = format!("HTTP/1.1 {} X\r\ncontent-length: 0\r\n\r\n", statuses[number]);
                let _ = stream.write_all(response.as_bytes()).await;
            }
        });
        ProbeTarget { name: "it".into(), address, tls: None }
    }

    fn question() -> Question {
        Question::Http(HttpQuestion { tls: false, host: "a.test".into(), path: "/".into() })
    }

    #[tokio::test]
    async fn one_wrong_answer_is_repeated_and_two_in_a_row_end_the_watch() {
        let (mut asked_twice, mut wrong) = (0, None);
        watch(&server(&[200, 503, 200, 200, 502]).await, &[question()], &["200".to_owned()], |line| {
            match line {
                ProbeLine::Running { repeated, .. } => asked_twice = repeated,
                ProbeLine::Wrong(answer) => wrong = Some(answer),
                ProbeLine::Answers(_) => {}
            }
            true
        })
        .await;
        let wrong = wrong.unwrap();
        assert_eq!((wrong.expected.as_str(), wrong.got.as_str()), ("200", "502"));
        assert_eq!(asked_twice, 0, "the first report was before the first repetition");
    }

    #[tokio::test]
    async fn a_task_survives_its_way_through_json() {
        let target = server(&[204]).await;
        let task = ProbeTask { targets: vec![target], questions: vec![question()], expected: None };
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
        assert!(is_missing(&question().ask(&target).await));
        assert!(!is_missing(&question().ask(&server(&[500]).await).await));
    }
}
