//! How requests are sent to endpoints.

use std::sync::Arc;

use super::AnnotationFamily;
use crate::settings::ProxySettings;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "proxy",
    plan: |_, rule, plan| {
        if let Some(defaults) = rule.globals.get::<Arc<ProxySettings>>() {
            plan.proxy = defaults.clone();
        }
    },
    ..AnnotationFamily::NONE
};
