//! `enable-global-auth`: whether an Ingress takes part in the global external authentication.

use super::{Annotation, AnnotationFamily};

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "global auth",
    doc: "Exempts an Ingress from `global-auth-url` of the ConfigMap, which closes all other routes because it is not \
          supported yet.",
    annotations: &[Annotation {
        name: "enable-global-auth",
        values: "true, false; default true",
        doc: "If false, requests need not be authenticated.",
    }],
    syntax: "enable-global-auth: 'false'",
    // Only reports invalid values; `Settings::opted_out` has the value.
    read: |reader, _| {
        reader.flag("enable-global-auth");
    },
    ..AnnotationFamily::NONE
};
