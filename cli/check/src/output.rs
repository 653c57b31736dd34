//! Writes a report: text for people, JSON for programs, one HTML file for colleagues, SARIF for code review.

mod html;
mod json;
mod sarif;
mod text;

pub use html::html;
pub use json::json;
pub use sarif::sarif;
pub use text::text;
