//! Which Ingresses this controller serves ("ours"): those of an IngressClass with our controller, or with our value of the
//! old class annotation.

use std::sync::Arc;

use cluster::{CompactString, Ingress, IngressClass, Key, Kind, Kinds, Namespace, ObjectChange, Snapshot};

use crate::options::RouteOptions;
use crate::problem::{Effect, RoutingProblem};
use crate::unsupported::parse_bool;

/// The class annotation from before `spec.ingressClassName`; `--annotations-prefix` does not apply to it.
pub const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// The IngressClasses that are ours, and the namespaces that are watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Classes {
    ours: Vec<CompactString>,
    /// One of ours is the default class.
    default: bool,
    /// The namespaces that `--watch-namespace-selector` selects, sorted; `None` without a selector.
    namespaces: Option<Vec<CompactString>>,
}

impl Classes {
    /// The kinds that [`Classes::of`] reads.
    pub(crate) fn kinds(options: &RouteOptions) -> Kinds {
        let kinds = Kinds::of(&[Kind::IngressClass]);
        let selects = options.namespace_selector.is_some();
        if selects { kinds.union(Kinds::of(&[Kind::Namespace])) } else { kinds }
    }

    /// The classes and namespaces of a snapshot.
    pub(crate) fn of(cluster: &Snapshot, options: &RouteOptions) -> Self {
        Self::among(cluster.iter::<IngressClass>(), cluster.iter::<Namespace>(), options)
    }

    fn among<'a>(
        classes: impl Iterator<Item = &'a Arc<IngressClass>>,
        namespaces: impl Iterator<Item = &'a Arc<Namespace>>,
        options: &RouteOptions,
    ) -> Self {
        let namespaces = options.namespace_selector.as_ref().map(|selector| {
            let selected = namespaces.filter(|namespace| selector.selects(&namespace.labels));
            let mut names: Vec<_> = selected.map(|namespace| namespace.key.name.clone()).collect();
            names.sort_unstable();
            names
        });
        let mut picked = Self { namespaces, ..Self::default() };
        for class in classes.filter(|class| is_ours(class, options)) {
            picked.ours.push(class.key.name.clone());
            picked.default |= class.default;
        }
        picked.ours.sort_unstable();
        picked
    }

    /// Whether an Ingress is ours.
    ///
    /// A class in the spec takes precedence over the annotation. An Ingress of another class is never ours.
    pub(crate) fn take(&self, ingress: &Ingress, options: &RouteOptions) -> bool {
        if !self.watches(ingress, options) {
            return false;
        }
        if let Some(class) = &ingress.class {
            return self.ours.binary_search(class).is_ok();
        }
        match ingress.annotation(CLASS_ANNOTATION) {
            Some(class) => class == options.ingress_class,
            None => options.watch_ingress_without_class || options.admit_default_class && self.default,
        }
    }

    /// The problem of an Ingress that is not ours, unless another controller may serve it.
    pub(crate) fn unserved(
        &self,
        ingress: &Ingress,
        cluster: &Snapshot,
        options: &RouteOptions,
    ) -> Option<RoutingProblem> {
        if !self.watches(ingress, options) {
            return None;
        }
        let problem =
            |field: &str, what| Some(RoutingProblem::of_ingress(&ingress.key, field, what, Effect::LeftOut));
        let nearest = |name: &str| {
            let known = self.ours.iter().chain([&options.ingress_class]);
            let distances = known.map(|known| (strsim::levenshtein(name, known), known));
            distances.min().filter(|(distance, _)| *distance <= 2).map(|(_, known)| known)
        };
        if let Some(class) = &ingress.class {
            let key = Key { namespace: CompactString::default(), name: class.clone() };
            if cluster.get::<IngressClass>(&key).is_some() {
                return None;
            }
            let known = nearest(class).filter(|known| *known != class);
            let hint = known.map(|known| format!(" (did you mean {known}?)")).unwrap_or_default();
            return problem("spec.ingressClassName", format!("IngressClass {class:?} does not exist{hint}"));
        }
        // Controllers that read the annotation need no IngressClass, so a name that is not similar to ours may be another
        // controller's.
        if let Some(class) = ingress.annotation(CLASS_ANNOTATION) {
            let known = nearest(class).filter(|known| *known != class)?;
            return problem(
                CLASS_ANNOTATION,
                format!("{class:?} is not served here (did you mean {known}?)"),
            );
        }
        let has_default = cluster.iter::<IngressClass>().any(|class| class.default);
        let what = "is missing, and no IngressClass is the default".to_owned();
        if has_default { None } else { problem("spec.ingressClassName", what) }
    }

    /// Whether the namespace of an Ingress is watched.
    fn watches(&self, ingress: &Ingress, options: &RouteOptions) -> bool {
        let namespace = &ingress.key.namespace;
        let is_watched = options.watch_namespace.as_ref().is_none_or(|watched| watched == namespace);
        // A namespace that has not been seen yet is not selected.
        is_watched && self.namespaces.as_ref().is_none_or(|names| names.binary_search(namespace).is_ok())
    }

    /// Whether a batch changes which Ingresses are ours.
    pub(crate) fn are_touched(&self, touched: &[ObjectChange], options: &RouteOptions) -> bool {
        let seen = |class: Option<&Arc<IngressClass>>| {
            class.filter(|class| is_ours(class, options)).map(|class| (class.key.clone(), class.default))
        };
        let selected = |namespace: Option<&Arc<Namespace>>| {
            let (selector, namespace) = options.namespace_selector.as_ref().zip(namespace)?;
            selector.selects(&namespace.labels).then(|| namespace.key.clone())
        };
        touched.iter().any(|touched| match touched {
            ObjectChange::IngressClass(change) => seen(change.before.as_ref()) != seen(change.after.as_ref()),
            ObjectChange::Namespace(change) => {
                selected(change.before.as_ref()) != selected(change.after.as_ref())
            }
            _ => false,
        })
    }
}

