//! Compares what a client and the Pods saw with a step's `expect`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use serde_json::Value;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificates::CaseCertificates;
use super::client::Exchange;
use super::pods::Pod;
use super::text_checks::eventually;

/// How long a Pod may take to record a request that Portolan sends beside the response.
const RECORDED_WITHIN: Duration = Duration::from_secs(5);

/// What a request step brought: its exchanges with the values of the headers that differ between them.
pub(super) struct StepResult<'a> {
    /// In the order of their requests.
    pub(super) list: Vec<(Exchange, BTreeMap<String, String>)>,
    /// The running Pods.
    pub(super) pods: &'a [Pod],
    /// The certificates of the case.
    pub(super) certificates: &'a CaseCertificates,
    /// Connections to Pods before the step.
    pub(super) connections_before: usize,
}

/// Values that a step saved for later ones.
#[derive(Default)]
pub(super) struct SavedValues(BTreeMap<String, BTreeMap<String, String>>);

/// The expectations that count or compare all repetitions: such a step is not repeated until it matches.
pub(super) fn counts(step: &Value, expect: &Value) -> bool {
    let counting = ["status_counts", "recorded", "upstream_connections", "save_map", "map_kept", "pods_seen"];
    step.get("repeat").is_some()
        || step.get("concurrency").is_some()
        || counting.iter().any(|key| expect.get(key).is_some())
}

