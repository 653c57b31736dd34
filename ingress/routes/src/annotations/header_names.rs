//! `enable-underscores-in-headers`, `ignore-invalid-headers` and `generate-request-id`: which headers of clients are passed on.

use ingress_wire::head::NameClass;

use super::{AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::phase::Phase;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "header names",
    doc: "Which headers of clients are passed on to endpoints.",
    keys: &[
        FamilyKey {
            name: "enable-underscores-in-headers",
            values: "true, false; default false",
            doc: "request headers with an underscore in their name are passed on",
        },
        FamilyKey {
            name: "ignore-invalid-headers",
            values: "true, false; default true",
            doc: "request headers whose name has other characters than letters, digits and hyphens are dropped",
        },
        FamilyKey {
            name: "generate-request-id",
            values: "true, false; default true",
            doc: "a request without X-Request-ID gets one",
        },
    ],
    phases: &[Phase::UpstreamRequest],
    syntax: "enable-underscores-in-headers: 'true'\n\
             ignore-invalid-headers: 'false'\n\
             generate-request-id: 'false'",
    read_keys,
    plan,
    ..AnnotationFamily::NONE
};

/// The keys of the ConfigMap.
#[derive(Clone, Debug, PartialEq)]
struct RequestHeaders {
    names: NameClass,
    makes_request_ids: bool,
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let underscores = reader.flag("enable-underscores-in-headers").unwrap_or(false);
    let names = match reader.flag("ignore-invalid-headers").unwrap_or(true) {
        false => NameClass::Token,
        true if underscores => NameClass::Underscores,
        true => NameClass::Plain,
    };
    let makes_request_ids = reader.flag("generate-request-id").unwrap_or(true);
    values.set(RequestHeaders { names, makes_request_ids });
}

fn plan(_: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    if let Some(headers) = rule.globals.get::<RequestHeaders>() {
        plan.heads.names = headers.names;
        plan.heads.makes_request_ids = headers.makes_request_ids;
    }
}

#[cfg(test)]
mod tests {
    use ingress_wire::head::NameClass;

    use crate::testing::TestCluster;

    #[test]
    fn the_keys_apply_to_all_routes() {
        let mut cluster = TestCluster::configured("metadata: {name: x}\nspec: {}\n");
        for (data, names, makes_request_ids) in [
            (&[][..], NameClass::Plain, true),
            (&[("enable-underscores-in-headers", "true")], NameClass::Underscores, true),
            (
                &[("ignore-invalid-headers", "false"), ("generate-request-id", "false")],
                NameClass::Token,
                false,
            ),
            (&[("ignore-invalid-headers", "no")], NameClass::Plain, true),
        ] {
            cluster.configure(data);
            let heads = cluster.table.load().find("a.example", "/").route().plan.heads;
            assert_eq!((heads.names, heads.makes_request_ids), (names, makes_request_ids), "{data:?}");
        }
    }
}
