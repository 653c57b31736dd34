//! `enable-cors` and its headers: which origins may read responses in a browser (Fetch §3.2).

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue, ORIGIN};
use http::{HeaderName, StatusCode};

use super::{Annotation, AnnotationFamily, Rule, SettingReader, Settings};
use crate::exchange::Exchange;
use crate::plan::Plan;
use crate::plan::filter::{DirectResponse, FilterOutcome, RequestFilter, ResponseHeadFilter, ResponseView};
use crate::plan::head_edits::HeadEdits;
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "cors",
    doc: "Adds CORS headers to every response to an allowed origin, in place of those of the endpoint, and answers its OPTIONS \
          requests with 204 before redirects and access rules. Responses to other origins are passed on as they are.",
    annotations: &[
        Annotation { name: "enable-cors", values: "true, false; default false", doc: "Turns it on." },
        Annotation {
            name: "cors-allow-origin",
            values: "* or a list of scheme://host, scheme://host:port and scheme://*.host; default *",
            doc: "The allowed origins, compared as a whole and ignoring case. `*.` stands for one label. `*`, also within a list, \
                  allows all. An invalid entry allows nothing.",
        },
        Annotation {
            name: "cors-allow-methods",
            values: "a list; default GET, PUT, POST, DELETE, PATCH, OPTIONS",
            doc: "Access-Control-Allow-Methods.",
        },
        Annotation {
            name: "cors-allow-headers",
            values: "a list; default DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,\
                     Content-Type,Range,Authorization",
            doc: "Access-Control-Allow-Headers.",
        },
        Annotation {
            name: "cors-allow-credentials",
            values: "true, false; default true",
            doc: "false leaves Access-Control-Allow-Credentials out.",
        },
        Annotation {
            name: "cors-expose-headers",
            values: "a list",
            doc: "Access-Control-Expose-Headers; without it there is none.",
        },
        Annotation {
            name: "cors-max-age",
            values: "seconds; default 1728000",
            doc: "Access-Control-Max-Age.",
        },
    ],
    phases: &[Phase::Rewrite, Phase::ResponseHead],
    syntax: "enable-cors: 'true'\n\
             cors-allow-origin: https://shop.example, https://*.shop.example:8443\n\
             cors-allow-methods: GET, POST\n\
             cors-allow-headers: X-Token, Content-Type\n\
             cors-allow-credentials: 'false'\n\
             cors-expose-headers: X-Total, X-Page\n\
             cors-max-age: '600'",
    read,
    plan,
    ..AnnotationFamily::NONE
};

const METHODS: &str = "GET, PUT, POST, DELETE, PATCH, OPTIONS";
const HEADERS: &str = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization";
const MAX_AGE: i64 = 1_728_000;

static ORIGIN_HEADER: HeaderName = ORIGIN;

/// The values of an Ingress whose CORS is on.
#[derive(Clone, Debug, PartialEq)]
struct CorsPolicy {
    origins: AllowedOrigins,
    methods: String,
    headers: String,
    credentials: bool,
    expose: Option<String>,
    max_age: String,
}

#[derive(Clone, Debug, PartialEq)]
enum AllowedOrigins {
    Any,
    Listed(Vec<AllowedOrigin>),
}

/// An origin, or the origins of all subdomains.
#[derive(Clone, Debug, PartialEq)]
struct AllowedOrigin {
    /// All of it, or what precedes the label that a wildcard stands for.
    start: String,
    /// What follows that label.
    end: Option<String>,
}

impl AllowedOrigin {
    /// Parses `scheme://host`, `scheme://host:port` or `scheme://*.host`.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (wildcard, authority) =
            rest.strip_prefix("*.").map_or((false, rest), |authority| (true, authority));
        let (host, port) =
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let is_valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(is_scheme)
            && !host.is_empty()
            && host.bytes().all(is_host)
            && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        is_valid.then(|| match wildcard {
            true => Self { start: format!("{scheme}://"), end: Some(format!(".{authority}")) },
            false => Self { start: text.into(), end: None },
        })
    }

    fn allows(&self, origin: &str) -> bool {
        let Some(end) = &self.end else { return self.start.eq_ignore_ascii_case(origin) };
        let label = strip_start(origin, &self.start).and_then(|rest| strip_end(rest, end));
        let is_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        label.is_some_and(|label| !label.is_empty() && label.bytes().all(is_label))
    }
}

fn strip_start<'t>(text: &'t str, start: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

