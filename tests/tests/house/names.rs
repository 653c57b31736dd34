//! Names: a type name that other modules can see stands for one thing in the whole workspace.

use std::collections::BTreeMap;

use crate::none;
use crate::source::Module;
use crate::workspace::{metadata, target_roots};

/// Names that stand for more than one type, each with the reason why a second name would be worse.
const SHARED_NAMES: &[(&str, &str)] = &[];

#[test]
fn a_type_name_stands_for_one_type() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let metadata = metadata();
    // The harness in `tests` is not part of the product: its `Server` may be named like any test's server.
    let shipped = metadata.packages.iter().filter(|package| package.name.as_str() != "tests");
    for root in shipped
        .flat_map(target_roots)
        .filter(|root| !root.components().any(|part| part.as_os_str() == "tests"))
    {
        for module in Module::crate_at(&root).all() {
            for (name, at) in visible_types(module) {
                places.entry(name).or_default().push(at);
            }
        }
    }
    let mut breaches = Vec::new();
    for (name, reason) in SHARED_NAMES {
        match places.remove(*name) {
            Some(found) if found.len() > 1 => assert!(!reason.is_empty(), "{name} has a reason"),
            _ => breaches
                .push(format!("{name} stands for one type by now: take it from the list of shared names")),
        }
    }
    for (name, mut found) in places {
        found.sort();
        found.dedup();
        if found.len() > 1 {
            breaches.push(format!("{name}: {}", found.join(", ")));
        }
    }
    none("a type name stands for one type in the workspace", breaches);
}

/// The types that a module declares with any `pub`, each with its place.
fn visible_types(module: &Module) -> Vec<(String, String)> {
    let mut types = Vec::new();
    let mut at = 0;
    while at < module.tokens.len() {
        if !module.reads(at, &["pub"]) {
            at += 1;
            continue;
        }
        at += 1;
        if module.reads(at, &["("]) {
            let close = module.tokens[at..].iter().position(|token| token.text == ")");
            at += close.map_or(1, |close| close + 1);
        }
        let declares = ["struct", "enum", "trait", "type"].iter().any(|word| module.reads(at, &[word]));
        if declares && let Some(name) = module.tokens.get(at + 1) {
            types.push((name.text.clone(), module.at(name)));
        }
    }
    types
}
