//! One request and its response: route, attempts, response body.

pub(crate) mod response_body;
pub(crate) mod client_connection;

mod proxy_request;
pub(crate) mod serve;
