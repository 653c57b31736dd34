//! The check of everything that was read.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use cluster::{Cache, ConfigMap, Event, Ingress, IngressClass, Key, Kind, Object, Snapshot};
use ingress_routes::{RouteIndex, RouteOptions, RouteTable};
use tokio::runtime::Handle;

use crate::corefile::{self, CorefileFiles};
use crate::ingresses::{Judge, Problems};
use crate::input::CheckInput;
use crate::report::{CheckedObject, Report};
use crate::workload::{self, CheckedController, FlagReader};

/// Where the image of CoreDNS expects its Corefile, and K3s and AKS the files that it imports.
const COREDNS_FOLDER: &str = "/etc/coredns/";
const CUSTOM_FOLDER: &str = "/etc/coredns/custom/";

/// Checks what was read. `flags` reads the arguments of a controller; `defaults` are the options where none is found. `progress` gets how
/// many Ingresses have been checked, and how many there are.
pub fn check(
    mut input: CheckInput,
    defaults: RouteOptions,
    flags: FlagReader<'_>,
    runtime: &Handle,
    progress: &dyn Fn(usize, usize),
) -> Report {
    let mut report = Report { notes: std::mem::take(&mut input.notes), objects: Vec::new() };
    let (mut controllers, workloads) = workload::controllers(&input.workloads, flags);
    report.objects.extend(workloads);
    if controllers.is_empty() {
        controllers.push(CheckedController { name: String::new(), options: defaults });
    }
    let mut judged = HashSet::new();
    let mut foreign = Vec::new();
    for controller in &controllers {
        let (objects, others) = ingresses(&mut input, controller, &mut judged, progress);
        if !controller.name.is_empty() || input.cache.snapshot().count(Kind::Ingress) > 0 {
            report.notes.push(note(controller));
        }
        report.objects.extend(objects);
        foreign = others;
    }
    foreign.retain(|object: &CheckedObject| !judged.contains(&object.name));
    report.objects.extend(foreign);
    report.objects.extend(corefiles(&input, runtime));
    report.objects.append(&mut input.unread);
    report.sort();
    report
}

/// Checks the Ingresses that a controller serves, and lists those that it does not serve.
fn ingresses(
    input: &mut CheckInput,
    controller: &CheckedController,
    judged: &mut HashSet<String>,
    progress: &dyn Fn(usize, usize),
) -> (Vec<CheckedObject>, Vec<CheckedObject>) {
    add_class(input, &controller.options);
    let table = table(&mut input.cache, &controller.options);
    let all: Vec<_> = table.problems(std::time::Duration::ZERO).collect();
    let mut problems = Problems::new();
    for problem in &all {
        problems.entry((problem.kind, problem.key.clone())).or_default().push(problem);
    }
    let judge = Judge {
        table: &table,
        problems: &problems,
        lines: &input.lines,
        prefix: &controller.options.annotations_prefix,
        is_whole: input.is_whole,
    };
    let snapshot = input.cache.snapshot();
    let (mut objects, mut foreign) = (Vec::new(), Vec::new());
    let all = snapshot.count(Kind::Ingress);
    for (at, ingress) in snapshot.iter::<Ingress>().enumerate() {
        progress(at, all);
        if judge.table.has(&ingress.key) {
            judged.insert(ingress.key.to_string());
            objects.push(judge.ingress(ingress));
        } else {
            foreign.push(judge.foreign(ingress, snapshot));
        }
    }
    let named = controller.options.config_map.as_ref();
    objects.extend(named.and_then(|key| snapshot.get::<ConfigMap>(key)).map(|found| judge.config_map(found)));
    (objects, foreign)
}

/// Adds the IngressClass of `--ingress-class` to a folder that has none of the controller: it may be installed with the controller.
fn add_class(input: &mut CheckInput, options: &RouteOptions) {
    let is_ours = |class: &Arc<IngressClass>| class.controller == options.controller_class;
    if input.is_whole || input.cache.snapshot().iter().any(is_ours) {
        return;
    }
    let (key, controller) = (Key::cluster(&*options.ingress_class), options.controller_class.clone());
    let class = IngressClass { key, controller, default: false };
    input.cache.apply([Event::Apply(Object::IngressClass(Arc::new(class)))], 0);
}

/// The route table of a controller.
fn table(cache: &mut Cache, options: &RouteOptions) -> Arc<RouteTable> {
    cache.project(RouteIndex::new(options.clone())).load_full()
}

/// The Corefiles in files and in ConfigMaps.
fn corefiles(input: &CheckInput, runtime: &Handle) -> Vec<CheckedObject> {
    let files = input.corefiles.iter();
    let mut objects: Vec<_> =
        files.map(|(name, text)| corefile::check(name, name, text, &CorefileFiles::Disk, runtime)).collect();
    let snapshot = input.cache.snapshot();
    for config_map in snapshot.iter::<ConfigMap>() {
        let Some(text) = config_map.get("Corefile") else { continue };
        let mounted = mounted(snapshot, config_map);
        let name = config_map.key.to_string();
        let file = format!("{COREDNS_FOLDER}Corefile");
        let mut object = corefile::check(&name, &file, text, &CorefileFiles::ConfigMaps(&mounted), runtime);
        object.place = input.lines.field(Kind::ConfigMap, &config_map.key, "Corefile");
        for place in object.settings.iter_mut().filter_map(|finding| finding.place.as_mut()) {
            let (key, name) = match place.file.strip_prefix(CUSTOM_FOLDER) {
                Some(name) => (custom_key(config_map), name),
                None => {
                    let Some(name) = place.file.strip_prefix(COREDNS_FOLDER) else { continue };
                    (config_map.key.clone(), name)
                }
            };
            if let Some(found) = input.lines.data_line(&key, name, place.line) {
                *place = found;
            }
        }
        objects.push(object);
    }
    objects
}

/// The files beside a Corefile in its ConfigMap, and those of the ConfigMap `coredns-custom` of its namespace.
fn mounted(snapshot: &Snapshot, config_map: &ConfigMap) -> BTreeMap<String, String> {
    let in_folder = |folder: &'static str, config_map: &ConfigMap| {
        let files = config_map.data.iter();
        files.map(|(name, text)| (format!("{folder}{name}"), text.clone())).collect::<Vec<_>>()
    };
    let custom = custom_key(config_map);
    let custom = snapshot.get::<ConfigMap>(&custom).map(|found| in_folder(CUSTOM_FOLDER, found));
    in_folder(COREDNS_FOLDER, config_map).into_iter().chain(custom.into_iter().flatten()).collect()
}

/// The ConfigMap with the files of [`CUSTOM_FOLDER`].
fn custom_key(config_map: &ConfigMap) -> Key {
    Key::new(&*config_map.key.namespace, "coredns-custom")
}

/// As what the Ingresses were checked.
fn note(controller: &CheckedController) -> String {
    let CheckedController { name, options } = controller;
    let RouteOptions { controller_class, ingress_class, annotations_prefix, .. } = options;
    let config_map = match &options.config_map {
        Some(key) => format!("ConfigMap {key}"),
        None => "no ConfigMap".to_owned(),
    };
    let by = match name.as_str() {
        "" => "the defaults of ingress-nginx (no Deployment or DaemonSet of it was found)".to_owned(),
        name => format!("the flags of {name}"),
    };
    format!(
        "Ingresses: with {by}: controller {controller_class}, class {ingress_class}, {config_map}, annotations {annotations_prefix}/*"
    )
}

#[cfg(test)]
mod tests;
