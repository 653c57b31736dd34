//! Connections of clients, kept connections to endpoints, and what the whole server has one value of: keys of the ConfigMap without
//! an annotation.

use std::time::Duration;

use super::{AnnotationFamily, FamilyKey, SettingReader};
use crate::family_values::FamilyValues;
use crate::plan::phase::Phase;
use crate::problem::Effect;
use crate::settings::{ConnectionSettings, KeepAlive, parse_size, parse_time};

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "server",
    doc: "Connections and limits of the server.",
    keys: &[
        FamilyKey {
            name: "keep-alive",
            values: "seconds; default 75",
            doc: "how long a client's connection may be idle; with 0 each carries one request",
        },
        FamilyKey {
            name: "keep-alive-requests",
            values: "a number; default 1000",
            doc: "how many requests a client's connection carries",
        },
        FamilyKey {
            name: "client-header-timeout",
            values: "seconds; default 60",
            doc: "how long a client has for the head of a request; for new connections",
        },
        FamilyKey {
            name: "client-body-timeout",
            values: "seconds; default 60",
            doc: "how long a client may send nothing of a body; then 408",
        },
        FamilyKey {
            name: "large-client-header-buffers",
            values: "a number and a size; default 4 8k",
            doc: "the size is the longest line of a request head, and the number times the size is the longest head, at most 1 MiB; a \
                  longer request line gets 414, a longer header line or head 400; for new connections",
        },
        FamilyKey {
            name: "use-http2",
            values: "true, false; default true",
            doc: "offers HTTP/2 to new connections",
        },
        FamilyKey {
            name: "http2-max-concurrent-streams",
            values: "a number; default 128",
            doc: "how many streams a connection has at most; for new connections",
        },
        FamilyKey {
            name: "upstream-keepalive-connections",
            values: "a number; default 320",
            doc: "how many idle connections to endpoints a worker keeps; with 0 each carries one request",
        },
        FamilyKey {
            name: "upstream-keepalive-time",
            values: "a time; default 1h",
            doc: "how old a connection to an endpoint becomes",
        },
        FamilyKey {
            name: "upstream-keepalive-timeout",
            values: "seconds; default 60",
            doc: "how long a connection to an endpoint may be idle",
        },
        FamilyKey {
            name: "upstream-keepalive-requests",
            values: "a number; default 10000",
            doc: "how many requests a connection to an endpoint carries",
        },
        FamilyKey {
            name: "max-worker-connections",
            values: "a number; default 16384",
            doc: "how many connections of clients a worker has, and how many to endpoints; fewer where the limit of open files \
                  allows fewer; 0 for only that limit",
        },
        FamilyKey {
            name: "worker-shutdown-timeout",
            values: "a time; default 240s",
            doc: "how long open requests have to end after SIGTERM; 0 for no limit",
        },
    ],
    phases: &[Phase::Server],
    syntax: "keep-alive: '75'\n\
             keep-alive-requests: '1000'\n\
             client-header-timeout: '60'\n\
             client-body-timeout: '60'\n\
             large-client-header-buffers: '4 16k'\n\
             use-http2: 'true'\n\
             http2-max-concurrent-streams: '128'\n\
             upstream-keepalive-connections: '320'\n\
             upstream-keepalive-time: 1h\n\
             upstream-keepalive-timeout: '60'\n\
             upstream-keepalive-requests: '10000'\n\
             max-worker-connections: '16384'\n\
             worker-shutdown-timeout: 240s",
    read_keys,
    ..AnnotationFamily::NONE
};

/// The longest head of a request that can be allowed. Each connection may hold one.
const MAX_HEAD: u64 = 1 << 20;

