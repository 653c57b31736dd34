//! Strict-Transport-Security (RFC 6797), which the ConfigMap turns on by default.

use std::sync::Arc;

use super::{AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::exchange::{Exchange, RequestScheme};
use crate::family_values::FamilyValues;
use crate::plan::Plan;
use crate::plan::filter::{ResponseHeadFilter, ResponseView};
use crate::plan::head_edits::HeadEdits;
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "hsts",
    doc: "Sets Strict-Transport-Security on every response over https, in place of that of the endpoint.",
    keys: &[
        FamilyKey {
            name: "hsts",
            values: "true, false; default true",
            doc: "responses over https have Strict-Transport-Security, in place of that of the endpoint",
        },
        FamilyKey {
            name: "hsts-include-subdomains",
            values: "true, false; default true",
            doc: "Strict-Transport-Security covers subdomains",
        },
        FamilyKey {
            name: "hsts-max-age",
            values: "seconds; default 31536000",
            doc: "how long browsers keep Strict-Transport-Security, in seconds",
        },
        FamilyKey {
            name: "hsts-preload",
            values: "true, false; default false",
            doc: "Strict-Transport-Security allows browsers to preload it",
        },
    ],
    phases: &[Phase::ResponseHead],
    syntax: "hsts: 'true'\n\
             hsts-include-subdomains: 'false'\n\
             hsts-max-age: '86400'\n\
             hsts-preload: 'true'",
    read_keys,
    plan,
    ..AnnotationFamily::NONE
};

const DEFAULT: &str = "max-age=31536000; includeSubDomains";

/// The value of the header, if it differs from [`DEFAULT`]; the inner `None` sends no header.
#[derive(Clone, Debug, PartialEq)]
struct HstsValue(Option<Arc<str>>);

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    let digits = |value: &str| value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.to_owned());
    let on = reader.flag("hsts").unwrap_or(true);
    let max_age = reader.value("hsts-max-age", "a number of seconds", Effect::DefaultUsed, digits);
    let mut value = format!("max-age={}", max_age.as_deref().unwrap_or("31536000"));
    if reader.flag("hsts-include-subdomains").unwrap_or(true) {
        value.push_str("; includeSubDomains");
    }
    if reader.flag("hsts-preload").unwrap_or(false) {
        value.push_str("; preload");
    }
    if !on {
        values.set(HstsValue(None));
    } else if value != DEFAULT {
        values.set(HstsValue(Some(value.into())));
    }
}

fn plan(_: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    match rule.globals.get::<HstsValue>() {
        None => plan.response_head.push(Box::new(Hsts(None))),
        Some(HstsValue(Some(value))) => plan.response_head.push(Box::new(Hsts(Some(value.clone())))),
        Some(HstsValue(None)) => {}
    }
}

/// Sets the header; without a value the default one.
#[derive(Debug)]
struct Hsts(Option<Arc<str>>);

impl ResponseHeadFilter for Hsts {
    fn edit<'r>(&'r self, exchange: &'r Exchange, _: &ResponseView<'_>, edits: &mut HeadEdits<'r>) {
        if exchange.scheme == RequestScheme::Https {
            edits.set("Strict-Transport-Security", self.0.as_deref().unwrap_or(DEFAULT).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exchange::tests::get;
    use crate::testing::{TestCluster, edited_response};

    #[test]
    fn the_keys_change_the_header_of_all_hosts() {
        let ingress = "metadata: {name: x}\nspec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}\n";
        let mut cluster = TestCluster::configured(ingress);
        for (data, value) in [
            (&[][..], "max-age=31536000; includeSubDomains"),
            (
                &[("hsts-max-age", "86400"), ("hsts-preload", "true")],
                "max-age=86400; includeSubDomains; preload",
            ),
            (&[("hsts-max-age", "0"), ("hsts-include-subdomains", "false")], "max-age=0"),
            (&[("hsts-max-age", "1h")], "max-age=31536000; includeSubDomains"),
            (&[("hsts", "false"), ("hsts-preload", "true")], "own"),
            (&[("hsts", "true")], "max-age=31536000; includeSubDomains"),
        ] {
            cluster.configure(data);
            for host in ["a.example", "unknown.example"] {
                for (scheme, value) in [("https", value), ("http", "own")] {
                    let exchange = get(&format!("{scheme}://{host}/"), &[]);
                    let head =
                        edited_response(&cluster, &exchange, 200, &[("strict-transport-security", "own")]);
                    assert_eq!(
                        head.get("strict-transport-security").unwrap(),
                        value,
                        "{data:?} {scheme} {host}"
                    );
                }
            }
        }
    }
}
