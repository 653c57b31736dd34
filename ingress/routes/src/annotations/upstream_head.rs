//! Headers that endpoints get: `Host`, `Connection`, `X-Forwarded-Prefix`, `X-Original-*`.

use http::HeaderName;

use super::template::{RuleText, Template};
use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::exchange::Exchange;
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::filter::RequestHeadFilter;
use crate::plan::head_edits::HeadEdits;
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "upstream head",
    doc: "Headers of the requests to endpoints.",
    annotations: &[
        Annotation {
            name: "upstream-vhost",
            values: "a host, in which $host, $namespace, $service_name and other variables of nginx may occur",
            doc: "The Host that endpoints get instead of the client's.",
        },
        Annotation {
            name: "x-forwarded-prefix",
            values: "a path",
            doc: "X-Forwarded-Prefix of requests whose path is rewritten.",
        },
        Annotation {
            name: "connection-proxy-header",
            values: "keep-alive, close",
            doc: "The Connection header that endpoints get; an upgrade to another protocol then fails.",
        },
    ],
    keys: &[
        FamilyKey {
            name: "proxy-add-original-uri-header",
            values: "true, false; default false",
            doc: "endpoints get the request target of the client in X-Original-URI",
        },
        FamilyKey {
            name: "forwarded-host-header",
            values: "a header name; default X-Forwarded-Host",
            doc: "the header of the client that X-Original-Forwarded-Host is taken from",
        },
    ],
    phases: &[Phase::UpstreamRequest],
    syntax: "upstream-vhost: $service_name.$namespace.svc.cluster.local\n\
             x-forwarded-prefix: /shop\n\
             connection-proxy-header: keep-alive",
    read,
    read_keys,
    plan,
};

/// The annotations of an Ingress.
#[derive(Clone, Debug, Default, PartialEq)]
struct UpstreamHeadSettings {
    host: Option<Template>,
    prefix: Option<String>,
    connection: Option<&'static str>,
}

/// The keys of the ConfigMap.
#[derive(Clone, Debug, PartialEq)]
struct UpstreamHeadKeys {
    original_uri: bool,
    forwarded_host: Option<HeaderName>,
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    const HOST: &str = "a host, in which $name stands for a variable of nginx";
    let default = Effect::DefaultUsed;
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let path = |value: &str| value.bytes().all(is_path).then(|| value.to_owned());
    let head = UpstreamHeadSettings {
        host: reader.value("upstream-vhost", HOST, default, host),
        prefix: reader.value("x-forwarded-prefix", "a path of letters, digits and -._~", default, path),
        connection: reader.value("connection-proxy-header", "keep-alive or close", default, |value| {
            match value {
                "keep-alive" => Some("keep-alive"),
                "close" => Some("close"),
                _ => None,
            }
        }),
    };
    if head != UpstreamHeadSettings::default() {
        settings.values.set(head);
    }
}

/// A host with variables. Braces and dollar signs belong to variables, so that they are checked by the template.
fn host(value: &str) -> Option<Template> {
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~*:[]${}".contains(&byte);
    value.bytes().all(is_host).then(|| Template::parse(value, None)).flatten()
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let name = |value: &str| HeaderName::try_from(value).ok();
    let original_uri = reader.flag("proxy-add-original-uri-header").unwrap_or_default();
    let forwarded_host = reader.value("forwarded-host-header", "a header name", Effect::DefaultUsed, name);
    let forwarded_host = forwarded_host.filter(|name| name != "x-forwarded-host");
    values.set(UpstreamHeadKeys { original_uri, forwarded_host });
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    if let Some(keys) = rule.globals.get::<UpstreamHeadKeys>() {
        if keys.original_uri {
            plan.request_head.push(Box::new(OriginalUri));
        }
        if let Some(name) = &keys.forwarded_host {
            plan.request_head.push(Box::new(OriginalHost(name.clone())));
        }
    }
    let Some(head) = settings.values.get::<UpstreamHeadSettings>() else { return };
    if let Some(host) = &head.host {
        plan.request_head.push(Box::new(UpstreamHost(host.of_rule(rule, None))));
    }
    if let Some(prefix) = &head.prefix {
        plan.request_head.push(Box::new(ForwardedPrefix(prefix.clone())));
    }
    if let Some(value) = head.connection {
        plan.request_head.push(Box::new(FixedConnection(value)));
    }
}

/// Sets `Host`. A value that is empty leaves the client's.
#[derive(Debug)]
struct UpstreamHost(RuleText);

