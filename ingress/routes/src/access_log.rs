//! What the access log contains: the format of its lines, and which requests have none.

mod destination;
mod format;
mod settings;
mod skipped;
mod stream_format;
mod stream_variable;
mod variable;

pub use self::destination::{ErrorLogLevel, LogDestination, LogOutputSettings};
pub use self::format::{LineFormat, LogEscape};
pub use self::settings::AccessLogSettings;
pub use self::skipped::SkippedUrls;
pub use self::stream_format::StreamLineFormat;
pub use self::stream_variable::StreamVariable;
pub use self::variable::{LogVariable, ProxyHeaderVariable, ResponseField, ResponseSide, TlsVariable};
