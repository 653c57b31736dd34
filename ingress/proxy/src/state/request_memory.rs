//! The memory that the requests of a worker use one after another.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ingress_wire::request::ParsedRequest;
use ingress_wire::response::ParsedResponse;

use crate::observe::access_log::AccessRecord;

/// How many heads (of 1 KiB each), records and buffers are kept for reuse.
const SPARE_HEADS: usize = 64;
/// The length in bytes of a head for an endpoint whose buffer is kept for reuse.
const SPARE_HEAD_LENGTH: usize = 4096;

/// The memory of ended requests, for new ones.
#[derive(Default)]
pub(crate) struct RequestMemory {
    /// Buffers for heads for endpoints. Such a head is kept until the endpoint answers, so each request has a buffer of its own.
    head_buffers: RefCell<Vec<BytesMut>>,
    #[expect(clippy::vec_box, reason = "a request takes the box over without copying the head")]
    requests: RefCell<Vec<Box<ParsedRequest>>>,
    #[expect(clippy::vec_box, reason = "a request takes the box over without copying the head")]
    responses: RefCell<Vec<Box<ParsedResponse>>>,
    #[expect(clippy::vec_box, reason = "a request takes the box over without copying the record")]
    records: RefCell<Vec<Box<AccessRecord>>>,
}

impl RequestMemory {
    /// A request's head that is empty, with memory from an earlier request if possible.
    pub(crate) fn request(&self) -> Box<ParsedRequest> {
        self.requests.borrow_mut().pop().unwrap_or_default()
    }

    /// A response's head that is empty.
    pub(crate) fn response(&self) -> Box<ParsedResponse> {
        self.responses.borrow_mut().pop().unwrap_or_default()
    }

    /// The record of a request that begins now, with memory from an earlier one if possible.
    pub(crate) fn record(&self, started: Instant, client: Rc<str>) -> Box<AccessRecord> {
        match self.records.borrow_mut().pop() {
            Some(mut record) => {
                record.restart(started, client);
                record
            }
            None => Box::new(AccessRecord::new(started, client)),
        }
    }

    /// Keeps the memory of a record for another.
    pub(crate) fn recycle_record(&self, mut record: Box<AccessRecord>) {
        let mut records = self.records.borrow_mut();
        if records.len() < SPARE_HEADS {
            record.clear();
            records.push(record);
        }
    }

    /// Keeps the memory of a request's head for another.
    pub(crate) fn recycle_request(&self, mut request: Box<ParsedRequest>) {
        let mut requests = self.requests.borrow_mut();
        if requests.len() < SPARE_HEADS {
            request.clear();
            requests.push(request);
        }
    }

    /// Keeps the memory of a response's head for another.
    pub(crate) fn recycle_response(&self, mut response: Box<ParsedResponse>) {
        let mut responses = self.responses.borrow_mut();
        if responses.len() < SPARE_HEADS {
            response.clear();
            responses.push(response);
        }
    }

    /// An empty buffer for the head of a request to an endpoint, with memory from an earlier request if possible.
    pub(crate) fn head_buffer(&self) -> BytesMut {
        self.head_buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a buffer for another head, and drops the head in it. While that is still being sent, its memory is not used again.
    pub(crate) fn recycle_head_buffer(&self, buffer: BytesMut, head: Option<Bytes>) {
        let mut buffers = self.head_buffers.borrow_mut();
        if buffers.len() < SPARE_HEADS && head.is_none_or(|head| head.len() <= SPARE_HEAD_LENGTH) {
            buffers.push(buffer);
        }
    }
}
