//! One request and its response: route, attempts at endpoints, response body.

mod direct_response;

mod proxy_request;

pub(crate) mod handler;
