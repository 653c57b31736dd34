//! `rewrite`: changes queries for the plugins below, and their answers on the way back.
//!
//! The client always gets its own question back. Rules run in the order of the Corefile, what they do to answers in the reverse
//! order.

mod edns;
mod matching;
mod name;
mod options;
mod order;
mod outcome;
mod reply;
mod rule;

use std::cell::RefCell;
use std::sync::Arc;

use dns_wire::codes::rcode;
use futures_util::future::BoxFuture;

use crate::plugin::{After, Answer, Flow, Hooks, Plugin, QueryFailure, Runner};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, Setup, SetupErrors};
use order::RuleOrder;
use outcome::{AppliedRules, NameText, RuleOutcome, RuleQuestion, Scratch};
use rule::RewriteRule;

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "rewrite",
    about: "changes queries for the plugins below, and their answers on the way back",
    syntax: options::SYNTAX,
    options: options::OPTIONS,
    early: false,
    metrics: |_| {},
    setup,
};

struct Rewrite {
    rules: Vec<RewriteRule>,
    order: RuleOrder,
    /// Whether a rule changes the targets of CNAMEs, which are then resolved.
    has_cname_rules: bool,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Plugin for Rewrite {
    fn hooks(&self) -> Hooks {
        Hooks::QUERY.and(Hooks::REPLY)
    }

    // Hot: 0 allocations if no rule matches but `name exact`.
    fn query(&self, request: &mut Request, _: &mut Answer) -> Flow {
        request.extensions.remove::<AppliedRules>();
        let hash = dns_wire::hash(request.query.lower());
        match self.order.next(0, hash) {
            Some(first) => SCRATCH.with_borrow_mut(|scratch| self.rewrite(request, hash, first, scratch)),
            None => Flow::Next,
        }
    }

    // Hot: 0 allocations if no rule has matched.
    fn reply(&self, request: &mut Request, answer: &mut Answer) -> After {
        let Some(applied) = request.extensions.get::<AppliedRules>() else { return After::Pass };
        if answer.dropped {
            return After::Pass;
        }
        let resolves = self.has_cname_rules
            && reply::changed_cname(&self.rules, applied, &request.query, &answer.reply).is_some();
        if resolves {
            return After::Wait;
        }
        reply::apply(&self.rules, applied, &request.query, answer);
        if applied.add_edns() {
            request.query.remove_edns();
        }
        After::Pass
    }

    /// Resolves the new target of a CNAME.
    fn finish<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some(applied) = request.extensions.get::<AppliedRules>() else { return };
            let found = reply::changed_cname(&self.rules, applied, &request.query, &answer.reply);
            if let Some((record, target)) = found {
                reply::replace_target(&mut answer.reply, &request.query, record, &target);
                let mut resolved = Answer::default();
                let qtype = request.query.qtype;
                if let Some(query) = runner.resolve(request, &target, qtype, &mut resolved).await
                    && resolved.reply.rcode == rcode::NOERROR
                {
                    answer.reply.append(&resolved.reply, &query);
                    answer.reply.truncated |= resolved.reply.truncated;
                }
            }
            reply::apply(&self.rules, applied, &request.query, answer);
            if applied.add_edns() {
                request.query.remove_edns();
            }
        })
    }
}

impl Rewrite {
    /// Applies the rules from `first` on to a query whose name has this hash.
    fn rewrite(&self, request: &mut Request, hash: u64, first: usize, scratch: &mut Scratch) -> Flow {
        let mut question = RuleQuestion::new(&request.query, hash);
        let Scratch { text, applied, .. } = scratch;
        let mut text = NameText::new(text);
        applied.clear();
        let mut next = Some(first);
        while let Some(index) = next {
            let rule = &self.rules[index];
            let outcome = rule.apply(index, request, &mut question, &mut text, applied);
            let is_applied = !matches!(outcome, RuleOutcome::Ignored);
            match outcome {
                RuleOutcome::Ignored | RuleOutcome::Applied => {}
                RuleOutcome::Renamed => text.clear(),
                RuleOutcome::InvalidName(name) => {
                    let why = format!("plugin/rewrite: invalid name after rewrite: {name}");
                    return Flow::Fail(QueryFailure::new(rcode::SERVFAIL, why));
                }
            }
            if is_applied && rule.stop {
                break;
            }
            next = self.order.next(index + 1, question.hash);
        }
        let is_alias = question.is_alias;
        if question.is_changed(&request.query) {
            let (name, qtype, qclass) = (question.name(&request.query), question.qtype, question.qclass);
            match is_alias {
                true => request.alias_question(&name, qtype, qclass),
                false => request.change_question(&name, qtype, qclass),
            }
        }
        if !applied.is_empty() {
            request.extensions.insert(scratch.attach(is_alias));
        }
        Flow::Next
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let (mut rules, mut errors) = (Vec::new(), SetupErrors::new());
    for directive in &setup.directives {
        match options::read(directive) {
            Ok(rule) => rules.push(rule),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let has_cname_rules = rules.iter().any(RewriteRule::changes_cnames);
    Ok(vec![Arc::new(Rewrite { order: RuleOrder::new(&rules), rules, has_cname_rules })])
}
