//! One request and its response: route, attempts at endpoints, response body.

mod direct_response;

pub(crate) mod loop_detection;

pub(crate) mod open;
mod connect;
mod subrequest;
mod access;

mod proxy_request;
mod mirror;
mod attempts;
mod request_buffering;
mod error_page;

mod client_certificate;
pub(crate) mod handler;
