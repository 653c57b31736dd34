//! The list of all known directives, and which ones protect something.

use super::directive::SnippetDirective;
use super::directives;
use super::statement::Statement;

/// All known directives by group.
pub const DIRECTIVES: &[(&str, &[SnippetDirective])] = &[
    ("Rewriting", directives::REWRITING),
    ("Access", directives::ACCESS),
    ("Headers", directives::HEADERS),
    ("Requests to endpoints", directives::PROXYING),
    ("Without effect", directives::WITHOUT_EFFECT),
    ("Main context", directives::MAIN),
    ("Refused", directives::REFUSED),
];

/// What happens to directives that are not in the list.
pub const REFUSED_NOTE: &str = "A directive that is refused or not in the list is reported with its line and column. If it could protect something \
    (`allow`, `deny`, `satisfy`, `auth_…`, `limit_…`, `secure_link…`, `valid_referers`, `…_by_lua…`, a `return` of an error, or a block with one of them), \
    the routes that it would protect answer 503; otherwise they are served without it.";

/// The directive of a name.
pub(crate) fn find(name: &str) -> Option<&'static SnippetDirective> {
    DIRECTIVES.iter().flat_map(|(_, directives)| *directives).find(|known| known.name == name)
}

/// Whether a directive, or one in its block, could refuse requests.
pub(crate) fn protects(statement: &Statement) -> bool {
    let Statement { name, arguments, block } = statement;
    let itself = match (name.text.as_str(), arguments.first().map(|word| word.text.as_str())) {
        ("return", Some(status)) => !matches!(status.parse(), Ok(200..400)) && !is_url(status),
        ("rewrite" | "set" | "if", _) => false,
        (name, _) => is_protective(name),
    };
    itself || block.iter().flatten().any(protects)
}

fn is_url(text: &str) -> bool {
    text.starts_with("http") || text.starts_with('/') || text.starts_with('$')
}

/// Whether a name is that of a directive that could refuse requests.
pub(crate) fn is_protective(name: &str) -> bool {
    if let Some(known) = find(name) {
        return known.protects;
    }
    const BEGINNINGS: &[&str] =
        &["auth_", "limit_", "secure_link", "modsecurity", "ssl_verify", "ssl_client"];
    const PARTS: &[&str] = &["access_by_lua", "rewrite_by_lua", "content_by_lua"];
    BEGINNINGS.iter().any(|begin| name.starts_with(begin)) || PARTS.iter().any(|part| name.contains(part))
}

/// Whether a text that cannot be read has a word that could be a directive that refuses requests.
pub(crate) fn mentions_protection(text: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_name(c)).any(|word| matches!(word, "return" | "rewrite") || is_protective(word))
}
