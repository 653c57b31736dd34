//! Search lists of clients: what a resolver appends to a name that it is asked for (resolv.conf(5)).

use std::sync::Arc;

use dns_wire::Name;

use crate::names::contains;
use crate::request::Request;

/// A plugin that knows the search list of a client. It offers a [`SearchPathOffer`] in its setup.
pub trait SearchPaths: Send + Sync {
    /// The zones that the client appends, in order; `None` if the client is not known.
    fn search_path(&self, request: &Request) -> Option<Vec<Name>>;

    /// Whether the queried name is below the first of these zones. Hot: asked for every answer.
    fn is_below_first(&self, request: &Request) -> bool;
}

/// A source of search lists that a plugin offers to the plugin `autopath` of its server block, with the name of the plugin.
pub struct SearchPathOffer(pub &'static str, pub Arc<dyn SearchPaths>);

/// Whether the queried name is below a zone in lower case.
// Hot: 0 allocations.
pub(crate) fn is_below(request: &Request, zone: &Name) -> bool {
    let query = &request.query;
    contains(zone, query) && query.lower().len() > zone.wire().len()
}

/// The zones of the `search` line of a file in resolv.conf format; the last such line counts.
pub(crate) fn search_list(text: &str) -> Vec<Name> {
    let lines = text.lines().map(|line| line.split(['#', ';']).next().unwrap_or_default());
    let mut found = Vec::new();
    for line in lines {
        let mut words = line.split_whitespace();
        if matches!(words.next(), Some("search" | "domain")) {
            found = words.filter_map(|word| word.parse().ok()).map(Name::lower).collect();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_search_line_counts() {
        let text = "nameserver 10.0.0.1\nsearch a.test\n search B.test c.test. # more\noptions ndots:5\n";
        let names: Vec<String> = search_list(text).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["b.test.", "c.test."]);
    }
}
