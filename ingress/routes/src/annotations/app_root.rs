//! `app-root`: the redirect of a host's `/`.

use http::StatusCode;

use super::{Annotation, AnnotationFamily, SettingReader, Settings};
use crate::exchange::Exchange;
use crate::plan::filter::{DirectResponse, FilterOutcome, RequestFilter};
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "app-root",
    doc: "Redirects `/` to the root of the application. Applies to the whole host, before any rule.",
    annotations: &[Annotation {
        name: "app-root",
        values: "a path",
        doc: "`/` answers 302 to scheme, host and this path; a query is dropped.",
    }],
    phases: &[Phase::Server],
    syntax: "app-root: /shop",
    read,
    ..AnnotationFamily::NONE
};

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let path =
        |value: &str| (value.starts_with('/') && value.bytes().all(|byte| byte > b' ')).then(|| value.into());
    let path = reader.value("app-root", "a path that begins with a slash", Effect::DefaultUsed, path);
    if let Some(path) = path {
        settings.values.set(AppRoot(path));
    }
}

/// The redirect of a host's `/`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AppRoot(String);

impl RequestFilter for AppRoot {
    fn request(&self, exchange: &mut Exchange) -> FilterOutcome {
        if exchange.path() != "/" {
            return FilterOutcome::Continue;
        }
        let location = format!("{}://{}{}", exchange.scheme.as_str(), exchange.authority(), self.0);
        FilterOutcome::respond(DirectResponse::redirect(StatusCode::FOUND, location))
    }
}
