//! Conditions of a route besides host and path: method, header fields and query parameters, with the meaning and precedence of HTTPRoute
//! (Gateway API v1, `HTTPRouteMatch`). Ingresses have none.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

use cluster::CompactString;
use http::HeaderName;
use percent_encoding::percent_decode;

use super::route::Route;
use crate::exchange::Exchange;
use crate::pattern::Pattern;

/// The conditions that a request must meet, all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestConditions {
    /// The method, in its letter case; `None` for any.
    pub method: Option<CompactString>,
    /// Header fields. Several fields of a name are one value, with commas between them (RFC 9110 §5.3).
    pub headers: Vec<(HeaderName, ValueCondition)>,
    /// Query parameters, by decoded name and value. Of several with one name the first counts.
    pub query: Vec<(String, ValueCondition)>,
}

/// The condition on a value.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueCondition {
    /// Exactly this.
    Equals(String),
    /// The pattern is found in it. A request that has used up its steps does not match.
    Matches(Arc<Pattern>),
}

impl ValueCondition {
    fn is_met(&self, value: &str, exchange: &Exchange) -> bool {
        match self {
            Self::Equals(wanted) => wanted == value,
            Self::Matches(pattern) => {
                let mut budget = exchange.step_budget.get();
                let is_match = pattern.is_match(value, &mut budget);
                exchange.step_budget.set(budget);
                is_match.unwrap_or(false)
            }
        }
    }
}

impl RequestConditions {
    /// Whether a request meets all of them. Allocates only for repeated header fields and encoded query parameters.
    pub fn are_met(&self, exchange: &Exchange) -> bool {
        self.method.as_ref().is_none_or(|method| method == exchange.method_name())
            && self.headers.iter().all(|(name, wanted)| {
                header(exchange, name).is_some_and(|value| wanted.is_met(&value, exchange))
            })
            && self.query.iter().all(|(name, wanted)| {
                parameter(exchange, name).is_some_and(|value| wanted.is_met(&value, exchange))
            })
    }

    /// Routes with the least key are tried first: those with a method, then those with most fields, then those with most parameters.
    fn precedence(&self) -> (bool, Reverse<usize>, Reverse<usize>) {
        (self.method.is_none(), Reverse(self.headers.len()), Reverse(self.query.len()))
    }
}

/// The value of a header; `None` without it, and if it is not text.
fn header<'e>(exchange: &'e Exchange, name: &HeaderName) -> Option<Cow<'e, str>> {
    let mut values = exchange.request.head().get_named(name.as_str().as_bytes());
    let first = std::str::from_utf8(values.next()?).ok()?;
    let mut value = Cow::Borrowed(first);
    for next in values {
        let value = value.to_mut();
        value.push_str(", ");
        value.push_str(std::str::from_utf8(next).ok()?);
    }
    Some(value)
}

/// The value of a query parameter.
fn parameter<'e>(exchange: &'e Exchange, name: &str) -> Option<Cow<'e, str>> {
    let pairs = exchange.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut found = pairs.filter(|(known, _)| decoded(known).is_some_and(|known| known == name));
    decoded(found.next()?.1)
}

/// A part of a query as forms encode it; `None` if it is not UTF-8.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    match text.contains('+') {
        false => percent_decode(text.as_bytes()).decode_utf8().ok(),
        true => {
            let text = text.replace('+', " ");
            Some(percent_decode(text.as_bytes()).decode_utf8().ok()?.into_owned().into())
        }
    }
}

/// The routes of a path that have conditions, in the order in which they are tried. Of those with the same precedence, the reader's
/// order counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConditionalRoutes(Option<Arc<[ConditionalRoute]>>);

/// A route and what a request must have for it.
type ConditionalRoute = (RequestConditions, Arc<Route>);

impl ConditionalRoutes {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Routes in the reader's order.
    pub fn new(mut routes: Vec<ConditionalRoute>) -> Self {
        routes.sort_by_key(|(conditions, _)| conditions.precedence());
        Self((!routes.is_empty()).then(|| routes.into()))
    }

