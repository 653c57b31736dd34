//! After a migration: scales the replaced workload to zero, or prints a manifest of the result.

use serde_json::{Value, json};

use crate::api::JsonApi;
use crate::console::Console;
use crate::copied_workload::{REPLACES_ANNOTATION, Workload, copy_name};
use crate::error::MigrateError;
use crate::mounted_files::config_map_names;
use crate::objects::{ObjectId, ResourceKind, annotation, name, selects, strings, template_labels};
use crate::options::{MigrateOptions, MigratedService};
use crate::patch::{restore_annotation, restore_patch, with_restore};
use crate::status_removal::{keep_status_patch, removes_status};
use crate::waiting;

/// Scales the replaced Deployment to zero. Its number of Pods is kept in an annotation, from which a rollback restores it. ingress-nginx
/// first gets a flag with which it leaves the status of Ingresses as it is.
///
/// # Errors
/// A refusal if no migration with the strategy `selector` is in effect; a failure if Pods with the flag do not become ready.
pub(crate) async fn finish(
    api: &JsonApi,
    options: &MigrateOptions,
    console: Console,
) -> Result<(), MigrateError> {
    let (copy, _services) = migrated(api, options).await?;
    let replaced = annotation(&copy, REPLACES_ANNOTATION).unwrap_or_default();
    let Some(replaced) = replaced.strip_prefix("Deployment/") else {
        return Err(MigrateError::refused(format!(
            "{replaced} is no Deployment; it cannot be scaled to zero"
        )));
    };
    let id = ObjectId {
        resource: ResourceKind::Deployment,
        namespace: options.namespace.clone(),
        name: replaced.to_owned(),
    };
    let Some(mut object) = api.get(&id.path()).await? else {
        return Err(MigrateError::refused(format!("{id} does not exist")));
    };
    if options.service == MigratedService::Ingress {
        object = keep_status(api, options, console, &id, object).await?;
    }
    let patch = with_restore(&object, options.service, json!({ "spec": { "replicas": 0 } }));
    api.patch(&id.path(), &patch).await?;
    console.progress(&format!(
        "{id} is scaled to zero. portolan migrate {} --rollback starts its Pods again, and restores the Service once they are ready.",
        options.service.name()
    ));
    Ok(())
}

/// Gives ingress-nginx the flag `--update-status-on-shutdown=false` if its last Pod would remove addresses from the status of Ingresses,
/// and waits until only Pods with the flag run. Returns the Deployment as it is then.
async fn keep_status(
    api: &JsonApi,
    options: &MigrateOptions,
    console: Console,
    id: &ObjectId,
    object: Value,
) -> Result<Value, MigrateError> {
    let workload = Workload { resource: id.resource, object };
    if workload.replicas() == 0 || !removes_status(&workload) {
        return Ok(workload.object);
    }
    let Some(change) = keep_status_patch(&workload) else { return Ok(workload.object) };
    let problem = "its last Pod would remove addresses from the status of Ingresses";
    if workload.uses_node_ports() {
        return Err(MigrateError::refused(format!(
            "{id}: {problem}, and two of its Pods cannot run on one node, so that it cannot get the flag \
             --update-status-on-shutdown=false without that. Set the flag when the status may be written again, then repeat --finish"
        )));
    }
    // One annotation keeps the state before both changes.
    let mut both = change;
    both["spec"]["replicas"] = json!(0);
    let mut patch = with_restore(&workload.object, options.service, both);
    patch["spec"]["replicas"] = workload.object["spec"]["replicas"].clone();
    console.progress(&format!("{id} gets the flag --update-status-on-shutdown=false: {problem}"));
    let patched = api.patch(&id.path(), &patch).await?;
    waiting::ready(api, id, options.timeout, console).await.map_err(|error| {
        let command = format!("portolan migrate {}", options.service.name());
        MigrateError::Failed(format!(
            "{error}\nIt is not scaled to zero, since {problem}. Repeat {command} --finish, or run {command} --rollback"
        ))
    })?;
    Ok(patched)
}

/// Prints the objects of a migration in effect as a list, without fields of the API server: for a folder of manifests, or for Git.
///
/// # Errors
/// A refusal if no migration with the strategy `selector` is in effect.
pub(crate) async fn manifest(
    api: &JsonApi,
    options: &MigrateOptions,
    console: Console,
) -> Result<(), MigrateError> {
    let (copy, services) = migrated(api, options).await?;
    let mut objects = Vec::new();
    for name in config_map_names(&copy) {
        let id = ObjectId { resource: ResourceKind::ConfigMap, namespace: options.namespace.clone(), name };
        objects.extend(
            api.get(&id.path()).await?.map(|object| declared(ResourceKind::ConfigMap, &object, options)),
        );
    }
    objects.push(declared(ResourceKind::Deployment, &copy, options));
    objects.extend(services.iter().map(|service| declared(ResourceKind::Service, service, options)));
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    (console.out)(&format!("{list:#}\n"));
    Ok(())
}

/// The copy and the Services that select its Pods.
async fn migrated(api: &JsonApi, options: &MigrateOptions) -> Result<(Value, Vec<Value>), MigrateError> {
    let none = || MigrateError::refused("no migration with the strategy selector is in effect; run it first");
    let list = |resource: ResourceKind| resource.list_path(Some(&options.namespace));
    let copies = api.list(&list(ResourceKind::Deployment)).await?.unwrap_or_default();
    let copy =
        copies.into_iter().find(|object| name(object) == copy_name(options.service)).ok_or_else(none)?;
    let pods = template_labels(&copy);
    let mut services = api.list(&list(ResourceKind::Service)).await?.unwrap_or_default();
    services.retain(|service| {
        selects(&strings(&service["spec"]["selector"]), &pods)
            && restore_patch(service, options.service).is_some()
    });
    if services.is_empty() { Err(none()) } else { Ok((copy, services)) }
}

/// An object as one would declare it.
fn declared(resource: ResourceKind, object: &Value, options: &MigrateOptions) -> Value {
    let mut annotations = strings(&object["metadata"]["annotations"]);
    annotations.retain(|key, _| {
        key != restore_annotation(options.service)
            && !key.starts_with("deployment.kubernetes.io/")
            && !key.starts_with("objectset.rio.cattle.io/")
            && key != "kubectl.kubernetes.io/last-applied-configuration"
    });
    let mut labels = strings(&object["metadata"]["labels"]);
    labels.retain(|key, _| !key.starts_with("objectset.rio.cattle.io/"));
    let mut declared = json!({
        "apiVersion": if resource.group().is_empty() { "v1".to_owned() } else { format!("{}/v1", resource.group()) },
        "kind": resource.kind(),
        "metadata": {
            "name": name(object), "namespace": options.namespace, "labels": labels, "annotations": annotations,
        },
    });
    for field in ["data", "spec"] {
        if !object[field].is_null() {
            declared[field] = object[field].clone();
        }
    }
    declared
}
