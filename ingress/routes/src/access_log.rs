//! What the access log contains: the format of its lines, and which requests have none.

mod format;
mod settings;
mod skipped;
mod variable;

pub use self::format::{LineFormat, LogEscape};
pub use self::settings::AccessLogSettings;
pub use self::skipped::SkippedUrls;
pub use self::variable::{LogVariable, ProxyHeaderVariable, ResponseField, ResponseSide, TlsVariable};
