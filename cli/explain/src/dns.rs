//! Why a name has its answer.

use std::net::SocketAddr;

use dns_chain::explain::{ExplainedQuery, Explanation, QueryOutcome, type_name};
use dns_chain::{RecordedStep, ZoneRoutes};
use dns_wire::Name;
use dns_wire::codes::rcode;

use crate::tree::Tree;

/// Names with fewer dots are looked for in the search list first: what the kubelet writes for Pods.
const NDOTS: usize = 5;

/// A query as the command line describes it.
#[derive(Clone, Debug)]
pub struct ExplainedName {
    /// The name as given. With a dot at its end, no search list is used.
    pub name: String,
    /// The queried type.
    pub qtype: u16,
    /// The address of the client.
    pub client: SocketAddr,
    /// The client in words.
    pub from: String,
    /// The search list of the client; empty if it is not known.
    pub search: Vec<Name>,
    /// Whether other servers are asked.
    pub sends: bool,
}

/// The lines about a Service of this namespace and name.
pub type DescribeService<'d> = &'d (dyn Fn(&str, &str) -> Vec<String> + Sync);

impl ExplainedName {
    /// The names that a resolver asks for, in order (resolv.conf(5)).
    ///
    /// # Errors
    /// When the name is not a domain name.
    fn candidates(&self) -> Result<Vec<Name>, String> {
        let own: Name = self.name.parse().map_err(|error: dns_wire::name::InvalidName| error.to_string())?;
        if self.name.ends_with('.') || self.search.is_empty() {
            return Ok(vec![own]);
        }
        let name = self.name.as_str();
        let searched = self.search.iter().filter_map(|zone| format!("{name}.{zone}").parse().ok());
        Ok(match self.dots() >= NDOTS {
            true => std::iter::once(own).chain(searched).collect(),
            false => searched.chain([own]).collect(),
        })
    }

    fn dots(&self) -> usize {
        self.name.matches('.').count()
    }
}

/// The whole way of a query through the server blocks of an address.
pub async fn explain(query: &ExplainedName, routes: &ZoneRoutes, describe: DescribeService<'_>) -> Tree {
    let ExplainedName { name, qtype, client, from, search, sends } = query;
    let mut tree = Tree::new(format!("{name} {} from {from}", type_name(*qtype)));
    let candidates = match query.candidates() {
        Ok(candidates) => candidates,
        Err(reason) => return tree.with(format!("{name:?} is not a domain name: {reason}")),
    };
    let has_list = candidates.len() > 1;
    if has_list {
        let list: Vec<String> = search.iter().map(ToString::to_string).collect();
        let order = if query.dots() >= NDOTS { "comes last" } else { "comes first" };
        tree = tree.with(format!(
            "search list of the client: {}; the name has {} dots, with ndots:{NDOTS} the list {order}",
            list.join(" "),
            query.dots()
        ));
    }
    let mut last = None;
    for candidate in &candidates {
        let asked = ExplainedQuery { name: candidate, qtype: *qtype, client: *client, sends: *sends };
        let found = dns_chain::explain::explain(routes, asked).await;
        let parts = steps(&found.steps, describe);
        if has_list {
            let text = format!("{candidate}: {}", short(&found));
            tree = tree.with(Tree::new(text).with_all(parts));
        } else {
            tree = tree.with_all(parts);
        }
        let is_denied = matches!(found.outcome, QueryOutcome::Answered { rcode: rcode::NXDOMAIN, .. });
        last = Some(found);
        if !is_denied {
            break;
        }
    }
    match &last {
        Some(found) => tree.with(outcome(found)),
        None => tree,
    }
}

/// The answer in a word or two.
fn short(found: &Explanation) -> String {
    match &found.outcome {
        QueryOutcome::Answered { text, .. } => text.clone(),
        QueryOutcome::Unsent => "not known".to_owned(),
        QueryOutcome::NoZone => "REFUSED".to_owned(),
        QueryOutcome::Dropped => "no answer".to_owned(),
    }
}

