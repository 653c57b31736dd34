//! Strategic merge patches with their reverses, and the annotation that keeps the reverse on the object.

use serde_json::{Map, Value, json};

use crate::options::MigratedService;

/// The annotation with the patch that restores an object, in JSON. One for each service: both may change the same namespace.
pub(crate) fn restore_annotation(service: MigratedService) -> &'static str {
    match service {
        MigratedService::Dns => "portolan.dev/before-dns-migration",
        MigratedService::Ingress => "portolan.dev/before-ingress-migration",
    }
}

/// The patch that undoes `patch` on `object`: every field that `patch` sets gets its value of before, or is removed. Of a list of
/// objects with a `name`, as containers are, elements are neither added nor removed; any other list is replaced as a whole.
pub(crate) fn reverse(object: &Value, patch: &Value) -> Value {
    match patch {
        Value::Object(fields) if !object.is_null() => {
            let restored = fields.iter().map(|(key, value)| (key.clone(), reverse(&object[key], value)));
            Value::Object(restored.collect::<Map<_, _>>())
        }
        Value::Array(elements) if elements.iter().all(Value::is_object) => Value::Array(
            elements
                .iter()
                .map(|element| {
                    let before = object.as_array().into_iter().flatten();
                    let before = before.clone().find(|before| before["name"] == element["name"]);
                    reverse(before.unwrap_or(&Value::Null), element)
                })
                .collect(),
        ),
        _ => object.clone(),
    }
}

/// Adds the annotation to `patch` that says how to undo it. An object that has the annotation keeps it: it describes the state before
/// the first change.
pub(crate) fn with_restore(object: &Value, service: MigratedService, mut patch: Value) -> Value {
    if restore_patch(object, service).is_none() {
        let restore = reverse(object, &patch).to_string();
        patch["metadata"]["annotations"] = json!({ restore_annotation(service): restore });
    }
    patch
}

/// The patch that restores an object and removes the annotation; `None` if a migration did not change it.
pub(crate) fn restore_patch(object: &Value, service: MigratedService) -> Option<Value> {
    let annotation = restore_annotation(service);
    let text = object["metadata"]["annotations"][annotation].as_str()?;
    let mut patch: Value = serde_json::from_str(text).ok()?;
    patch["metadata"]["annotations"] = json!({ annotation: null });
    Some(patch)
}

/// A patch that replaces the selector of a Service: keys that the new one lacks are removed.
pub(crate) fn selector_patch(service: &Value, selector: &Value) -> Value {
    let old = service["spec"]["selector"].as_object().into_iter().flatten();
    let mut patched: Map<_, _> = old.map(|(key, _)| (key.clone(), Value::Null)).collect();
    patched
        .extend(selector.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    json!({ "spec": { "selector": patched } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_replaced_and_restored() {
        let mut service = json!({
            "metadata": { "annotations": { "prometheus.io/port": "9153" } },
            "spec": { "clusterIP": "10.96.0.10", "selector": { "k8s-app": "kube-dns", "tier": "a" } },
        });
        let patch = selector_patch(&service, &json!({ "k8s-app": "portolan-dns", "new": "1" }));
        assert_eq!(patch["spec"]["selector"], json!({ "k8s-app": "portolan-dns", "tier": null, "new": "1" }));
        let patch = with_restore(&service, MigratedService::Dns, patch);
        service["metadata"]["annotations"] = patch["metadata"]["annotations"].clone();
        let restore = restore_patch(&service, MigratedService::Dns).unwrap();
        assert_eq!(restore["spec"]["selector"], json!({ "k8s-app": "kube-dns", "tier": "a", "new": null }));
        assert_eq!(
            restore["metadata"]["annotations"],
            json!({ restore_annotation(MigratedService::Dns): null })
        );
    }

    #[test]
    fn a_second_change_keeps_the_state_before_the_first() {
        let object = json!({ "metadata": { "annotations": { restore_annotation(MigratedService::Dns): "{\"spec\":{\"a\":1}}" } }, "spec": { "a": 2 } });
        assert_eq!(
            with_restore(&object, MigratedService::Dns, json!({ "spec": { "a": 3 } })),
            json!({ "spec": { "a": 3 } })
        );
        assert_eq!(restore_patch(&object, MigratedService::Dns).unwrap()["spec"], json!({ "a": 1 }));
    }

    #[test]
    fn arguments_and_a_missing_block_are_restored() {
        let deployment = json!({ "spec": {
            "strategy": { "type": "Recreate" },
            "template": { "spec": { "containers": [{ "name": "controller", "args": ["/c", "--a"] }] } },
        } });
        let patch = json!({ "spec": {
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } },
            "template": { "spec": { "containers": [{ "name": "controller", "args": ["/c", "--a", "--b"] }] } },
        } });
        assert_eq!(
            reverse(&deployment, &patch),
            json!({ "spec": {
                "strategy": { "type": "Recreate", "rollingUpdate": null },
                "template": { "spec": { "containers": [{ "name": "controller", "args": ["/c", "--a"] }] } },
            } })
        );
    }

    #[test]
    fn an_image_and_missing_fields_are_restored() {
        let deployment = json!({ "spec": {
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } },
            "template": { "spec": { "containers": [{ "name": "sidecar", "image": "s:1" }, { "name": "coredns", "image": "coredns:1.12" }] } },
        } });
        let patch = json!({ "spec": {
            "strategy": { "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
            "template": { "spec": { "containers": [{ "name": "coredns", "image": "portolan:1" }] } },
        } });
        assert_eq!(
            reverse(&deployment, &patch),
            json!({ "spec": {
            "strategy": { "rollingUpdate": { "maxUnavailable": 1, "maxSurge": null } },
            "template": { "spec": { "containers": [{ "name": "coredns", "image": "coredns:1.12" }] } },
        } })
        );
    }
}
