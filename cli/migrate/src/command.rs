//! The command: reads facts, makes the plan, prints it and carries it out.

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::api::JsonApi;
use crate::console::Console;
use crate::corefile::{self, CorefileSummary};
use crate::dns_plan;
use crate::error::MigrateError;
use crate::execution::Execution;
use crate::facts::{self, Facts};
use crate::finish;
use crate::ingress_plan;
use crate::lookups;
use crate::mounted_files;
use crate::objects::{ResourceKind, flag, name, namespace};
use crate::options::{MigrateAction, MigrateOptions, MigratedService, OutputFormat};
use crate::permissions::{self, Permission};
use crate::plan::MigrationPlan;
use crate::probe::ProbeRequest;
use crate::rollback::Rollback;

/// Where CoreDNS looks for its Corefile without `-conf`.
const DEFAULT_COREFILE: &str = "/Corefile";

/// Runs the command.
///
/// # Errors
/// See [`MigrateError`].
pub async fn run(options: MigrateOptions, console: Console) -> Result<(), MigrateError> {
    let api = JsonApi::new(&options.access).await?;
    match options.action {
        MigrateAction::Rollback => roll_back(&api, &options, console).await,
        MigrateAction::Finish => {
            permissions::check(&api, &writing(&options)).await?;
            finish::finish(&api, &options, console).await
        }
        MigrateAction::Manifest => {
            permissions::check(&api, &reading(&options)).await?;
            finish::manifest(&api, &options, console).await
        }
        MigrateAction::DryRun | MigrateAction::Apply => take_over(&api, &options, console).await,
    }
}

async fn take_over(api: &JsonApi, options: &MigrateOptions, console: Console) -> Result<(), MigrateError> {
    permissions::check(api, &reading(options)).await?;
    let facts = facts::read(api, options).await?;
    let (mut plan, requests) = make_plan(options, &facts).await;
    let is_dry_run = options.action == MigrateAction::DryRun;
    let writing = permissions::check(api, &writing(options)).await;
    if let Err(MigrateError::Refused(missing)) = &writing {
        plan.notes.extend(missing.iter().map(|missing| format!("before the migration: {missing}")));
    }
    print_plan(&plan, console);
    if !plan.refusals.is_empty() {
        return Err(MigrateError::Refused(Vec::new()));
    }
    if is_dry_run {
        return Ok(());
    }
    writing?;
    let Some(workload) = facts.workload() else { return Ok(()) };
    let execution = Execution::new(api, options, console, &facts.service, &workload.object, requests);
    carry_out(api, options, console, &plan, execution.map_err(MigrateError::Failed)?).await
}

/// Carries the plan out. After an error or a signal, everything that was changed is restored.
async fn carry_out(
    api: &JsonApi,
    options: &MigrateOptions,
    console: Console,
    plan: &MigrationPlan,
    mut execution: Execution<'_>,
) -> Result<(), MigrateError> {
    console.progress("");
    let result = tokio::select! {
        result = execution.run(plan) => result,
        signal = stop_signal() => Err(format!("stopped by {signal}")),
    };
    let command = format!("portolan migrate {}", options.service.name());
    let Err(reason) = result else {
        let (sent, repeated) = execution.counts();
        let text = format!(
            "Done: {sent} answers during the change, {repeated} of them at the second attempt, 0 wrong. {command} --rollback restores \
             the state before."
        );
        match console.format {
            OutputFormat::Text => console.progress(&text),
            OutputFormat::Json => {
                (console.out)(&format!("{}\n", json!({ "done": true, "sent": sent, "repeated": repeated })))
            }
        }
        return Ok(());
    };
    if !execution.is_changing {
        return Err(MigrateError::Failed(reason));
    }
    console.progress(&format!("FAILED: {reason}\nRolling back:"));
    // Its watch and check Pod end here.
    drop(execution);
    let rollback = Rollback { api, options, console };
    let error = tokio::select! {
        restored = rollback.run() => match restored {
            Ok(_) => return Err(MigrateError::RolledBack(reason)),
            Err(error) => error,
        },
        signal = stop_signal() => format!("stopped by {signal}"),
    };
    Err(MigrateError::NotRolledBack { reason, error: format!("{error}; run {command} --rollback") })
}

async fn roll_back(api: &JsonApi, options: &MigrateOptions, console: Console) -> Result<(), MigrateError> {
    permissions::check(api, &writing(options)).await?;
    console.progress("Rolling back:");
    let restored = Rollback { api, options, console }
        .run()
        .await
        .map_err(|error| MigrateError::NotRolledBack { reason: "the rollback failed".to_owned(), error })?;
    if restored == 0 {
        let here = &options.namespace;
        return Err(MigrateError::refused(format!(
            "namespace {here} has no object that a migration changed or created"
        )));
    }
    console.progress("Done: the state before the migration is restored.");
    Ok(())
}

