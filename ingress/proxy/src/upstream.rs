//! The side of the endpoints: connections, requests on them, responses from them.

pub(crate) mod error;
pub(crate) mod response;

pub(crate) mod upload;

pub(crate) mod call;
pub(crate) mod idle;

pub(crate) mod resolve;
