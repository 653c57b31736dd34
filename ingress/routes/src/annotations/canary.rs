//! `canary` and its conditions: a part of the requests of another Ingress.

use std::sync::Arc;

use http::HeaderName;

use super::{Annotation, AnnotationFamily, SettingReader, Settings};
use crate::canary::{CanaryHeader, CanaryPolicy};
use crate::pattern::Pattern;
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "canary",
    doc: "Marks an Ingress as canary: it has no host and no route of its own. Each of its paths belongs to the rule of \
          another Ingress with the same host, path and path type, and gets a part of its requests: by header, then by \
          cookie, then by weight. All annotations but affinity are those of the other Ingress. If a rule has several \
          canaries, only that of the oldest Ingress gets requests.",
    annotations: &[
        Annotation { name: "canary", values: "true, false", doc: "Makes the Ingress a canary." },
        Annotation {
            name: "canary-by-header",
            values: "a header name",
            doc: "`always` in this header chooses the canary, `never` rules it out.",
        },
        Annotation {
            name: "canary-by-header-value",
            values: "text",
            doc: "Exactly this value chooses the canary; `always` and `never` lose their meaning.",
        },
        Annotation {
            name: "canary-by-header-pattern",
            values: "a regular expression",
            doc: "A value in which it is found chooses the canary; ignored next to a value.",
        },
        Annotation {
            name: "canary-by-cookie",
            values: "a cookie name",
            doc: "`always` in this cookie chooses the canary, `never` rules it out.",
        },
        Annotation {
            name: "canary-weight",
            values: "a number; default 0",
            doc: "Share of the remaining requests.",
        },
        Annotation {
            name: "canary-weight-total",
            values: "a number; default 100, and at least 100",
            doc: "The scale of the share.",
        },
    ],
    phases: &[Phase::Balance],
    syntax: "canary: 'true'\n\
             canary-by-header: X-Canary\n\
             canary-by-header-value: teapot\n\
             canary-by-header-pattern: ^(teapot|kettle)$\n\
             canary-by-cookie: canary\n\
             canary-weight: '5'\n\
             canary-weight-total: '1000'",
    read,
    ..AnnotationFamily::NONE
};

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    // An Ingress that is a canary by mistake gets too few requests, but one that should have been a canary gets all of them.
    // So a value that is not a boolean makes a canary that gets no requests.
    let is_canary = reader.value(
        "canary",
        "true or false; the Ingress makes no routes meanwhile",
        Effect::LeftOut,
        crate::unsupported::parse_bool,
    );
    let bad = is_canary.is_none() && reader.text("canary").is_some();
    let policy = policy(reader);
    if bad {
        settings.canary = Some(Arc::new(CanaryPolicy { disabled: true, ..policy }));
    } else if is_canary == Some(true) {
        settings.canary = Some(Arc::new(policy));
    } else if policy != NO_CONDITIONS {
        reader.problem(
            "canary",
            "is not true, so the other canary annotations do nothing".into(),
            Effect::Differs,
        );
    }
}

const NO_CONDITIONS: CanaryPolicy = CanaryPolicy {
    header: None,
    value: CanaryHeader::Keyword,
    cookie: None,
    weight: 0,
    total: 100,
    disabled: false,
};

fn policy(reader: &mut SettingReader<'_>) -> CanaryPolicy {
    let header = reader.value("canary-by-header", "a header name", Effect::DefaultUsed, |value| {
        // nginx does not distinguish `-` and `_` in header names.
        HeaderName::try_from(value.replace('_', "-")).ok()
    });
    let equals =
        reader.value("canary-by-header-value", "text", Effect::DefaultUsed, |value| Some(value.to_owned()));
    let weight = reader.number("canary-weight").unwrap_or(0);
    let total = reader.number("canary-weight-total").unwrap_or(100);
    CanaryPolicy {
        header,
        value: equals.map_or_else(|| pattern(reader), CanaryHeader::Equals),
        cookie: reader.value("canary-by-cookie", "a cookie name", Effect::DefaultUsed, cookie_name),
        weight: u32::try_from(weight.max(0)).unwrap_or(u32::MAX),
        total: u32::try_from(total.max(100)).unwrap_or(u32::MAX),
        disabled: false,
    }
}

fn pattern(reader: &mut SettingReader<'_>) -> CanaryHeader {
    let Some(text) = reader.text("canary-by-header-pattern") else { return CanaryHeader::Keyword };
    match Pattern::new(text, false) {
        Ok(pattern) => CanaryHeader::Matches(Arc::new(pattern)),
        Err(error) => {
            let what = format!(
                "{text:?} is no regular expression ({error}); where the header is sent, the primary answers"
            );
            reader.problem("canary-by-header-pattern", what, Effect::Differs);
            CanaryHeader::Invalid
        }
    }
}

/// A valid cookie name: a token (RFC 6265 §4.1.1).
pub(super) fn cookie_name(value: &str) -> Option<String> {
    let token = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
    (!value.is_empty() && value.bytes().all(token)).then(|| value.into())
}
