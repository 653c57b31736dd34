//! Limits on the requests of each client: their rate, and how many are open at a time.

use std::sync::Arc;

use http::StatusCode;

use super::networks::{Networks, networks};
use super::template::{RuleText, Template};
use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::exchange::Exchange;
use crate::family_values::FamilyValues;
use crate::limits::{ClientKey, ConnectionZone, LimitKind, RequestRateLimit, ZoneKey, admit};
use crate::plan::access::{LimitRule, Services};
use crate::plan::filter::{DirectResponse, FilterOutcome};
use crate::plan::phase::Phase;
use crate::plan::{Plan, ResponseRate};
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "limits",
    doc: "Limits the requests of each client to an Ingress, in this replica. A client is an address, or what \
          limit-conn-zone-variable says. Requests over a limit are answered at once (503), before authentication. Limits whose \
          value is invalid close the routes (503).",
    annotations: &[
        Annotation {
            name: "limit-rps",
            values: "a whole number; 0 for no limit",
            doc: "Requests per second. Besides them a burst may come at once: the limit times limit-burst-multiplier.",
        },
        Annotation {
            name: "limit-rpm",
            values: "a whole number; 0 for no limit",
            doc: "Requests per minute, with a burst as for limit-rps.",
        },
        Annotation {
            name: "limit-connections",
            values: "a whole number; 0 for no limit",
            doc: "Requests that are open at the same time; of HTTP/2, each stream counts.",
        },
        Annotation {
            name: "limit-burst-multiplier",
            values: "a whole number from 1; default 5",
            doc: "The burst of limit-rps and limit-rpm as a multiple of the limit.",
        },
        Annotation {
            name: "limit-allowlist",
            values: "addresses and networks",
            doc: "Clients that are not limited.",
        },
        Annotation {
            name: "limit-whitelist",
            values: "addresses and networks",
            doc: "The old name of limit-allowlist, which takes precedence.",
        },
        Annotation {
            name: "limit-rate",
            values: "KiB per second; 0 for no limit; default the ConfigMap's",
            doc: "How fast the body of a response is sent; what the rate allows in a second is sent at once. Each response has \
                  its own rate.",
        },
        Annotation {
            name: "limit-rate-after",
            values: "KiB; default the ConfigMap's",
            doc: "How much of a response is sent without limit-rate.",
        },
    ],
    keys: &[
        FamilyKey {
            name: "limit-req-status-code",
            values: "400 to 599; default 503",
            doc: "the status of requests over limit-rps or limit-rpm",
        },
        FamilyKey {
            name: "limit-conn-status-code",
            values: "400 to 599; default 503",
            doc: "the status of requests over limit-connections",
        },
        FamilyKey {
            name: "limit-conn-zone-variable",
            values: "a text with variables; default $binary_remote_addr",
            doc: "by what all limits tell clients apart; requests for which it is empty are not limited",
        },
        FamilyKey {
            name: "limit-rate",
            values: "KiB per second; default 0, no limit",
            doc: "the default of the annotation",
        },
        FamilyKey {
            name: "limit-rate-after",
            values: "KiB; default 0",
            doc: "the default of the annotation",
        },
    ],
    phases: &[Phase::Limits, Phase::ResponseBody],
    syntax: "limit-rps: '10'\n\
             limit-rpm: '300'\n\
             limit-connections: '20'\n\
             limit-burst-multiplier: '3'\n\
             limit-allowlist: 10.0.0.0/8\n\
             limit-whitelist: 10.0.0.0/8\n\
             limit-rate: '512'\n\
             limit-rate-after: '1024'",
    read,
    read_keys,
    plan,
};

/// The limits of an Ingress; 0 for none.
#[derive(Clone, Debug, Default, PartialEq)]
struct OwnLimits {
    per_second: u32,
    per_minute: u32,
    connections: u32,
    /// The burst as a multiple.
    multiplier: u32,
    /// Clients that are not limited.
    exempt: Networks,
}

/// `limit-rate` and `limit-rate-after` in KiB, of an Ingress or of the ConfigMap.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Speed {
    rate: Option<u32>,
    after: Option<u32>,
}

impl Speed {
    /// As in ingress-nginx a number that is not positive is no limit. The speed protects nothing, so that an invalid value closes
    /// nothing.
    fn read(reader: &mut SettingReader<'_>) -> Self {
        let parse = |value: &str| u32::try_from(value.parse::<i64>().ok()?.max(0)).ok();
        let mut number =
            |name: &'static str| reader.value(name, "a whole number of KiB", Effect::DefaultUsed, parse);
        Self { rate: number("limit-rate"), after: number("limit-rate-after") }
    }
}

