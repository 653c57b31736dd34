//! `portolan dbg`: what a running instance serves, with the subcommands of the `dbg` in ingress-nginx's image.

use serde_json::Value;

use crate::admin_client::{AdminClient, encoded};
use crate::args::{DbgArgs, DbgSubject};
use crate::command_error::CommandError;
use crate::output;

/// Runs the command.
///
/// # Errors
/// When the instance cannot be reached, or does not have what is asked for (exit code 1).
pub fn run(args: &DbgArgs) -> Result<(), CommandError> {
    let admin = &AdminClient(args.admin.clone());
    let text = match &args.subject {
        DbgSubject::Certificate(host) => {
            let body = admin.get(&format!("/configuration/certs?hostname={}", encoded(host)))?;
            String::from_utf8_lossy(&body).into_owned()
        }
        DbgSubject::Configuration => String::from_utf8_lossy(&admin.get("/configuration/conf")?).into_owned(),
        DbgSubject::General => pretty(&page(admin, "/configuration/general")?),
        DbgSubject::BackendsAll => pretty(&page(admin, "/configuration/backends")?),
        DbgSubject::BackendsList => {
            let backends = page(admin, "/configuration/backends")?;
            names(&backends).map(|name| format!("{name}\n")).collect()
        }
        DbgSubject::Backend(wanted) => {
            let backends = page(admin, "/configuration/backends")?;
            let found = backends.as_array().into_iter().flatten().find(|backend| backend["name"] == **wanted);
            pretty(found.ok_or_else(|| {
                CommandError::outside(format!(
                    "{}: there is no backend {wanted:?}; `portolan dbg backends list` shows all",
                    admin.0
                ))
            })?)
        }
    };
    output::print(text);
    Ok(())
}

fn page(admin: &AdminClient, path: &str) -> Result<Value, CommandError> {
    let body = admin.get(path)?;
    serde_json::from_slice(&body)
        .map_err(|error| CommandError::outside(format!("{}{path}: {error}", admin.0)))
}

fn names(backends: &Value) -> impl Iterator<Item = &str> {
    backends.as_array().into_iter().flatten().filter_map(|backend| backend["name"].as_str())
}

fn pretty(value: &Value) -> String {
    // A value can always be written.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}
