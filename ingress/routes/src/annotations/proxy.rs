//! How requests are sent to endpoints: timeouts, sizes and retries, for all routes by the ConfigMap and for some by annotations of
//! the same names.

use std::sync::Arc;

use http::Version;

use super::snippet_settings::location_levels;
use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::phase::Phase;
use crate::problem::Effect;
use crate::settings::{NextUpstream, ProxyOverrides, ProxySettings, RetryCondition, parse_size};

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "proxy",
    doc: "Timeouts, sizes and retries of requests to endpoints. The keys of the same names are the defaults of all routes. \
          Bodies are streamed in both directions.",
    annotations: &[
        Annotation { name: "proxy-connect-timeout", values: SECONDS, doc: CONNECT },
        Annotation { name: "proxy-send-timeout", values: SECONDS, doc: SEND },
        Annotation { name: "proxy-read-timeout", values: SECONDS, doc: READ },
        Annotation { name: "proxy-body-size", values: SIZE, doc: BODY },
        Annotation { name: "client-body-buffer-size", values: SIZE, doc: KEPT },
        Annotation { name: "proxy-buffer-size", values: POSITIVE_SIZE, doc: HEAD },
        Annotation { name: "proxy-request-buffering", values: "on, off", doc: REQUEST_BUFFERING },
        Annotation { name: "proxy-next-upstream", values: WORDS, doc: NEXT },
        Annotation { name: "proxy-next-upstream-timeout", values: SECONDS, doc: NEXT_TIMEOUT },
        Annotation { name: "proxy-next-upstream-tries", values: NUMBER, doc: TRIES },
        Annotation { name: "proxy-http-version", values: "1.0, 1.1", doc: VERSION },
    ],
    keys: &[
        FamilyKey { name: "proxy-connect-timeout", values: "seconds; default 5", doc: CONNECT },
        FamilyKey { name: "proxy-send-timeout", values: "seconds; default 60", doc: SEND },
        FamilyKey { name: "proxy-read-timeout", values: "seconds; default 60", doc: READ },
        FamilyKey { name: "proxy-body-size", values: "a size; default 1m", doc: BODY },
        FamilyKey { name: "client-body-buffer-size", values: "a size; default 8k", doc: KEPT },
        FamilyKey { name: "proxy-buffer-size", values: "a size; default 4k", doc: HEAD },
        FamilyKey { name: "proxy-request-buffering", values: "on, off; default on", doc: REQUEST_BUFFERING },
        FamilyKey { name: "proxy-next-upstream", values: WORDS, doc: NEXT },
        FamilyKey { name: "proxy-next-upstream-timeout", values: "seconds; default 0", doc: NEXT_TIMEOUT },
        FamilyKey { name: "proxy-next-upstream-tries", values: "a number; default 3", doc: TRIES },
        FamilyKey { name: "proxy-http-version", values: "1.0, 1.1; default 1.1", doc: VERSION },
        FamilyKey {
            name: "retry-non-idempotent",
            values: "true, false; default false",
            doc: "adds `non_idempotent` to `proxy-next-upstream` of every route",
        },
    ],
    phases: &[Phase::UpstreamRequest],
    syntax: "proxy-connect-timeout: '10'\n\
             proxy-send-timeout: '120'\n\
             proxy-read-timeout: '3600'\n\
             proxy-body-size: 8m\n\
             client-body-buffer-size: 128k\n\
             proxy-buffer-size: 16k\n\
             proxy-request-buffering: 'off'\n\
             proxy-next-upstream: error timeout http_502\n\
             proxy-next-upstream-timeout: '20'\n\
             proxy-next-upstream-tries: '2'\n\
             proxy-http-version: '1.1'",
    read,
    read_keys,
    plan,
};

const SECONDS: &str = "a whole number of seconds";
const NUMBER: &str = "a whole number from 0";
const SIZE: &str = "a size in bytes, or with k, m or g";
const POSITIVE_SIZE: &str = "a size above 0 in bytes, or with k, m or g";
const WORDS: &str = "error, timeout, invalid_header, http_403, http_404, http_429, http_500, http_502, http_503, http_504 and \
                     non_idempotent between spaces, or off";

const CONNECT: &str = "how long an endpoint has to accept a connection; then 504";
const SEND: &str = "how long an endpoint may read nothing of a request; then 504";
const READ: &str =
    "how long an endpoint may send nothing; then 504, or the connection ends if the response has begun";
const BODY: &str = "the longest body of a request; a longer one gets 413; 0 for no limit";
const KEPT: &str = "how much of a body is kept so that it can be sent to another endpoint: 64 KiB at least, 1 MiB at most; one that \
     is received first is kept whole";
const HEAD: &str = "the longest head of a response, 1 MiB at most; a longer one is answered 502";
const REQUEST_BUFFERING: &str = "with `on`, the default, a body of at most 1 MiB is received before the request is sent, and one in \
                                 chunks gets a Content-Length; a longer one is streamed, as all are with `off` and with gRPC. With `off` a \
                                 request with a body that an endpoint may have received is not sent to another one";