/// Waits for SIGINT or SIGTERM.
async fn stop_signal() -> &'static str {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}

fn print_plan(plan: &MigrationPlan, console: Console) {
    match console.format {
        OutputFormat::Text => (console.out)(&plan.text()),
        OutputFormat::Json => (console.out)(&format!("{:#}\n", plan.json())),
    }
}

/// The permissions for reading facts.
fn reading(options: &MigrateOptions) -> Vec<Permission> {
    let here = Some(options.namespace.as_str());
    let mut permissions = vec![
        Permission::new("list", ResourceKind::Deployment, here),
        Permission::new("list", ResourceKind::DaemonSet, here),
        Permission::new("get", ResourceKind::ConfigMap, here),
        Permission::new("list", ResourceKind::Service, None),
        Permission::new("list", ResourceKind::Node, None),
        Permission::new("list", ResourceKind::NetworkPolicy, None),
    ];
    if options.service == MigratedService::Ingress {
        let kinds = [ResourceKind::Ingress, ResourceKind::IngressClass, ResourceKind::Webhook];
        permissions.extend(kinds.map(|kind| Permission::new("list", kind, None)));
    }
    permissions
}

/// The permissions for the migration and its rollback.
fn writing(options: &MigrateOptions) -> Vec<Permission> {
    let here = Some(options.namespace.as_str());
    let mut permissions: Vec<_> = [
        ("get", ResourceKind::Deployment),
        ("create", ResourceKind::Deployment),
        ("patch", ResourceKind::Deployment),
        ("delete", ResourceKind::Deployment),
        ("patch", ResourceKind::DaemonSet),
        ("get", ResourceKind::Service),
        ("patch", ResourceKind::Service),
        ("list", ResourceKind::EndpointSlice),
        ("get", ResourceKind::Pod),
        ("list", ResourceKind::Pod),
        ("create", ResourceKind::Pod),
        ("delete", ResourceKind::Pod),
    ]
    .into_iter()
    .map(|(verb, resource)| Permission::new(verb, resource, here))
    .collect();
    permissions.push(Permission { subresource: "log", ..Permission::new("get", ResourceKind::Pod, here) });
    // A rollback lists what a migration of either service may have changed.
    permissions.push(Permission::new("list", ResourceKind::Webhook, None));
    if options.service == MigratedService::Ingress {
        permissions.push(Permission::new("patch", ResourceKind::Webhook, None));
    }
    permissions
}

async fn make_plan(options: &MigrateOptions, facts: &Facts) -> (MigrationPlan, Vec<ProbeRequest>) {
    if options.service == MigratedService::Ingress {
        let (plan, requests) = ingress_plan::plan(options, facts);
        return (plan, requests.into_iter().map(ProbeRequest::Http).collect());
    }
    let corefile = check_corefile(facts).await;
    let requests = match &corefile {
        Some(Ok((_, summary))) => {
            let CorefileSummary { cluster_zones, other_zones, .. } = summary;
            lookups::lookups(&facts.services, cluster_zones, other_zones, &options.external)
        }
        _ => Vec::new(),
    };
    let plan = dns_plan::plan(options, facts, corefile.as_ref(), requests.len());
    (plan, requests.into_iter().map(ProbeRequest::Dns).collect())
}

/// Checks the Corefile of the workload; `None` without a workload that runs CoreDNS.
async fn check_corefile(facts: &Facts) -> Option<Result<(String, CorefileSummary), String>> {
    let workload = facts.workload()?;
    let container = workload.container(MigratedService::Dns)?.clone();
    let files = mounted_files::files(&workload.object, &container, &facts.config_maps);
    let path = flag(&container, "conf").unwrap_or(DEFAULT_COREFILE).to_owned();
    let names: Vec<_> = facts.config_maps.values().map(config_map_title).collect();
    let origin = format!("{path} ({})", names.join(", "));
    // Setting up `forward` may resolve a host name.
    let checked = tokio::task::spawn_blocking(move || corefile::check(&path, &files, &container));
    Some(match checked.await {
        Ok(Ok(summary)) => Ok((origin, summary)),
        Ok(Err(errors)) => Err(format!("{errors}\nIt is mounted from {}", names.join(", "))),
        Err(error) => Err(error.to_string()),
    })
}

fn config_map_title(config_map: &Value) -> String {
    format!("ConfigMap {}/{}", namespace(config_map), name(config_map))
}
