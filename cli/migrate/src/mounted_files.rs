//! The files that a container gets from ConfigMaps, so that a Corefile and its imports can be read without the container.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::objects::items;

/// Files by path.
pub(crate) type MountedFiles = BTreeMap<String, String>;

/// The names of the ConfigMaps that the Pod template's volumes refer to.
pub(crate) fn config_map_names(workload: &Value) -> BTreeSet<String> {
    let volumes = items(&workload["spec"]["template"]["spec"]["volumes"]);
    volumes
        .flat_map(config_map_sources)
        .filter_map(|source| source["name"].as_str().map(str::to_owned))
        .collect()
}

/// The files that `container` of `workload` sees, from these ConfigMaps by name. A missing ConfigMap has no files.
pub(crate) fn files(
    workload: &Value,
    container: &Value,
    config_maps: &BTreeMap<String, Value>,
) -> MountedFiles {
    let volumes = &workload["spec"]["template"]["spec"]["volumes"];
    let mut files = MountedFiles::new();
    for mount in items(&container["volumeMounts"]) {
        let Some(path) = mount["mountPath"].as_str() else { continue };
        let path = path.trim_end_matches('/');
        let volume = items(volumes).find(|volume| volume["name"] == mount["name"]);
        for (file, text) in volume.into_iter().flat_map(|volume| volume_files(volume, config_maps)) {
            match mount["subPath"].as_str() {
                Some(sub_path) if sub_path == file => files.insert(path.to_owned(), text),
                Some(_) => continue,
                None => files.insert(format!("{path}/{file}"), text),
            };
        }
    }
    files
}

/// File names within a volume, and their text.
fn volume_files(volume: &Value, config_maps: &BTreeMap<String, Value>) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for source in config_map_sources(volume) {
        let Some(config_map) = source["name"].as_str().and_then(|name| config_maps.get(name)) else {
            continue;
        };
        let text = |key: &str| config_map["data"][key].as_str().map(str::to_owned);
        if source["items"].is_array() {
            let file = |item: &Value| Some((item["path"].as_str()?.to_owned(), text(item["key"].as_str()?)?));
            files.extend(items(&source["items"]).filter_map(file));
        } else {
            let keys = config_map["data"].as_object().into_iter().flatten();
            files.extend(keys.filter_map(|(key, _)| Some((key.clone(), text(key)?))));
        }
    }
    files
}

/// `configMap`, or the ConfigMaps of a `projected` volume.
fn config_map_sources(volume: &Value) -> impl Iterator<Item = &Value> {
    let projected = items(&volume["projected"]["sources"]).map(|source| &source["configMap"]);
    std::iter::once(&volume["configMap"]).chain(projected).filter(|source| source.is_object())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_of_a_k3s_pod_come_from_both_config_maps() {
        let container = json!({ "volumeMounts": [
            { "name": "config-volume", "mountPath": "/etc/coredns", "readOnly": true },
            { "name": "custom-config-volume", "mountPath": "/etc/coredns/custom/" },
            { "name": "tmp", "mountPath": "/tmp" },
        ] });
        let workload = json!({ "spec": { "template": { "spec": { "containers": [container], "volumes": [
            { "name": "config-volume", "configMap": { "name": "coredns", "items": [
                { "key": "Corefile", "path": "Corefile" }, { "key": "NodeHosts", "path": "NodeHosts" },
            ] } },
            { "name": "custom-config-volume", "projected": { "sources": [
                { "configMap": { "name": "coredns-custom", "optional": true } },
            ] } },
            { "name": "tmp", "emptyDir": {} },
        ] } } } });
        let names: Vec<_> = config_map_names(&workload).into_iter().collect();
        assert_eq!(names, ["coredns", "coredns-custom"]);
        let config_map = |data: Value| json!({ "data": data });
        let mut config_maps = BTreeMap::from([(
            "coredns".to_owned(),
            config_map(json!({ "Corefile": ".:53 {}", "NodeHosts": "10.0.0.1 n1", "other": "x" })),
        )]);
        let seen =
            |config_maps: &_| files(&workload, &container, config_maps).into_keys().collect::<Vec<_>>();
        assert_eq!(seen(&config_maps), ["/etc/coredns/Corefile", "/etc/coredns/NodeHosts"]);
        config_maps.insert("coredns-custom".to_owned(), config_map(json!({ "a.server": "a.example {}" })));
        assert!(seen(&config_maps).contains(&"/etc/coredns/custom/a.server".to_owned()));
    }

    #[test]
    fn a_sub_path_is_one_file() {
        let container =
            json!({ "volumeMounts": [{ "name": "v", "mountPath": "/Corefile", "subPath": "Corefile" }] });
        let workload = json!({ "spec": { "template": { "spec": { "volumes": [{ "name": "v", "configMap": { "name": "c" } }] } } } });
        let config_maps =
            BTreeMap::from([("c".to_owned(), json!({ "data": { "Corefile": "x", "other": "y" } }))]);
        assert_eq!(
            files(&workload, &container, &config_maps),
            MountedFiles::from([("/Corefile".into(), "x".into())])
        );
    }
}