const NEXT: &str = "after which failures another endpoint is tried. POST, LOCK and PATCH only with `non_idempotent` if an endpoint may \
                    have received them";
const NEXT_TIMEOUT: &str = "no attempt begins later than this after the first one; 0 for no limit";
const TRIES: &str = "how many attempts a request has; 0 for one at each endpoint";
const VERSION: &str = "the version of HTTP that requests to endpoints have; with 1.0 a body in chunks that is streamed gets 411";

/// `retry-non-idempotent: true`.
#[derive(Debug, PartialEq)]
struct RetriesAll;

/// Reads annotations or keys, which have the same names. An invalid one is reported and keeps its default.
fn own_values(reader: &mut SettingReader<'_>) -> ProxyOverrides {
    let used = Effect::DefaultUsed;
    let on_off = |value: &str| match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    };
    let version = |value: &str| match value {
        "1.0" => Some(Version::HTTP_10),
        "1.1" => Some(Version::HTTP_11),
        _ => None,
    };
    let positive = |value: &str| parse_size(value).filter(|size| *size > 0);
    ProxyOverrides {
        connect_timeout: reader.seconds("proxy-connect-timeout"),
        send_timeout: reader.seconds("proxy-send-timeout"),
        read_timeout: reader.seconds("proxy-read-timeout"),
        body_size: reader.value("proxy-body-size", SIZE, used, parse_size),
        body_buffer: reader.value("client-body-buffer-size", SIZE, used, parse_size),
        head_size: reader.value("proxy-buffer-size", POSITIVE_SIZE, used, positive),
        request_buffering: reader.value("proxy-request-buffering", "on or off", used, on_off),
        next_upstream: reader.value("proxy-next-upstream", WORDS, used, NextUpstream::parse),
        next_upstream_tries: reader.count("proxy-next-upstream-tries"),
        next_upstream_timeout: reader.seconds("proxy-next-upstream-timeout"),
        http_version: reader.value("proxy-http-version", "1.0 or 1.1", used, version),
    }
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let values = own_values(reader);
    if values != ProxyOverrides::default() {
        settings.values.set(values);
    }
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let defaults = values.take::<Arc<ProxySettings>>().unwrap_or_default();
    let mut settings = own_values(reader).over(&defaults);
    if reader.flag("retry-non-idempotent") == Some(true) {
        settings.next_upstream = settings.next_upstream.with(RetryCondition::NonIdempotent);
        values.set(RetriesAll);
    }
    values.set(Arc::new(settings));
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let Some(defaults) = rule.globals.get::<Arc<ProxySettings>>() else { return };
    // Routes without values of their own share the defaults.
    plan.proxy = defaults.clone();
    if let Some(values) = settings.values.get::<ProxyOverrides>() {
        plan.proxy = Arc::new(values.over(defaults));
    }
    for level in location_levels(settings, rule).filter(|level| level.proxy != ProxyOverrides::default()) {
        plan.proxy = Arc::new(level.proxy.over(&plan.proxy));
    }
    if rule.globals.get::<RetriesAll>().is_some() && !Arc::ptr_eq(&plan.proxy, defaults) {
        let next_upstream = plan.proxy.next_upstream.with(RetryCondition::NonIdempotent);
        plan.proxy = Arc::new(ProxySettings { next_upstream, ..(*plan.proxy).clone() });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cluster::{ConfigMap, Key, Object};

    use super::*;
    use crate::options::RouteOptions;
    use crate::testing::TestCluster;

    const INGRESSES: &str = "
metadata: {name: plain}
spec: {rules: [{host: plain.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: other}
spec: {rules: [{host: other.example, paths: [[/, Prefix, web]]}]}
---
metadata:
  name: own
  annotations: {proxy-read-timeout: '7', proxy-body-size: 3m, proxy-next-upstream: error http_503, proxy-buffer-size: 16K}
spec: {rules: [{host: own.example, paths: [[/, Prefix, web]]}]}
";

    fn test_cluster() -> TestCluster {
        let config_map = Some(Key::new("ingress", "controller"));
        let options =
            RouteOptions { watch_ingress_without_class: true, config_map, ..RouteOptions::default() };
        let mut cluster = TestCluster::with(options, INGRESSES);
        cluster.sync();
        cluster
    }

    fn configure(cluster: &mut TestCluster, data: &[(&str, &str)]) {
        let mut data: Vec<_> =
            data.iter().map(|(name, value)| ((*name).into(), (*value).to_owned())).collect();
        data.sort_unstable();
        cluster
            .apply([Object::ConfigMap(Arc::new(ConfigMap { key: Key::new("ingress", "controller"), data }))]);
    }

    fn settings(cluster: &TestCluster, host: &str) -> Arc<ProxySettings> {
        cluster.table.load().find(host, "/").route().plan.proxy.clone()
    }

    #[test]
    fn an_annotation_wins_over_the_configmap_and_that_over_the_default() {
        let mut cluster = test_cluster();
        let own = |cluster: &TestCluster| {
            let settings = settings(cluster, "own.example");
            (
                settings.read_timeout.as_secs(),
                settings.send_timeout.as_secs(),
                settings.body_size,
                settings.head_size,
            )
        };
        assert_eq!(*settings(&cluster, "plain.example"), ProxySettings::default());
        assert_eq!(own(&cluster), (7, 60, 3 << 20, 16 << 10));
        configure(
            &mut cluster,
            &[
                ("proxy-read-timeout", "30"),
                ("proxy-send-timeout", "40"),
                ("proxy-connect-timeout", "2"),
                ("proxy-body-size", "0"),
                ("proxy-buffer-size", "8k"),
                ("client-body-buffer-size", "128K"),
                ("proxy-next-upstream", "timeout"),
                ("proxy-next-upstream-tries", "5"),
                ("proxy-next-upstream-timeout", "9"),
                ("proxy-request-buffering", "off"),
                ("proxy-http-version", "1.0"),
                ("retry-non-idempotent", "true"),
            ],
        );
        let wanted = ProxySettings {
            connect_timeout: Duration::from_secs(2),
            send_timeout: Duration::from_secs(40),
            read_timeout: Duration::from_secs(30),
            body_size: 0,
            body_buffer: 128 << 10,
            head_size: 8 << 10,
            request_buffering: false,
            next_upstream: NextUpstream::parse("timeout non_idempotent").unwrap(),
            next_upstream_tries: 5,
            next_upstream_timeout: Duration::from_secs(9),
            http_version: Version::HTTP_10,
        };
        assert_eq!(*settings(&cluster, "plain.example"), wanted);
        assert_eq!(own(&cluster), (7, 40, 3 << 20, 16 << 10));
        let next = settings(&cluster, "own.example").next_upstream;
        assert_eq!(Some(next), NextUpstream::parse("error http_503 non_idempotent"), "of every route");
        configure(&mut cluster, &[]);
        assert_eq!(*settings(&cluster, "plain.example"), ProxySettings::default());
        assert_eq!(own(&cluster), (7, 60, 3 << 20, 16 << 10));
    }

    #[test]
    fn each_annotation_sets_its_value() {
        /// An annotation, what of the settings it sets, and the value.
        type Row = (&'static str, fn(&ProxySettings) -> String, &'static str);
        let rows: &[Row] = &[
            ("proxy-http-version: '1.0'", |settings| format!("{:?}", settings.http_version), "HTTP/1.0"),
            ("proxy-connect-timeout: '3'", |settings| settings.connect_timeout.as_secs().to_string(), "3"),
            (
                "proxy-next-upstream-timeout: '9'",
                |settings| settings.next_upstream_timeout.as_secs().to_string(),
                "9",
            ),
            ("proxy-next-upstream-tries: '7'", |settings| settings.next_upstream_tries.to_string(), "7"),
            ("proxy-request-buffering: 'off'", |settings| settings.request_buffering.to_string(), "false"),
            ("proxy-buffer-size: 8k", |settings| settings.head_size.to_string(), "8192"),
            ("client-body-buffer-size: 32k", |settings| settings.body_buffer.to_string(), "32768"),
        ];
        for (annotation, value, wanted) in rows {
            let cluster = TestCluster::configured(&format!(
                "metadata:\n  name: x\n  annotations:\n    {annotation}\n\
                 spec: {{rules: [{{host: a.example, paths: [[/, Prefix, web]]}}]}}\n"
            ));
            assert_eq!(value(&settings(&cluster, "a.example")), *wanted, "{annotation}");
            assert_ne!(value(&ProxySettings::default()), *wanted, "{annotation} makes no difference");
        }
    }

    #[test]
    fn routes_without_settings_of_their_own_share_one_value() {
        let cluster = test_cluster();
        assert!(Arc::ptr_eq(&settings(&cluster, "plain.example"), &settings(&cluster, "other.example")));
        assert!(!Arc::ptr_eq(&settings(&cluster, "plain.example"), &settings(&cluster, "own.example")));
    }

    #[test]
    fn an_invalid_value_of_the_configmap_is_reported_and_keeps_the_default() {
        for (key, value) in [
            ("proxy-read-timeout", "50k"),
            ("proxy-send-timeout", "-1"),
            ("proxy-connect-timeout", "5s"),
            ("proxy-body-size", "1 m"),
            ("proxy-body-size", "-1"),
            ("proxy-body-size", "99999999999999999999g"),
            ("client-body-buffer-size", "8kb"),
            ("proxy-buffer-size", "0"),
            ("proxy-request-buffering", "true"),
            ("proxy-next-upstream", "error,timeout"),
            ("proxy-next-upstream-tries", "many"),
            ("proxy-http-version", "2"),
            ("retry-non-idempotent", "on"),
        ] {
            let mut cluster = test_cluster();
            configure(&mut cluster, &[(key, value)]);
            assert_eq!(*settings(&cluster, "plain.example"), ProxySettings::default(), "{key}: {value}");
            let problems = cluster.problems();
            let named =
                |line: &String| line.contains(key) && line.contains(value) && line.contains("controller");
            assert!(problems.len() == 1 && named(&problems[0]), "{key}: {value}: {problems:?}");
        }
    }
}
