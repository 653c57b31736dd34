//! The access log: which requests have a line, and its format.

use std::sync::Arc;

use super::{Annotation, AnnotationFamily, FamilyKey, SettingReader};
use crate::access_log::{AccessLogSettings, LineFormat, LogEscape, SkippedUrls, StreamLineFormat};
use crate::family_values::FamilyValues;
use crate::plan::phase::Phase;
use crate::problem::Effect;
use crate::snippet::Position;
use crate::template::TemplateError;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "access log",
    doc: "Which requests have a line in the access log, and its format. Unknown variables are reported and have no value.",
    annotations: &[Annotation {
        name: "enable-access-log",
        values: "true, false; default true",
        doc: "Requests of the routes have a line in the access log.",
    }],
    keys: &[
        FamilyKey {
            name: "enable-access-log-for-default-backend",
            values: "true, false; default false",
            doc: "logs requests that no Ingress covers, too",
        },
        FamilyKey {
            name: "disable-access-log",
            values: "true, false; default false",
            doc: "logs neither requests nor streams",
        },
        FamilyKey {
            name: "disable-http-access-log",
            values: "true, false; default false",
            doc: "logs no requests",
        },
        FamilyKey {
            name: "disable-stream-access-log",
            values: "true, false; default false",
            doc: "logs no streams",
        },
        FamilyKey {
            name: "log-format-stream",
            values: "a text with nginx's variables of streams",
            doc: "the format of the lines of TCP and UDP services; an unknown variable has no value",
        },
        FamilyKey {
            name: "skip-access-log-urls",
            values: "a list of request targets, or regular expressions after ~ or ~*",
            doc: "logs no requests to these; a target is compared whole, with its query, in any case of letters",
        },
        FamilyKey {
            name: "log-format-upstream",
            values: "a text with variables of nginx",
            doc: "the format of the lines; an unknown variable is reported and has no value",
        },
        FamilyKey {
            name: "log-format-escape-json",
            values: "true, false; default false",
            doc: "escapes values in the lines as in JSON strings",
        },
        FamilyKey {
            name: "log-format-escape-none",
            values: "true, false; default false",
            doc: "escapes nothing in the lines, whatever log-format-escape-json is",
        },
    ],
    phases: &[Phase::Log],
    syntax: "enable-access-log: 'false'",
    read: |reader, settings| {
        if reader.flag("enable-access-log") == Some(false) {
            settings.values.set(NotLogged);
        }
    },
    read_keys,
    plan: |settings, _, plan| plan.is_not_logged = settings.values.get::<NotLogged>().is_some(),
};

/// `enable-access-log: "false"`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct NotLogged;

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let defaults = values.take::<AccessLogSettings>().unwrap_or_default();
    let [all, http, stream] = ["disable-access-log", "disable-http-access-log", "disable-stream-access-log"]
        .map(|key| reader.flag(key) == Some(true));
    let log_default_backend = reader.flag("enable-access-log-for-default-backend");
    let escape = escape(reader);
    values.set(AccessLogSettings {
        is_enabled: defaults.is_enabled && !(all || http),
        has_streams: defaults.has_streams && !(all || stream),
        has_default_backend: log_default_backend.unwrap_or(defaults.has_default_backend),
        format: format(reader, escape).map(Arc::new),
        stream_format: stream_format(reader, escape).map(Arc::new),
        skipped_urls: Arc::new(skipped_urls(reader)),
    });
}

/// Maximum number of unknown variables of a format that are reported.
const MAX_REPORTED: usize = 10;

/// How values in the lines are escaped.
fn escape(reader: &mut SettingReader<'_>) -> LogEscape {
    let flags =
        ["log-format-escape-none", "log-format-escape-json"].map(|key| reader.flag(key) == Some(true));
    match flags {
        [true, _] => LogEscape::None,
        [false, true] => LogEscape::Json,
        [false, false] => LogEscape::Default,
    }
}

/// The format of the lines of requests; `None` for the default.
fn format(reader: &mut SettingReader<'_>, escape: LogEscape) -> Option<LineFormat> {
    let compiled = compiled(reader, "log-format-upstream", |text| LineFormat::compile(text, escape));
    let default = |escape| LineFormat::parse(LineFormat::DEFAULT, escape).ok();
    let compiled = compiled.or_else(|| default(escape));
    compiled.filter(|format| escape != LogEscape::Default || Some(format) != default(escape).as_ref())
}

/// The format of the lines of streams; `None` for the default, whose values need no escaping.
fn stream_format(reader: &mut SettingReader<'_>, escape: LogEscape) -> Option<StreamLineFormat> {
    let compiled = compiled(reader, "log-format-stream", |text| StreamLineFormat::compile(text, escape));
    compiled.filter(|format| *format != StreamLineFormat::default())
}

/// The format in a key, compiled. It may have several lines, as JSON often has. Reports an invalid one, and its unknown variables, which
/// `compile` returns with it.
fn compiled<F>(
    reader: &mut SettingReader<'_>,
    key: &'static str,
    compile: impl FnOnce(&str) -> Result<(F, Vec<TemplateError>), TemplateError>,
) -> Option<F> {
    let text = reader.text(key)?;
    if let Some(missing) = reader.geo().missing_in(text) {
        reader.problem(key, format!("{text:?}: {missing}"), Effect::DefaultUsed);
        return None;
    }
    match compile(text) {
        Ok((format, unknown)) => {
            for TemplateError { what, at } in unknown.into_iter().take(MAX_REPORTED) {
                let what = format!("{}: {what}, and has no value in the lines", position(text, at));
                reader.problem(key, what, Effect::Differs);
            }
            Some(format)
        }
        Err(error) => {
            let what = format!(
                "{}: {} in {text:?}, which should be a text with variables of nginx",
                position(text, error.at),
                error.what
            );
            reader.problem(key, what, Effect::DefaultUsed);
            None
        }
    }
}