fn outcome(found: &Explanation) -> Tree {
    let text = match &found.outcome {
        QueryOutcome::Answered { text, .. } => format!("answer: {text}"),
        QueryOutcome::Unsent if found.records.is_empty() => {
            "answer: not known, because other servers were not asked (--send asks them)".to_owned()
        }
        QueryOutcome::Unsent => {
            "answer: these records, and more from servers that were not asked (--send asks them)".to_owned()
        }
        QueryOutcome::NoZone => "answer: REFUSED, because no server block has the name".to_owned(),
        QueryOutcome::Dropped => "answer: none, the client waits until it gives up".to_owned(),
    };
    Tree::new(text).with_all(found.records.iter().cloned())
}

/// The steps as a tree: what happened while a plugin waited is below the plugin.
fn steps(all: &[RecordedStep], describe: DescribeService<'_>) -> Vec<Tree> {
    let Some(first) = all.first() else { return Vec::new() };
    let depth = first.depth;
    let (mut trees, mut rest) = (Vec::<Tree>::new(), all);
    // Plugins in a row that passed the query on without a word.
    let mut passed = Vec::new();
    // Below a waiting plugin, the question that the steps so far belong to.
    let mut asked: Option<(String, Vec<Tree>)> = None;
    while let Some((step, after)) = rest.split_first() {
        let below = after.iter().take_while(|next| next.depth > depth).count();
        let (inner, next) = after.split_at(below);
        rest = next;
        let is_new = depth > 0 && asked.as_ref().is_none_or(|(question, _)| *question != step.question);
        if is_new {
            flush(&mut passed, asked.as_mut().map_or(&mut trees, |(_, parts)| parts));
            trees.extend(asked.take().map(|(question, parts)| Tree::new(question).with_all(parts)));
            asked = Some((step.question.clone(), Vec::new()));
        }
        let parts = asked.as_mut().map_or(&mut trees, |(_, parts)| parts);
        if step.text.is_empty() && step.notes.lines.is_empty() && inner.is_empty() {
            passed.push(step.plugin);
            continue;
        }
        flush(&mut passed, parts);
        parts.push(tree(step, describe).with_all(steps(inner, describe)));
    }
    flush(&mut passed, asked.as_mut().map_or(&mut trees, |(_, parts)| parts));
    trees.extend(asked.map(|(question, parts)| Tree::new(question).with_all(parts)));
    trees
}

/// Adds a line for the plugins that passed the query on.
fn flush(passed: &mut Vec<&'static str>, parts: &mut Vec<Tree>) {
    if !passed.is_empty() {
        parts.push(Tree::new(format!("passed by {}", passed.join(", "))));
        passed.clear();
    }
}

fn tree(step: &RecordedStep, describe: DescribeService<'_>) -> Tree {
    let text = match (step.plugin, step.text.as_str()) {
        ("", text) => text.to_owned(),
        (plugin, "") => format!("{plugin}: passes it on"),
        (plugin, text) => format!("{plugin}: {text}"),
    };
    let services = step.notes.services.iter();
    let objects = services.flat_map(|(namespace, name)| describe(namespace, name));
    Tree::new(text).with_all(step.notes.lines.iter().cloned()).with_all(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_few_dots_is_looked_for_in_the_search_list_first() {
        let query = |name: &str| ExplainedName {
            name: name.to_owned(),
            qtype: 1,
            client: ([10, 0, 0, 1], 40_000).into(),
            from: String::new(),
            search: ["shop.svc.cluster.local.", "svc.cluster.local."]
                .map(|zone| zone.parse().unwrap())
                .into(),
            sends: false,
        };
        for (name, wanted) in [
            ("web", &["web.shop.svc.cluster.local.", "web.svc.cluster.local.", "web."][..]),
            ("web.", &["web."]),
            (
                "a.b.c.d.e.f",
                &["a.b.c.d.e.f.", "a.b.c.d.e.f.shop.svc.cluster.local.", "a.b.c.d.e.f.svc.cluster.local."],
            ),
        ] {
            let found: Vec<_> = query(name).candidates().unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(found, wanted, "{name}");
        }
        assert!(query("a..b").candidates().is_err());
    }
}