/// Whether an Ingress is a canary by its annotation `canary`. A value that is not a boolean also makes it one.
pub(crate) fn is_canary(ingress: &Ingress, prefix: &str) -> bool {
    let value = ingress.annotation(&format!("{prefix}/canary")).map_or("", str::trim);
    !value.is_empty() && parse_bool(value) != Some(false)
}

fn is_ours(class: &IngressClass, options: &RouteOptions) -> bool {
    class.controller == options.controller_class
        || options.ingress_class_by_name && class.key.name == options.ingress_class
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, controller: &str, default: bool) -> Arc<IngressClass> {
        Arc::new(IngressClass { key: Key::cluster(name), controller: controller.into(), default })
    }

    fn ingress(class: Option<&str>, annotation: Option<&str>) -> Ingress {
        Ingress {
            key: Key::new("default", "web"),
            created: 0,
            annotations: annotation
                .map(|value| (CLASS_ANNOTATION.into(), value.into()))
                .into_iter()
                .collect(),
            class: class.map(Into::into),
            default_backend: None,
            rules: Vec::new(),
            tls: Vec::new(),
        }
    }

    #[test]
    fn an_ingress_is_served_by_its_class() {
        let ours = "k8s.io/ingress-nginx";
        let base = RouteOptions::default();
        let by_name = RouteOptions { ingress_class_by_name: true, ..base.clone() };
        let admitting = RouteOptions { admit_default_class: true, ..base.clone() };
        let without = RouteOptions { watch_ingress_without_class: true, ..base.clone() };
        let elsewhere = RouteOptions { watch_namespace: Some("shop".into()), ..base.clone() };
        let own = RouteOptions {
            controller_class: "example.com/own".into(),
            ingress_class: "own".into(),
            ..base.clone()
        };
        let classes = [class("nginx", ours, false), class("other", "example.com/other", false)];
        let foreign = [class("nginx", "example.com/other", true)];
        let default = [class("edge", ours, true)];
        for (n, (classes, options, spec, annotation, taken)) in [
            (&classes[..], &base, Some("nginx"), None, true),
            (&classes[..], &base, Some("other"), None, false),
            (&classes[..], &base, Some("missing"), None, false),
            (&classes[..], &base, Some("other"), Some("nginx"), false),
            (&classes[..], &base, Some("nginx"), Some("other"), true),
            (&classes[..], &base, None, Some("nginx"), true),
            (&classes[..], &base, None, Some("other"), false),
            (&classes[..], &base, None, None, false),
            (&classes[..], &without, None, None, true),
            (&classes[..], &without, Some("other"), None, false),
            (&classes[..], &without, None, Some("other"), false),
            (&foreign[..], &base, Some("nginx"), None, false),
            (&foreign[..], &base, None, None, false),
            (&foreign[..], &by_name, Some("nginx"), None, true),
            (&foreign[..], &admitting, None, None, false),
            (&default[..], &base, None, None, false),
            (&default[..], &admitting, None, None, true),
            (&default[..], &admitting, None, Some("other"), false),
            (&classes[..], &admitting, None, None, false),
            (&[][..], &base, Some("nginx"), None, false),
            (&[][..], &base, None, Some("nginx"), true),
            (&classes[..], &elsewhere, Some("nginx"), None, false),
            (&classes[..], &own, Some("nginx"), None, false),
            (&classes[..], &own, None, Some("own"), true),
        ]
        .into_iter()
        .enumerate()
        {
            let found = Classes::among(classes.iter(), std::iter::empty(), options)
                .take(&ingress(spec, annotation), options);
            assert_eq!(found, taken, "row {n}: class {spec:?}, annotation {annotation:?}");
        }
    }
}
