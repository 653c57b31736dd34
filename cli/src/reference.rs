//! Reference pages in Markdown and as JSON, generated from the registries of plugins, annotations, ConfigMap keys, flags and metrics and
//! from the values of the Helm chart.

mod chart_values;
mod json;
mod metrics;
mod rbac;
mod snippets;

use ingress_routes::annotations::{FAMILIES, UNSUPPORTED};
use ingress_routes::globals::KeySupport;
use ingress_routes::{GeoEdition, Level, UnsupportedSetting, config_map_keys};
use serde_json::Value;
use telemetry::metrics::Registry;

use crate::args;
use crate::args::{FlagSupport, RbacPart};
use crate::command_error::CommandError;
use crate::output;

/// A page.
struct Page {
    /// Its name on the command line.
    name: &'static str,
    markdown: fn() -> String,
    json: fn() -> Value,
}

const fn page(name: &'static str, markdown: fn() -> String, json: fn() -> Value) -> Page {
    Page { name, markdown, json }
}

/// All pages. `docs/reference/<name>.md` is a copy of each, which a test compares.
const PAGES: &[Page] = &[
    page("plugins", plugins, json::plugins),
    page("annotations", annotations, json::annotations),
    page("configmap", config_map, json::config_map),
    page("snippets", snippets::page, json::snippets),
    page("ingress-flags", ingress_flags, json::ingress_flags),
    page("metrics", metrics::page, metrics::json),
    page("chart-values", chart_values::page, chart_values::json),
];

/// Prints the manifest of the permissions that the services need.
pub fn print_rbac(part: RbacPart) {
    output::print(rbac::manifest(part));
}

/// Prints a page, in Markdown or as JSON.
///
/// # Errors
/// When the page does not exist.
pub fn print(name: &str, as_json: bool) -> Result<(), CommandError> {
    let Some(page) = PAGES.iter().find(|page| page.name == name) else {
        let names: Vec<&str> = PAGES.iter().map(|page| page.name).collect();
        return Err(CommandError::usage(format!("no page {name:?}; wanted one of {}", names.join(", "))));
    };
    output::print(if as_json { format!("{:#}\n", (page.json)()) } else { (page.markdown)() });
    Ok(())
}

fn plugins() -> String {
    let mut text = "# DNS plugins\n\nIn the order in which they handle a query, whatever their order in the Corefile. \
                    [Corefile](corefile.md) describes the rest of the file, and [differences from CoreDNS](../differences-coredns.md) \
                    what they do otherwise. [Metrics](metrics.md) lists the metrics of all plugins and of the server.\n"
        .to_owned();
    for plugin in dns_chain::plugins::PLUGINS {
        text += &format!("\n## {}\n\n{}.\n", plugin.name, capitalized(plugin.about));
        if !plugin.options.is_empty() {
            text += "\n| option | default | effect |\n|---|---|---|\n";
        }
        for option in plugin.options {
            text += &format!("| `{}` | {} | {} |\n", cell(option.syntax), option.default, cell(option.about));
        }
        for syntax in plugin.syntax {
            text += &format!("\n```corefile\n{syntax}\n```\n");
        }
        let metrics = Registry::new();
        (plugin.metrics)(&metrics);
        let metrics = metrics.descriptions();
        if !metrics.is_empty() {
            let names: Vec<String> = metrics.iter().map(|metric| format!("`{}`", metric.name)).collect();
            text += &format!("\nMetrics: {}.\n", names.join(", "));
        }
    }
    text += "\n## Not implemented\n\nA Corefile that uses one of these directives of CoreDNS is refused with its name, file and line:\n";
    let names: Vec<String> = dns_chain::plugins::NOT_BUILT.iter().map(|name| format!("`{name}`")).collect();
    text + &names.join(", ") + ".\n"
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn annotations() -> String {
    let mut text =
        "# Ingress annotations\n\nAll under `nginx.ingress.kubernetes.io/` (or `--annotations-prefix`).\n\n"
            .to_owned();
    let honoured =
        FAMILIES.iter().flat_map(|family| family.annotations).map(|it| (it.name, SupportLevel::Honoured));
    let others = UNSUPPORTED.iter().map(|setting| (setting.name, SupportLevel::of(setting.level)));
    text += &counts("annotations", &honoured.chain(others).collect::<Vec<_>>());
    for family in FAMILIES.iter().filter(|family| !family.annotations.is_empty()) {
        text += &format!(
            "\n## {}\n\n{}\n\n| annotation | values | meaning |\n|---|---|---|\n",
            family.name, family.doc
        );
        for annotation in family.annotations {
            text += &format!("| `{}` | {} | {} |\n", annotation.name, annotation.values, annotation.doc);
        }
        text += &format!("\n```yaml\n{}\n```\n", family.syntax.trim_end());
    }
    text += "\n## Not honoured\n\nEach is reported with its consequence. If an annotation protects something (level closed), the routes \
             of its Ingress answer 503; a web application firewall can run in front of the proxy or in the Pods instead. Annotations of \
             the level cosmetic are without effect, for the reason given.\n\n| annotation | level | consequence |\n|---|---|---|\n";
    for setting in UNSUPPORTED {
        text += &format!("| `{}` | {} | {} |\n", setting.name, level(setting), setting.consequence);
    }
    text
}

fn config_map() -> String {
    let mut text = "# Keys of the ConfigMap\n\nThe ConfigMap that `--configmap` names is watched; changes take effect at once. If a key protects \
                    something and is not honoured (level closed), the routes that it would protect answer 503.\n\n"
        .to_owned();
    let of_key = |support: &KeySupport| match support {
        KeySupport::Honoured(_) => SupportLevel::Honoured,
        KeySupport::NotNeeded(_) => SupportLevel::WithoutEffect,
        KeySupport::Unsupported { setting, .. } => SupportLevel::of(setting.level),
    };
    text +=
        &counts("keys", &config_map_keys().map(|key| (key.name, of_key(&key.support))).collect::<Vec<_>>());
    text += "\n## All keys\n\n| key | honoured | meaning or consequence |\n|---|---|---|\n";
    for key in config_map_keys() {
        let (honoured, follows) = match key.support {
            KeySupport::Honoured(doc) => ("yes".to_owned(), doc.to_owned()),
            KeySupport::NotNeeded(why) => ("not needed".to_owned(), why.to_owned()),
            KeySupport::Unsupported { setting, guard } => {
                let guard = guard.map(|guard| format!("; {}", guard.describe())).unwrap_or_default();
                (format!("no: {}", level(&setting)), format!("{}{guard}", setting.consequence))
            }
        };
        text += &format!("| `{}` | {honoured} | {follows} |\n", key.name);
    }
    text += "\n## Variables of GeoIP databases\n\nWith `use-geoip2` log formats, snippets, headers and other texts with variables may have those of the \
             editions that `--maxmind-edition-ids` names. Their files are read from `/etc/ingress-controller/geoip` (`--geoip-folder`), and again within five \
             seconds of a change. They say what is known about the client ($remote_addr).\n\n| file | variables |\n|---|---|\n";
    for edition in GeoEdition::all() {
        let names: Vec<_> = edition.variables().map(|name| format!("`${name}`")).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(" ") };
        text += &format!("| `{}` | {names} |\n", edition.file_name());
    }
    text
}

