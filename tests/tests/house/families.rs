//! The table of annotation families in ARCHITECTURE.md: every family with its phases and its file, in the order of `FAMILIES`.

use ingress_routes::annotations::FAMILIES;

use crate::architecture;
use crate::registries::listed_in;

const HEAD: [&str; 5] = ["family", "phases", "file", "annotations", "keys"];

#[test]
fn the_table_of_families_is_that_of_the_code() {
    let files = listed_in("ingress/routes/src/annotations.rs", "FAMILIES", "FAMILY");
    assert_eq!(files.len(), FAMILIES.len());
    let wanted: Vec<String> = FAMILIES
        .iter()
        .zip(files)
        .map(|(family, file)| {
            let phases: Vec<&str> = family.phases.iter().map(|phase| phase.name()).collect();
            let (annotations, keys) = (family.annotations.len(), family.keys.len());
            format!("| {} | {} | `{file}.rs` | {annotations} | {keys} |", family.name, phases.join(", "))
        })
        .collect();
    let found = architecture::rows(&HEAD);
    assert!(
        found == wanted,
        "the table `| {} |` of ARCHITECTURE.md should be:\n{}\n\nIt differs in:\n{}",
        HEAD.join(" | "),
        wanted.join("\n"),
        found.iter().filter(|row| !wanted.contains(row)).cloned().collect::<Vec<_>>().join("\n")
    );
}
