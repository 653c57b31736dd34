//! Reference pages, made from the registries: what is listed is what is built.

use crate::args::{Effect, INGRESS_FLAGS};
use crate::failure::Failure;

/// Prints a page as Markdown.
///
/// # Errors
/// When there is no such page.
pub fn print(page: &str) -> Result<(), Failure> {
    let text = match page {
        "plugins" => plugins(),
        "annotations" => annotations(),
        "ingress-flags" => ingress_flags(),
        _ => return Err(Failure::usage(format!("no page {page:?}; wanted plugins, annotations or ingress-flags"))),
    };
    print!("{text}");
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
    let mut text = "# Ingress annotations\n\nAll under `nginx.ingress.kubernetes.io/` (or `--annotations-prefix`).\n".to_owned();
    text += &ingress_routes::annotations::reference();
    text
}

fn ingress_flags() -> String {
    let mut text = "# Flags of `portolan ingress`\n\n| flag | default | meaning | effect |\n|---|---|---|---|\n".to_owned();
    for flag in INGRESS_FLAGS {
        let effect = match flag.effect {
            Effect::Honoured => "yes",
            Effect::Needless => "nothing to steer",
            Effect::NotYet => "not yet",
        };
        text += &format!("| `--{}` | {} | {} | {effect} |\n", flag.name, flag.default, flag.help);
    }
    text
}
