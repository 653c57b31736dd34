//! Converts errors of the HTTP client to an [`ApiError`] that names the problem to fix.

use std::error::Error;
use std::io::{self, ErrorKind};

use kube::client::AuthError;
use rustls::AlertDescription;
use telemetry::causes;

use crate::watch_stream::{ApiError, ConnectionProblem};

/// Why a request failed without a response, or why a response ended early.
pub(super) fn connection_error(error: &kube::Error) -> ApiError {
    let whole: &(dyn Error + 'static) = match error {
        // Most connection errors are wrapped in this variant, whose own text adds no information.
        kube::Error::Service(error) => &**error,
        error => error,
    };
    let mut cause = Some(whole);
    while let Some(error) = cause {
        if let Some((problem, cause)) = known(error) {
            return ApiError::Connection { problem, cause };
        }
        cause = inner(error);
    }
    ApiError::unreachable(causes(whole))
}

/// The cause of an error. [`io::Error`] does not return the error that it wraps as its source.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn known(error: &(dyn Error + 'static)) -> Option<(ConnectionProblem, String)> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        let problem = match error {
            rustls::Error::InvalidCertificate(_) => ConnectionProblem::ServerCertificate,
            rustls::Error::AlertReceived(alert) if is_about_client_certificate(*alert) => {
                ConnectionProblem::ClientCertificate
            }
            _ => ConnectionProblem::Unreachable,
        };
        return Some((problem, error.to_string()));
    }
    if let Some(error) = error.downcast_ref::<AuthError>() {
        return Some((ConnectionProblem::Credentials, causes(error)));
    }
    let words = match error.downcast_ref::<io::Error>()?.kind() {
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::ConnectionReset => "connection reset",
        ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted | ErrorKind::UnexpectedEof => "connection cut",
        ErrorKind::HostUnreachable => "no route to host",
        ErrorKind::NetworkUnreachable => "network unreachable",
        ErrorKind::TimedOut => "no answer to the connection attempt",
        _ => return None,
    };
    Some((ConnectionProblem::Unreachable, words.into()))
}

fn is_about_client_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
    )
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    /// A wrapper like those of the HTTP client and the TLS connector.
    #[derive(Debug)]
    struct Outer(io::Error);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("client error (Connect)")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn the_known_cause_of_an_error_decides_the_reported_problem() {
        let tls = |error: rustls::Error| io::Error::new(ErrorKind::InvalidData, error);
        let alert = |alert| tls(rustls::Error::AlertReceived(alert));
        let rows = [
            (ErrorKind::ConnectionRefused.into(), ConnectionProblem::Unreachable, "connection refused"),
            (io::Error::from_raw_os_error(104), ConnectionProblem::Unreachable, "connection reset"),
            (
                io::Error::other("no such host"),
                ConnectionProblem::Unreachable,
                "client error (Connect): no such host",
            ),
            (
                tls(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)),
                ConnectionProblem::ServerCertificate,
                "invalid peer certificate: UnknownIssuer",
            ),
            (
                alert(AlertDescription::CertificateExpired),
                ConnectionProblem::ClientCertificate,
                "received fatal alert: CertificateExpired",
            ),
            (
                alert(AlertDescription::InternalError),
                ConnectionProblem::Unreachable,
                "received fatal alert: InternalError",
            ),
            (
                io::Error::other(AuthError::ExecPluginFailed),
                ConnectionProblem::Credentials,
                "exec-plugin response did not contain a status",
            ),
        ];
        for (error, problem, words) in rows {
            let converted = connection_error(&kube::Error::Service(Box::new(Outer(error))));
            let ApiError::Connection { problem: found, cause } = converted else { panic!("{converted:?}") };
            assert_eq!((found, cause.as_str()), (problem, words));
        }
    }
}
