//! `app-root`: where `/` of a host leads.

use http::StatusCode;

use super::{Annotation, Family, Reader, Settings, no_filter};
use crate::exchange::Exchange;
use crate::filter::{Answer, Filter, Flow};
use crate::problem::Outcome;

pub(super) const FAMILY: Family = Family {
    name: "app-root",
    doc: "Sends visitors of `/` to the root of the application. Holds for the whole host, before any rule.",
    annotations: &[Annotation {
        name: "app-root",
        values: "a path",
        doc: "`/` answers 302 to scheme, host and this path; a query is dropped.",
    }],
    syntax: "app-root: /shop",
    read,
    filter: no_filter,
};

fn read(reader: &mut Reader<'_>, settings: &mut Settings) {
    let path =
        |value: &str| (value.starts_with('/') && value.bytes().all(|byte| byte > b' ')).then(|| value.into());
    settings.app_root = reader.value("app-root", "a path that begins with a slash", Outcome::Default, path);
}

/// The redirect of a host's `/`.
#[derive(Debug, PartialEq)]
pub(crate) struct AppRoot(pub(crate) String);

impl Filter for AppRoot {
    fn request(&self, exchange: &mut Exchange) -> Flow {
        if exchange.path() != "/" {
            return Flow::Next;
        }
        let location = format!("{}://{}{}", exchange.scheme.as_str(), exchange.authority(), self.0);
        Flow::Answer(Answer::redirect(StatusCode::FOUND, location))
    }
}
