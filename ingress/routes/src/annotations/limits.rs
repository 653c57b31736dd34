//! Limits on the requests of each client: their rate, and how many are open at a time.

use std::sync::Arc;

use http::StatusCode;

use super::networks::{Networks, networks};
use super::template::{RuleText, Template};
use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::exchange::Exchange;
use crate::family_values::FamilyValues;
use crate::limits::{ClientKey, ConnectionZone, LimitKind, RequestRateLimit, ZoneKey, admit};
use crate::plan::Plan;
use crate::plan::access::{LimitRule, Services};
use crate::plan::filter::{DirectResponse, FilterOutcome};
use crate::plan::phase::Phase;
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
    ],
    phases: &[Phase::Limits],
    syntax: "limit-rps: '10'\n\
             limit-rpm: '300'\n\
             limit-connections: '20'\n\
             limit-burst-multiplier: '3'\n\
             limit-allowlist: 10.0.0.0/8\n\
             limit-whitelist: 10.0.0.0/8",
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
    reader.report_negative(name);
    reader.value(name, "a whole number", Effect::Closed, parse).unwrap_or(0)
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    // The requests of a canary count for the rule that it belongs to.
    if settings.canary.is_some() {
        return;
    }
    let per_second = limit(reader, "limit-rps");
    let per_minute = limit(reader, "limit-rpm");
    let connections = limit(reader, "limit-connections");
    let positive = |value: &str| value.parse().ok().filter(|number| *number > 0);
    let multiplier =
        reader.value("limit-burst-multiplier", "a whole number from 1", Effect::DefaultUsed, positive);
    let old = networks(reader, "limit-whitelist", Effect::LeftOut, Effect::LeftOut);
    let exempt =
        networks(reader, "limit-allowlist", Effect::LeftOut, Effect::LeftOut).or(old).unwrap_or_default();
    if per_second != 0 || per_minute != 0 || connections != 0 {
        let multiplier = multiplier.unwrap_or(5);
        settings.values.set(OwnLimits { per_second, per_minute, connections, multiplier, exempt });
    }
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
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

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
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

/// Which clients are limited, and what distinguishes them.
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
                FilterOutcome::respond(DirectResponse::status(self.status))
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
            None => FilterOutcome::respond(DirectResponse::status(self.status)),
        }
    }
}

#[cfg(test)]
mod tests;
