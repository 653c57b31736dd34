//! One request and its response: route, attempts, response body.

pub(crate) mod response_body;
pub(crate) mod visit;

mod proxy_request;
pub(crate) mod serve;
