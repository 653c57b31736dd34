//! The upstream side: connections to endpoints, requests on them, responses from them.

pub(crate) mod connection;
mod waiting_list;
pub(crate) mod limit;
pub(crate) mod error;
pub(crate) mod request_head;
pub(crate) mod request_traits;
pub(crate) mod timer;
pub(crate) mod trailers;

pub(crate) mod mirror_limit;
pub(crate) mod body_copy;
pub(crate) mod request_body;

pub(crate) mod subrequest_connection;
pub(crate) mod subrequest_pool;

pub(crate) mod grpc_connection;
pub(crate) mod http2_connection;
pub(crate) mod http2_pool;
pub(crate) mod pool;

pub(crate) mod fastcgi_head;
mod fastcgi_reader;
mod http2_head;
pub(crate) mod http2_request;
pub(crate) mod stream_request;
pub(crate) mod request;

pub(crate) mod resolve;
