//! Registries: an entry is one file, its `mod` line and its line in the list. Every file is listed exactly once, and each
//! documents what it registers.

use crate::none;
use crate::source::Module;
use crate::workspace::{root, short};

/// A list, and the item that it collects from each module beside it.
struct Registry {
    file: &'static str,
    list: &'static str,
    item: &'static str,
}

const REGISTRIES: [Registry; 2] = [
    Registry { file: "dns/chain/src/plugins.rs", list: "PLUGINS", item: "ENTRY" },
    Registry { file: "ingress/routes/src/annotations.rs", list: "FAMILIES", item: "FAMILY" },
];

#[test]
fn every_module_is_registered_exactly_once() {
    let mut breaches = Vec::new();
    for Registry { file, list, item } in REGISTRIES {
        let registry = read(file);
        let listed = listed(&registry, list, item);
        for module in &registry.children {
            let registers =
                module.tokens.windows(2).any(|pair| pair[0].text == "const" && pair[1].text == item);
            let times = listed.iter().filter(|name| *name == module.name()).count();
            if registers && times != 1 {
                breaches.push(format!("{}: its {item} stands {times} times in {list}", short(&module.file)));
            }
            if !registers && times != 0 {
                breaches.push(format!("{}: {list} names it, and it has no {item}", short(&module.file)));
            }
        }
    }
    none("a registry lists the files beside it", breaches);
}

#[test]
fn every_registered_module_has_a_syntax_example() {
    let mut breaches = Vec::new();
    for Registry { file, list, item } in REGISTRIES {
        let registry = read(file);
        let listed = listed(&registry, list, item);
        for module in
            registry.children.iter().filter(|module| listed.iter().any(|name| name == module.name()))
        {
            if !module.tokens.windows(3).any(|field| {
                field[0].text == "syntax"
                    && field[1].text == ":"
                    && !field[2].text.trim_matches('"').is_empty()
            }) {
                breaches.push(format!("{}: its {item} has no `syntax`", short(&module.file)));
            }
        }
    }
    none("a registered file has a Syntax example", breaches);
}

fn read(file: &str) -> Module {
    let folder = file.strip_suffix(".rs").expect("a registry is a Rust file");
    Module::in_file(&root().join(file), &root().join(folder))
}

/// The modules that a list names, in order.
pub(crate) fn listed_in(file: &str, list: &str, item: &str) -> Vec<String> {
    listed(&read(file), list, item)
}

fn listed(registry: &Module, list: &str, item: &str) -> Vec<String> {
    let tokens = &registry.tokens;
    let start = (0..tokens.len()).find(|&at| registry.reads(at, &["const", list]));
    let start = start.unwrap_or_else(|| panic!("{} has a list {list}", short(&registry.file)));
    let end = (start..tokens.len()).find(|&at| tokens[at].text == ";").unwrap_or(tokens.len());
    let named = (start..end).filter(|&at| registry.reads(at + 1, &["::", item]));
    let named: Vec<_> = named.map(|at| tokens[at].text.clone()).collect();
    assert!(!named.is_empty(), "{}: {list} names something", short(&registry.file));
    named
}
