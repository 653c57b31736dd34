//! Every annotation, ConfigMap key and flag that is honoured is named by a test. `docs/reference/cases.md` has the numbers by family.
//!
//! A case is a test function or a conformance case that names it. There are at least as many as the page lists; it is written anew with
//! `PORTOLAN_WRITE=1 cargo test -p tests --test house cases`.

use std::collections::{BTreeMap, BTreeSet};

use ingress_routes::annotations::{FAMILIES, UNSUPPORTED};
use ingress_routes::config_map_keys;
use ingress_routes::globals::KeySupport;
use regex::Regex;

use crate::none;
use crate::source::test_lines;
use crate::workspace::{root, rust_files, short};

const PAGE: &str = "docs/reference/cases.md";

/// What is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum NameKind {
    Annotation,
    Key,
    Flag,
}

/// A group of names of one kind, and whether they are honoured.
struct NameGroup {
    title: String,
    kind: NameKind,
    honoured: bool,
    names: Vec<String>,
}

/// The texts of all cases.
struct Cases {
    functions: Vec<String>,
    conformance: Vec<String>,
}

#[test]
fn every_honoured_name_has_cases_and_the_page_lists_them() {
    let (cases, groups) = (Cases::read(), groups());
    let both = names_of_both(&groups);
    let mut text = "# Cases by name\n\nHow many tests and conformance cases name each annotation, ConfigMap key and flag. A test fails when an honoured name \
                    has none, or fewer than here.\n\n| family | names with their number of cases |\n|---|---|\n"
        .to_owned();
    let mut numbers = BTreeMap::new();
    let mut without = Vec::new();
    for NameGroup { title, kind, honoured, names } in &groups {
        let mut cells = Vec::new();
        for name in names {
            let number = cases.of(name, *kind, both.contains(name));
            if *honoured && number == 0 {
                without.push(format!("{title}: {name} ({kind:?})"));
            }
            cells.push(format!("`{name}` {number}"));
            numbers.insert((*kind, name.clone()), number);
        }
        text += &format!("| {title} | {} |\n", cells.join(", "));
    }
    none("honoured, but named by no test and no conformance case", without);
    if std::env::var_os("PORTOLAN_WRITE").is_some() {
        std::fs::write(root().join(PAGE), &text).expect("the page is writable");
    }
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap_or_default();
    let mut breaches = Vec::new();
    for (name, listed) in listed(&page) {
        let number = numbers.get(&name).copied();
        if number.is_some_and(|number| number < listed) {
            breaches.push(format!("{name:?}: {listed} are listed, and there are {number:?}"));
        }
    }
    if page.is_empty() {
        breaches.push("the page is missing".to_owned());
    }
    none(&format!("{PAGE} differs (PORTOLAN_WRITE=1 writes it)"), breaches);
}

/// The numbers on the page, by kind and name.
fn listed(page: &str) -> Vec<((NameKind, String), usize)> {
    let cell = Regex::new("`([a-z0-9.-]+)` ([0-9]+)").expect("a valid pattern");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    rows.flat_map(|(title, cells)| {
        let kind = match title {
            title if title.starts_with("flags") => NameKind::Flag,
            title if title.contains("keys") => NameKind::Key,
            _ => NameKind::Annotation,
        };
        cell.captures_iter(cells)
            .filter_map(move |found| Some(((kind, found[1].to_owned()), found[2].parse().ok()?)))
    })
    .collect()
}

fn groups() -> Vec<NameGroup> {
    let group =
        |title: String, kind, honoured, names: Vec<String>| NameGroup { title, kind, honoured, names };
    let mut groups = Vec::new();
    for family in FAMILIES {
        let annotations = family.annotations.iter().map(|annotation| annotation.name.to_owned()).collect();
        groups.push(group(family.name.to_owned(), NameKind::Annotation, true, annotations));
        let keys = family.keys.iter().map(|key| key.name.to_owned()).collect();
        groups.push(group(format!("{} (keys)", family.name), NameKind::Key, true, keys));
    }
    let unsupported = UNSUPPORTED.iter().map(|setting| setting.name.to_owned()).collect();
    groups.push(group("annotations not honoured".into(), NameKind::Annotation, false, unsupported));
    let keys = config_map_keys().filter(|key| !matches!(key.support, KeySupport::Honoured(_)));
    groups.push(group(
        "keys not honoured".into(),
        NameKind::Key,
        false,
        keys.map(|key| key.name.to_owned()).collect(),
    ));
    for honoured in [true, false] {
        let title = if honoured { "flags" } else { "flags not honoured" };
        groups.push(group(title.into(), NameKind::Flag, honoured, flags(honoured)));
    }
    groups.retain(|group| !group.names.is_empty());
    groups
}

