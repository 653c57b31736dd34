//! Files: each begins with a module sentence, none is too long, no type has an empty noun as name.

use std::path::Path;

use crate::none;
use crate::source::{Module, test_lines};
use crate::workspace::{metadata, rust_files, short, target_roots};

/// Maximum number of lines of a file without its tests. Most files should be near 150.
const LONGEST: usize = 600;

/// Flat tables copied from a standard, which may be longer, each with its reason.
const LONG_TABLES: &[(&str, &str)] = &[];

/// Suffixes of type names that carry no meaning.
const EMPTY_NOUNS: [&str; 5] = ["Manager", "Helper", "Util", "Base", "Impl"];

#[test]
fn every_file_begins_with_a_module_sentence() {
    let silent = |path: &Path| {
        let text = std::fs::read_to_string(path).expect("a source file reads");
        let first = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
        (!first.starts_with("//! ") || first.contains("To be written"))
            .then(|| format!("{}: {first:?}", short(path)))
    };
    let files = rust_files();
    let shipped = files.iter().filter(|path| !path.ends_with("tests.rs"));
    none("a file begins with `//! ` and a sentence", shipped.filter_map(|path| silent(path)).collect());
}

#[test]
fn no_file_is_too_long() {
    let mut breaches = Vec::new();
    for path in rust_files().iter().filter(|path| !is_test_file(path)) {
        let lines = std::fs::read_to_string(path).expect("a source file reads").lines().count();
        let tests: usize = test_lines(path).iter().map(|(first, last)| last - first + 1).sum();
        let table = LONG_TABLES.iter().any(|(table, _)| short(path) == *table);
        match lines - tests {
            long if long > LONGEST && !table => breaches.push(format!("{}: {long} lines", short(path))),
            fits if fits <= LONGEST && table => {
                breaches
                    .push(format!("{} is short by now: take it from the list of long tables", short(path)));
            }
            _ => {}
        }
    }
    none("no file is longer than 600 lines without its tests", breaches);
}

#[test]
fn no_type_has_an_empty_noun_as_name() {
    let mut breaches = Vec::new();
    for root in metadata().packages.iter().flat_map(target_roots) {
        for module in Module::crate_at(&root).all() {
            for at in 0..module.tokens.len().saturating_sub(1) {
                let name = &module.tokens[at + 1];
                let named = ["struct", "enum", "trait", "type"].contains(&module.tokens[at].text.as_str());
                if named && EMPTY_NOUNS.iter().any(|noun| name.text.ends_with(noun)) {
                    breaches.push(format!("{}: {}", module.at(name), name.text));
                }
            }
        }
    }
    none("no Manager, Helper, Util, Base or Impl", breaches);
}

fn is_test_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs") || short(path).contains("/tests/")
}
