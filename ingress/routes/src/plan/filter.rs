//! Filters: the effects of annotations on requests and responses.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use ingress_wire::head::Head;
use smallvec::SmallVec;

use super::head_edits::HeadEdits;
use crate::exchange::Exchange;

/// A filter of the rewrite phase.
pub trait RequestFilter: Send + Sync + Debug {
    /// Called before an upstream is chosen. May change the target or answer the request.
    fn request(&self, exchange: &mut Exchange) -> FilterOutcome;
}

/// Filters of the requests to all hosts, in the order of their families. They run before anything that belongs to a host.
#[derive(Clone, Debug, Default)]
pub struct ServerFilters(Vec<Arc<dyn RequestFilter>>);

impl ServerFilters {
    /// Adds a filter.
    pub(crate) fn push(&mut self, filter: impl RequestFilter + 'static) {
        self.0.push(Arc::new(filter));
    }

    /// Applies the filters until one answers.
    pub(crate) fn request(&self, exchange: &mut Exchange) -> FilterOutcome {
        for filter in &self.0 {
            if let outcome @ FilterOutcome::Respond(_) = filter.request(exchange) {
                return outcome;
            }
        }
        FilterOutcome::Continue
    }
}

/// Compared by their `Debug` text: filters are plain values of settings.
impl PartialEq for ServerFilters {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

/// A filter of the head of the request to an endpoint.
pub trait RequestHeadFilter: Send + Sync + Debug {
    /// Adds its changes to `edits`, which already has those of earlier filters.
    fn edit<'r>(&'r self, exchange: &'r Exchange, edits: &mut HeadEdits<'r>);
}

/// A filter of the head of the response to the client.
pub trait ResponseHeadFilter: Send + Sync + Debug {
    /// Adds its changes to `edits`, which already has those of earlier filters. `response` is the head without any change.
    fn edit<'r>(&'r self, exchange: &'r Exchange, response: &ResponseView<'_>, edits: &mut HeadEdits<'r>);
}

/// What happens after a filter.
#[derive(Clone, Debug, PartialEq)]
pub enum FilterOutcome {
    /// The next filter runs; after the last one the next phase begins.
    Continue,
    /// This response is sent; the request is not sent to an endpoint. Boxed, because outcomes are passed on through several functions.
    Respond(Box<DirectResponse>),
}

impl FilterOutcome {
    /// Responds with this.
    pub fn respond(response: DirectResponse) -> Self {
        Self::Respond(Box::new(response))
    }
}

/// The head of a response as filters see it.
#[derive(Clone, Copy, Debug)]
pub struct ResponseView<'r> {
    /// The status.
    pub status: StatusCode,
    /// It is the response of an endpoint and not one that the proxy makes itself.
    pub is_of_endpoint: bool,
    /// `None` for a response that the proxy makes itself: filters do not depend on its fields.
    head: Option<&'r Head>,
    /// `Content-Type` and length in bytes of the body of such a response.
    body: Option<(&'r [u8], u64)>,
}

impl<'r> ResponseView<'r> {
    /// The head of a response that the proxy makes itself.
    pub fn new(status: StatusCode) -> Self {
        Self { status, is_of_endpoint: false, head: None, body: None }
    }

    /// The head of a response that the proxy makes itself, with its `Content-Type` and the length of its body.
    pub fn with_body(status: StatusCode, content_type: &'r [u8], length: u64) -> Self {
        Self { body: Some((content_type, length)), ..Self::new(status) }
    }

    /// The head of an endpoint's response, with the fields that clients do not get.
    pub fn of_endpoint(status: StatusCode, head: &'r Head) -> Self {
        Self { status, is_of_endpoint: true, head: Some(head), body: None }
    }

    /// The `Content-Type` before filters have changed it.
    pub(crate) fn content_type(&self) -> Option<&'r [u8]> {
        self.body.map(|(content_type, _)| content_type).or_else(|| self.get(&CONTENT_TYPE))
    }

    /// The length of the body in bytes, if it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        let announced = || std::str::from_utf8(self.get(&CONTENT_LENGTH)?).ok()?.parse().ok();
        self.body.map(|(_, length)| length).or_else(announced)
    }

    /// The value of an endpoint's field, the first where there are several.
    pub fn get(&self, name: &HeaderName) -> Option<&'r [u8]> {
        self.all(name).next()
    }

    /// The values of all fields of an endpoint's response with a name, in order.
    pub fn all<'n>(&self, name: &'n HeaderName) -> impl Iterator<Item = &'r [u8]> + use<'r, 'n> {
        let name = name.as_str().as_bytes();
        self.head.into_iter().flat_map(move |head| head.get_named(name))
    }
}

/// A response that the proxy makes itself.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectResponse {
    /// The status.
    pub status: StatusCode,
    /// Its header fields, apart from those of the body.
    pub fields: SmallVec<[(HeaderName, HeaderValue); 1]>,
    /// Its body and `Content-Type`; without one, nginx's page for the status.
    pub body: Option<(Bytes, HeaderValue)>,
}

impl DirectResponse {
    /// A response with a status only.
    pub fn status(status: StatusCode) -> Self {
        Self { status, fields: SmallVec::new(), body: None }
    }

    /// A redirect; 500 if the location is not a valid header value.
    pub fn redirect(status: StatusCode, location: String) -> Self {
        match HeaderValue::try_from(location) {
            Ok(location) => Self::status(status).with(LOCATION, location),
            Err(_) => Self::status(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// The response with another header field.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// `Location`, for redirects.
    pub fn location(&self) -> Option<&HeaderValue> {
        self.fields.iter().find(|(name, _)| *name == LOCATION).map(|(_, value)| value)
    }
}