/// The position of a character, which is counted from 1.
fn position(text: &str, character: usize) -> Position {
    let start = Position { line: 1, column: 1 };
    text.chars().take(character.saturating_sub(1)).fold(start, |Position { line, column }, c| match c {
        '\n' => Position { line: line + 1, column: 1 },
        _ => Position { line, column: column + 1 },
    })
}

fn skipped_urls(reader: &mut SettingReader<'_>) -> SkippedUrls {
    const KEY: &str = "skip-access-log-urls";
    let mut skipped = SkippedUrls::default();
    for entry in
        reader.text(KEY).unwrap_or_default().split(',').map(str::trim).filter(|entry| !entry.is_empty())
    {
        if let Err(error) = skipped.add(entry) {
            let what = format!("{entry:?} should be a request target or a regular expression: {error}");
            reader.problem(KEY, what, Effect::LeftOut);
        }
    }
    skipped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_log::LogVariable;
    use crate::pattern::StepBudget;
    use crate::template::CompiledPart;
    use crate::testing::key_value;

    fn read(data: &[(&str, &str)]) -> (AccessLogSettings, Vec<String>) {
        key_value(read_keys, data)
    }

    #[test]
    fn keys_become_settings() {
        assert_eq!(read(&[]), (AccessLogSettings::default(), vec![]));
        for (key, is_enabled, has_streams) in [
            ("disable-access-log", false, false),
            ("disable-http-access-log", false, true),
            ("disable-stream-access-log", true, false),
        ] {
            let wanted = AccessLogSettings { is_enabled, has_streams, ..AccessLogSettings::default() };
            assert_eq!(read(&[(key, "true")]), (wanted, vec![]), "{key}");
        }
        let stream_format = |text| read(&[("log-format-stream", text)]).0.stream_format;
        assert_eq!(stream_format(StreamLineFormat::DEFAULT), None, "the default, as written");
        assert!(stream_format("$protocol $status").is_some());
        let (settings, problems) = read(&[
            ("enable-access-log-for-default-backend", "true"),
            ("skip-access-log-urls", "/a, ~^/b,"),
            ("log-format-upstream", "{\n\"s\": $status\n}"),
        ]);
        assert_eq!(problems, [""; 0]);
        assert!(settings.has_default_backend && settings.is_enabled);
        let mut budget = StepBudget::default();
        let mut is_skipped = |url| settings.skipped_urls.contains(url, &mut budget);
        assert_eq!(["/a", "/b/c", "/c"].map(&mut is_skipped), [true, true, false]);
        let format = LineFormat::parse("{\n\"s\": $status\n}", LogEscape::Default);
        assert_eq!(settings.format.as_deref(), format.ok().as_ref());
    }

    #[test]
    fn a_mistake_in_a_format_of_several_lines_has_its_line() {
        let (_, problems) = read(&[("log-format-upstream", "{\"s\": $status,\n \"é\": $nothing}")]);
        assert!(problems[0].contains("line 2, column 7: $nothing is not a known variable"), "{problems:?}");
    }

    #[test]
    fn an_unknown_variable_is_reported_and_the_rest_of_the_format_is_kept() {
        let (settings, problems) = read(&[("log-format-upstream", "$the_real_ip $status $none")]);
        let format = settings.format.expect("a format");
        let [CompiledPart::Variable(unknown), _, CompiledPart::Variable(status), ..] = format.parts() else {
            panic!("{format:?}")
        };
        assert_eq!((unknown, status), (&LogVariable::Absent, &LogVariable::Status));
        let reported = [(1, "$the_real_ip"), (22, "$none")].map(|(column, name)| {
            format!(
                "ConfigMap ingress/controller: log-format-upstream: line 1, column {column}: {name} is not a known variable, and has no \
                 value in the lines"
            )
        });
        assert_eq!(problems, reported);
        let (settings, problems) = read(&[("log-format-stream", "$status $request")]);
        assert!(settings.stream_format.is_some());
        assert!(
            problems[0].contains("column 9: $request is not a known variable, and has no value"),
            "{problems:?}"
        );
    }

    #[test]
    fn escaping_applies_to_the_default_format_too_and_none_wins() {
        let escape = |data: &[(&str, &str)]| read(data).0.format.map(|format| format.escape());
        let (json, none) = (("log-format-escape-json", "true"), ("log-format-escape-none", "true"));
        assert_eq!(escape(&[("log-format-upstream", LineFormat::DEFAULT)]), None, "the default, as written");
        assert_eq!(escape(&[json]), Some(LogEscape::Json));
        assert_eq!(escape(&[json, none]), Some(LogEscape::None));
        assert_eq!(escape(&[("log-format-upstream", "$status")]), Some(LogEscape::Default));
    }

    #[test]
    fn an_invalid_value_is_reported_and_keeps_the_default() {
        for (key, value, what) in [
            ("log-format-upstream", "$status ${the_real_ip", "line 1, column 9: "),
            ("log-format-stream", "$status ${request", "line 1, column 9: "),
            ("log-format-escape-json", "yes", "true or false"),
            ("skip-access-log-urls", "~(", "regular expression"),
            ("disable-access-log", "on", "true or false"),
        ] {
            let (settings, problems) = read(&[(key, value)]);
            assert_eq!(settings, AccessLogSettings::default(), "{key}: {value}");
            assert!(
                problems.len() == 1 && problems[0].contains(value) && problems[0].contains(what),
                "{key}: {value}: {problems:?}"
            );
        }
    }
}
