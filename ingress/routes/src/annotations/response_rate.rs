//! How fast responses are sent.

use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::family_values::FamilyValues;
use crate::plan::phase::Phase;
use crate::plan::{Plan, ResponseRate};
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "response rate",
    doc: "Limits how fast the bodies of endpoints' responses are sent. Each response has its own rate.",
    annotations: &[
        Annotation {
            name: "limit-rate",
            values: "KiB per second; 0 for no limit; default the ConfigMap's",
            doc: "How fast the body of a response is sent; what the rate allows in a second is sent at once.",
        },
        Annotation {
            name: "limit-rate-after",
            values: "KiB; default the ConfigMap's",
            doc: "How much of a response is sent without limit-rate.",
        },
    ],
    keys: &[
        FamilyKey {
            name: "limit-rate",
            values: "KiB per second; default 0, no limit",
            doc: "the default of the annotation",
        },
        FamilyKey {
            name: "limit-rate-after",
            values: "KiB; default 0",
            doc: "the default of the annotation",
        },
    ],
    phases: &[Phase::ResponseBody],
    syntax: "limit-rate: '512'\n\
             limit-rate-after: '1024'",
    read,
    read_keys,
    plan,
};

/// The annotations of an Ingress, or the keys of the ConfigMap, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct RateSettings {
    rate: Option<u32>,
    after: Option<u32>,
}

impl RateSettings {
    /// As in ingress-nginx a number that is not positive is no limit. The rate protects nothing, so that an invalid value closes
    /// nothing.
    fn read(reader: &mut SettingReader<'_>) -> Self {
        let parse = |value: &str| u32::try_from(value.parse::<i64>().ok()?.max(0)).ok();
        let mut number = |name: &'static str| {
            reader.report_negative(name);
            reader.value(name, "a whole number of KiB", Effect::DefaultUsed, parse)
        };
        Self { rate: number("limit-rate"), after: number("limit-rate-after") }
    }
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let own = RateSettings::read(reader);
    if own != RateSettings::default() {
        settings.values.set(own);
    }
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    values.set(RateSettings::read(reader));
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    if rule.ingress.is_none() {
        return;
    }
    let of = |values: &FamilyValues| values.get::<RateSettings>().copied().unwrap_or_default();
    let (own, general) = (of(&settings.values), of(rule.globals));
    let after = own.after.or(general.after).unwrap_or(0);
    let rate = own.rate.or(general.rate).filter(|rate| *rate > 0);
    plan.response_rate =
        rate.map(|rate| ResponseRate { per_second: u64::from(rate) << 10, after: u64::from(after) << 10 });
}

#[cfg(test)]
mod tests {
    use crate::testing::TestCluster;

    #[test]
    fn the_rate_of_responses_follows_annotation_and_configmap() {
        let mut cluster = TestCluster::configured(
            "
metadata: {name: own, annotations: {limit-rate: '64', limit-rate-after: '1'}}
spec: {rules: [{host: own.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: off, annotations: {limit-rate: '0'}}
spec: {rules: [{host: off.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: plain}
spec: {rules: [{host: plain.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: bad, annotations: {limit-rate: fast, limit-rate-after: '-1'}}
spec: {rules: [{host: bad.example, paths: [[/, Prefix, web]]}]}
",
        );
        let rates = |cluster: &TestCluster| {
            let table = cluster.table.load();
            ["own", "off", "plain", "bad"].map(|host| {
                let rate = table.find(&format!("{host}.example"), "/").route().plan.response_rate;
                rate.map_or((0, 0), |rate| (rate.per_second, rate.after))
            })
        };
        let (own, none) = ((64 << 10, 1 << 10), (0, 0));
        assert_eq!(rates(&cluster), [own, none, none, none]);
        let ignored =
            "limit-rate-after: \"-1\" is below 0 and limits nothing; it is ignored, as by ingress-nginx";
        assert!(
            cluster.problems().iter().any(|problem| problem.ends_with(ignored)),
            "{:?}",
            cluster.problems()
        );
        cluster.configure(&[("limit-rate", "2"), ("limit-rate-after", "3")]);
        let general = (2 << 10, 3 << 10);
        assert_eq!(rates(&cluster), [own, none, general, (2 << 10, 0)]);
    }
}