/// The speed of the ConfigMap.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct DefaultSpeed(Speed);

/// The statuses in the ConfigMap.
#[derive(Clone, Copy, Debug, PartialEq)]
struct LimitStatuses {
    rate: StatusCode,
    connections: StatusCode,
}

impl Default for LimitStatuses {
    fn default() -> Self {
        Self { rate: StatusCode::SERVICE_UNAVAILABLE, connections: StatusCode::SERVICE_UNAVAILABLE }
    }
}

/// `limit-conn-zone-variable`, if it is not the client's address.
#[derive(Debug, PartialEq)]
struct ZoneVariable(Template);

/// A limit; as in ingress-nginx there is none if the number is not positive. nginx cannot count beyond 32 bits either.
fn limit(reader: &mut SettingReader<'_>, name: &'static str) -> u32 {
    let parse = |value: &str| match value.parse::<i64>().ok()? {
        number if number <= 0 => Some(0),
        number => u32::try_from(number).ok(),
    };
    reader.value(name, "a whole number", Effect::Closed, parse).unwrap_or(0)
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    // The requests of a canary count for the rule that it belongs to.
    if settings.canary.is_some() {
        return;
    }
    let speed = Speed::read(reader);
    if speed != Speed::default() {
        settings.values.set(speed);
    }
    let per_second = limit(reader, "limit-rps");
    let per_minute = limit(reader, "limit-rpm");
    let connections = limit(reader, "limit-connections");
    let positive = |value: &str| value.parse().ok().filter(|number| *number > 0);
    let multiplier =
        reader.value("limit-burst-multiplier", "a whole number from 1", Effect::DefaultUsed, positive);
    let old = networks(reader, "limit-whitelist", Effect::LeftOut);
    let exempt = networks(reader, "limit-allowlist", Effect::LeftOut).or(old).unwrap_or_default();
    if per_second != 0 || per_minute != 0 || connections != 0 {
        let multiplier = multiplier.unwrap_or(5);
        settings.values.set(OwnLimits { per_second, per_minute, connections, multiplier, exempt });
    }
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let speed = Speed::read(reader);
    if speed != Speed::default() {
        values.set(DefaultSpeed(speed));
    }
    let parse = |value: &str| match value {
        "$binary_remote_addr" | "$remote_addr" => Some(None),
        text => Template::parse(text, None).map(Some),
    };
    let variable =
        reader.value("limit-conn-zone-variable", "a text with known variables", Effect::DefaultUsed, parse);
    if let Some(Some(variable)) = variable {
        values.set(ZoneVariable(variable));
    }
    let mut status = |key: &'static str| {
        // nginx's range.
        let parse = |value: &str| {
            let status: u16 = value.parse().ok()?;
            StatusCode::from_u16(status).ok().filter(|_| (400..=599).contains(&status))
        };
        reader.value(key, "a status from 400 to 599", Effect::DefaultUsed, parse)
    };
    let default = LimitStatuses::default();
    let statuses = LimitStatuses {
        rate: status("limit-req-status-code").unwrap_or(default.rate),
        connections: status("limit-conn-status-code").unwrap_or(default.connections),
    };
    if statuses != default {
        values.set(statuses);
    }
}

/// The speed of an Ingress, with the ConfigMap's where it has none.
fn response_rate(own: Option<&Speed>, general: Option<&DefaultSpeed>) -> Option<ResponseRate> {
    let none = Speed::default();
    let (own, general) = (own.unwrap_or(&none), general.map_or(&none, |general| &general.0));
    let rate = own.rate.or(general.rate).filter(|rate| *rate > 0)?;
    let after = own.after.or(general.after).unwrap_or(0);
    Some(ResponseRate { per_second: u64::from(rate) << 10, after: u64::from(after) << 10 })
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    if rule.ingress.is_some() {
        plan.response_rate = response_rate(settings.values.get(), rule.globals.get());
    }
    let (Some(limits), Some(ingress)) = (settings.values.get::<OwnLimits>(), rule.ingress) else { return };
    let statuses = rule.globals.get::<LimitStatuses>().copied().unwrap_or_default();
    let variable = rule.globals.get::<ZoneVariable>().map(|variable| variable.0.of_rule(rule, None));
    let clients = LimitedClients { exempt: limits.exempt.clone(), variable };
    let key = |kind| ZoneKey { ingress: ingress.clone(), kind };
    let rates = [
        (limits.per_second, LimitKind::RequestsPerSecond, 1),
        (limits.per_minute, LimitKind::RequestsPerMinute, 60),
    ];
    let rates =
        rates.into_iter().filter(|(limit, ..)| *limit != 0).map(|(limit, kind, seconds)| RequestRateLimit {
            zone: rule.zones.rate(key(kind)),
            rate: i64::from(limit) * 1000 / seconds,
            burst: i64::from(limit).saturating_mul(limits.multiplier.into()).saturating_mul(1000),
        });
    let rates: Box<[_]> = rates.collect();
    if !rates.is_empty() {
        plan.limits.push(Box::new(RequestRate { rates, clients: clients.clone(), status: statuses.rate }));
    }
    if limits.connections != 0 {
        plan.limits.push(Box::new(OpenRequests {
            zone: rule.zones.connections(key(LimitKind::Connections)),
            limit: limits.connections,
            clients,
            status: statuses.connections,
        }));
    }
}