impl RequestHeadFilter for UpstreamHost {
    fn edit<'r>(&'r self, exchange: &'r Exchange, edits: &mut HeadEdits<'r>) {
        edits.set("Host", self.0.bytes(exchange));
    }
}

/// Sets `X-Forwarded-Prefix`. As in ingress-nginx only together with a rewrite.
#[derive(Debug)]
struct ForwardedPrefix(String);

impl RequestHeadFilter for ForwardedPrefix {
    fn edit<'r>(&'r self, exchange: &'r Exchange, edits: &mut HeadEdits<'r>) {
        if exchange.target.is_some() {
            edits.set("X-Forwarded-Prefix", self.0.as_bytes());
        }
    }
}

/// Sets `Connection`.
#[derive(Debug)]
struct FixedConnection(&'static str);

impl RequestHeadFilter for FixedConnection {
    fn edit<'r>(&'r self, _: &'r Exchange, edits: &mut HeadEdits<'r>) {
        edits.set("Connection", self.0.as_bytes());
    }
}

/// Sets `X-Original-URI`.
#[derive(Debug)]
struct OriginalUri;

impl RequestHeadFilter for OriginalUri {
    fn edit<'r>(&'r self, exchange: &'r Exchange, edits: &mut HeadEdits<'r>) {
        edits.set("X-Original-URI", exchange.request_target().as_bytes());
    }
}

/// Sets `X-Original-Forwarded-Host` from another header of the client than X-Forwarded-Host.
#[derive(Debug)]
struct OriginalHost(HeaderName);

impl RequestHeadFilter for OriginalHost {
    fn edit<'r>(&'r self, exchange: &'r Exchange, edits: &mut HeadEdits<'r>) {
        edits.set("X-Original-Forwarded-Host", exchange.header(&self.0).unwrap_or_default().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use crate::exchange::tests::get;
    use crate::testing::{TestCluster, edited_request};

    const INGRESSES: &str = "
metadata: {name: x, namespace: shop, annotations: {upstream-vhost: $service_name.$namespace.svc, x-forwarded-prefix: /x, connection-proxy-header: keep-alive}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: y, annotations: {rewrite-target: /inner/$2, x-forwarded-prefix: /outer}}
spec: {rules: [{host: b.example, paths: [['/outer(/|$)(.*)', ImplementationSpecific, web]]}]}
---
metadata: {name: z, annotations: {rewrite-target: /same, x-forwarded-prefix: /p, connection-proxy-header: set_by_lua, upstream-vhost: 'a;b'}}
spec: {rules: [{host: c.example, paths: [[/same, Exact, web], [/other, Prefix, web]]}]}
";

    #[test]
    fn endpoints_get_the_headers_of_annotations() {
        let cluster = TestCluster::new(INGRESSES);
        for (url, fields) in [
            ("a.example/", &["Host: web.shop.svc", "Connection: keep-alive"][..]),
            ("b.example/outer/a", &["X-Forwarded-Prefix: /outer"]),
            ("c.example/same", &[]),
            ("c.example/other/x", &["X-Forwarded-Prefix: /p"]),
        ] {
            assert_eq!(edited_request(&cluster, &mut get(url, &[])), fields, "{url}");
        }
        let problems = cluster.problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(
            problems[0].contains("connection-proxy-header: \"set_by_lua\" should be keep-alive or close"),
            "{problems:?}"
        );
        assert!(problems[1].contains("upstream-vhost: \"a;b\" should be a host"), "{problems:?}");
    }

    #[test]
    fn endpoints_get_the_original_uri_and_host() {
        let mut cluster = TestCluster::configured(INGRESSES);
        let headers = [("x-outer-host", "outer.example"), ("x-forwarded-host", "other.example")];
        let mut fields = |data: &[(&str, &str)]| {
            cluster.configure(data);
            edited_request(&cluster, &mut get("b.example/outer/a%20b?c", &headers))
        };
        let prefix = "X-Forwarded-Prefix: /outer";
        assert_eq!(fields(&[]), [prefix]);
        assert_eq!(
            fields(&[("proxy-add-original-uri-header", "true"), ("forwarded-host-header", "X-Outer-Host")]),
            ["X-Original-URI: /outer/a%20b?c", "X-Original-Forwarded-Host: outer.example", prefix]
        );
        assert_eq!(fields(&[("forwarded-host-header", "X-Forwarded-Host")]), [prefix]);
        assert_eq!(
            fields(&[("forwarded-host-header", "a b"), ("proxy-add-original-uri-header", "1")]).len(),
            2
        );
    }
}