impl StepResult<'_> {
    /// The first expectation that is not met.
    pub(super) fn check(&self, expect: &Value, saved: &mut SavedValues) -> Result<(), String> {
        let expectations = expect.as_object().ok_or("a request step without expect")?;
        for (key, wanted) in expectations {
            match key.as_str() {
                "status_counts" => self.status_counts(wanted)?,
                // The copy of a mirrored request may arrive after the response.
                "recorded" => eventually(RECORDED_WITHIN, || self.recorded(wanted))?,
                "upstream_connections" => {
                    let now: usize = self.pods.iter().map(Pod::connections).sum();
                    in_range((now - self.connections_before) as u64, wanted)
                        .map_err(|range| format!("{key}: {range}"))?;
                }
                "pods_seen" => {
                    let pods: BTreeSet<String> =
                        self.list.iter().filter_map(|(exchange, _)| field(exchange, "pod")).collect();
                    in_range(pods.len() as u64, wanted).map_err(|range| format!("{key}: {range}"))?;
                }
                "save_map" => {
                    for (name, what) in wanted.as_object().into_iter().flatten() {
                        saved.0.insert(name.clone(), self.map(what)?);
                    }
                }
                "map_kept" => self.map_kept(wanted, saved)?,
                _ => {
                    for (at, (exchange, _)) in self.list.iter().enumerate() {
                        self.one(exchange, key, wanted).map_err(|problem| {
                            format!("request {} of {}: {key}: {problem}", at + 1, self.list.len())
                        })?;
                    }
                }
            }
        }
        Ok(())
    }

    fn one(&self, exchange: &Exchange, key: &str, wanted: &Value) -> Result<(), String> {
        if key == "handshake" {
            return match &exchange.response {
                Err(_) if wanted == "fail" => Ok(()),
                Ok(response) => Err(format!("answered {}", response.status)),
                Err(_) => Err(format!("unknown value {wanted}")),
            };
        }
        if key == "tls_peer" {
            return self.tls_peer(&exchange.certificates, wanted);
        }
        let response = exchange.response.as_ref().map_err(|error| format!("no response: {error}"))?;
        let values = |name: &str| -> Vec<&str> {
            let named = response.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
            named.map(|(_, value)| value.as_str()).collect()
        };
        match key {
            "status" => match wanted {
                Value::Array(any) if any.iter().any(|status| *status == response.status) => Ok(()),
                status if *status == response.status => Ok(()),
                _ => Err(format!("{} instead of {wanted}; body {:.200}", response.status, response.text())),
            },
            "headers" => wanted.as_object().into_iter().flatten().try_for_each(|(name, wanted)| {
                matches(&values(name), wanted).map_err(|problem| format!("{name}: {problem}"))
            }),
            "not_headers" => wanted.as_array().into_iter().flatten().try_for_each(|name| {
                let found = values(name.as_str().unwrap_or_default());
                if found.is_empty() { Ok(()) } else { Err(format!("{name} is {found:?}")) }
            }),
            "body_contains" => {
                let body = response.text();
                let parts = one_or_many(wanted);
                match parts.iter().find(|part| !body.contains(**part)) {
                    None => Ok(()),
                    Some(part) => Err(format!("{part:?} is not in {body:.300}")),
                }
            }
            "body_length" => in_range(response.body.len() as u64, wanted),
            "backend" => match field(exchange, "service") {
                Some(service) if *wanted == service => Ok(()),
                other => Err(format!("{other:?} instead of {wanted}; body {:.200}", response.text())),
            },
            "upstream_saw" => {
                let seen: Value = serde_json::from_slice(&response.body)
                    .or_else(|_| self.last_request())
                    .map_err(|error: String| error)?;
                saw(&seen, wanted)
            }
            "set_cookies" => {
                let cookies = values("set-cookie");
                wanted.as_array().into_iter().flatten().try_for_each(|wanted| has_cookie(&cookies, wanted))
            }
            "no_set_cookies" => match values("set-cookie") {
                none if none.is_empty() => Ok(()),
                cookies => Err(format!("{cookies:?}")),
            },
            "duration_ms" => in_range(exchange.duration.as_millis() as u64, wanted),
            "tls_session" => {
                super::known_keys(wanted, &["alpn", "alpn_not", "ocsp"])?;
                if let Some(status) = wanted["ocsp"].as_str() {
                    super::ocsp::check(status, &exchange.certificates, &exchange.ocsp)?;
                }
                let alpn = exchange.alpn.as_deref();
                let refused = wanted["alpn_not"].as_str().is_some_and(|name| alpn == Some(name));
                let missing = wanted["alpn"].as_str().is_some_and(|name| alpn != Some(name));
                if refused || missing { Err(format!("ALPN selected {alpn:?}")) } else { Ok(()) }
            }
            _ => Err("the harness cannot check this".to_owned()),
        }
    }

    fn last_request(&self) -> Result<Value, String> {
        let last = self.pods.iter().filter_map(|pod| pod.requests().pop()).next();
        last.ok_or_else(|| "no Pod has seen a request".to_owned())
    }

    fn status_counts(&self, wanted: &Value) -> Result<(), String> {
        let mut counts = BTreeMap::<String, u64>::new();
        for (exchange, _) in &self.list {
            let status =
                exchange.response.as_ref().map_or("error".to_owned(), |response| response.status.to_string());
            *counts.entry(status).or_default() += 1;
        }
        for (status, range) in wanted.as_object().into_iter().flatten() {
            let count = counts.get(status).copied().unwrap_or_default();
            in_range(count, range)
                .map_err(|problem| format!("status {status}: {problem}; all: {counts:?}"))?;
        }
        Ok(())
    }

    fn recorded(&self, wanted: &Value) -> Result<(), String> {
        super::known_keys(wanted, &["service", "min_requests", "max_requests", "last"])?;
        let service = wanted["service"].as_str().unwrap_or_default();
        let requests: Vec<Value> =
            self.pods.iter().filter(|pod| pod.service() == service).flat_map(Pod::requests).collect();
        let count = requests.len() as u64;
        let too_few = wanted["min_requests"].as_u64().is_some_and(|min| count < min);
        let too_many = wanted["max_requests"].as_u64().is_some_and(|max| count > max);
        if too_few || too_many {
            return Err(format!("{service} got {count} requests"));
        }
        match (&wanted["last"], requests.last()) {
            (Value::Null, _) => Ok(()),
            (last, Some(seen)) => {
                saw(seen, last).map_err(|problem| format!("last request of {service}: {problem}"))
            }
            (_, None) => Err(format!("{service} got no request")),
        }
    }

    fn tls_peer(&self, chain: &[CertificateDer<'static>], wanted: &Value) -> Result<(), String> {
        let der = chain.first().ok_or("no certificate was presented")?;
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let common_name = |name: &x509_parser::x509::X509Name<'_>| {
            name.iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned()
        };
        for (key, wanted) in wanted.as_object().into_iter().flatten() {
            let seen: Value = match key.as_str() {
                "cert" => {
                    let named = self.certificates.get(wanted.as_str().unwrap_or_default())?;
                    if named.der == *der {
                        continue;
                    }
                    format!("another certificate, of {}", common_name(certificate.subject())).into()
                }
                "cn" => common_name(certificate.subject()).into(),
                "issuer_cn" => common_name(certificate.issuer()).into(),
                "chain_length" => chain.len().into(),
                "dns_0" => {
                    let names = certificate.subject_alternative_name().ok().flatten();
                    let first = names.and_then(|names| {
                        names.value.general_names.iter().find_map(|name| match name {
                            GeneralName::DNSName(name) => Some((*name).to_owned()),
                            _ => None,
                        })
                    });
                    first.into()
                }
                _ => return Err(format!("the harness cannot check {key}")),
            };
            if seen != *wanted {
                return Err(format!("{key} is {seen} instead of {wanted}"));
            }
        }
        Ok(())
    }

    /// `HEADER->pod`: which Pod answered for each value of the header.
    fn map(&self, what: &Value) -> Result<BTreeMap<String, String>, String> {
        let header = what.as_str().and_then(|what| what.strip_suffix("->pod"));
        let header = header.ok_or_else(|| format!("save_map: {what}"))?;
        let pairs = self
            .list
            .iter()
            .map(|(exchange, varying)| Some((varying.get(header)?.clone(), field(exchange, "pod")?)));
        pairs.collect::<Option<_>>().ok_or_else(|| format!("save_map: a response without a Pod for {header}"))
    }

    fn map_kept(&self, wanted: &Value, saved: &SavedValues) -> Result<(), String> {
        for (name, wanted) in wanted.as_object().into_iter().flatten() {
            super::known_keys(wanted, &["min_share"])?;
            let before = saved.0.get(name).ok_or_else(|| format!("map_kept: nothing saved as {name}"))?;
            let kept = self.list.iter().filter(|(exchange, varying)| {
                varying.values().any(|value| {
                    before.get(value).is_some_and(|pod| field(exchange, "pod").as_ref() == Some(pod))
                })
            });
            let share = kept.count() as f64 / self.list.len() as f64;
            if share < wanted["min_share"].as_f64().unwrap_or(1.0) {
                return Err(format!("map_kept: {share}"));
            }
        }
        Ok(())
    }
}

