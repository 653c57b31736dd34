//! Documentation: every block of commands says where it is run or why not, other blocks are valid, links have targets.

use std::collections::HashSet;
use std::path::Path;

use config::{Corefile, Disk, ParseOptions};
use tests::documentation::{self, Block, Content, Run};

use crate::none;
use crate::workspace::{root, short};

#[test]
fn every_block_of_commands_is_run_or_says_why_not() {
    let (blocks, problems) = documentation::blocks(&root());
    none("a block has a language, and a block of commands has a comment above it", problems);

    let ci = std::fs::read_to_string(root().join(".ci/run")).expect("CI has a script");
    let steps = ci.lines().find_map(|line| line.strip_prefix("all_steps=(")).expect("CI has steps");
    let steps: Vec<&str> = steps.trim_end_matches(')').split_whitespace().collect();
    let mut breaches = Vec::new();
    for block in &blocks {
        match block.run() {
            Some(Run::ByCi(named)) => {
                let unknown = named.iter().filter(|step| !steps.contains(&step.as_str()));
                breaches.extend(unknown.map(|step| format!("{block}: .ci/run has no step {step}")));
            }
            Some(Run::Not(reason)) => println!("not run: {block}: {reason}"),
            _ => {}
        }
    }
    none("a block that CI runs names its steps", breaches);
    assert!(blocks.iter().any(|block| matches!(block.run(), Some(Run::In(..)))), "some blocks are run");
}

/// A block that is not run may name a case that runs the same commands, such as `cluster migrate::an_image_that_does_not_exist_is_rolled_back`.
#[test]
fn the_cases_that_marks_name_exist() {
    let (mut breaches, mut count) = (Vec::new(), 0);
    for block in documentation::blocks(&root()).0 {
        let Some(Run::Not(reason)) = block.run() else { continue };
        let words: Vec<&str> = reason.split_whitespace().collect();
        for (at, case) in words.iter().enumerate().filter(|(_, word)| word.contains("::")) {
            count += 1;
            let target = at.checked_sub(1).map_or("", |before| words[before]);
            let list = std::fs::read_to_string(root().join(format!("tests/tests/{target}/main.rs")));
            let is_listed = list.is_ok_and(|list| list.lines().any(|line| line.trim() == format!("{case},")));
            if !is_listed {
                breaches.push(format!("{block}: no case {case} in tests/tests/{target}/main.rs"));
            }
        }
    }
    none("marks name cases of a test target, as `TARGET module::case`", breaches);
    assert!(count > 0, "no mark names a case");
}

