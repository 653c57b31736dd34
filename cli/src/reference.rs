//! Reference pages, made from the registries: what is listed is what is built.

use ingress_routes::annotations::{FAMILIES, Fate, UNSUPPORTED};

use crate::args::{FlagSupport, INGRESS_FLAGS};
use crate::command_error::CommandError;
use crate::output;

/// Prints a page as Markdown.
///
/// # Errors
/// When there is no such page.
pub fn print(page: &str) -> Result<(), CommandError> {
    let text = match page {
        "plugins" => plugins(),
        "annotations" => annotations(),
        "ingress-flags" => ingress_flags(),
        _ => {
            return Err(CommandError::usage(format!(
                "no page {page:?}; wanted plugins, annotations or ingress-flags"
            )));
        }
    };
    output::print(text);
    Ok(())
}

fn plugins() -> String {
    let mut text = "# DNS plugins\n\nIn the order in which a query meets them.\n".to_owned();
    for entry in dns_chain::plugins::PLUGINS {
        text += &format!("\n## {}\n\n{}\n", entry.name, entry.about);
        for syntax in entry.syntax {
            text += &format!("\n```\n{syntax}\n```\n");
        }
    }
    text
}

fn annotations() -> String {
    let mut text =
        "# Ingress annotations\n\nAll under `nginx.ingress.kubernetes.io/` (or `--annotations-prefix`).\n"
            .to_owned();
    for family in FAMILIES {
        text += &format!(
            "\n## {}\n\n{}\n\n| annotation | values | meaning |\n|---|---|---|\n",
            family.name, family.doc
        );
        for annotation in family.annotations {
            text += &format!("| `{}` | {} | {} |\n", annotation.name, annotation.values, annotation.doc);
        }
        text += &format!("\n```yaml\n{}\n```\n", family.syntax.trim_end());
    }
    text += "\n## Not honoured yet\n\nKnown by name. Those that guard something close their routes with 503 rather than leave them open; the rest are \
             named in one warning for each Ingress.\n\n| annotation | what happens to routes with it |\n|---|---|\n";
    for known in UNSUPPORTED {
        let fate = match known.fate {
            Fate::Decorates => "served without it".to_owned(),
            Fate::Guards => "503".to_owned(),
            Fate::GuardsIfTrue => "503, unless it is false".to_owned(),
            Fate::GuardsIfPositive => "503, unless it is 0".to_owned(),
            Fate::GuardsUnless(word) => format!("503, unless it is `{word}`"),
        };
        text += &format!("| `{}` | {fate} |\n", known.name);
    }
    text
}

fn ingress_flags() -> String {
    let mut text =
        "# Flags of `portolan ingress`\n\n| flag | default | meaning | effect |\n|---|---|---|---|\n"
            .to_owned();
    for flag in INGRESS_FLAGS {
        let effect = match flag.support {
            FlagSupport::Honoured => "yes",
            FlagSupport::Needless => "nothing to steer",
            FlagSupport::NotYet => "not yet",
        };
        text += &format!("| `--{}` | {} | {} | {effect} |\n", flag.name, flag.default, flag.help);
    }
    text
}