/// A field of the description in an `Echo` response.
fn field(exchange: &Exchange, key: &str) -> Option<String> {
    let response = exchange.response.as_ref().ok()?;
    let body: Value = serde_json::from_slice(&response.body).ok()?;
    body[key].as_str().map(str::to_owned)
}

/// Compares the description of a request with `wanted`.
fn saw(seen: &Value, wanted: &Value) -> Result<(), String> {
    let headers = seen["headers"].as_object();
    let values = |name: &str| -> Vec<&str> {
        let named = headers.into_iter().flatten().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        named.filter_map(|(_, value)| value.as_str()).collect()
    };
    for (key, wanted) in wanted.as_object().into_iter().flatten() {
        match key.as_str() {
            "headers" => {
                for (name, wanted) in wanted.as_object().into_iter().flatten() {
                    matches(&values(name), wanted)
                        .map_err(|problem| format!("upstream header {name}: {problem}"))?;
                }
            }
            "not_headers" => {
                for name in one_or_many(wanted) {
                    // Names with an underscore differ from those with a hyphen.
                    if !values(name).is_empty() {
                        return Err(format!("upstream header {name} is {:?}", values(name)));
                    }
                }
            }
            "not_header_values" => {
                for (name, unwanted) in wanted.as_object().into_iter().flatten() {
                    if let Some(value) = unwanted
                        .as_str()
                        .filter(|value| values(name).iter().any(|seen| seen.contains(*value)))
                    {
                        return Err(format!("upstream header {name} contains {value:?}"));
                    }
                }
            }
            "first_byte_before_part" => {
                let (first, length) = (seen["first_bytes"].as_u64(), seen["body_length"].as_u64());
                if first >= length {
                    return Err("the whole body arrived at once".to_owned());
                }
            }
            "body_length" | "method" | "path" | "raw_path" | "query" | "host" | "http_version" | "tls"
            | "tls_sni" | "tls_client_cn" | "pod" | "service" => {
                if seen[key] != *wanted {
                    return Err(format!("upstream {key} is {} instead of {wanted}", seen[key]));
                }
            }
            _ => return Err(format!("the harness cannot check upstream {key}")),
        }
    }
    Ok(())
}

