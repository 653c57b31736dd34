//! Corefiles: what becomes of each line.

use std::collections::BTreeMap;

use config::{ConfigErrors, Corefile, Directive, Disk, Loader, SourceLocation};
use tokio::runtime::Handle;

use crate::differences;
use crate::outcome::Outcome;
use crate::report::{CheckedObject, CheckedSetting, Place};

/// Where the files of a Corefile are.
pub(crate) enum CorefileFiles<'f> {
    /// On this machine.
    Disk,
    /// In ConfigMaps, by their path in the Pod. Other files of the Pod are not known.
    ConfigMaps(&'f BTreeMap<String, String>),
}

/// Checks a Corefile. Its text is `text`, and `file` its name or path.
pub(crate) fn check(
    name: &str,
    file: &str,
    text: &str,
    files: &CorefileFiles<'_>,
    runtime: &Handle,
) -> CheckedObject {
    let env = |name: &str| std::env::var(name).ok();
    let options = config::ParseOptions { dns_port: 53, directives: &[], env: &env };
    let loader: &dyn Loader = match files {
        CorefileFiles::Disk => &Disk,
        CorefileFiles::ConfigMaps(files) => *files,
    };
    let findings = match Corefile::read(file, text, loader, &options) {
        Ok(mut corefile) => {
            let lines = lines(&corefile);
            if matches!(files, CorefileFiles::ConfigMaps(_)) {
                dns_chain::offline::replace_files(&mut corefile);
            }
            let context = dns_chain::offline::context(env!("CARGO_PKG_VERSION"), runtime.clone());
            match dns_chain::build(&corefile, &context) {
                Ok(servers) => {
                    let warnings = servers
                        .warnings
                        .iter()
                        .map(|warning| (&warning.at, Outcome::Differs, warning.what.clone()));
                    with_reports(lines, warnings.collect())
                }
                Err(errors) => with_reports(lines, reports(&errors)),
            }
        }
        Err(errors) => with_reports(Vec::new(), reports(&errors)),
    };
    CheckedObject::new("Corefile", name, None, findings)
}

type LineReport<'r> = (&'r SourceLocation, Outcome, String);

fn reports(errors: &ConfigErrors) -> Vec<LineReport<'_>> {
    let report = |error: &config::ConfigError| match error.wanted.as_str() {
        "" => error.what.clone(),
        wanted => format!("{}; wanted {wanted}", error.what),
    };
    errors.0.iter().map(|error| (&error.at, Outcome::Refused, report(error))).collect()
}

/// The directives and their properties, each as a line that works as before or differs.
fn lines(corefile: &Corefile) -> Vec<CheckedSetting> {
    let mut lines = Vec::new();
    for block in &corefile.blocks {
        for directive in &block.directives {
            lines.push(directive_line(directive, &directive.name.text));
            properties(directive, &directive.name.text, &mut lines);
        }
    }
    lines
}

fn properties(directive: &Directive, plugin: &str, lines: &mut Vec<CheckedSetting>) {
    for property in &directive.block {
        lines.push(directive_line(property, &format!("{plugin} {}", property.name.text)));
        properties(property, plugin, lines);
    }
}

/// The line of a plugin, or of a property with the name `PLUGIN PROPERTY`.
fn directive_line(directive: &Directive, name: &str) -> CheckedSetting {
    let args = directive.args.iter().map(|arg| arg.text.as_str());
    let properties = directive.block.iter().map(|property| property.name.text.as_str());
    let words: Vec<_> = args.chain(properties).collect();
    let difference = differences::of_plugin(name, &words.join(" "));
    let outcome = if difference.is_some() { Outcome::Differs } else { Outcome::AsBefore };
    line(&directive.name.at, outcome, difference.unwrap_or_default())
}

fn line(at: &SourceLocation, outcome: Outcome, reason: &str) -> CheckedSetting {
    let text = at.text();
    let text = text.strip_suffix('{').unwrap_or(text).trim_end();
    CheckedSetting { setting: text.to_owned(), place: place(at), outcome, reason: reason.to_owned() }
}

fn place(at: &SourceLocation) -> Option<Place> {
    (at.line() > 0).then(|| Place { file: at.file().to_owned(), line: at.line() })
}

/// Puts each report on its line.
fn with_reports(mut lines: Vec<CheckedSetting>, reports: Vec<LineReport<'_>>) -> Vec<CheckedSetting> {
    for (at, outcome, reason) in reports {
        let here = place(at);
        match lines.iter_mut().find(|line| line.place == here) {
            Some(line) => (line.outcome, line.reason) = (outcome, reason),
            None => lines.push(line(at, outcome, &reason)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn checked(text: &str, files: &[(&str, &str)]) -> Vec<String> {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let object = check("c", "Corefile", text, &CorefileFiles::ConfigMaps(&files), &Handle::current());
        let line = |finding: &CheckedSetting| {
            let place = finding.place.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{place} {}: {} {}", finding.setting, finding.outcome.words(), finding.reason)
        };
        object.settings.iter().map(line).collect()
    }

    #[tokio::test]
    async fn each_line_has_its_outcome() {
        let text = ".:53 {\n  errors\n  debug\n  cache 30 {\n    success 100\n  }\n  import /etc/coredns/custom/*.override\n  forward . /etc/resolv.conf\n}\n";
        let lines = checked(text, &[("/etc/coredns/custom/a.override", "whoami\n")]).await;
        assert_eq!(
            lines,
            [
                "Corefile:2 errors: differs a failure that repeats is logged ten times in ten seconds, then counted",
                "Corefile:3 debug: differs debug has no effect: a panic always logs its place, and the flag -v logs more",
                "Corefile:4 cache 30: as before ",
                "Corefile:5 success 100: as before ",
                "/etc/coredns/custom/a.override:1 whoami: as before ",
                "Corefile:8 forward . /etc/resolv.conf: as before ",
            ]
        );
    }

    #[tokio::test]
    async fn properties_decide_what_differs() {
        let text = ".:53 {\n  errors {\n    consolidate 5m .*\n  }\n  health {\n    lameduck 5s\n  }\n  loop {\n    exit\n  }\n}\n.:54 {\n  loop\n}\n";
        let lines = checked(text, &[]).await;
        let differ: Vec<_> = lines.iter().filter(|line| line.contains(": differs ")).collect();
        assert_eq!(differ.len(), 2, "{lines:?}");
        assert!(
            differ[0].starts_with("Corefile:6 lameduck 5s: differs ")
                && differ[1].starts_with("Corefile:13 loop: ")
        );
    }

    #[tokio::test]
    async fn every_mistake_is_refused_on_its_line() {
        let lines = checked(
            ".:53 {\n  errors\n  cache 30 {\n    succes 100\n  }\n  route53 example.org.:Z1\n}\n",
            &[],
        )
        .await;
        let refused: Vec<_> = lines.iter().filter(|line| line.contains("refused")).collect();
        assert_eq!(refused.len(), 2, "{lines:?}");
        assert!(refused[0].starts_with("Corefile:4 succes 100: refused"), "{lines:?}");
        assert!(refused[1].starts_with("Corefile:6 route53 example.org.:Z1: refused"), "{lines:?}");
        let lines = checked(".:53 {\n  errors\n", &[]).await;
        assert!(lines.len() == 1 && lines[0].contains("refused"), "{lines:?}");
    }
}
