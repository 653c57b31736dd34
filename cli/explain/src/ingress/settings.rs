//! The annotations of the Ingress in the order in which they have their effects, and what clients get.

use cluster::Ingress;
use http::StatusCode;
use ingress_routes::annotations::FAMILIES;
use ingress_routes::plan::filter::ResponseView;
use ingress_routes::plan::head_edits::HeadEdits;
use ingress_routes::plan::phase::Phase;
use ingress_routes::{Exchange, Route};

use crate::tree::Tree;

/// The annotations that are honoured, by the phase of their family.
pub(super) fn of_ingress(ingress: &Ingress, prefix: &str) -> Option<Tree> {
    let value = |name: &str| ingress.annotation(&format!("{prefix}/{name}"));
    let mut found: Vec<_> = FAMILIES
        .iter()
        .flat_map(|family| family.annotations.iter().map(move |annotation| (family, annotation)))
        .filter_map(|(family, annotation)| Some((family, annotation, value(annotation.name)?)))
        .collect();
    found.sort_by_key(|(family, ..)| family.phases.first().copied());
    let lines = found.into_iter().map(|(family, annotation, value)| {
        let phases: Vec<_> = family.phases.iter().map(|phase| phase.name()).collect();
        Tree::new(format!("{}: {value:?} ({}): {}", annotation.name, phases.join(", "), annotation.doc))
    });
    let tree = Tree::new(format!("annotations of Ingress {}", ingress.key)).with_all(lines);
    (!tree.parts.is_empty()).then_some(tree)
}

/// The annotations that are honoured and have an effect in a phase.
pub(crate) fn of_phase(ingress: &Ingress, prefix: &str, phase: Phase) -> Vec<Tree> {
    let families = FAMILIES.iter().filter(|family| family.phases.contains(&phase));
    let annotations = families.flat_map(|family| family.annotations);
    let set = annotations.filter_map(|annotation| {
        let value = ingress.annotation(&format!("{prefix}/{}", annotation.name))?;
        Some(Tree::new(format!("{}: {value:?}: {}", annotation.name, annotation.doc)))
    });
    set.collect()
}

/// The changes of a response with the status 200.
pub(super) fn of_response(route: &Route, exchange: &Exchange) -> Tree {
    let mut edits = HeadEdits::default();
    route.plan.edit_response_head(exchange, &ResponseView::new(StatusCode::OK), &mut edits);
    let added = edits.added().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)));
    let tree = Tree::new("answer: that of the endpoint").with_all(added.map(|line| format!("with {line}")));
    match &route.plan.error_pages {
        Some(_) => tree.with("the default backend makes the responses to some errors (custom-http-errors)"),
        None => tree,
    }
}