/// What becomes of an annotation or key.
#[derive(Clone, Copy, PartialEq)]
enum SupportLevel {
    Honoured,
    Differs,
    WithoutEffect,
    Refused,
}

impl SupportLevel {
    const ALL: [Self; 4] = [Self::Honoured, Self::Differs, Self::WithoutEffect, Self::Refused];

    fn of(level: Level) -> Self {
        match level {
            Level::Closed => Self::Refused,
            Level::Differs => Self::Differs,
            Level::Cosmetic => Self::WithoutEffect,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Differs => "differs",
            Self::WithoutEffect => "without effect",
            Self::Refused => "refused",
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Honoured => "honoured",
            Self::Differs => "differs: requests are served, but not as configured",
            Self::WithoutEffect => "without effect: requests are served as configured",
            Self::Refused => "refused: what it would protect answers 503",
        }
    }
}

/// All names by what becomes of them, with their numbers.
fn counts(what: &str, all: &[(&str, SupportLevel)]) -> String {
    let mut text = format!("| what becomes of the {} {what} | number | names |\n|---|---|---|\n", all.len());
    for level in SupportLevel::ALL {
        let names: Vec<_> =
            all.iter().filter(|(_, of)| *of == level).map(|(name, _)| format!("`{name}`")).collect();
        text += &format!("| {} | {} | {} |\n", level.describe(), names.len(), names.join(" "));
    }
    text
}

/// The level of a setting with its condition: `closed, unless 0`.
fn level(setting: &UnsupportedSetting) -> String {
    let neutral = setting.neutral.to_string();
    if neutral.is_empty() { setting.level.to_string() } else { format!("{}, {neutral}", setting.level) }
}

fn ingress_flags() -> String {
    let mut text =
        "# Flags of `portolan ingress`\n\n| flag | default | meaning | honoured |\n|---|---|---|---|\n"
            .to_owned();
    for flag in args::ingress_flags() {
        let honoured = match flag.support {
            FlagSupport::Honoured => "yes".to_owned(),
            FlagSupport::NotNeeded => "not needed".to_owned(),
            FlagSupport::Unsupported { level, consequence, .. } => {
                format!("no ({level}): {consequence}")
            }
        };
        text += &format!("| `--{}` | {} | {} | {honoured} |\n", flag.name, flag.default, flag.help);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_pages_in_docs_are_those_that_the_program_prints() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
        for Page { name, markdown, .. } in PAGES {
            let path = folder.join(format!("{name}.md"));
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                text == markdown(),
                "docs/reference/{name}.md differs; run: cargo run -q -- reference {name} > docs/reference/{name}.md"
            );
        }
    }

    #[test]
    fn every_row_of_a_table_has_the_columns_of_its_head() {
        for Page { name, markdown, .. } in PAGES {
            let mut columns = 0;
            for line in markdown().lines() {
                // A pipe in a cell is written `\\|`.
                let found = line.replace("\\|", "").matches('|').count();
                if columns > 0 && line.starts_with('|') {
                    assert_eq!(found, columns, "{name}: {line}");
                }
                columns = if line.starts_with('|') { found } else { 0 };
            }
        }
    }

    #[test]
    fn every_page_as_json_has_its_name_and_named_entries() {
        for Page { name, json, .. } in PAGES {
            let page = json();
            assert_eq!(page["page"], *name);
            let entries = page["entries"].as_array().unwrap();
            assert!(entries.len() > 10, "{name}: {} entries", entries.len());
            assert!(entries.iter().all(|entry| entry["name"].is_string()), "{name}");
        }
    }
}
