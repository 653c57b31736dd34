//! `enable-global-auth`: whether an Ingress takes part in the global external authentication.

use super::{Annotation, AnnotationFamily, no_filter};

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "global auth",
    doc: "Exempts an Ingress from `global-auth-url` of the ConfigMap, which closes all other routes until it is built.",
    annotations: &[Annotation {
        name: "enable-global-auth",
        values: "true, false; default true",
        doc: "Requests need not be authenticated where it is false.",
    }],
    syntax: "enable-global-auth: 'false'",
    // What it says is in `Settings::opted_out`.
    read: |reader, _| {
        reader.flag("enable-global-auth");
    },
    filter: no_filter,
};
