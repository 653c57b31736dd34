//! One effect of an annotation, met in three places.

use http::header::{HeaderValue, LOCATION};
use http::{StatusCode, request, response};

use crate::exchange::Exchange;

/// One effect of an annotation on the requests of a route. Filters run in the order of the route's list.
pub trait Filter: Send + Sync + std::fmt::Debug {
    /// A look at the request before an upstream is asked.
    fn request(&self, _: &mut Exchange) -> FilterOutcome {
        FilterOutcome::Continue
    }

    /// A look at the head that goes to the upstream.
    fn upstream(&self, _: &Exchange, _: &mut request::Parts) {}

    /// A look at the head that goes to the client, whoever made it.
    fn response(&self, _: &Exchange, _: &mut response::Parts) {}
}

/// What follows after a filter.
#[derive(Clone, Debug, PartialEq)]
pub enum FilterOutcome {
    /// The next filter, then the upstream.
    Continue,
    /// This answer; no upstream is asked.
    Respond(DirectResponse),
}

/// An answer that the proxy makes itself; its body is nginx's page for the status.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectResponse {
    /// The status.
    pub status: StatusCode,
    /// `Location`, for redirects.
    pub location: Option<HeaderValue>,
}

impl DirectResponse {
    /// Only a status.
    pub const fn status(status: StatusCode) -> Self {
        Self { status, location: None }
    }

    /// A redirect. A place that cannot stand in a header becomes 500.
    pub fn redirect(status: StatusCode, location: String) -> Self {
        match HeaderValue::try_from(location) {
            Ok(location) => Self { status, location: Some(location) },
            Err(_) => Self::status(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The head of the answer, without length and type of a body.
    pub fn head(&self) -> response::Parts {
        let mut head = response::Response::new(()).into_parts().0;
        head.status = self.status;
        if let Some(location) = &self.location {
            head.headers.insert(LOCATION, location.clone());
        }
        head
    }
}