fn strip_end<'t>(text: &'t str, end: &str) -> Option<&'t str> {
    let (rest, tail) = text.split_at_checked(text.len().checked_sub(end.len())?)?;
    tail.eq_ignore_ascii_case(end).then_some(rest)
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    const LIST: &str = "a list of names";
    let default = Effect::DefaultUsed;
    let on = reader.flag("enable-cors").unwrap_or_default();
    let text = |value: &str| list(value).then(|| value.to_owned());
    let methods = reader.value("cors-allow-methods", LIST, default, text);
    let headers = reader.value("cors-allow-headers", LIST, default, text);
    let policy = CorsPolicy {
        origins: origins(reader),
        methods: methods.unwrap_or_else(|| METHODS.into()),
        headers: headers.unwrap_or_else(|| HEADERS.into()),
        credentials: reader.flag("cors-allow-credentials").unwrap_or(true),
        expose: reader.value("cors-expose-headers", LIST, default, text),
        max_age: reader.number("cors-max-age").unwrap_or(MAX_AGE).to_string(),
    };
    if on {
        settings.values.set(Arc::new(policy));
    }
}

/// A list of tokens or `*`, separated by commas and spaces.
fn list(value: &str) -> bool {
    let is_token = |item: &str| {
        item.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*'))
    };
    value.split([',', ' ']).all(is_token) && value.contains(|c| c != ',' && c != ' ')
}

/// The allowed origins. An invalid entry is left out, which never allows more.
fn origins(reader: &mut SettingReader<'_>) -> AllowedOrigins {
    const KEY: &str = "cors-allow-origin";
    let Some(text) = reader.text(KEY) else { return AllowedOrigins::Any };
    let entries: Vec<_> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    if entries.is_empty() || entries.contains(&"*") {
        return AllowedOrigins::Any;
    }
    let mut listed = Vec::with_capacity(entries.len());
    for entry in entries {
        match AllowedOrigin::parse(entry) {
            Some(origin) => listed.push(origin),
            None => {
                let what = format!("{entry:?} should be an origin, as in https://shop.example:8443");
                reader.problem(KEY, what, Effect::LeftOut);
            }
        }
    }
    AllowedOrigins::Listed(listed)
}

fn plan(settings: &Settings, _: &Rule<'_>, plan: &mut Plan) {
    if let Some(policy) = settings.values.get::<Arc<CorsPolicy>>() {
        plan.rewrite.push(Box::new(Cors(policy.clone())));
        plan.response_head.push(Box::new(Cors(policy.clone())));
    }
}

/// Answers OPTIONS requests of allowed origins, and adds the headers to responses.
#[derive(Debug)]
struct Cors(Arc<CorsPolicy>);

impl Cors {
    /// `Access-Control-Allow-Origin`, if the origin is allowed.
    fn allow_origin<'r>(&'r self, exchange: &'r Exchange) -> Option<&'r str> {
        match &self.0.origins {
            AllowedOrigins::Any => Some("*"),
            AllowedOrigins::Listed(listed) => {
                let origin = exchange.header(&ORIGIN_HEADER)?;
                listed.iter().any(|allowed| allowed.allows(origin)).then_some(origin)
            }
        }
    }
}

impl RequestFilter for Cors {
    fn request(&self, exchange: &mut Exchange) -> FilterOutcome {
        if exchange.method_name() != "OPTIONS" || self.allow_origin(exchange).is_none() {
            return FilterOutcome::Continue;
        }
        let content_type = HeaderValue::from_static("text/plain charset=UTF-8");
        let response = DirectResponse::status(StatusCode::NO_CONTENT).with(CONTENT_TYPE, content_type);
        FilterOutcome::respond(response)
    }
}