    /// The route of a request on this path: the first whose conditions it meets, else `other`, which has none. Hot: one comparison
    /// for a path without conditions. Without a request only `other` counts.
    pub(super) fn select<'t>(
        &'t self,
        request: Option<&Exchange>,
        other: Option<&'t Arc<Route>>,
    ) -> Option<&'t Arc<Route>> {
        if let (Some(routes), Some(exchange)) = (&self.0, request)
            && let Some((_, route)) = routes.iter().find(|(conditions, _)| conditions.are_met(exchange))
        {
            return Some(route);
        }
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::tests::request;
    use crate::testing::TestCluster;

    fn equals(text: &str) -> ValueCondition {
        ValueCondition::Equals(text.to_owned())
    }

    fn matches(text: &str) -> ValueCondition {
        ValueCondition::Matches(Arc::new(Pattern::new(text, false).expect(text)))
    }

    fn method(name: &str) -> RequestConditions {
        RequestConditions { method: Some(name.into()), ..RequestConditions::default() }
    }

    fn headers(all: &[(&'static str, ValueCondition)]) -> RequestConditions {
        let headers =
            all.iter().map(|(name, value)| (HeaderName::from_static(name), value.clone())).collect();
        RequestConditions { headers, ..RequestConditions::default() }
    }

    fn query(all: &[(&str, ValueCondition)]) -> RequestConditions {
        let query = all.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        RequestConditions { query, ..RequestConditions::default() }
    }

    #[test]
    fn a_request_has_to_meet_every_condition() {
        let version = [("x-version", "2"), ("x-tag", "a"), ("x-tag", "b")];
        for (conditions, wanted) in [
            (RequestConditions::default(), true),
            (method("GET"), true),
            (method("get"), false),
            (method("POST"), false),
            (headers(&[("x-version", equals("2"))]), true),
            (headers(&[("x-version", equals("2")), ("x-none", equals(""))]), false),
            (headers(&[("x-version", matches("^[2-9]$"))]), true),
            (headers(&[("x-version", matches("^[3-9]$"))]), false),
            (headers(&[("x-tag", equals("a, b"))]), true),
            (headers(&[("x-tag", equals("a"))]), false),
            (query(&[("q", equals("a b&c"))]), true),
            (query(&[("q", equals("2"))]), false),
            (query(&[("Q", equals("a b&c"))]), false),
            (query(&[("a=", equals("\u{e9}"))]), true),
            (query(&[("flag", equals(""))]), true),
            (query(&[("bad", equals(""))]), false),
            (query(&[("none", matches(""))]), false),
            (RequestConditions { method: Some("POST".into()), ..query(&[("flag", equals(""))]) }, false),
        ] {
            let exchange = request("GET", "a.example/x?q=a+b%26c&q=2&a%3D=%C3%A9&flag&bad=%FF", &version);
            assert_eq!(conditions.are_met(&exchange), wanted, "{conditions:?}");
        }
    }

    /// A table with the Services of all conditional routes, and the outcome of a request of it on `/x/y`.
    fn outcome(all: &[(&str, RequestConditions)], method: &str, fields: &[(&str, &str)]) -> String {
        let mut text = "metadata: {name: main}
spec: {rules: [{host: a.example, paths: [[/, Prefix, root], [/x, Prefix, x], [/x/y, Exact, y]]}]}
---
metadata: {name: others}
spec: {rules: ["
            .to_owned();
        for (service, _) in all {
            text += &format!("{{host: {service}.example, paths: [[/, Prefix, {service}]]}}, ");
        }
        text += "]}";
        let cluster = TestCluster::new(&text);
        let table = cluster.table.load();
        let route = |service: &str| table.find(&format!("{service}.example"), "/").route().clone();
        let routes = all.iter().map(|(service, conditions)| (conditions.clone(), route(service))).collect();
        let table = table.with_conditional_routes("a.example", "/x", ConditionalRoutes::new(routes));
        let found = |path: &str| {
            let exchange = request(method, &format!("a.example{path}?q=1"), fields);
            let route = table.find_for(&exchange).route();
            route.service.as_ref().expect("a Service").0.to_string()
        };
        assert_eq!([found("/"), found("/x/y")], ["root", "y"], "other paths are not affected");
        assert_eq!(table.find("a.example", "/x").route().service.as_ref().expect("a Service").0, "x");
        found("/x/z")
    }

    #[test]
    fn of_the_routes_of_a_path_the_most_specific_one_counts() {
        let by_method = ("by-method", method("POST"));
        let one = ("one-header", headers(&[("x-a", equals("1"))]));
        let two = ("two-headers", headers(&[("x-a", equals("1")), ("x-b", equals("2"))]));
        let later = ("later", headers(&[("x-a", matches("."))]));
        let queried = ("queried", query(&[("q", equals("1"))]));
        let all = [queried, later, one, two, by_method];
        let fields = [("x-a", "1"), ("x-b", "2")];
        for (routes, method, fields, service) in [
            (&all[..], "POST", &fields[..], "by-method"),
            (&all, "GET", &fields, "two-headers"),
            (&all, "GET", &fields[..1], "later"),
            (&all[2..], "GET", &fields[..1], "one-header"),
            (&all, "GET", &[], "queried"),
            (&all[1..], "GET", &[], "x"),
            (&[], "POST", &fields, "x"),
        ] {
            assert_eq!(outcome(routes, method, fields), service, "{method} {fields:?}");
        }
    }
}
