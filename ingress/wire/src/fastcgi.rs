//! FastCGI 1.0 records, for a responder that serves one request per connection: the encoder of a request and the decoder of
//! its response.

pub mod request;
pub mod response;

/// The only version (specification §3.3).
const VERSION: u8 = 1;
/// The length of a record's header.
const HEADER: usize = 8;
/// The request id: each connection carries one request.
const REQUEST_ID: u16 = 1;

const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;
