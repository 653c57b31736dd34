//! Error pages: statuses whose responses a default backend makes, and the backend of an Ingress without endpoints.

use std::sync::Arc;

use cluster::Key;
use compact_str::format_compact;

use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::error_pages::ErrorPages;
use crate::plan::phase::Phase;
use crate::pools::named_service;
use crate::problem::Effect;
use crate::upstream::{DEFAULT_UPSTREAM, UpstreamTarget};

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "error pages",
    doc: "Errors whose responses a default backend makes: that of the Ingress if it has one with endpoints, otherwise that of \
          `--default-backend-service`, otherwise the built-in 404 page. The default backend gets method and body of the request, the \
          path `/` with the query, and `X-Code`, `X-Format`, `X-Original-URI`, `X-Namespace`, `X-Ingress-Name`, `X-Service-Name`, \
          `X-Service-Port` and `X-Request-ID`. Its status is that of the response.",
    annotations: &[
        Annotation {
            name: "custom-http-errors",
            values: "statuses from 400 to 599, separated by commas",
            doc: "Responses with these statuses are replaced. The list takes the place of that of the ConfigMap.",
        },
        Annotation {
            name: "default-backend",
            values: "a Service in the namespace of the Ingress",
            doc: "Makes the responses for `custom-http-errors` of the Ingress, and gets all requests while the Service of a rule has no \
                  endpoint, with `X-Code: 503` and the other fields. Its first port is used.",
        },
        Annotation {
            name: "disable-proxy-intercept-errors",
            values: "true, false; default that of the ConfigMap",
            doc: "Responses of endpoints are not replaced, only those that the proxy makes itself.",
        },
    ],
    keys: &[
        FamilyKey {
            name: "custom-http-errors",
            values: "statuses from 300 to 599, separated by commas",
            doc: "the default backend makes the responses with these statuses; invalid entries are reported and left out",
        },
        FamilyKey {
            name: "disable-proxy-intercept-errors",
            values: "true, false; default false",
            doc: "responses of endpoints are not replaced, only those that the proxy makes itself",
        },
    ],
    phases: &[Phase::Balance, Phase::UpstreamRequest],
    syntax: "custom-http-errors: '404,503'\n\
             default-backend: error-pages\n\
             disable-proxy-intercept-errors: 'true'",
    read,
    read_keys,
    plan,
};

/// Statuses, sorted.
type Statuses = Arc<[u16]>;

/// The annotations of an Ingress.
#[derive(Clone, Debug, Default, PartialEq)]
struct ErrorPageSettings {
    statuses: Option<Statuses>,
    backend: Option<Key>,
    of_endpoints: Option<bool>,
}

/// The keys of the ConfigMap.
#[derive(Clone, Debug, PartialEq)]
struct ErrorPageKeys {
    statuses: Statuses,
    of_endpoints: bool,
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    const STATUSES: &str = "statuses from 400 to 599, separated by commas";
    const SERVICE: &str = "the name of a Service in the namespace of the Ingress";
    let default = Effect::DefaultUsed;
    let namespace = reader.namespace();
    let pages = ErrorPageSettings {
        statuses: reader.value("custom-http-errors", STATUSES, default, |value| statuses(value, 400)),
        backend: reader.value("default-backend", SERVICE, default, |value| named_service(namespace, value)),
        of_endpoints: reader.flag("disable-proxy-intercept-errors").map(|disabled| !disabled),
    };
    if pages != ErrorPageSettings::default() {
        settings.values.set(pages);
    }
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let statuses = global_statuses(reader);
    let is_disabled = reader.flag("disable-proxy-intercept-errors").unwrap_or_default();
    values.set(ErrorPageKeys { statuses, of_endpoints: !is_disabled });
}

/// The list of the ConfigMap. As in ingress-nginx, invalid entries are left out of it.
fn global_statuses(reader: &mut SettingReader<'_>) -> Statuses {
    const KEY: &str = "custom-http-errors";
    let text = reader.text(KEY).unwrap_or_default();
    let (valid, invalid): (Vec<_>, Vec<_>) = items(text).partition(|item| status(item, 300).is_some());
    reader.invalid_items(KEY, &invalid, "a status from 300 to 599", Effect::LeftOut);
    sorted(valid.into_iter().filter_map(|item| status(item, 300)).collect())
}