/// Each section of the transcripts names the cases of the reference that state the response of ingress-nginx, and Portolan passes them.
#[test]
fn transcripts_name_cases_of_the_reference_that_pass() {
    let read = |path: &str| {
        std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let cases =
        tests::conformance::load(&root().join("tests/conformance/ingress")).expect("the cases can be read");
    let failing = read("tests/conformance/ingress/expected-failures.txt");
    let mut breaches = Vec::new();
    for section in read("docs/transcripts.md").split("\n## ").skip(1) {
        let title = section.lines().next().unwrap_or_default();
        let source = section.split("\n\n").find(|paragraph| paragraph.starts_with("ingress-nginx"));
        let named: Vec<_> = source.unwrap_or_default().split("case `").skip(1).collect();
        if named.is_empty() {
            breaches.push(format!("{title}: no paragraph `ingress-nginx … (case `ID`)`"));
        }
        for id in named.into_iter().map(|rest| rest.split('`').next().unwrap_or_default()) {
            let fails = failing.lines().any(|line| line.split(' ').next() == Some(id));
            if fails || !cases.iter().any(|case| case.id == id) {
                breaches.push(format!("{title}: {id} is no case that passes"));
            }
        }
    }
    none("a section of docs/transcripts.md names cases of tests/conformance/ingress that pass", breaches);
}

#[test]
fn blocks_of_data_are_valid() {
    let mut breaches = Vec::new();
    for block in documentation::blocks(&root()).0 {
        let problem = match block.content {
            Content::Data("corefile") => corefile(&block).err(),
            Content::Data("yaml") => yaml(&block).err(),
            Content::Data("json") => {
                serde_json::from_str::<serde_json::Value>(&block.text).err().map(|error| error.to_string())
            }
            _ => None,
        };
        breaches.extend(problem.map(|problem| format!("{block}: {problem}")));
    }
    none("Corefiles, YAML and JSON in the documentation load", breaches);
}

#[test]
fn every_link_has_a_target() {
    let mut breaches = Vec::new();
    for page in documentation::pages(&root()) {
        let folder = page.parent().expect("a page is in a folder");
        for (number, target) in links(&text(&page)) {
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if path.is_empty() { page.clone() } else { folder.join(path) };
            if !file.exists() {
                breaches.push(format!("{}:{number}: {target}: no such file", short(&page)));
            } else if !anchor.is_empty() && !anchors(&text(&file)).contains(anchor) {
                breaches.push(format!("{}:{number}: {target}: no such heading", short(&page)));
            }
        }
    }
    none("links lead to files and headings of the checkout", breaches);
}

#[test]
fn the_index_lists_every_page() {
    let docs = root().join("docs");
    let listed: HashSet<_> = links(&text(&docs.join("README.md")))
        .into_iter()
        .map(|(_, target)| docs.join(target.split('#').next().unwrap_or_default()))
        .collect();
    let pages = documentation::pages(&root());
    let missing = pages.iter().filter(|page| page.starts_with(&docs) && **page != docs.join("README.md"));
    let missing = missing.filter(|page| !listed.contains(*page));
    none("docs/README.md links to every page", missing.map(|page| short(page)).collect());
}

#[test]
fn every_alert_of_the_chart_is_explained() {
    let page = text(&root().join("docs/operations.md"));
    let mut breaches = Vec::new();
    for entry in std::fs::read_dir(root().join("charts/portolan/rules")).expect("the chart has rules") {
        let rules = text(&entry.expect("an entry").path());
        let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
        breaches.extend(alerts.filter(|alert| !page.contains(&format!("`{alert}`"))).map(str::to_owned));
    }
    none("docs/operations.md explains every alert of the chart", breaches);
}

/// A whole Corefile, or directives as they stand in a server block.
fn corefile(block: &Block) -> Result<(), String> {
    let directives = dns_chain::directives();
    let first = block.text.split_whitespace().next().unwrap_or_default();
    let text =
        if directives.contains(&first) { format!(".:53 {{\n{}}}\n", block.text) } else { block.text.clone() };
    let env = |_: &str| Some("10.96.0.10".to_owned());
    let options = ParseOptions { directives, env: &env, ..ParseOptions::default() };
    Corefile::parse(&block.page, &text, &Disk, &options).map(|_| ()).map_err(|errors| errors.to_string())
}

fn yaml(block: &Block) -> Result<(), String> {
    serde_saphyr::from_multiple::<serde_json::Value>(&block.text)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

fn text(page: &Path) -> String {
    std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// The relative targets of links and images outside of blocks, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (index, line) in text.lines().enumerate() {
        in_block ^= line.trim_start().starts_with("```");
        if in_block {
            continue;
        }
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let sources = line.split("src=\"").skip(1).chain(line.split("srcset=\"").skip(1));
        let sources = sources.filter_map(|rest| rest.split('"').next());
        let relative = targets.chain(sources).filter(|target| !target.contains("://"));
        found.extend(relative.map(|target| (index + 1, target.to_owned())));
    }
    found
}

/// The anchors of the headings, as GitHub makes them.
fn anchors(text: &str) -> HashSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|ch| ch.is_alphanumeric() || " -_".contains(*ch));
            kept.map(|ch| if ch == ' ' { '-' } else { ch }).collect()
        })
        .collect()
}
