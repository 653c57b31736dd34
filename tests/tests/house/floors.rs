//! Floors: a crate imports only from floors below, and the table in ARCHITECTURE.md lists every crate.

use std::collections::BTreeMap;

use crate::architecture::floors;
use crate::none;
use crate::workspace::{folder, house_dependencies, metadata};

#[test]
fn the_floors_table_and_the_workspace_name_the_same_crates() {
    let metadata = metadata();
    let built: BTreeMap<_, _> = metadata
        .packages
        .iter()
        .map(|package| (package.name.to_string(), folder(package).display().to_string()))
        .collect();
    let drawn: BTreeMap<_, _> = floors().into_iter().map(|row| (row.name, row.folder)).collect();
    let mut breaches = Vec::new();
    for (name, folder) in &built {
        if drawn.get(name) != Some(folder) {
            breaches
                .push(format!("`{name}` ({folder}/) is built, ARCHITECTURE.md has {:?}", drawn.get(name)));
        }
    }
    for (name, folder) in drawn.iter().filter(|(name, _)| !built.contains_key(*name)) {
        breaches.push(format!("`{name}` ({folder}/) stands in ARCHITECTURE.md and is not built"));
    }
    none("the floors table is the workspace", breaches);
}

#[test]
fn every_crate_has_one_row_with_a_description() {
    let rows = floors();
    let mut breaches = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        if row.holds.is_empty() {
            breaches.push(format!("`{}` holds nothing", row.name));
        }
        if rows[..at].iter().any(|above| above.name == row.name) {
            breaches.push(format!("`{}` has two rows", row.name));
        }
    }
    none("one row for each crate, and what it holds", breaches);
}

#[test]
fn a_crate_imports_only_from_floors_below() {
    let floors: BTreeMap<_, _> = floors().into_iter().map(|row| (row.name, row.floor)).collect();
    let mut breaches = Vec::new();
    for package in &metadata().packages {
        for imported in house_dependencies(package) {
            let (Some(above), Some(below)) = (floors.get(package.name.as_str()), floors.get(imported)) else {
                continue; // the test above names a crate without a row
            };
            if below >= above {
                breaches
                    .push(format!("`{}` (floor {above}) imports `{imported}` (floor {below})", package.name));
            }
        }
    }
    none("imports go down", breaches);
}

#[test]
fn dns_and_ingress_never_import_each_other() {
    let metadata = metadata();
    let side = |name: &str| {
        let package = metadata.packages.iter().find(|package| package.name.as_str() == name)?;
        let top = folder(package).components().next()?.as_os_str().to_str()?.to_owned();
        ["dns", "ingress"].contains(&top.as_str()).then_some(top)
    };
    let mut breaches = Vec::new();
    for package in &metadata.packages {
        for imported in house_dependencies(package) {
            if let (Some(from), Some(to)) = (side(&package.name), side(imported))
                && from != to
            {
                breaches.push(format!("`{}` imports `{imported}`", package.name));
            }
        }
    }
    none("dns and ingress meet in cli only", breaches);
}
