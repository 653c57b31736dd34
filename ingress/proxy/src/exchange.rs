//! One request and its response: route, attempts at endpoints, response body.

mod direct_response;

mod loop_detection;

mod open;
mod connect;
mod subrequest;
mod access;

mod proxy_request;
mod error_page;

pub(crate) mod handler;