/// The longest line and the longest head.
fn parse_head_limits(value: &str) -> Option<(usize, usize)> {
    let (number, size) = value.split_once(' ')?;
    let (number, size) = (number.parse::<u64>().ok()?, parse_size(size.trim_start())?);
    let total = number.checked_mul(size).filter(|total| (1..=MAX_HEAD).contains(total))?;
    Some((usize::try_from(size).ok()?, usize::try_from(total).ok()?))
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    const TIME: &str = "a time such as 90, 240s or 1h 30m";
    const HEADS: &str = "a number and a size, such as 4 8k, with a product of 1 MiB at most";
    let defaults = values.take::<ConnectionSettings>().unwrap_or_default();
    let time = |value: &str| parse_time(value);
    let forever =
        |value: &str| parse_time(value).map(|time| if time.is_zero() { Duration::MAX } else { time });
    let positive = |value: &str| value.parse().ok().filter(|number| *number > 0);
    let head_limits =
        reader.value("large-client-header-buffers", HEADS, Effect::DefaultUsed, parse_head_limits);
    let kept = defaults.upstream_keep_alive;
    let settings = ConnectionSettings {
        http2: reader.flag("use-http2").unwrap_or(defaults.http2),
        http2_max_concurrent_streams: reader
            .value("http2-max-concurrent-streams", "a whole number from 1", Effect::DefaultUsed, positive)
            .unwrap_or(defaults.http2_max_concurrent_streams),
        keep_alive: reader.seconds("keep-alive").unwrap_or(defaults.keep_alive),
        keep_alive_requests: reader.count("keep-alive-requests").unwrap_or(defaults.keep_alive_requests),
        client_header_timeout: reader
            .seconds("client-header-timeout")
            .unwrap_or(defaults.client_header_timeout),
        client_body_timeout: reader.seconds("client-body-timeout").unwrap_or(defaults.client_body_timeout),
        head_limits: head_limits.unwrap_or(defaults.head_limits),
        upstream_keep_alive: KeepAlive {
            connections: reader
                .count("upstream-keepalive-connections")
                .map_or(kept.connections, |it| it as usize),
            timeout: reader.seconds("upstream-keepalive-timeout").unwrap_or(kept.timeout),
            time: reader
                .value("upstream-keepalive-time", TIME, Effect::DefaultUsed, time)
                .unwrap_or(kept.time),
            requests: reader.count("upstream-keepalive-requests").unwrap_or(kept.requests),
        },
        max_worker_connections: match reader.count("max-worker-connections") {
            None => defaults.max_worker_connections,
            Some(0) => usize::MAX,
            Some(limit) => limit as usize,
        },
        worker_shutdown_timeout: reader
            .value("worker-shutdown-timeout", TIME, Effect::DefaultUsed, forever)
            .unwrap_or(defaults.worker_shutdown_timeout),
        ..defaults
    };
    values.set(settings);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key_value;

    fn read(data: &[(&str, &str)]) -> (ConnectionSettings, Vec<String>) {
        key_value(read_keys, data)
    }

    #[test]
    fn keys_become_settings() {
        assert_eq!(read(&[]), (ConnectionSettings::default(), vec![]));
        let seconds = Duration::from_secs;
        let wanted = ConnectionSettings {
            http2: false,
            http2_max_concurrent_streams: 16,
            keep_alive: Duration::ZERO,
            keep_alive_requests: 10,
            client_header_timeout: seconds(5),
            client_body_timeout: seconds(6),
            head_limits: (16 << 10, 64 << 10),
            upstream_keep_alive: KeepAlive {
                connections: 0,
                timeout: seconds(7),
                time: seconds(5400),
                requests: 8,
            },
            max_worker_connections: 100,
            worker_shutdown_timeout: seconds(50),
            ..ConnectionSettings::default()
        };
        let given = [
            ("use-http2", "false"),
            ("http2-max-concurrent-streams", "16"),
            ("keep-alive", "0"),
            ("keep-alive-requests", "10"),
            ("client-header-timeout", "5"),
            ("client-body-timeout", "6"),
            ("large-client-header-buffers", "4 16k"),
            ("upstream-keepalive-connections", "0"),
            ("upstream-keepalive-timeout", "7"),
            ("upstream-keepalive-time", "1h 30m"),
            ("upstream-keepalive-requests", "8"),
            ("max-worker-connections", "100"),
            ("worker-shutdown-timeout", "50s"),
        ];
        assert_eq!(read(&given), (wanted, vec![]));
        assert_eq!(read(&[("max-worker-connections", "0")]).0.max_worker_connections, usize::MAX);
        assert_eq!(read(&[("worker-shutdown-timeout", "0s")]).0.worker_shutdown_timeout, Duration::MAX);
    }

    #[test]
    fn an_invalid_value_is_reported_and_keeps_the_default() {
        for (key, value) in [
            ("use-http2", "off"),
            ("http2-max-concurrent-streams", "0"),
            ("keep-alive", "75s"),
            ("keep-alive-requests", "-1"),
            ("client-header-timeout", "1m"),
            ("client-body-timeout", "x"),
            ("large-client-header-buffers", "8k"),
            ("large-client-header-buffers", "4 1g"),
            ("large-client-header-buffers", "0 8k"),
            ("upstream-keepalive-connections", "many"),
            ("upstream-keepalive-time", "1 hour"),
            ("max-worker-connections", "auto"),
            ("worker-shutdown-timeout", "soon"),
        ] {
            let (settings, problems) = read(&[(key, value)]);
            assert_eq!(settings, ConnectionSettings::default(), "{key}: {value}");
            assert!(problems.len() == 1 && problems[0].contains(value), "{key}: {value}: {problems:?}");
        }
    }
}
