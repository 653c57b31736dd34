//! A failed reload of the Corefile as problems for `/problems`.

use config::Corefile;
use telemetry::{Problem, Severity};

use crate::listeners::DnsStartError;

/// The scope of problem reports.
pub(crate) const SCOPE: &str = "dns";

/// One problem for each error, with its file and line if known. `corefile` is the configuration that could not be served;
/// `None` if it could not be read.
pub(crate) fn problems(error: &DnsStartError, corefile: Option<&Corefile>) -> Vec<Problem> {
    let problem = |key: String, what: String, wanted: String| Problem {
        kind: "Corefile".to_owned(),
        key,
        field: "reload failed, the previous configuration is still served".to_owned(),
        what,
        wanted,
        severity: Some(Severity::Differs),
    };
    let key = |at: &config::SourceLocation| match at.line() {
        0 => at.file().to_owned(),
        // The kind of the problem says that already.
        line if at.file() == "Corefile" => format!("line {line}"),
        _ => at.to_string(),
    };
    match error {
        DnsStartError::Config(errors) => {
            let errors = errors.0.iter();
            errors.map(|error| problem(key(&error.at), error.what.clone(), error.wanted.clone())).collect()
        }
        DnsStartError::Bind(at, bind) => vec![problem(key(at), bind.to_string(), String::new())],
        DnsStartError::Begin(message) => {
            let location = corefile.and_then(|corefile| error.location(corefile));
            let key = location.as_ref().map(key).unwrap_or_default();
            vec![problem(key, message.clone(), String::new())]
        }
    }
}
