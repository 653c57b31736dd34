//! The house rules: what ARCHITECTURE.md and STYLE say, and what the code does, are held to each other.
//!
//! Every rule names the file and line that breaks it and what is wanted instead. All breaches are printed at once.

mod workspace;

mod architecture;
mod source;

mod examples;
mod files;
mod floors;
mod modules;
mod msrv;
mod quiet;
mod registries;

/// Fails with all breaches of one rule.
#[track_caller]
fn none(rule: &str, mut breaches: Vec<String>) {
    breaches.dedup();
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}
