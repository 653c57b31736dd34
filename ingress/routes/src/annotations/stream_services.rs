//! How the streams of TCP and UDP services are passed on, and the ports that Ingresses open. The ports themselves are made by
//! `StreamIndex`.

use std::time::Duration;

use super::snippet_settings::allowed;
use super::{Annotation, AnnotationFamily, FamilyKey, SettingReader, Settings};
use crate::family_values::FamilyValues;
use crate::plan::phase::Phase;
use crate::problem::Effect;
use crate::settings::{StreamSettings, parse_time};
use crate::snippet::read_servers;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "streams",
    doc: "How TCP and UDP services are passed on. Their ports are those of the ConfigMaps that --tcp-services-configmap and \
          --udp-services-configmap name.",
    annotations: &[Annotation {
        name: SNIPPET,
        values: "server blocks of nginx",
        doc: "Opens ports as the key of this name does, if the ConfigMap allows snippets (allow-snippet-annotations `true`, annotations-risk-level \
              `Critical`). A port that an entry of a ConfigMap or an older Ingress has is not opened again.",
    }],
    keys: &[
        FamilyKey {
            name: "proxy-stream-timeout",
            values: "a time; default 600s",
            doc: "how long neither side of a stream may send anything",
        },
        FamilyKey {
            name: "proxy-stream-next-upstream",
            values: "true, false; default true",
            doc: "tries another endpoint when one cannot be connected to",
        },
        FamilyKey {
            name: "proxy-stream-next-upstream-timeout",
            values: "a time; default 600s",
            doc: "how long other endpoints are tried; 0 for no limit",
        },
        FamilyKey {
            name: "proxy-stream-next-upstream-tries",
            values: "a number; default 3",
            doc: "how many endpoints are tried; 0 for no limit",
        },
        FamilyKey {
            name: SNIPPET,
            values: "server blocks of nginx",
            doc: "opens ports: `server { listen PORT [udp] [proxy_protocol]; proxy_pass HOST:PORT; proxy_protocol on; allow …; deny …; }`. A \
                  server with any other directive is not opened, and every mistake is reported with its position",
        },
        FamilyKey {
            name: "proxy-stream-responses",
            values: "a number; default 1",
            doc: "how many datagrams an endpoint sends for each datagram of a client; the session ends with the last one",
        },
    ],
    phases: &[Phase::Server],
    syntax: "stream-snippet: server { listen 5432; proxy_pass db.example:5432; allow 10.0.0.0/8; deny all; }",
    read,
    read_keys,
    ..AnnotationFamily::NONE
};

const SNIPPET: &str = "stream-snippet";

/// Reports what is wrong with the text. It opens ports and changes no route.
fn read(reader: &mut SettingReader<'_>, _: &mut Settings) {
    let Some(text) = allowed(reader, SNIPPET) else { return };
    for mistake in read_servers(text).1 {
        reader.problem(SNIPPET, format!("{}: {}", mistake.at, mistake.what), Effect::LeftOut);
    }
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    const TIME: &str = "a time such as 90, 600s or 1h 30m";
    const IDLE: &str = "a time from 1s, such as 600s or 1h 30m";
    let idle = |value: &str| parse_time(value).filter(|time| *time >= Duration::from_secs(1));
    let defaults = values.take::<StreamSettings>().unwrap_or_default();
    values.set(StreamSettings {
        timeout: reader
            .value("proxy-stream-timeout", IDLE, Effect::DefaultUsed, idle)
            .unwrap_or(defaults.timeout),
        next_upstream: reader.flag("proxy-stream-next-upstream").unwrap_or(defaults.next_upstream),
        next_upstream_timeout: reader
            .value("proxy-stream-next-upstream-timeout", TIME, Effect::DefaultUsed, parse_time)
            .unwrap_or(defaults.next_upstream_timeout),
        next_upstream_tries: reader
            .count("proxy-stream-next-upstream-tries")
            .unwrap_or(defaults.next_upstream_tries),
        responses: reader.count("proxy-stream-responses").unwrap_or(defaults.responses),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key_value;

    #[test]
    fn keys_become_settings() {
        assert_eq!(key_value(read_keys, &[]), (StreamSettings::default(), vec![]));
        let (settings, problems): (StreamSettings, _) = key_value(
            read_keys,
            &[
                ("proxy-stream-timeout", "1h"),
                ("proxy-stream-next-upstream", "false"),
                ("proxy-stream-next-upstream-timeout", "0"),
                ("proxy-stream-next-upstream-tries", "5"),
                ("proxy-stream-responses", "0"),
            ],
        );
        let wanted = StreamSettings {
            timeout: Duration::from_secs(3600),
            next_upstream: false,
            next_upstream_timeout: Duration::ZERO,
            next_upstream_tries: 5,
            responses: 0,
        };
        assert_eq!((settings, problems), (wanted, vec![]));
    }

    #[test]
    fn an_invalid_value_is_reported_and_keeps_the_default() {
        for (key, value) in [
            ("proxy-stream-timeout", "0"),
            ("proxy-stream-timeout", "long"),
            ("proxy-stream-next-upstream", "on"),
            ("proxy-stream-next-upstream-timeout", "1 hour"),
            ("proxy-stream-next-upstream-tries", "-1"),
            ("proxy-stream-responses", "many"),
        ] {
            let (settings, problems): (StreamSettings, _) = key_value(read_keys, &[(key, value)]);
            assert_eq!(settings, StreamSettings::default(), "{key}: {value}");
            assert!(problems.len() == 1 && problems[0].contains(value), "{key}: {value}: {problems:?}");
        }
    }
}
