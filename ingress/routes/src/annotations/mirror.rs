//! `mirror-target`, `mirror-host` and `mirror-request-body`: a copy of each request for another server.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::{Method, Uri};
use ingress_wire::head::NameClass;

use super::subrequest_fields::{list, of_client, set};
use super::template::{RuleText, Template};
use super::{Annotation, AnnotationFamily, Rule, SettingReader, Settings};
use crate::exchange::Exchange;
use crate::path::encode_unsafe;
use crate::plan::Plan;
use crate::plan::mirror::MirrorRule;
use crate::plan::phase::Phase;
use crate::plan::subrequest::Subrequest;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "mirror",
    doc: "Sends a copy of each request that limits and access rules let pass to another server. Its response is dropped, and the \
          client waits for nothing. A worker has at most 256 open copies, and bodies of 8 MiB for them, 1 MiB each; further requests \
          have no copy (portolan_mirror_requests_total).",
    annotations: &[
        Annotation {
            name: "mirror-target",
            values: "a URL, with variables",
            doc: "Where the copy goes. A URL without variables gets the query of the request, and one without a path its path, too. It \
                  may not lead to a loopback or link-local address.",
        },
        Annotation {
            name: "mirror-host",
            values: "a host, with variables; default that of mirror-target",
            doc: "The Host of the copy.",
        },
        Annotation {
            name: "mirror-request-body",
            values: "on, off; default on",
            doc: "Whether the copy has the body. The copy is sent when the body is complete.",
        },
    ],
    phases: &[Phase::UpstreamRequest],
    syntax: "mirror-target: https://shadow.example$request_uri\n\
             mirror-host: shop.example\n\
             mirror-request-body: 'off'",
    read,
    plan,
    ..AnnotationFamily::NONE
};

/// The annotations of an Ingress that has a `mirror-target`.
#[derive(Clone, Debug, PartialEq)]
struct MirrorSettings {
    target: Arc<Template>,
    host: Option<Arc<Template>>,
    copies_body: bool,
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    const URL: &str = "an http or https URL; a name after $ must be a known variable";
    let target = reader.value("mirror-target", URL, Effect::DefaultUsed, target);
    let host = reader.value("mirror-host", "a host, with known variables", Effect::DefaultUsed, host);
    let body = reader.value("mirror-request-body", "on or off", Effect::DefaultUsed, |value| match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    });
    if let Some(target) = target {
        let copies_body = body.unwrap_or(true);
        settings.values.set(MirrorSettings {
            target: Arc::new(target),
            host: host.map(Arc::new),
            copies_body,
        });
        return;
    }
    for name in ["mirror-host", "mirror-request-body"] {
        if reader.text(name).is_some() && reader.text("mirror-target").is_none() {
            reader.problem(name, "has no effect without mirror-target".into(), Effect::Differs);
        }
    }
}

/// The URL, with what nginx adds to one without variables.
fn target(text: &str) -> Option<Template> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let is_text = text.bytes().all(|byte| {
        byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'\\' | b'`' | b';' | b'#')
    });
    if !is_text || host.is_empty() || host.starts_with(':') || host.contains('@') {
        return None;
    }
    let has_path =
        ["/", "$request_uri", "${request_uri}", "$uri", "${uri}"].iter().any(|path| rest.contains(path));
    let added = match () {
        () if !has_path => "$request_uri",
        () if rest.contains(['$', '?']) => "",
        () => "$is_args$args",
    };
    Template::parse(&format!("{text}{added}"), None)
}

fn host(text: &str) -> Option<Template> {
    let is_text = text.bytes().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'_' | b'$' | b'{' | b'}')
    });
    is_text.then(|| Template::parse(text, None)).flatten()
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let Some(MirrorSettings { target, host, copies_body }) = settings.values.get() else { return };
    plan.mirror = Some(Box::new(Mirror {
        target: target.of_rule(rule, None),
        host: host.as_ref().map(|host| host.of_rule(rule, None)),
        copies_body: *copies_body,
        timeout: plan.proxy.connect_timeout.saturating_add(plan.proxy.read_timeout),
        names: plan.heads.names,
    }));
}

