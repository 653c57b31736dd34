//! `affinity` and its cookie: sessions that stay at one endpoint.

use std::sync::Arc;

use cluster::CompactString;

use super::canary::cookie_name;
use super::{Annotation, AnnotationFamily, RewriteSettings, SettingReader, Settings};
use crate::affinity::{Affinity, AffinityMode};
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "affinity",
    doc: "Keeps a client at one endpoint by a cookie. Cookies set by ingress-nginx remain valid.",
    annotations: &[
        Annotation { name: "affinity", values: "cookie", doc: "Turns it on." },
        Annotation {
            name: "affinity-mode",
            values: "balanced, persistent; default balanced",
            doc: "Balanced moves some sessions when endpoints are added or removed; persistent only those of a removed endpoint.",
        },
        Annotation {
            name: "affinity-canary-behavior",
            values: "sticky, legacy; default sticky",
            doc: "On a canary: sticky keeps its clients with the cookie of the primary, legacy gives them none.",
        },
        Annotation {
            name: "session-cookie-name",
            values: "a cookie name; default INGRESSCOOKIE",
            doc: "Name of the cookie.",
        },
        Annotation {
            name: "session-cookie-path",
            values: "a path; default the path of the rule",
            doc: "Path attribute. Should be set together with use-regex, because the path of the rule is a pattern.",
        },
        Annotation { name: "session-cookie-domain", values: "a domain", doc: "Domain attribute." },
        Annotation { name: "session-cookie-expires", values: "seconds", doc: "Expires attribute, from now." },
        Annotation { name: "session-cookie-max-age", values: "seconds", doc: "Max-Age attribute." },
        Annotation {
            name: "session-cookie-samesite",
            values: "None, Lax, Strict",
            doc: "SameSite attribute; other values are left out, because browsers do not know them.",
        },
        Annotation {
            name: "session-cookie-conditional-samesite-none",
            values: "true, false; default false",
            doc: "Leaves SameSite=None out for browsers that reject such cookies.",
        },
        Annotation {
            name: "session-cookie-secure",
            values: "true, false",
            doc: "true: Secure also over plain http; else only over https.",
        },
        Annotation {
            name: "session-cookie-change-on-failure",
            values: "true, false; default false",
            doc: "After a failed try another endpoint and a new cookie, instead of the same endpoint again.",
        },
    ],
    phases: &[Phase::Balance, Phase::ResponseHead],
    syntax: "affinity: cookie\n\
             affinity-mode: persistent\n\
             affinity-canary-behavior: legacy\n\
             session-cookie-name: SERVERID\n\
             session-cookie-path: /shop\n\
             session-cookie-domain: shop.example\n\
             session-cookie-expires: '172800'\n\
             session-cookie-max-age: '172800'\n\
             session-cookie-samesite: None\n\
             session-cookie-conditional-samesite-none: 'true'\n\
             session-cookie-secure: 'true'\n\
             session-cookie-change-on-failure: 'true'",
    read,
    ..AnnotationFamily::NONE
};

/// The annotations of an Ingress.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AffinitySettings {
    /// `affinity` and its cookie.
    pub(crate) cookie: Option<Arc<Affinity>>,
    /// `affinity-canary-behavior: legacy`: the affinity of a rule does not apply to this canary.
    pub(crate) legacy_canary: bool,
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let default = Effect::DefaultUsed;
    let behavior =
        reader.value("affinity-canary-behavior", "sticky or legacy", default, |value| match value {
            "sticky" => Some(false),
            "legacy" => Some(true),
            _ => None,
        });
    let on = reader.value("affinity", "cookie", default, |value| (value == "cookie").then_some(()));
    let cookie = cookie(reader);
    let affinity = AffinitySettings {
        cookie: on.map(|()| Arc::new(cookie)),
        legacy_canary: behavior.unwrap_or_default(),
    };
    let has_patterns = settings.values.get::<RewriteSettings>().is_some_and(|rewrite| rewrite.use_regex);
    if affinity.cookie.as_ref().is_some_and(|cookie| cookie.path.is_none()) && has_patterns {
        let what = "should be set together with use-regex: the path of the rule is a pattern".into();
        reader.problem("session-cookie-path", what, Effect::Differs);
    }
    if affinity != AffinitySettings::default() {
        settings.values.set(affinity);
    }
}

fn cookie(reader: &mut SettingReader<'_>) -> Affinity {
    let default = Effect::DefaultUsed;
    let mode = reader.value("affinity-mode", "balanced or persistent", default, |value| match value {
        "balanced" => Some(AffinityMode::Balanced),
        "persistent" => Some(AffinityMode::Persistent),
        _ => None,
    });
    let name = reader.value("session-cookie-name", "a cookie name", default, cookie_name);
    let same_site =
        reader.value("session-cookie-samesite", "None, Lax or Strict, in this spelling", default, |value| {
            match value {
                "None" => Some("None"),
                "Lax" => Some("Lax"),
                "Strict" => Some("Strict"),
                _ => None,
            }
        });
    Affinity {
        mode: mode.unwrap_or_default(),
        name: name.map_or_else(|| "INGRESSCOOKIE".into(), CompactString::from),
        path: reader.value("session-cookie-path", "a path", default, attribute),
        domain: reader.value("session-cookie-domain", "a domain", default, attribute),
        expires: reader.number("session-cookie-expires"),
        max_age: reader.number("session-cookie-max-age"),
        same_site,
        conditional_same_site_none: reader
            .flag("session-cookie-conditional-samesite-none")
            .unwrap_or_default(),
        secure: reader.flag("session-cookie-secure").unwrap_or_default(),
        change_on_failure: reader.flag("session-cookie-change-on-failure").unwrap_or_default(),
    }
}

/// Text that is valid in an attribute of a cookie (RFC 6265 §4.1.1).
fn attribute(value: &str) -> Option<CompactString> {
    value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';').then(|| value.into())
}
