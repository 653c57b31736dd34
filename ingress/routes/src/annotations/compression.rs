//! Compression of responses with gzip and brotli, which the ConfigMap turns on.

use std::sync::Arc;

use super::{AnnotationFamily, FamilyKey, Rule, SettingReader, Settings};
use crate::family_values::FamilyValues;
use crate::pattern::Pattern;
use crate::plan::Plan;
use crate::plan::compression::{CodingRule, Compression, ContentCoding, ExcludedAgents, MediaTypes};
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "compression",
    doc: "Compresses responses with status 200, 403 or 404 for clients that accept it, also pages that the proxy makes itself if they are \
          long enough. Brotli comes before gzip. Responses that are compressed already, those with Cache-Control: no-transform, and those for HTTP/1.0 are passed on as \
          they are.",
    keys: &[
        FamilyKey {
            name: "use-gzip",
            values: "true, false; default false",
            doc: "compresses responses with gzip",
        },
        FamilyKey { name: "gzip-level", values: "1 to 9; default 1", doc: "how hard gzip tries" },
        FamilyKey {
            name: "gzip-min-length",
            values: "bytes; default 256",
            doc: "the shortest body, by Content-Length",
        },
        FamilyKey {
            name: "gzip-types",
            values: "media types, or *",
            doc: "what is compressed besides text/html; by default the usual types of text, and with * all but gRPC",
        },
        FamilyKey {
            name: "gzip-disable",
            values: "a regular expression, or msie6",
            doc: "user agents that get no gzip",
        },
        FamilyKey {
            name: "enable-brotli",
            values: "true, false; default false",
            doc: "compresses responses with brotli",
        },
        FamilyKey { name: "brotli-level", values: "0 to 11; default 4", doc: "how hard brotli tries" },
        FamilyKey {
            name: "brotli-min-length",
            values: "bytes; default 20",
            doc: "the shortest body, by Content-Length",
        },
        FamilyKey {
            name: "brotli-types",
            values: "media types, or *",
            doc: "what is compressed besides text/html; by default the usual types of text",
        },
    ],
    phases: &[Phase::ResponseHead, Phase::ResponseBody],
    syntax: "use-gzip: 'true'\n\
             gzip-level: '5'\n\
             gzip-min-length: '1024'\n\
             gzip-types: application/json text/css\n\
             gzip-disable: msie6\n\
             enable-brotli: 'true'\n\
             brotli-level: '5'\n\
             brotli-min-length: '100'\n\
             brotli-types: '*'",
    read_keys,
    plan,
    ..AnnotationFamily::NONE
};

/// The default of `gzip-types` and `brotli-types`.
const TYPES: &str = "application/atom+xml application/javascript application/x-javascript application/json \
                     application/rss+xml application/vnd.ms-fontobject application/x-font-ttf \
                     application/x-web-app-manifest+json application/xhtml+xml application/xml font/opentype \
                     image/svg+xml image/x-icon text/css text/javascript text/plain text/x-component";

/// The names of the keys of a coding.
struct CodingKeys {
    coding: ContentCoding,
    level: &'static str,
    min_length: &'static str,
    types: &'static str,
}

const GZIP: CodingKeys = CodingKeys {
    coding: ContentCoding::Gzip,
    level: "gzip-level",
    min_length: "gzip-min-length",
    types: "gzip-types",
};

const BROTLI: CodingKeys = CodingKeys {
    coding: ContentCoding::Brotli,
    level: "brotli-level",
    min_length: "brotli-min-length",
    types: "brotli-types",
};

impl CodingKeys {
    fn read(&self, reader: &mut SettingReader<'_>) -> CodingRule {
        let (levels, wanted, level, min_length) = match self.coding {
            ContentCoding::Gzip => (1..=9, "a number from 1 to 9", 1, 256),
            ContentCoding::Brotli => (0..=11, "a number from 0 to 11", 4, 20),
        };
        let in_range = |value: &str| value.parse().ok().filter(|level| levels.contains(level));
        let bytes = |value: &str| value.parse().ok();
        CodingRule {
            coding: self.coding,
            level: reader.value(self.level, wanted, Effect::DefaultUsed, in_range).unwrap_or(level),
            min_length: reader
                .value(self.min_length, "a number of bytes", Effect::DefaultUsed, bytes)
                .unwrap_or(min_length),
            types: media_types(reader.text(self.types).unwrap_or(TYPES)),
            excluded: None,
        }
    }
}

fn media_types(text: &str) -> MediaTypes {
    match text.split_whitespace().any(|name| name == "*") {
        true => MediaTypes::All,
        false => MediaTypes::List(text.split_whitespace().map(Into::into).collect()),
    }
}

/// As in nginx the expression distinguishes capitals.
fn excluded(reader: &mut SettingReader<'_>) -> Option<ExcludedAgents> {
    reader.text("gzip-disable").filter(|value| !value.is_empty())?;
    let parse = |value: &str| match value {
        "msie6" => Some(ExcludedAgents::Msie6),
        pattern => Pattern::new(pattern, false).ok().map(ExcludedAgents::Pattern),
    };
    reader.value("gzip-disable", "a regular expression, or msie6", Effect::DefaultUsed, parse)
}

fn read_keys(reader: &mut SettingReader<'_>, values: &mut FamilyValues) {
    // All keys are read, so that invalid ones are reported before compression is turned on.
    let brotli = BROTLI.read(reader);
    let gzip = CodingRule { excluded: excluded(reader), ..GZIP.read(reader) };
    let mut is_on = |key| reader.flag(key).unwrap_or(false);
    let rules = [(is_on("enable-brotli"), brotli), (is_on("use-gzip"), gzip)];
    let rules: Vec<_> = rules.into_iter().filter_map(|(is_on, rule)| is_on.then_some(rule)).collect();
    if !rules.is_empty() {
        values.set(Arc::new(Compression { rules }));
    }
}

fn plan(_: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    plan.compression = rule.globals.get::<Arc<Compression>>().cloned();
}

#[cfg(test)]
mod tests;
