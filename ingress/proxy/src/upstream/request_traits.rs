//! What sending a request and reading its response depend on.

/// Properties of a request that sending it and reading its response depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestTraits {
    /// The method is HEAD: the response has no body.
    pub(crate) is_head: bool,
    /// It must not be sent again once an endpoint may have received a part of it.
    pub(crate) is_once: bool,
    /// Nothing of its body is kept for another endpoint.
    pub(crate) forgets_body: bool,
    /// The longest head of the response in bytes.
    pub(crate) head_limit: usize,
}
