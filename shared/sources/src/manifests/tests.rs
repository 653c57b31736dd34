use std::fs;
use std::sync::mpsc;

use cluster::{Current, Kind, Kinds, Service};
use telemetry::metrics::Registry;

use super::*;
use crate::testing::Reads;
use crate::writer::Cluster;

const LONG: Duration = Duration::from_secs(20);

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n";

/// The names of the Services and the number of namespaces after each batch.
type Batches = mpsc::Receiver<(Vec<String>, usize)>;

/// A cluster whose Services and Namespaces are read from this source.
fn started(manifests: ManifestSource) -> (tokio::runtime::Runtime, Cluster, Current<()>, Batches) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let cluster = Cluster::start(&Registry::new()).unwrap();
    let (sender, batches) = mpsc::channel();
    cluster.observe(move |snapshot, _| {
        let mut names: Vec<_> = snapshot.iter::<Service>().map(|service| service.key.to_string()).collect();
        names.sort();
        let _ended = sender.send((names, snapshot.count(Kind::Namespace)));
    });
    let reads = cluster.project(Reads(Kinds::of(&[Kind::Service, Kind::Namespace])));
    runtime.spawn(Box::new(manifests).run(cluster.sink()));
    (runtime, cluster, reads, batches)
}

fn wait_for(batches: &Batches, names: &[&str], namespaces: usize) {
    while batches.recv_timeout(LONG).unwrap() != (names.iter().map(ToString::to_string).collect(), namespaces)
    {
    }
}

#[test]
fn a_folder_is_followed_and_its_problems_are_reported() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("web.yaml");
    fs::write(&path, SERVICE).unwrap();
    let reports = Reports::new(&Registry::new());
    let (_runtime, _cluster, _reads, batches) =
        started(ManifestSource::new([home.path()], &reports).unwrap());
    wait_for(&batches, &["shop/web"], 1);
    fs::write(&path, format!("{SERVICE}---\n{}", SERVICE.replace("web", "Bad"))).unwrap();
    fs::write(home.path().join("db.yaml"), SERVICE.replace("web", "db").replace("shop", "store")).unwrap();
    wait_for(&batches, &["shop/web", "store/db"], 2);
    fs::remove_file(home.path().join("db.yaml")).unwrap();
    wait_for(&batches, &["shop/web"], 1);
    let problems: Vec<_> = reports.current().into_iter().map(|(_, problem)| problem.key).collect();
    assert_eq!(problems, [format!("{}:7", path.display())]);
}

#[test]
fn embedded_text_is_also_served_for_kinds_that_are_read_later() {
    let reports = Reports::new(&Registry::new());
    let manifests = ManifestSource::embedded([("web.yaml", SERVICE)], &reports);
    let (runtime, cluster, _reads, batches) = started(manifests);
    wait_for(&batches, &["shop/web"], 1);
    let mut statuses = cluster.statuses();
    assert_eq!(*statuses.borrow().get(Kind::Secret), WatchStatus::Waiting);
    let _secrets = cluster.project(Reads(Kinds::of(&[Kind::Secret])));
    let synced = statuses.wait_for(|statuses| *statuses.get(Kind::Secret) == WatchStatus::Synced);
    runtime.block_on(async { tokio::time::timeout(LONG, synced).await }).unwrap().unwrap();
}

#[test]
fn ingresses_are_used_when_every_one_of_them_is_known() {
    const INGRESS: &str =
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web, namespace: shop}\n";
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("web.yaml");
    fs::write(&path, format!("{INGRESS}spec: []\n")).unwrap();
    let reports = Reports::new(&Registry::new());
    let kinds = Kinds::of(&[Kind::Ingress]);
    let manifests = ManifestSource::new([home.path()], &reports).unwrap().with_complete(kinds);
    let (runtime, cluster, ..) = started(manifests);
    let _ingresses = cluster.project(Reads(kinds));
    let mut statuses = cluster.statuses();
    let mut wait = |status: &WatchStatus| {
        let reached = statuses.wait_for(|statuses| statuses.get(Kind::Ingress) == status);
        runtime.block_on(async { tokio::time::timeout(LONG, reached).await }).unwrap().unwrap();
    };
    let missing = format!("{}:4 (Ingress shop/web) cannot be decoded", path.display());
    wait(&WatchStatus::Incomplete(missing.as_str().into()));
    assert!(!cluster.read(|snapshot| snapshot.synced(kinds)));
    fs::write(&path, INGRESS).unwrap();
    wait(&WatchStatus::Synced);
}

#[test]
fn a_missing_path_is_an_error_at_the_start() {
    let reports = Reports::new(&Registry::new());
    let error = ManifestSource::new(["/nowhere/at/all"], &reports).err().unwrap();
    assert_eq!(
        error.to_string(),
        "/nowhere/at/all: No such file or directory (os error 2); wanted a manifest file or a folder of them"
    );
}