/// The flags on the reference page, which a test compares with the command line.
fn flags(honoured: bool) -> Vec<String> {
    let path = root().join("docs/reference/ingress-flags.md");
    let text = std::fs::read_to_string(path).expect("the page of flags");
    let rows = text.lines().filter(|line| line.starts_with("| `--"));
    rows.filter(|line| line.ends_with("| yes |") == honoured)
        .filter_map(|line| Some(line.strip_prefix("| `--")?.split_once('`')?.0.to_owned()))
        .collect()
}

/// Names that are both an annotation and a key.
fn names_of_both(groups: &[NameGroup]) -> BTreeSet<String> {
    let of = |kind| {
        let groups = groups.iter().filter(move |group| group.kind == kind);
        groups.flat_map(|group| group.names.iter().cloned()).collect::<BTreeSet<_>>()
    };
    of(NameKind::Annotation).intersection(&of(NameKind::Key)).cloned().collect()
}

impl Cases {
    fn read() -> Self {
        let function = Regex::new(r"(?m)^\s*(?:pub(?:\(crate\))? )?(?:async )?fn ").expect("a valid pattern");
        let mut functions = Vec::new();
        for file in rust_files() {
            let name = short(&file);
            let is_of_others = ["tests/tests/house", "tests/bench", "dns/", "fuzz/"]
                .iter()
                .any(|part| name.starts_with(part));
            if is_of_others {
                continue;
            }
            let text = std::fs::read_to_string(&file).expect("a file of the checkout");
            let is_test =
                name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("/tests.rs");
            let of_tests = if is_test {
                text
            } else {
                let lines: Vec<&str> = text.lines().collect();
                let parts = test_lines(&file);
                parts.iter().map(|(first, last)| lines[first - 1..*last].join("\n") + "\n").collect()
            };
            functions.extend(function.split(&of_tests).skip(1).map(str::to_owned));
        }
        let mut conformance = Vec::new();
        let folder = root().join("tests/conformance/ingress");
        for entry in std::fs::read_dir(folder).expect("the conformance cases") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = std::fs::read_to_string(path).expect("conformance cases");
                conformance.extend(text.split("\n- id:").skip(1).map(str::to_owned));
            }
        }
        Self { functions, conformance }
    }

    /// How many cases have a name. A name that is both an annotation and a key is a key where it is a string of its own, as in
    /// `("proxy-body-size", "1m")`.
    fn of(&self, name: &str, kind: NameKind, of_both: bool) -> usize {
        let name = regex::escape(name);
        let (in_function, in_conformance) = match (kind, of_both) {
            (NameKind::Flag, _) => {
                (format!("(^|[^\\w-])--?{name}($|[^\\w-])"), format!("(^|[^\\w-])--{name}($|[^\\w-])"))
            }
            (NameKind::Annotation, true) => {
                (format!("(^|[^\\w-]){name}:|/{name}($|[^\\w-])"), format!("/{name}:"))
            }
            (NameKind::Annotation, false) => (format!("(^|[^\\w-]){name}($|[^\\w-])"), format!("/{name}:")),
            (NameKind::Key, true) => (format!("\"{name}\""), format!("(^|[^\\w/-]){name}:")),
            (NameKind::Key, false) => {
                (format!("(^|[^\\w-]){name}($|[^\\w-])"), format!("(^|[^\\w/-]){name}:"))
            }
        };
        let count = |pattern: &str, texts: &[String]| {
            let pattern = Regex::new(pattern).expect("a valid pattern");
            texts.iter().filter(|text| pattern.is_match(text)).count()
        };
        count(&in_function, &self.functions) + count(&in_conformance, &self.conformance)
    }
}
