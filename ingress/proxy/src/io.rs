//! Buffers, time and copying between streams, independent of HTTP.

pub(crate) mod boxed;
pub(crate) mod turn;
pub(crate) mod buffers;
pub(crate) mod readable;
pub(crate) mod transport_stream;
pub(crate) mod timer_wheel;
pub(crate) mod clock;
pub(crate) mod scratch;
pub(crate) mod send_buffer;
pub(crate) mod vectored;
pub(crate) mod gathered_writes;

pub(crate) mod relay;