impl ResponseHeadFilter for Cors {
    fn edit<'r>(&'r self, exchange: &'r Exchange, _: &ResponseView<'_>, edits: &mut HeadEdits<'r>) {
        let Some(origin) = self.allow_origin(exchange) else { return };
        let policy = &*self.0;
        edits.set("Access-Control-Allow-Origin", origin.as_bytes());
        if policy.credentials {
            edits.set("Access-Control-Allow-Credentials", &b"true"[..]);
        }
        edits.set("Access-Control-Allow-Methods", policy.methods.as_bytes());
        edits.set("Access-Control-Allow-Headers", policy.headers.as_bytes());
        if let Some(expose) = &policy.expose {
            edits.set("Access-Control-Expose-Headers", expose.as_bytes());
        }
        edits.set("Access-Control-Max-Age", policy.max_age.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::tests::{get, request};
    use crate::testing::{TestCluster, edited_response};

    fn cluster(annotations: &str) -> TestCluster {
        TestCluster::new(&format!(
            "metadata: {{name: x, annotations: {{enable-cors: 'true', {annotations}}}}}\n\
             spec: {{rules: [{{host: a.example, paths: [[/, Prefix, web]]}}], tls: [{{hosts: [a.example]}}]}}\n"
        ))
    }

    #[test]
    fn origins_are_compared_as_a_whole() {
        let list = "'https://one.example, https://*.two.example:8443, test://local, Tauri://Host:30, ,'";
        for (allowed, origin, answer) in [
            ("'*'", "", "*"),
            ("'*'", "https://x.example", "*"),
            ("' '", "https://x.example", "*"),
            ("','", "https://x.example", "*"),
            ("'one.example, *'", "", "*"),
            ("one.example", "https://one.example", ""),
            ("one.example", "one.example", ""),
            (list, "", ""),
            (list, "https://one.example", "https://one.example"),
            (list, "https://ONE.example", "https://ONE.example"),
            (list, "xhttps://one.example", ""),
            (list, "https://one.example:443", ""),
            (list, "https://one.example.evil", ""),
            (list, "http://one.example", ""),
            (list, "https://onexexample", ""),
            (list, "https://a.two.example:8443", "https://a.two.example:8443"),
            (list, "https://a-1.TWO.example:8443", "https://a-1.TWO.example:8443"),
            (list, "https://a.two.example", ""),
            (list, "https://two.example:8443", ""),
            (list, "https://.two.example:8443", ""),
            (list, "https://a.b.two.example:8443", ""),
            (list, "https://a/.two.example:8443", ""),
            (list, "test://local", "test://local"),
            (list, "tauri://host:30", "tauri://host:30"),
            (list, "null", ""),
        ] {
            let cluster = cluster(&format!("cors-allow-origin: {allowed}"));
            let headers = [("origin", origin)];
            let exchange = get("http://a.example/", if origin.is_empty() { &[] } else { &headers });
            let head = edited_response(&cluster, &exchange, 500, &[]);
            assert_eq!(
                head.get("access-control-allow-origin").map_or("", |value| value.to_str().unwrap()),
                answer,
                "{allowed} {origin}"
            );
            assert_eq!(head.is_empty(), answer.is_empty(), "{allowed} {origin}: {head:?}");
        }
    }

    #[test]
    fn credentials_follow_the_words_of_go_and_a_misspelt_one_is_the_default_and_reported() {
        for (value, is_sent, is_reported) in [
            ("true", true, false),
            ("T", true, false),
            ("1", true, false),
            ("false", false, false),
            ("F", false, false),
            ("0", false, false),
            ("fasle", true, true),
            ("no", true, true),
            ("off", true, true),
            ("tRUE", true, true),
        ] {
            let cluster = cluster(&format!("cors-allow-credentials: '{value}'"));
            let head = edited_response(&cluster, &get("http://a.example/", &[]), 200, &[]);
            assert_eq!(head.contains_key("access-control-allow-credentials"), is_sent, "{value}");
            let reported = format!(
                "Ingress default/x: nginx.ingress.kubernetes.io/cors-allow-credentials: {value:?} should be true or false; its \
                 default is used"
            );
            assert_eq!(
                cluster.problems().contains(&reported),
                is_reported,
                "{value}: {:?}",
                cluster.problems()
            );
        }
    }

    #[test]
    fn an_invalid_entry_is_reported() {
        let cluster = cluster("cors-allow-origin: 'https://a.example/x, https://b.example'");
        assert_eq!(
            cluster.problems(),
            [
                "Ingress default/x: nginx.ingress.kubernetes.io/cors-allow-origin: \"https://a.example/x\" should be an origin, \
                 as in https://shop.example:8443; it is left out"
            ]
        );
    }

    #[test]
    fn the_headers_replace_those_of_the_endpoint() {
        let own = [("access-control-allow-origin", "https://inner.example"), ("access-control-max-age", "1")];
        let all = edited_response(&cluster(""), &get("http://a.example/", &[]), 200, &own);
        let fields: Vec<_> =
            all.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(
            fields,
            [
                ("access-control-allow-origin", "*"),
                ("access-control-max-age", "1728000"),
                ("access-control-allow-credentials", "true"),
                ("access-control-allow-methods", METHODS),
                ("access-control-allow-headers", HEADERS),
            ]
        );
        let cluster = cluster(
            "cors-allow-methods: 'PUT, GET', cors-allow-headers: X-A, cors-allow-credentials: 'false', \
             cors-expose-headers: 'X-B, X-C', cors-max-age: '5'",
        );
        let all = edited_response(&cluster, &get("http://a.example/", &[]), 200, &[]);
        for (name, value) in [
            ("access-control-allow-methods", "PUT, GET"),
            ("access-control-allow-headers", "X-A"),
            ("access-control-expose-headers", "X-B, X-C"),
            ("access-control-max-age", "5"),
        ] {
            assert_eq!(all.get(name).unwrap(), value, "{name}");
        }
        assert!(!all.contains_key("access-control-allow-credentials"));
    }

    #[test]
    fn a_preflight_request_is_answered_before_redirects() {
        let cluster = cluster("cors-allow-origin: 'https://one.example', permanent-redirect: /x");
        let answer = |method: &str, origin: &str| {
            cluster.answer(&mut request(method, "http://a.example/", &[("origin", origin)]), 99)
        };
        assert_eq!(answer("OPTIONS", "https://one.example"), "204");
        assert_eq!(answer("OPTIONS", "https://two.example"), "301 http://a.example/x");
        assert_eq!(answer("GET", "https://one.example"), "301 http://a.example/x");
    }
}
