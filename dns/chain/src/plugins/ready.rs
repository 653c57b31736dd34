//! `ready`: a page for readiness probes: whether every plugin has the data to answer.

use http::StatusCode;
use telemetry::{AdminResponse as Page, Monitor};

use crate::setup::{PluginEntry, PluginGuard, PluginInstances, PluginOption, Setup, SetupErrors, each_line};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "ready",
    about: "a page for readiness probes",
    syntax: &["ready", "ready :8181 {\n    monitor continuously\n}"],
    options: &[
        PluginOption {
            syntax: "[ADDRESS]",
            default: ":8181",
            about: "Address of the page `/ready`: 200 when all plugins are ready, else 503 with their names.",
        },
        PluginOption {
            syntax: "monitor until-ready|continuously",
            default: "until-ready",
            about: "Whether a plugin that was ready once may become not ready again.",
        },
    ],
    early: false,
    metrics: |_| {},
    setup,
};

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    let address = match directive.optional_arg("[ADDRESS]").map_err(|error| vec![error])? {
        Some(word) => word.host_port(None).map_err(|error| vec![error])?.to_string(),
        None => ":8181".to_owned(),
    };
    let mut monitor = Monitor::UntilReady;
    each_line(directive, |line| match line.name.text.as_str() {
        "monitor" => {
            let choices = [("until-ready", Monitor::UntilReady), ("continuously", Monitor::Continuously)];
            monitor = line.arg("until-ready|continuously")?.choice(&choices)?;
            Ok(())
        }
        _ => Err(line.unknown(&["monitor"])),
    })?;

    let (admin, gates) = (setup.context.admin.clone(), setup.context.gates.clone());
    setup.on_start(move || async move {
        let pages = admin.listen(&address).await.map_err(|error| format!("ready: {error}"))?;
        let route = pages.route("/ready", move |_| {
            let closed = gates.closed(monitor);
            if closed.is_empty() {
                Page::ok("OK")
            } else {
                Page::text(StatusCode::SERVICE_UNAVAILABLE, closed.join(","))
            }
        });
        Ok(Box::new(route) as PluginGuard)
    });
    Ok(Vec::new())
}
