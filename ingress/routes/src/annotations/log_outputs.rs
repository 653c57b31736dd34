//! Where logs go: keys of the ConfigMap.

use super::{AnnotationFamily, FamilyKey, SettingReader};
use crate::access_log::{ErrorLogLevel, LogDestination, LogOutputSettings};
use crate::family_values::FamilyValues;
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "log outputs",
    doc: "Where the lines of the access log go, and how much the error log has.",
    keys: &[
        FamilyKey {
            name: "access-log-path",
            values: "an absolute path; default /var/log/nginx/access.log, which is standard output",
            doc: "the file of the access log: /dev/stdout, /dev/stderr, or a file to which lines are appended and which is opened again on \
                  SIGUSR1; while it cannot be opened, which is reported, lines go to standard output",
        },
        FamilyKey {
            name: "http-access-log-path",
            values: "an absolute path",
            doc: "the file of the lines of requests, instead of access-log-path",
        },
        FamilyKey {
            name: "stream-access-log-path",
            values: "an absolute path",
            doc: "the file of the lines of TCP and UDP services, instead of access-log-path",
        },
        FamilyKey {
            name: "enable-auth-access-log",
            values: "true, false; default false",
            doc: "requests to authentication servers have lines, too; their $upstream_addr is the host of the URL",
        },
        FamilyKey {
            name: "error-log-level",
            values: "debug, info, notice, warn, error, crit, alert or emerg; default notice",
            doc: "the least severe messages of the proxy in the log on standard error: notice counts as info, and crit, alert and emerg as \
                  error. The messages of the controller follow -v, which wins if it asks for more",
        },
        FamilyKey {
            name: "enable-syslog",
            values: "true, false; default false",
            doc: "sends the lines of the access log to a syslog server (RFC 3164 over UDP, facility local7, tag nginx) instead of a file; \
                  the error log stays on standard error. Lines that cannot be sent are counted in portolan_access_log_dropped_total",
        },
        FamilyKey {
            name: "syslog-host",
            values: "a name or address",
            doc: "the server of enable-syslog, looked up again every minute",
        },
        FamilyKey { name: "syslog-port", values: "a port; default 514", doc: "its port" },
    ],
    phases: &[Phase::Log],
    syntax: "access-log-path: /var/log/portolan/access.log\n\
             http-access-log-path: /dev/stdout\n\
             stream-access-log-path: /dev/stderr\n\
             enable-auth-access-log: 'true'\n\
             error-log-level: warn\n\
             enable-syslog: 'false'\n\
             syslog-host: 192.0.2.1\n\
             syslog-port: '514'",
    read_keys,
    ..AnnotationFamily::NONE
};

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    const LEVEL: &str = "debug, info, notice, warn, error, crit, alert or emerg";
    let defaults = values.take::<LogOutputSettings>().unwrap_or_default();
    let all = path(reader, "access-log-path");
    let [requests, streams] = ["http-access-log-path", "stream-access-log-path"].map(|key| path(reader, key));
    let syslog = syslog(reader);
    let choose = |own: Option<LogDestination>, default: LogDestination| {
        syslog.clone().or(own).or_else(|| all.clone()).unwrap_or(default)
    };
    values.set(LogOutputSettings {
        requests: choose(requests, defaults.requests),
        streams: choose(streams, defaults.streams),
        error_level: reader
            .value("error-log-level", LEVEL, Effect::DefaultUsed, ErrorLogLevel::parse)
            .or(defaults.error_level),
        has_auth_requests: reader.flag("enable-auth-access-log").unwrap_or(defaults.has_auth_requests),
    });
}

fn path(reader: &mut SettingReader<'_>, key: &'static str) -> Option<LogDestination> {
    reader.value(key, "an absolute path without spaces", Effect::DefaultUsed, LogDestination::of_path)
}

