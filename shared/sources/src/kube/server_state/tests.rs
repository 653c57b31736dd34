use telemetry::metrics::Registry;

use super::*;

fn state(reports: &Reports) -> ServerState {
    let remedy =
        Remedy { credentials: "a valid token".into(), server_certificate: "the right authority".into() };
    ServerState::new("https://10.0.0.1:6443".into(), remedy, reports.clone())
}

/// The reported problems, with `TIME` for the time of day.
fn reported(reports: &Reports) -> Vec<String> {
    let line = |(scope, problem): (&str, Problem)| {
        let text = format!("{scope}: {problem}");
        let Some((before, after)) = text.split_once(" since ") else { return text };
        let (time, after) = after.split_at(8);
        assert!(time.split(':').all(|part| part.len() == 2 && part.parse::<u8>().is_ok()), "{time}");
        format!("{before} since TIME{after}")
    };
    reports.current().into_iter().map(line).collect()
}

fn refused(code: u16) -> ApiError {
    ApiError::of_response(code, None, br#"{"message":"Unauthorized"}"#)
}

const AWAY: &str = "kube: API server https://10.0.0.1:6443: unreachable since TIME (connection refused); serving the last known state";

#[test]
fn an_outage_is_reported_from_the_second_failure_until_every_kind_is_answered() {
    let reports = Reports::new(&Registry::new());
    let state = state(&reports);
    let away = ApiError::unreachable("connection refused");
    state.listed();
    assert!(state.failed(Kind::Service, &away));
    assert_eq!(reported(&reports), [""; 0], "a single failure is the end of a connection");
    assert!(state.failed(Kind::Pod, &away));
    state.failed(Kind::Service, &away);
    assert_eq!(reported(&reports), [AWAY]);
    state.answered(Kind::Service);
    assert_eq!(reported(&reports), [AWAY], "Pods are not read yet");
    state.answered(Kind::Pod);
    assert_eq!(reported(&reports), [""; 0]);
}

#[test]
fn an_outage_before_the_first_list_says_that_nothing_has_been_read() {
    let reports = Reports::new(&Registry::new());
    let state = state(&reports);
    for _ in 0..2 {
        state.failed(Kind::Service, &ApiError::unreachable("connection refused"));
    }
    assert_eq!(
        reported(&reports),
        [AWAY.replace("serving the last known state", "nothing has been read yet")]
    );
    state.forget(Kind::Service);
    assert_eq!(reported(&reports), [""; 0], "a kind that is not read does not prolong the outage");
}

#[test]
fn rejected_credentials_and_certificates_are_reported_with_their_remedy() {
    let certificate = |problem| ApiError::Connection { problem, cause: "UnknownIssuer".into() };
    let rows = [
        (refused(401), "our credentials are refused since TIME (401: Unauthorized)", "a valid token"),
        (
            certificate(ConnectionProblem::ClientCertificate),
            "our credentials are refused since TIME (UnknownIssuer)",
            "a valid token",
        ),
        (
            certificate(ConnectionProblem::ServerCertificate),
            "its certificate is not accepted since TIME (UnknownIssuer)",
            "the right authority",
        ),
    ];
    for (error, what, wanted) in rows {
        let reports = Reports::new(&Registry::new());
        let state = state(&reports);
        state.failed(Kind::Service, &ApiError::unreachable("connection refused"));
        state.failed(Kind::Service, &error);
        let wanted = format!(
            "kube: API server https://10.0.0.1:6443: {what}; nothing has been read yet; wanted {wanted}"
        );
        assert_eq!(reported(&reports), [wanted]);
    }
}

#[test]
fn a_failure_of_one_kind_is_not_an_outage() {
    let reports = Reports::new(&Registry::new());
    let state = state(&reports);
    let malformed = ApiError::Malformed("not JSON".into());
    for error in [refused(403), refused(404), refused(410), malformed] {
        for _ in 0..3 {
            assert!(!state.failed(Kind::Service, &error), "{error}");
        }
    }
    assert_eq!(reported(&reports), [""; 0]);
    assert!(state.failed(Kind::Service, &refused(503)));
}

/// Counts the logged lines in each of three minutes.
#[tokio::test(start_paused = true)]
async fn an_outage_is_logged_once_a_minute_and_rejected_credentials_once() {
    for (error, lines_a_minute) in [(ApiError::unreachable("connection refused"), 1), (refused(401), 0)] {
        let log = crate::testing::Log::default();
        let _logging = log.start();
        let reports = Reports::new(&Registry::new());
        let state = state(&reports);
        let mut counts = Vec::new();
        for _minute in 0..3 {
            for _second in 0..60 {
                for kind in [Kind::Service, Kind::Pod, Kind::EndpointSlice, Kind::Namespace] {
                    state.failed(kind, &error);
                }
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            counts.push(log.take().len());
        }
        assert_eq!(counts, [1, lines_a_minute, lines_a_minute], "{error}");
        for kind in [Kind::Service, Kind::Pod, Kind::EndpointSlice, Kind::Namespace] {
            state.answered(kind);
        }
        let lines = log.take();
        assert!(matches!(&lines[..], [line] if line.contains("solved: API server")), "{lines:?}");
    }
}