/// Compares the values of a header with a text or with `{any, equals, prefix, contains, regex, count}`.
fn matches(values: &[&str], wanted: &Value) -> Result<(), String> {
    let conditions = match wanted {
        Value::Object(conditions) => conditions.clone(),
        _ => serde_json::Map::from_iter([("equals".to_owned(), wanted.clone())]),
    };
    for (condition, wanted) in &conditions {
        let text = wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned);
        let holds = match condition.as_str() {
            "any" => !values.is_empty(),
            "equals" => values.contains(&text.as_str()) || values.join(", ") == text,
            "prefix" => values.iter().any(|value| value.starts_with(&text)),
            "contains" => values.iter().any(|value| value.contains(&text)),
            "regex" => {
                let pattern = regex::Regex::new(&text).map_err(|error| error.to_string())?;
                values.iter().any(|value| pattern.is_match(value))
            }
            "count" => wanted.as_u64() == Some(values.len() as u64),
            _ => return Err(format!("the harness cannot check {condition}")),
        };
        if !holds {
            return Err(format!("{values:?}, wanted {condition} {wanted}"));
        }
    }
    Ok(())
}

fn has_cookie(cookies: &[&str], wanted: &Value) -> Result<(), String> {
    super::known_keys(wanted, &["name", "value", "attributes", "absent_attributes"])?;
    let name = wanted["name"].as_str().unwrap_or_default();
    let cookie = cookies.iter().find_map(|cookie| cookie.strip_prefix(name)?.strip_prefix('='));
    let cookie = cookie.ok_or_else(|| format!("no cookie {name} in {cookies:?}"))?;
    let mut parts = cookie.split(';').map(str::trim);
    let value = parts.next().unwrap_or_default();
    let attributes: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
    if wanted["value"].as_str().is_some_and(|wanted| wanted != value) {
        return Err(format!("cookie {name} is {value:?}"));
    }
    for attribute in wanted["attributes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !attributes.contains(&attribute.to_ascii_lowercase()) {
            return Err(format!("cookie {name} lacks {attribute}: {attributes:?}"));
        }
    }
    for attribute in wanted["absent_attributes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if attributes.iter().any(|given| given.split('=').next() == Some(&attribute.to_ascii_lowercase())) {
            return Err(format!("cookie {name} has {attribute}: {attributes:?}"));
        }
    }
    Ok(())
}

/// A number, `[min, max]` or `{min, max}`.
fn in_range(seen: u64, wanted: &Value) -> Result<(), String> {
    let (min, max) = match wanted {
        Value::Number(number) => (number.as_u64(), number.as_u64()),
        Value::Array(range) => (range.first().and_then(Value::as_u64), range.get(1).and_then(Value::as_u64)),
        _ => (wanted["min"].as_u64(), wanted["max"].as_u64()),
    };
    if min.is_some_and(|min| seen < min) || max.is_some_and(|max| seen > max) || (min, max) == (None, None) {
        return Err(format!("{seen} instead of {wanted}"));
    }
    Ok(())
}

fn one_or_many(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        value => value.as_str().into_iter().collect(),
    }
}
