//! Filters: the effects of annotations on requests and responses.

use http::header::{HeaderValue, LOCATION};
use http::{StatusCode, request, response};

use crate::exchange::Exchange;

/// The effect of an annotation family on a route. Filters run in the order of the route's list.
pub trait Filter: Send + Sync + std::fmt::Debug {
    /// Called before an upstream is chosen.
    fn request(&self, _: &mut Exchange) -> FilterOutcome {
        FilterOutcome::Continue
    }

    /// Called on the head of the request to the upstream.
    fn upstream(&self, _: &Exchange, _: &mut request::Parts) {}

    /// Called on the head of the response to the client, from an upstream or not.
    fn response(&self, _: &Exchange, _: &mut response::Parts) {}
}

/// What happens after a filter.
#[derive(Clone, Debug, PartialEq)]
pub enum FilterOutcome {
    /// The next filter runs; after the last one the request is sent to the upstream.
    Continue,
    /// This response is sent; the request is not sent to an upstream.
    Respond(DirectResponse),
}

/// A response that the proxy makes itself. Its body is nginx's page for the status.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectResponse {
    /// The status.
    pub status: StatusCode,
    /// `Location`, for redirects.
    pub location: Option<HeaderValue>,
}

impl DirectResponse {
    /// A response with a status only.
    pub const fn status(status: StatusCode) -> Self {
        Self { status, location: None }
    }

    /// A redirect; 500 if the location is not a valid header value.
    pub fn redirect(status: StatusCode, location: String) -> Self {
        match HeaderValue::try_from(location) {
            Ok(location) => Self { status, location: Some(location) },
            Err(_) => Self::status(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The head of the response, without length and type of the body.
    pub fn head(&self) -> response::Parts {
        let mut head = response::Response::new(()).into_parts().0;
        head.status = self.status;
        if let Some(location) = &self.location {
            head.headers.insert(LOCATION, location.clone());
        }
        head
    }
}