/// A list of statuses from `least` to 599; `None` if an entry is invalid.
fn statuses(value: &str, least: u16) -> Option<Statuses> {
    items(value).map(|item| status(item, least)).collect::<Option<_>>().map(sorted)
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn status(item: &str, least: u16) -> Option<u16> {
    item.parse().ok().filter(|status| (least..600).contains(status))
}

fn sorted(mut statuses: Vec<u16>) -> Statuses {
    statuses.sort_unstable();
    statuses.dedup();
    statuses.into()
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let (own, keys) = (settings.values.get::<ErrorPageSettings>(), rule.globals.get::<ErrorPageKeys>());
    let own_list = own.and_then(|own| own.statuses.clone());
    let is_own_list = own_list.is_some();
    let statuses = own_list.or_else(|| keys.map(|keys| keys.statuses.clone())).unwrap_or_default();
    let backend = own.and_then(|own| own.backend.as_ref());
    if statuses.is_empty() && backend.is_none() {
        return;
    }
    let global = rule.default_backend.filter(|_| !statuses.is_empty());
    plan.error_pages = Some(Box::new(ErrorPages {
        of_endpoints: own
            .and_then(|own| own.of_endpoints)
            .or_else(|| keys.map(|keys| keys.of_endpoints))
            .unwrap_or(true),
        is_own_list,
        statuses,
        own: backend.map(|service| {
            let name = format_compact!("custom-default-backend-{}-{}", service.namespace, service.name);
            UpstreamTarget::default_backend(service.clone(), name)
        }),
        global: global
            .map(|service| UpstreamTarget::default_backend(service.clone(), DEFAULT_UPSTREAM.into())),
    }));
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::RouteOptions;
    use crate::testing::TestCluster;

    #[test]
    fn lists_of_statuses_are_read() {
        for (value, least, wanted) in [
            ("404", 400, Some(&[404][..])),
            ("503,404", 400, Some(&[404, 503])),
            (" 404, 503 ,404,", 400, Some(&[404, 503])),
            ("301,404", 300, Some(&[301, 404])),
            ("301", 400, None),
            ("600", 300, None),
            ("4xx", 400, None),
            ("404 503", 400, None),
        ] {
            assert_eq!(statuses(value, least).as_deref(), wanted, "{value}");
        }
    }

    /// A cluster with an Ingress that has these annotations, the Services `web`, `errors` and `fallback`, and the last one as default
    /// backend.
    fn cluster(annotations: &str, services: &str) -> TestCluster {
        let options = RouteOptions {
            watch_ingress_without_class: true,
            config_map: Some(Key::new("ingress", "controller")),
            default_backend_service: Some(Key::new("default", "fallback")),
            ..RouteOptions::default()
        };
        let text = format!(
            "metadata: {{name: x, annotations: {{{annotations}}}}}\n\
             spec: {{rules: [{{host: a.example, paths: [[/, Prefix, web]]}}]}}\n"
        );
        let mut cluster = TestCluster::with(options, &text).services(services);
        cluster.sync();
        cluster
    }

    const ALL: &str = "web 80 10.0.0.1\nerrors 80 10.0.0.2\nfallback 80 10.0.0.3";

    /// The name of the target that makes the page of a status.
    fn page(cluster: &TestCluster, status: u16, of_endpoint: bool) -> String {
        let (table, pools) = (cluster.table.load(), cluster.pools.load());
        let status = StatusCode::from_u16(status).unwrap();
        let Some(pages) = &table.find("a.example", "/").route().plan.error_pages else {
            return "none".into();
        };
        match if of_endpoint { pages.replace_of_endpoint(status) } else { pages.replace(status) } {
            false => "kept".into(),
            true => pages.target(&pools).map_or("built-in".into(), |target| target.name.to_string()),
        }
    }

    #[test]
    fn the_list_of_the_ingress_replaces_that_of_the_config_map() {
        const OWN: &str = "custom-default-backend-default-errors";
        const GLOBAL: &str = "upstream-default-backend";
        let (list, backend) = ("custom-http-errors: '404'", "default-backend: errors");
        let both = format!("{list}, {backend}");
        let off = "disable-proxy-intercept-errors: 'true'";
        for (annotations, keys, services, wanted) in [
            // For 404 and 503 of the proxy, and of endpoints.
            (String::new(), &[][..], ALL, ["none"; 4]),
            (list.into(), &[], ALL, [GLOBAL, "kept", GLOBAL, "kept"]),
            (both.clone(), &[], ALL, [OWN, "kept", OWN, "kept"]),
            (both.clone(), &[], "web 80 10.0.0.1\nfallback 80 10.0.0.3", [GLOBAL, "kept", GLOBAL, "kept"]),
            (both.clone(), &[], "web 80 10.0.0.1\nerrors 80", ["built-in", "kept", "built-in", "kept"]),
            (both.clone(), &[("custom-http-errors", "503")], ALL, [OWN, "kept", OWN, "kept"]),
            (format!("{both}, {off}"), &[], ALL, [OWN, "kept", "kept", "kept"]),
            (String::new(), &[("custom-http-errors", "503")], ALL, ["kept", GLOBAL, "kept", GLOBAL]),
            (backend.into(), &[("custom-http-errors", "503")], ALL, ["kept", GLOBAL, "kept", GLOBAL]),
            (
                String::new(),
                &[("custom-http-errors", "503"), ("disable-proxy-intercept-errors", "true")],
                ALL,
                ["kept", GLOBAL, "kept", "kept"],
            ),
        ] {
            let mut cluster = cluster(&annotations, services);
            cluster.configure(keys);
            let pages = [(404, false), (503, false), (404, true), (503, true)]
                .map(|(status, of_endpoint)| page(&cluster, status, of_endpoint));
            assert_eq!(pages, wanted, "{annotations} {keys:?} {services}");
        }
    }

    #[test]
    fn an_upstream_without_endpoints_has_a_substitute() {
        for (annotation, services, has_one) in [
            ("default-backend: errors", "web 80\nerrors 80 10.0.0.2", true),
            ("default-backend: errors", "errors 80 10.0.0.2", true),
            ("default-backend: errors", ALL, false),
            ("default-backend: errors", "web 80\nerrors 80", false),
            ("", "web 80\nerrors 80 10.0.0.2", false),
        ] {
            let cluster = cluster(annotation, services);
            let (table, pools) = (cluster.table.load(), cluster.pools.load());
            let route = table.find("a.example", "/").route();
            let upstream = &route.upstream.as_ref().expect("a rule").primary;
            let pages = route.plan.error_pages.as_ref();
            let substitute = pages.and_then(|pages| pages.substitute(upstream, &pools));
            assert_eq!(substitute.is_some(), has_one, "{annotation} {services}");
        }
    }

    #[test]
    fn invalid_entries_of_the_key_are_left_out() {
        let mut cluster = cluster("", ALL);
        for (value, page_of_404, invalid) in [
            ("404, 503", "upstream-default-backend", ""),
            ("404, 4xx, 503, 600", "upstream-default-backend", "\"4xx\" (and 1 more) should be a status"),
            ("4xx", "none", "\"4xx\" should be a status"),
            (",", "none", ""),
        ] {
            cluster.configure(&[("custom-http-errors", value)]);
            assert_eq!(page(&cluster, 404, true), page_of_404, "{value}");
            let problems = cluster.problems();
            assert_eq!(problems.len(), usize::from(!invalid.is_empty()), "{value}: {problems:?}");
            assert!(problems.iter().all(|text| text.contains(invalid)), "{value}: {problems:?}");
        }
    }

    #[test]
    fn an_invalid_value_is_reported_and_ignored() {
        for (annotation, what) in [
            ("custom-http-errors: '302'", "statuses from 400 to 599"),
            ("default-backend: other/errors", "the name of a Service"),
        ] {
            let cluster = cluster(annotation, ALL);
            assert_eq!(page(&cluster, 404, false), "none", "{annotation}");
            let problems = cluster.problems();
            assert!(problems.len() == 1 && problems[0].contains(what), "{problems:?}");
        }
    }
}