/// Which clients are limited, and by what they are told apart.
#[derive(Clone, Debug)]
struct LimitedClients {
    exempt: Networks,
    /// `None` for the address.
    variable: Option<RuleText>,
}

impl LimitedClients {
    /// The client of a request; `None` if it is not limited. Hot: without a variable, no allocation.
    fn key(&self, exchange: &Exchange) -> Option<ClientKey> {
        let client = exchange.client_ip();
        if self.exempt.iter().any(|network| network.contains(&client)) {
            return None;
        }
        match &self.variable {
            None => Some(client.into()),
            Some(variable) => ClientKey::of_text(&variable.value(exchange)),
        }
    }
}

/// nginx's `limit_req`. In nginx it comes before `limit_conn`.
#[derive(Debug)]
struct RequestRate {
    rates: Box<[RequestRateLimit]>,
    clients: LimitedClients,
    status: StatusCode,
}

impl LimitRule for RequestRate {
    fn enter(&self, exchange: &mut Exchange, services: &dyn Services) -> FilterOutcome {
        let now = i64::try_from(services.uptime().as_millis()).unwrap_or(i64::MAX);
        match self.clients.key(exchange) {
            Some(client) if !admit(&self.rates, client, now) => {
                FilterOutcome::Respond(DirectResponse::status(self.status))
            }
            _ => FilterOutcome::Continue,
        }
    }
}

/// nginx's `limit_conn`.
#[derive(Debug)]
struct OpenRequests {
    zone: Arc<ConnectionZone>,
    limit: u32,
    clients: LimitedClients,
    status: StatusCode,
}

