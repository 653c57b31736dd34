//! No import cycles: `mod` lines in a crate's root are ordered from the bottom up, and sibling modules form no cycle.

use std::collections::BTreeMap;

use crate::none;
use crate::source::{Module, Token};
use crate::workspace::{metadata, target_roots};

#[test]
fn a_module_uses_only_those_above_its_own_line() {
    let mut breaches = Vec::new();
    for krate in crates() {
        let exported = Exports::of(&krate);
        for (at, child) in krate.children.iter().enumerate() {
            let above: Vec<_> = krate.children[..at].iter().map(Module::name).collect();
            for (module, token, name) in uses(child, &krate.path) {
                for used in exported.homes(&krate, &name) {
                    if used != child.name() && !above.contains(&used.as_str()) {
                        breaches.push(format!(
                            "{}: `{}` uses `{used}`, which stands below it in {}",
                            module.at(token),
                            child.name(),
                            crate::workspace::short(&krate.file),
                        ));
                    }
                }
            }
        }
    }
    none("a module uses only modules above its own `mod` line", breaches);
}

#[test]
fn sibling_modules_form_no_cycle() {
    let mut breaches = Vec::new();
    for krate in crates() {
        for parent in krate.all().into_iter().filter(|module| !module.path.is_empty()) {
            if let Some(ring) = ring_among_children(parent) {
                breaches.push(format!("{}: {}", crate::workspace::short(&parent.file), ring.join(" -> ")));
            }
        }
    }
    none("sibling modules form no cycle", breaches);
}

fn crates() -> Vec<Module> {
    let metadata = metadata();
    metadata.packages.iter().flat_map(target_roots).map(|root| Module::crate_at(&root)).collect()
}

/// Names that the crate's root re-exports from its modules: `pub use cache::Cache`.
struct Exports {
    by_name: BTreeMap<String, String>,
    globs: Vec<String>,
}

impl Exports {
    fn of(krate: &Module) -> Self {
        let mut exports = Self { by_name: BTreeMap::new(), globs: Vec::new() };
        let mut at = 0;
        while at < krate.tokens.len() {
            if krate.tokens[at].text == "use" {
                let end = (at..krate.tokens.len()).find(|&end| krate.tokens[end].text == ";").unwrap_or(at);
                exports.add(krate, &krate.tokens[at + 1..end]);
                at = end;
            }
            at += 1;
        }
        exports
    }

    fn add(&mut self, krate: &Module, path: &[Token]) {
        let words: Vec<_> =
            path.iter().map(|token| token.text.as_str()).filter(|it| *it != "crate").collect();
        let Some(module) = words.iter().find(|word| **word != "::" && **word != "self") else { return };
        if !krate.children.iter().any(|child| child.name() == *module) {
            return;
        }
        for word in words.iter().filter(|word| *word != module) {
            if *word == "*" {
                self.globs.push((*module).to_owned());
            } else {
                self.by_name.insert((*word).to_owned(), (*module).to_owned());
            }
        }
    }

    /// The modules that may define what the root re-exports as `name`.
    fn homes(&self, krate: &Module, name: &str) -> Vec<String> {
        if krate.children.iter().any(|child| child.name() == name) {
            return vec![name.to_owned()];
        }
        if let Some(home) = self.by_name.get(name) {
            return vec![home.clone()];
        }
        let globbed =
            krate.children.iter().filter(|child| self.globs.iter().any(|glob| glob == child.name()));
        globbed.filter(|child| defines(child, name)).map(|child| child.name().to_owned()).collect()
    }
}

fn defines(module: &Module, name: &str) -> bool {
    const KEYWORDS: [&str; 8] = ["struct", "enum", "trait", "type", "fn", "const", "static", "union"];
    module.all().iter().any(|module| {
        (0..module.tokens.len()).any(|at| KEYWORDS.iter().any(|keyword| module.reads(at, &[keyword, name])))
    })
}

/// Every name that a module or its children import from the module at `from`, with its place.
fn uses<'a>(module: &'a Module, from: &[String]) -> Vec<(&'a Module, &'a Token, String)> {
    let mut found = Vec::new();
    for module in module.all() {
        for at in 0..module.tokens.len() {
            if let Some((base, next)) = path_start(module, at) {
                let rest = names_after(module, next);
                for (token, mut names) in rest {
                    let mut full = base.clone();
                    full.append(&mut names);
                    if full.len() > from.len() && full.starts_with(from) {
                        found.push((module, token, full[from.len()].clone()));
                    }
                }
            }
        }
    }
    found
}

/// Resolves `crate::` or a sequence of `super::` that starts here: the module, and the position of the rest of the path.
fn path_start(module: &Module, at: usize) -> Option<(Vec<String>, usize)> {
    if at > 0 && module.reads(at - 1, &["::"]) {
        return None;
    }
    if module.reads(at, &["crate", "::"]) {
        return Some((Vec::new(), at + 2));
    }
    let mut base = module.path.clone();
    let mut next = at;
    while module.reads(next, &["super", "::"]) {
        base.pop();
        next += 2;
    }
    (next > at).then_some((base, next))
}

/// The rest of a path: one, or several in (nested) braces.
fn names_after(module: &Module, at: usize) -> Vec<(&Token, Vec<String>)> {
    let mut found = Vec::new();
    let mut stack: Vec<Vec<String>> = Vec::new();
    let mut here: Vec<String> = Vec::new();
    for at in at..module.tokens.len() {
        let token = &module.tokens[at];
        let ends_path = !module.reads(at + 1, &["::"]);
        match token.text.as_str() {
            "{" => stack.push(here.clone()),
            "::" => {}
            "," if !stack.is_empty() => here = stack.last().cloned().unwrap_or_default(),
            "}" if !stack.is_empty() => {
                here = stack.pop().unwrap_or_default();
                if stack.is_empty() {
                    break;
                }
            }
            word if word.starts_with(|c: char| c.is_alphabetic() || c == '_') && word != "as" => {
                here.push(word.to_owned());
                if ends_path {
                    found.push((token, here.clone()));
                }
                if ends_path && stack.is_empty() {
                    break;
                }
            }
            _ if stack.is_empty() => break,
            _ => {}
        }
    }
    found
}

fn ring_among_children(parent: &Module) -> Option<Vec<String>> {
    let names: Vec<_> = parent.children.iter().map(Module::name).collect();
    let edges: BTreeMap<&str, Vec<String>> = parent
        .children
        .iter()
        .map(|child| {
            let used = uses(child, &parent.path).into_iter().map(|(_, _, name)| name);
            let siblings = used.filter(|name| name != child.name() && names.contains(&name.as_str()));
            (child.name(), siblings.collect())
        })
        .collect();
    names.iter().find_map(|start| walk(&edges, vec![(*start).to_owned()]))
}

fn walk(edges: &BTreeMap<&str, Vec<String>>, way: Vec<String>) -> Option<Vec<String>> {
    let last = way.last()?;
    for next in &edges[last.as_str()] {
        let mut longer = way.clone();
        longer.push(next.clone());
        if way.first() == Some(next) {
            return Some(longer);
        }
        if !way.contains(next)
            && let Some(ring) = walk(edges, longer)
        {
            return Some(ring);
        }
    }
    None
}
