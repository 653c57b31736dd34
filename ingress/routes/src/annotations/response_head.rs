//! `hide-headers`, `allow-backend-server-header` and `server-tokens`: headers that clients get.

use std::sync::Arc;

use http::HeaderName;
use http::header::SERVER;

use super::{AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::exchange::Exchange;
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::filter::{ResponseHeadFilter, ResponseView};
use crate::plan::head_edits::HeadEdits;
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "response head",
    doc: "Headers of endpoints that clients do not get, and the Server header.",
    keys: &[
        FamilyKey {
            name: "hide-headers",
            values: "a list of header names",
            doc: "headers of endpoints that clients do not get",
        },
        FamilyKey {
            name: "allow-backend-server-header",
            values: "true, false; default false",
            doc: "the Server header of endpoints is passed on",
        },
        FamilyKey {
            name: "server-tokens",
            values: "true, false; default false",
            doc: "responses have a Server header that names Portolan and its version",
        },
    ],
    phases: &[Phase::ResponseHead],
    syntax: "hide-headers: X-Powered-By, X-Runtime\n\
             allow-backend-server-header: 'true'\n\
             server-tokens: 'true'",
    read_keys,
    plan,
    ..AnnotationFamily::NONE
};

/// The value of `Server`.
const PRODUCT: &str = concat!("portolan/", env!("CARGO_PKG_VERSION"));

static SERVER_HEADER: HeaderName = SERVER;

/// The keys of the ConfigMap.
#[derive(Clone, Debug, Default, PartialEq)]
struct ResponseHeadKeys {
    hidden: Arc<[String]>,
    passes_server: bool,
    names_server: bool,
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    const HIDDEN: &str = "hide-headers";
    let mut hidden = Vec::new();
    for name in reader.text(HIDDEN).unwrap_or_default().split(',').map(str::trim) {
        if HeaderName::try_from(name).is_ok() {
            hidden.push(name.to_owned());
        } else if !name.is_empty() {
            reader.problem(HIDDEN, format!("{name:?} should be a header name"), Effect::LeftOut);
        }
    }
    values.set(ResponseHeadKeys {
        hidden: hidden.into(),
        passes_server: reader.flag("allow-backend-server-header").unwrap_or_default(),
        names_server: reader.flag("server-tokens").unwrap_or_default(),
    });
}

/// Whether responses name the server (`server-tokens`), for the keys of later families.
pub(super) fn names_server(values: &FamilyValues) -> bool {
    values.get::<ResponseHeadKeys>().is_some_and(|keys| keys.names_server)
}

fn plan(_: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let Some(keys) = rule.globals.get::<ResponseHeadKeys>() else { return };
    plan.heads.passes_server = keys.passes_server;
    if !keys.hidden.is_empty() {
        plan.response_head.push(Box::new(HiddenHeaders(keys.hidden.clone())));
    }
    if keys.names_server {
        plan.response_head.push(Box::new(ServerName { passes_server: keys.passes_server }));
    }
}

/// Removes headers of endpoints.
#[derive(Debug)]
struct HiddenHeaders(Arc<[String]>);

impl ResponseHeadFilter for HiddenHeaders {
    fn edit<'r>(&'r self, _: &'r Exchange, response: &ResponseView<'_>, edits: &mut HeadEdits<'r>) {
        if response.is_of_endpoint {
            self.0.iter().for_each(|name| edits.remove(name));
        }
    }
}

/// Sets `Server`, unless that of an endpoint is passed on.
#[derive(Debug)]
struct ServerName {
    passes_server: bool,
}

impl ResponseHeadFilter for ServerName {
    fn edit<'r>(&'r self, _: &'r Exchange, response: &ResponseView<'_>, edits: &mut HeadEdits<'r>) {
        if !self.passes_server || response.get(&SERVER_HEADER).is_none() {
            edits.set("Server", PRODUCT.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PRODUCT;
    use crate::exchange::tests::get;
    use crate::testing::{TestCluster, edited_response};

    #[test]
    fn hidden_headers_of_endpoints_are_removed() {
        let mut cluster = TestCluster::configured("metadata: {name: x}\nspec: {}\n");
        let own = [("x-a", "1"), ("x-b", "2"), ("strict-transport-security", "own")];
        let mut names = |hidden: &str| {
            cluster.configure(&[("hide-headers", hidden)]);
            let head = edited_response(&cluster, &get("https://a.example/", &[]), 200, &own);
            head.keys().map(|name| name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(""), ["x-a", "x-b", "strict-transport-security"]);
        assert_eq!(names("X-A, Strict-Transport-Security,x-none,"), ["x-b", "strict-transport-security"]);
        assert_eq!(names("a b, X-B"), ["x-a", "strict-transport-security"]);
        assert_eq!(
            cluster.problems(),
            ["ConfigMap ingress/controller: hide-headers: \"a b\" should be a header name; it is left out"]
        );
    }

    #[test]
    fn the_server_header_is_that_of_the_endpoint_or_names_the_proxy() {
        let mut cluster = TestCluster::configured("metadata: {name: x}\nspec: {}\n");
        let mut server = |data: &[(&str, &str)], own: &[(&str, &str)]| {
            cluster.configure(data);
            let head = edited_response(&cluster, &get("a.example/", &[]), 200, own);
            head.get("server").map(|value| value.to_str().unwrap().to_owned())
        };
        let own = [("server", "apache")];
        assert_eq!(server(&[], &[]), None);
        assert_eq!(server(&[("server-tokens", "true")], &[]), Some(PRODUCT.to_owned()));
        assert_eq!(server(&[("server-tokens", "true")], &own), Some(PRODUCT.to_owned()));
        assert_eq!(server(&[("allow-backend-server-header", "true")], &own), Some("apache".to_owned()));
        let both = [("server-tokens", "true"), ("allow-backend-server-header", "true")];
        assert_eq!(server(&both, &own), Some("apache".to_owned()));
        assert_eq!(server(&both, &[]), Some(PRODUCT.to_owned()));
    }
}