impl LimitRule for OpenRequests {
    fn enter(&self, exchange: &mut Exchange, _: &dyn Services) -> FilterOutcome {
        let Some(client) = self.clients.key(exchange) else { return FilterOutcome::Continue };
        match self.zone.admit(client, self.limit) {
            Some(permit) => {
                exchange.permits.push(permit);
                FilterOutcome::Continue
            }
            None => FilterOutcome::Respond(DirectResponse::status(self.status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exchange::tests::get;
    use crate::testing::TestCluster;

    const INGRESSES: &str = "
metadata: {name: minute, annotations: {limit-rpm: '6'}}
spec: {rules: [{host: minute.example, paths: [[/, Prefix, web], [/more, Prefix, web]]}]}
---
metadata: {name: burst, annotations: {limit-rps: '2', limit-burst-multiplier: '2'}}
spec: {rules: [{host: burst.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: both, annotations: {limit-rps: '100', limit-rpm: '1', limit-burst-multiplier: '1'}}
spec: {rules: [{host: both.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: exempt, annotations: {limit-rpm: '1', limit-connections: '1', limit-allowlist: '10.0.0.1, 192.0.2.0/24'}}
spec: {rules: [{host: exempt.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: open, annotations: {limit-connections: '2'}}
spec: {rules: [{host: open.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: none, annotations: {limit-rps: '0', limit-rpm: '-1', limit-connections: ' 0 '}}
spec: {rules: [{host: none.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: bad, annotations: {limit-rps: many}}
spec: {rules: [{host: bad.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: doubtful, annotations: {limit-rpm: '1', limit-burst-multiplier: '0', limit-allowlist: me}}
spec: {rules: [{host: doubtful.example, paths: [[/, Prefix, web]]}]}
";

    fn cluster() -> TestCluster {
        TestCluster::configured(INGRESSES).services("web 80 10.0.0.1")
    }

    /// How many of a hundred requests at the same time are served, each over before the next begins.
    fn served(cluster: &TestCluster, url: &str) -> usize {
        (0..100).filter(|_| cluster.get(url) == "web").count()
    }

    #[test]
    fn one_request_and_the_burst_are_served_at_once() {
        let cluster = cluster();
        for (url, number) in [
            ("minute.example/", 31),
            ("minute.example/more", 0),
            ("burst.example/", 5),
            ("both.example/", 2),
            ("exempt.example/", 100),
            ("open.example/", 100),
            ("none.example/", 100),
            ("bad.example/", 0),
            ("doubtful.example/", 6),
        ] {
            assert_eq!(served(&cluster, url), number, "{url}");
        }
        assert_eq!(cluster.get("minute.example/"), "503");
    }

    #[test]
    fn a_change_of_the_view_keeps_what_was_counted() {
        let mut cluster = cluster();
        assert_eq!(served(&cluster, "minute.example/"), 31);
        cluster.configure(&[("limit-req-status-code", "429")]);
        assert_eq!(cluster.get("minute.example/"), "429", "the routes were built again");
        cluster.configure(&[("limit-req-status-code", "200")]);
        assert_eq!(cluster.get("minute.example/"), "503");
    }

    #[test]
    fn open_requests_count_until_they_end() {
        let mut cluster = cluster();
        let mut open: Vec<_> = (0..3).map(|_| get("open.example/", &[])).collect();
        let answers: Vec<_> = open.iter_mut().map(|exchange| cluster.answer(exchange, 99)).collect();
        assert_eq!(answers, ["web", "web", "503"]);
        cluster.configure(&[("limit-conn-status-code", "429")]);
        assert_eq!(cluster.get("open.example/"), "429");
        open.clear();
        assert_eq!(cluster.get("open.example/"), "web");
    }

    #[test]
    fn a_variable_tells_clients_apart() {
        let mut cluster = cluster();
        cluster.configure(&[("limit-conn-zone-variable", "$http_x_user")]);
        let served = |user: &str| {
            let headers = [("x-user", user)];
            (0..100).filter(|_| cluster.ask("burst.example/", &headers, 99) == "web").count()
        };
        assert_eq!([served("ann"), served("ben"), served("ann"), served("")], [5, 5, 0, 100]);
        assert_eq!(
            (0..100).filter(|_| cluster.get("burst.example/") == "web").count(),
            100,
            "no such header"
        );
        let mut open = ["ann", "ann", "ann", "ben"].map(|user| get("open.example/", &[("x-user", user)]));
        assert_eq!(
            open.each_mut().map(|exchange| cluster.answer(exchange, 99)),
            ["web", "web", "503", "web"]
        );
        cluster.configure(&[("limit-conn-zone-variable", "$nothing")]);
        assert_eq!(self::served(&cluster, "both.example/"), 2, "limits by the address");
        assert!(cluster.problems().iter().any(|problem| problem.contains("limit-conn-zone-variable")));
    }

    #[test]
    fn the_speed_of_responses_follows_annotation_and_configmap() {
        let mut cluster = TestCluster::configured(
            "
metadata: {name: own, annotations: {limit-rate: '64', limit-rate-after: '1'}}
spec: {rules: [{host: own.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: off, annotations: {limit-rate: '0'}}
spec: {rules: [{host: off.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: plain}
spec: {rules: [{host: plain.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: bad, annotations: {limit-rate: fast}}
spec: {rules: [{host: bad.example, paths: [[/, Prefix, web]]}]}
",
        );
        let rates = |cluster: &TestCluster| {
            let table = cluster.table.load();
            ["own", "off", "plain", "bad"].map(|host| {
                let rate = table.find(&format!("{host}.example"), "/").route().plan.response_rate;
                rate.map_or((0, 0), |rate| (rate.per_second, rate.after))
            })
        };
        let (own, none) = ((64 << 10, 1 << 10), (0, 0));
        assert_eq!(rates(&cluster), [own, none, none, none]);
        cluster.configure(&[("limit-rate", "2"), ("limit-rate-after", "3")]);
        let general = (2 << 10, 3 << 10);
        assert_eq!(rates(&cluster), [own, none, general, general]);
    }

    #[test]
    fn limits_count_by_the_address_of_the_client() {
        let mut cluster = cluster();
        cluster.configure(&[("use-forwarded-headers", "true")]);
        let ask = |client: &str| cluster.ask("both.example/", &[("x-forwarded-for", client)], 99);
        assert_eq!(
            [ask("1.2.3.4"), ask("1.2.3.4"), ask("1.2.3.4"), ask("1.2.3.5")],
            ["web", "web", "503", "web"]
        );
    }

    #[test]
    fn invalid_values_are_reported() {
        let cluster = cluster();
        let problems = cluster.problems();
        let has = |parts: [&str; 3]| problems.iter().any(|text| parts.iter().all(|part| text.contains(part)));
        assert!(has(["default/bad", "limit-rps", "the routes answer 503"]), "{problems:?}");
        assert!(has(["default/doubtful", "limit-burst-multiplier", "its default is used"]), "{problems:?}");
        assert!(has(["default/doubtful", "limit-allowlist", "it is left out"]), "{problems:?}");
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
