//! Parsers: each has a fuzz target with a corpus.

use std::path::Path;

use crate::none;
use crate::workspace::{root, rust_files, short};

/// Crates of which every public module is read by an entry point, so that a new parser needs a target.
const PARSERS: &[&str] = &["ingress/wire"];

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn is_entry_points(file: &Path) -> bool {
    let path = short(file);
    path.ends_with("/src/fuzz.rs") || path.contains("/src/fuzz/")
}

/// The text of the entry points of a crate.
fn entry_points(krate: &str) -> String {
    let source = root().join(krate).join("src");
    let mut text = read(&source.join("fuzz.rs"));
    if let Ok(files) = std::fs::read_dir(source.join("fuzz")) {
        files.flatten().for_each(|file| text.push_str(&read(&file.path())));
    }
    text
}

#[test]
fn every_fuzz_target_is_listed_and_has_a_corpus() {
    let fuzz = root().join("fuzz");
    let manifest = read(&fuzz.join("Cargo.toml"));
    let mut breaches = Vec::new();
    let mut called = String::new();
    for file in std::fs::read_dir(fuzz.join("targets")).expect("a folder of targets").flatten() {
        let name = file.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        called.push_str(&read(&file.path()));
        if !manifest.contains(&format!("path = \"targets/{name}.rs\"")) {
            breaches.push(format!("{name}: not in fuzz/Cargo.toml"));
        }
        let corpus = std::fs::read_dir(fuzz.join("corpus").join(&name));
        if corpus.map_or(0, |inputs| inputs.flatten().count()) == 0 {
            breaches.push(format!("{name}: no input in fuzz/corpus/{name}"));
        }
    }
    // An entry point is a `pub fn name(data: …)` in `fuzz.rs` of a crate or below it.
    let sources = rust_files();
    for file in sources.iter().filter(|file| is_entry_points(file)) {
        for line in read(file).lines().map(str::trim) {
            let name = line.strip_prefix("pub fn ").and_then(|rest| rest.split_once("(data: "));
            if let Some((name, _)) = name.filter(|(name, _)| !called.contains(&format!("::fuzz::{name}("))) {
                breaches.push(format!("{}: no target calls fuzz::{name}", short(file)));
            }
        }
    }
    none("every fuzz target is built, run and has inputs", breaches);
}

#[test]
fn every_parser_is_fuzzed() {
    let mut breaches = Vec::new();
    for krate in PARSERS {
        let (library, text) = (read(&root().join(krate).join("src/lib.rs")), entry_points(krate));
        let modules = library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
        for module in modules.filter(|module| *module != "fuzz") {
            if !text.contains(&format!("crate::{module}")) {
                breaches.push(format!("{krate}: no entry point uses `{module}`"));
            }
        }
    }
    none("every module of a crate of parsers is used by its fuzz entry points", breaches);
}
