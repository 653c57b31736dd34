//! Shares of many requests: the χ² test, at the level 0.001, with numbers of a generator that always begins at the same one.

use std::collections::BTreeMap;

use super::canary;
use crate::exchange::tests::get;
use crate::testing::{FixedBalancer, TestCluster};

const REQUESTS: u32 = 20_000;

/// Marsaglia's xorshift32.
fn random_numbers() -> impl Iterator<Item = u32> {
    std::iter::successors(Some(2_463_534_242_u32), |last| {
        let next = last ^ (last << 13);
        let next = next ^ (next >> 17);
        Some(next ^ (next << 5))
    })
}

/// χ² that is exceeded with a probability of 0.001, for 1 to 5 degrees of freedom.
const LIMITS: [f64; 5] = [10.83, 13.82, 16.27, 18.47, 20.52];

/// Checks how often each outcome was drawn against its share in percent.
fn check(what: &str, drawn: impl Fn(u32) -> String, shares: &[(&str, f64)]) {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for number in random_numbers().take(REQUESTS as usize) {
        *counts.entry(drawn(number)).or_default() += 1;
    }
    assert_eq!(counts.len(), shares.len(), "{what}: {counts:?}");
    let of = |(name, share): &(&str, f64)| {
        let wanted = f64::from(REQUESTS) * share / 100.0;
        (f64::from(counts[*name]) - wanted).powi(2) / wanted
    };
    let chi_squared: f64 = shares.iter().map(of).sum();
    assert!(chi_squared < LIMITS[shares.len() - 2], "{what}: χ² is {chi_squared}, {counts:?}");
}

const SIX: [(&str, f64); 6] = [
    ("10.0.0.1:8080", 100.0 / 6.0),
    ("10.0.0.2:8080", 100.0 / 6.0),
    ("10.0.0.3:8080", 100.0 / 6.0),
    ("10.0.0.4:8080", 100.0 / 6.0),
    ("10.0.0.5:8080", 100.0 / 6.0),
    ("10.0.0.6:8080", 100.0 / 6.0),
];

fn six(annotations: &str) -> TestCluster {
    TestCluster::new(&format!(
        "metadata: {{name: x, annotations: {{{annotations}}}}}\n\
         spec: {{rules: [{{host: a.example, paths: [[/, Prefix, 'web:80']]}}]}}\n"
    ))
    .services("web 80 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6")
}

#[test]
fn a_canary_gets_the_share_of_its_weight() {
    for (annotations, share) in [
        ("canary-weight: '1'", 1.0),
        ("canary-weight: '30'", 30.0),
        ("canary-weight: '99'", 99.0),
        ("canary-weight: '5', canary-weight-total: '1000'", 0.5),
    ] {
        let cluster = canary(annotations);
        let drawn = |number| cluster.ask("a.example/", &[], number);
        check(annotations, drawn, &[("canary", share), ("main", 100.0 - share)]);
    }
}

#[test]
fn endpoints_drawn_at_random_are_equally_likely() {
    let exchange = get("a.example/", &[]);
    for annotations in [
        "affinity: cookie, affinity-mode: persistent",
        "load-balance: ewma",
        "upstream-hash-by: $host, upstream-hash-by-subset: 'true', upstream-hash-by-subset-size: '6'",
    ] {
        let cluster = six(annotations);
        let drawn = |number| cluster.pick(&exchange, &[], &mut FixedBalancer::number(number)).0;
        check(annotations, drawn, &SIX);
    }
}
