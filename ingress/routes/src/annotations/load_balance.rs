//! `load-balance`, `upstream-hash-by*` and `service-upstream`: which endpoint of a Service gets a request.
//!
//! As in ingress-nginx these belong to the Service: those of the first Ingress with a port of it apply to the rules of all others.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::template::Template;
use super::{Annotation, AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::balancing::{Balancing, HashBy};
use crate::family_values::FamilyValues;
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "load balancing",
    doc: "Which endpoint of a Service gets a request. A cookie of `affinity` takes precedence over upstream-hash-by, and that over \
          load-balance. As in ingress-nginx the first Ingress with a port of a Service decides for the rules of all of them; later ones \
          that ask for something else are reported.",
    annotations: &[
        Annotation {
            name: "load-balance",
            values: "round_robin, ewma; default that of the ConfigMap",
            doc: "round_robin: endpoints take turns; ewma: of two random endpoints the one whose responses took less time lately (a \
                  moving average over about 10 seconds, in each worker). chash, chashsubset and sticky_* are valid and the same as \
                  round_robin: upstream-hash-by and affinity turn them on.",
        },
        Annotation {
            name: "upstream-hash-by",
            values: "text with variables",
            doc: "Requests with the same text go to the same endpoint (consistent hashing, the ring of ingress-nginx): when endpoints \
                  are added or removed, few texts change theirs. If it fails, the next endpoint on the ring is tried.",
        },
        Annotation {
            name: "upstream-hash-by-subset",
            values: "true, false; default false",
            doc: "The text selects some endpoints, and each request goes to a random one of them.",
        },
        Annotation {
            name: "upstream-hash-by-subset-size",
            values: "a whole number from 0; default 3, also for 0",
            doc: "How many endpoints a text selects.",
        },
        Annotation {
            name: "service-upstream",
            values: "true, false; default that of the ConfigMap",
            doc: "Requests go to the cluster IP of the Service, so that the cluster's network chooses the endpoint. A Service without \
                  one, such as a headless Service, is reported, and its endpoints are used.",
        },
    ],
    keys: &[
        FamilyKey {
            name: "load-balance",
            values: "round_robin, ewma; default round_robin",
            doc: "how the endpoints of a Service share requests",
        },
        FamilyKey {
            name: "service-upstream",
            values: "true, false; default false",
            doc: "requests go to the cluster IP of the Service and not to its endpoints",
        },
    ],
    phases: &[Phase::Balance],
    syntax: "load-balance: ewma\n\
             upstream-hash-by: $http_x_user$request_uri\n\
             upstream-hash-by-subset: 'true'\n\
             upstream-hash-by-subset-size: '2'\n\
             service-upstream: 'false'",
    read,
    read_keys,
    ..AnnotationFamily::NONE
};

/// `upstream-hash-by-subset-size` unless it is set.
const SUBSET_SIZE: NonZeroUsize = NonZeroUsize::new(3).expect("not 0");

/// `load-balance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    RoundRobin,
    Ewma,
}

/// The annotations of an Ingress that has some of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadBalance {
    algorithm: Option<Algorithm>,
    hash_by: Option<Arc<Template>>,
    subset_size: Option<NonZeroUsize>,
    service_upstream: Option<bool>,
}

/// `load-balance` of the ConfigMap, if it is not the default.
#[derive(Clone, Copy, Debug, PartialEq)]
struct DefaultAlgorithm(Algorithm);

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    const TEXT: &str = "text with known variables, such as $request_uri or $http_x_user";
    let algorithm = algorithm(reader);
    let template = |text: &str| Template::parse(text, None).map(Arc::new);
    let hash_by = reader.value("upstream-hash-by", TEXT, Effect::DefaultUsed, template);
    let is_subset = reader.flag("upstream-hash-by-subset").unwrap_or_default();
    let size = reader.count("upstream-hash-by-subset-size").and_then(|size| usize::try_from(size).ok());
    if is_subset && hash_by.is_none() {
        let what = "has no effect without upstream-hash-by".into();
        reader.problem("upstream-hash-by-subset", what, Effect::Differs);
    }
    let size = size.and_then(NonZeroUsize::new).unwrap_or(SUBSET_SIZE);
    let balance = LoadBalance {
        algorithm,
        subset_size: (is_subset && hash_by.is_some()).then_some(size),
        hash_by,
        service_upstream: reader.flag("service-upstream"),
    };
    let LoadBalance { algorithm, hash_by, subset_size: _, service_upstream } = &balance;
    if algorithm.is_some() || hash_by.is_some() || service_upstream.is_some() {
        settings.values.set(balance);
    }
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    if let Some(algorithm) = algorithm(reader) {
        values.set(DefaultAlgorithm(algorithm));
    }
    // The pools, which depend on it, read its value themselves.
    reader.flag("service-upstream");
}

fn algorithm(reader: &mut SettingReader<'_>) -> Option<Algorithm> {
    reader.value("load-balance", "round_robin or ewma", Effect::DefaultUsed, |value| match value {
        "ewma" => Some(Algorithm::Ewma),
        "round_robin" | "chash" | "chashsubset" | "sticky_balanced" | "sticky_persistent" => {
            Some(Algorithm::RoundRobin)
        }
        _ => None,
    })
}

/// How requests of a rule choose an endpoint of its Service, given the annotations of the first Ingress with the Service.
pub(crate) fn balancing(of_service: Option<&LoadBalance>, rule: &Rule<'_>) -> Balancing {
    if let Some(LoadBalance { hash_by: Some(template), subset_size, .. }) = of_service {
        let (key, subset_size) = (template.request_text(rule), *subset_size);
        return Balancing::Hash(Box::new(HashBy { key, subset_size }));
    }
    let of_config_map = || rule.globals.get().map(|DefaultAlgorithm(algorithm)| *algorithm);
    match of_service.and_then(|balance| balance.algorithm).or_else(of_config_map) {
        Some(Algorithm::Ewma) => Balancing::Ewma,
        Some(Algorithm::RoundRobin) | None => Balancing::RoundRobin,
    }
}

#[cfg(test)]
mod tests;
