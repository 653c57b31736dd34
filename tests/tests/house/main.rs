//! House rules: checks that the code follows ARCHITECTURE.md and the project's conventions.
//!
//! Each rule reports all breaches at once, with file, line and what is wanted instead.

mod workspace;

mod architecture;
mod chart;
mod clock;
mod cves;
mod source;

mod documentation;
mod edge_safety;
mod examples;
mod files;
mod floors;
mod image;
mod limits;
mod faults;
mod modules;
mod monitoring;
mod msrv;
mod names;
mod parsers;
mod quiet;
mod registries;

mod cases;
mod families;

/// Fails the test with all breaches of a rule.
#[track_caller]
fn none(rule: &str, mut breaches: Vec<String>) {
    breaches.dedup();
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}
