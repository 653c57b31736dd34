//! Snippets: configuration in the syntax of nginx, of which a typed subset is honoured.
//!
//! A text is split into words, the words into directives, and the directives are compiled by [`DIRECTIVES`], one visible list. The text
//! itself goes nowhere: what is not in the list has no effect and is reported with its position. If it would have protected something,
//! the report [closes](FindingSeverity::Closes) what it would have protected.

mod lexer;
pub(crate) mod statement;

mod known_names;
mod state;
mod text;

mod stream_server;

mod expires;
mod header_rules;
mod auth_variable;
mod level;

mod rewrite_step;
mod content_type;
mod run;

mod directive;
mod directives;
mod directive_list;
mod compile;

pub(crate) use self::auth_variable::AuthVariable;
pub use self::compile::{FindingSeverity, MAX_DIRECTIVES, MAX_LENGTH, SnippetFinding, compile};
pub use self::directive::{Compile, Fate, SnippetDirective};
pub use self::directive_list::{DIRECTIVES, REFUSED_NOTE};
pub use self::known_names::KnownNames;
pub use self::level::{ConfigLevel, CookieDirective, edit_request, edit_response};
pub use self::lexer::Position;
pub use self::run::{Program, run};
pub use self::state::SnippetState;
pub use self::stream_server::StreamAddressRules;
pub(crate) use self::stream_server::{SnippetServer, read_servers};
pub use self::text::{RouteNames, SnippetText, TextValues};

/// Where a snippet is placed in the configuration of nginx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// `main-snippet`.
    Main,
    /// `http-snippet`.
    Http,
    /// `server-snippet`.
    Server,
    /// `configuration-snippet`, `location-snippet`.
    Location,
    /// A block of `if` in a server.
    ServerIf,
    /// A block of `if` in a location.
    LocationIf,
    /// `auth-snippet`: the request to the authentication server.
    Auth,
}

impl Context {
    /// Its name in messages and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Http => "http",
            Self::Server => "server",
            Self::Location => "location",
            Self::ServerIf => "if in server",
            Self::LocationIf => "if in location",
            Self::Auth => "auth",
        }
    }
}

#[cfg(test)]
mod tests;