/// The server of `enable-syslog`, if it is on.
fn syslog(reader: &mut SettingReader<'_>) -> Option<LogDestination> {
    const HOST: &str = "a name or address without a port";
    let is_host = |host: &str| {
        let is_address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        is_address || host.bytes().all(is_name)
    };
    let host = reader
        .value("syslog-host", HOST, Effect::DefaultUsed, |host| Some(host).filter(|host| is_host(host)));
    let port = |port: &str| port.parse().ok().filter(|port| *port != 0);
    let port = reader.value("syslog-port", "a port", Effect::DefaultUsed, port).unwrap_or(514);
    if reader.flag("enable-syslog") != Some(true) {
        return None;
    }
    if host.is_none() {
        let what = "needs syslog-host; the lines go where access-log-path says".to_owned();
        reader.problem("enable-syslog", what, Effect::Cosmetic);
    }
    Some(LogDestination::Syslog { host: host?.into(), port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key_value;

    fn read(data: &[(&str, &str)]) -> (LogOutputSettings, Vec<String>) {
        key_value(read_keys, data)
    }

    #[test]
    fn paths_and_syslog_choose_the_destinations() {
        let file = |path: &str| LogDestination::File(path.into());
        let (out, err) = (LogDestination::Stdout, LogDestination::Stderr);
        let syslog = |port| LogDestination::Syslog { host: "logs.example".into(), port };
        for (data, requests, streams) in [
            (&[][..], out.clone(), out.clone()),
            (&[("access-log-path", "/logs/a")], file("/logs/a"), file("/logs/a")),
            (&[("access-log-path", "/var/log/nginx/error.log")], err.clone(), err.clone()),
            (
                &[("access-log-path", "/logs/a"), ("http-access-log-path", "/dev/stdout")],
                out.clone(),
                file("/logs/a"),
            ),
            (&[("stream-access-log-path", "/dev/stderr")], out, err),
            (
                &[("enable-syslog", "true"), ("syslog-host", "logs.example"), ("access-log-path", "/a")],
                syslog(514),
                syslog(514),
            ),
            (
                &[("enable-syslog", "true"), ("syslog-host", "logs.example"), ("syslog-port", "5140")],
                syslog(5140),
                syslog(5140),
            ),
            (&[("syslog-host", "logs.example")], LogDestination::Stdout, LogDestination::Stdout),
        ] {
            let wanted = LogOutputSettings { requests, streams, ..LogOutputSettings::default() };
            assert_eq!(read(data), (wanted, vec![]), "{data:?}");
        }
    }

    #[test]
    fn levels_are_those_of_nginx() {
        use ErrorLogLevel::{Debug, Error, Info, Warn};
        for (word, level) in [
            ("debug", Debug),
            ("info", Info),
            ("notice", Info),
            ("warn", Warn),
            ("error", Error),
            ("crit", Error),
            ("alert", Error),
            ("emerg", Error),
        ] {
            let wanted = LogOutputSettings { error_level: Some(level), ..LogOutputSettings::default() };
            assert_eq!(read(&[("error-log-level", word)]), (wanted, vec![]), "{word}");
        }
    }

    #[test]
    fn invalid_values_are_reported_and_keep_the_default() {
        for (key, value, what) in [
            ("access-log-path", "logs/a", "an absolute path"),
            ("access-log-path", "/logs/", "an absolute path"),
            ("http-access-log-path", "/a combined", "an absolute path"),
            ("error-log-level", "verbose", "debug, info, notice"),
            ("enable-syslog", "true", "needs syslog-host"),
            ("syslog-host", "logs.example:514", "without a port"),
            ("syslog-port", "0", "a port"),
            ("enable-auth-access-log", "on", "true or false"),
        ] {
            let (settings, problems) = read(&[(key, value)]);
            assert_eq!(settings, LogOutputSettings::default(), "{key}: {value}");
            assert!(problems.len() == 1 && problems[0].contains(what), "{key}: {value}: {problems:?}");
        }
    }
}
