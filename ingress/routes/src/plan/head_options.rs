//! Which header fields the proxy passes on, apart from the changes of filters.

use ingress_wire::head::NameClass;

/// Which header fields the proxy passes on and which it makes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadOptions {
    /// The names of fields that clients may send to endpoints: those of this class and of the classes below it.
    pub names: NameClass,
    /// A request without X-Request-ID gets one.
    pub makes_request_ids: bool,
    /// The Server field of endpoints is passed on.
    pub passes_server: bool,
}

/// ingress-nginx's defaults.
impl Default for HeadOptions {
    fn default() -> Self {
        Self { names: NameClass::Plain, makes_request_ids: true, passes_server: false }
    }
}