/// nginx's `mirror` and the location that it leads to.
#[derive(Debug)]
struct Mirror {
    target: RuleText,
    host: Option<RuleText>,
    copies_body: bool,
    timeout: Duration,
    /// The names of the client's fields that are passed on.
    names: NameClass,
}

impl MirrorRule for Mirror {
    fn copy(&self, exchange: &Exchange) -> Option<Subrequest> {
        let url: Uri = encode_unsafe(&self.target.value(exchange)).parse().ok()?;
        let of_url = url.host().filter(|host| !host.is_empty())?;
        // As in ingress-nginx, without the port.
        let host = self.host.as_ref().map_or(Cow::Borrowed(of_url), |host| host.value(exchange));
        let mut headers = of_client(exchange, self.names);
        set(&mut headers, HOST, host.as_bytes());
        let method = Method::from_bytes(exchange.method_name().as_bytes()).ok()?;
        Some(Subrequest { method, headers: list(headers), timeout: self.timeout, ..Subrequest::get(url) })
    }

    fn copies_body(&self) -> bool {
        self.copies_body
    }
}

#[cfg(test)]
mod tests {
    use crate::exchange::tests::get;
    use crate::testing::TestCluster;

    /// Method and URL of the copy, its Host and `X-User`, and whether it has the body.
    fn copied(annotations: &str) -> Option<String> {
        let text = format!(
            "metadata: {{name: x, annotations: {{{annotations}}}}}\n\
             spec: {{rules: [{{host: a.example, paths: [[/, Prefix, 'web:80']]}}]}}\n"
        );
        let cluster = TestCluster::new(&text);
        let fields = [("x-user", "ann"), ("expect", "100-continue"), ("connection", "close")];
        let exchange = get("http://a.example:8080/b%20c?d=e", &fields);
        let table = cluster.table.load();
        let mirror = table.find("a.example", "/").route().plan.mirror.as_ref()?;
        let copy = mirror.copy(&exchange)?;
        let field = |name: &str| {
            let found = copy.headers.iter().find(|(known, _)| known == name);
            found.map_or("none", |(_, value)| value.to_str().expect("text"))
        };
        assert_eq!((field("expect"), field("connection")), ("none", "none"));
        let body = if mirror.copies_body() { "body" } else { "no body" };
        Some(format!("{} {} {} {} {body}", copy.method, copy.url, field("host"), field("x-user")))
    }

    #[test]
    fn a_copy_has_the_target_that_nginx_makes() {
        // [mirror.go]
        for (annotations, copy) in [
            (
                "mirror-target: 'https://m.example/$request_uri'",
                "https://m.example//b%20c?d=e m.example ann body",
            ),
            (
                "mirror-target: 'http://m.example:81$request_uri'",
                "http://m.example:81/b%20c?d=e m.example ann body",
            ),
            ("mirror-target: 'http://m.example/mirror'", "http://m.example/mirror?d=e m.example ann body"),
            ("mirror-target: 'http://m.example/mirror?x'", "http://m.example/mirror?x m.example ann body"),
            ("mirror-target: 'http://m.example'", "http://m.example/b%20c?d=e m.example ann body"),
            ("mirror-target: 'http://$arg_d.example'", "http://e.example/b%20c?d=e e.example ann body"),
            ("mirror-target: 'http://$arg_d.example$uri'", "http://e.example/b%20c e.example ann body"),
            (
                "mirror-target: 'http://m.example/', mirror-host: '$service_name.$host:82', mirror-request-body: 'off'",
                "http://m.example/?d=e web.a.example:82 ann no body",
            ),
            (
                "mirror-target: 'http://m.example/', mirror-host: 'a b', mirror-request-body: odd",
                "http://m.example/?d=e m.example ann body",
            ),
        ] {
            assert_eq!(copied(annotations), Some(format!("GET {copy}")), "{annotations}");
        }
        for bad in
            ["m.example", "ftp://m.example/", "http:///x", "http://a@b/", "http://m/$none", "http://m/a b"]
        {
            assert_eq!(copied(&format!("mirror-target: '{bad}'")), None, "{bad}");
        }
        assert_eq!(copied("mirror-target: 'http://$arg_none/'"), None, "no URL");
    }
}
