//! What rules do to an answer on its way back.

use dns_wire::codes::rtype;
use dns_wire::{Name, Query, Record, Reply, Section};

use super::outcome::{Applied, AppliedRules};
use super::rule::{RewriteRule, RuleChange};
use crate::plugin::Answer;

/// Applies the rules to an answer, the last one first.
// Hot: 0 allocations if the rule is `name exact` and no name is in the data of the records.
pub(super) fn apply(rules: &[RewriteRule], applied: &AppliedRules, query: &Query, answer: &mut Answer) {
    if !answer.reply.has_edns() {
        repeat_options(applied, query, &mut answer.reply);
    }
    for rule in applied.rules.iter().rev() {
        let reply = &mut answer.reply;
        match rule {
            Applied::Remap(names) => {
                let [from, to] = names;
                let remap = |name: &Name| remapped(name, from, to);
                // Of an alias, records of the question become those of the client's by themselves.
                rename_owners(reply, query, |record| !(applied.is_alias && record.is_of_question()), remap);
                rename_targets(reply, query, remap);
            }
            Applied::Edns | Applied::Option(_) => {}
            Applied::Revert { code, before, .. } => {
                let has_option = reply.options().any(|(known, _)| known == *code);
                reply.remove_options(*code);
                if let Some(before) = before.as_ref().filter(|_| has_option) {
                    reply.push_option(*code, before);
                }
            }
            Applied::RewriteRule(index) => match &rules[*index].change {
                RuleChange::Name(rule) => {
                    for rule in rule.answers.iter().rev() {
                        let renamed = |name: &Name| {
                            rule.rewrite.apply(&name.lower().to_string()).and_then(|name| name.parse().ok())
                        };
                        match rule.in_data {
                            true => rename_targets(reply, query, renamed),
                            false => rename_owners(reply, query, |_| true, renamed),
                        }
                    }
                }
                RuleChange::Ttl { least, most, .. } => {
                    let bounded = |record: &mut Record| record.ttl = record.ttl.max(*least).min(*most);
                    reply.records_mut().iter_mut().for_each(bounded);
                }
                RuleChange::Rcode { from, to, .. } if reply.rcode == *from => {
                    reply.rcode = *to;
                    answer.failure = None;
                }
                _ => {}
            },
        }
    }
}

/// Adds the local options of the query that rules have added, to a reply without an OPT record of its own. As in CoreDNS, the reply of an
/// upstream that has one keeps its own options only: those of the query may be meant for the upstream alone.
fn repeat_options(applied: &AppliedRules, query: &Query, reply: &mut Reply) {
    let rule_for = |wanted: u16| {
        applied.rules.iter().find(|rule| match rule {
            Applied::Option(code) => *code == wanted,
            Applied::Revert { code, is_local, .. } => *code == wanted && *is_local,
            _ => false,
        })
    };
    for (code, data) in query.each_option() {
        match rule_for(code) {
            Some(Applied::Option(_)) => reply.push_option(code, data),
            Some(Applied::Revert { before: Some(before), .. }) => reply.push_option(code, before),
            _ => {}
        }
    }
}

/// The name with `to` in place of `from`, if it is `from` or below it (coredns, plugin/rewrite/name.go, remapStringRewriter).
fn remapped(name: &Name, from: &Name, to: &Name) -> Option<Name> {
    let wire = name.wire();
    let labels = wire.len().checked_sub(from.wire().len()).filter(|_| name.is_within(from))?;
    // Every name is below the root, which CoreDNS replaces itself only.
    if labels > 0 && *from == Name::ROOT {
        return None;
    }
    to.below(&wire[..labels])
}

/// Renames the owners of the chosen records.
fn rename_owners(
    reply: &mut Reply,
    query: &Query,
    is_chosen: impl Fn(&Record) -> bool,
    renamed: impl Fn(&Name) -> Option<Name>,
) {
    for at in 0..reply.records().len() {
        let record = reply.records()[at];
        if is_chosen(&record)
            && let Some(name) = renamed(&reply.owner(&record, query))
        {
            reply.set_owner(at, &name);
        }
    }
}

/// Renames the first name in the data of the types that CoreDNS rewrites.
fn rename_targets(reply: &mut Reply, query: &Query, renamed: impl Fn(&Name) -> Option<Name>) {
    for at in 0..reply.records().len() {
        let record = reply.records()[at];
        let is_rewritten = matches!(
            record.rtype,
            rtype::SRV
                | rtype::MX
                | rtype::CNAME
                | rtype::NS
                | rtype::DNAME
                | rtype::NAPTR
                | rtype::SOA
                | rtype::PTR
        );
        let target = is_rewritten.then(|| reply.target(&record, query)).flatten();
        if let Some(name) = target.and_then(|target| renamed(&target)) {
            set_target(reply, query, at, &name);
        }
    }
}

/// Replaces the first name in the data of a record.
fn set_target(reply: &mut Reply, query: &Query, at: usize, target: &Name) {
    let record = reply.records()[at];
    let Some((_, range)) = reply.names_in(&record, query).into_iter().next() else { return };
    let mut data = Vec::new();
    reply.copy_rdata(&record, query, &mut data);
    data.splice(range, target.wire().iter().copied());
    reply.set_rdata(at, &data);
}

/// The first CNAME of the answers whose target a rule changes, as its index, and the new target.
pub(super) fn changed_cname(
    rules: &[RewriteRule],
    applied: &AppliedRules,
    query: &Query,
    reply: &Reply,
) -> Option<(usize, Name)> {
    for (at, record) in reply.records().iter().enumerate() {
        if record.section != Section::Answer || record.rtype != rtype::CNAME {
            continue;
        }
        let target = reply.target(record, query)?.lower();
        let text = target.to_string();
        for rule in &applied.rules {
            let Applied::RewriteRule(index) = rule else { continue };
            let RuleChange::Cname(rewrite) = &rules[*index].change else { continue };
            let renamed = rewrite.apply(&text).and_then(|name| name.parse::<Name>().ok());
            if let Some(name) = renamed.filter(|name| name.lower() != target) {
                return Some((at, name));
            }
        }
    }
    None
}

/// Replaces the target of a CNAME, and removes the answers that followed from the old one.
pub(super) fn replace_target(reply: &mut Reply, query: &Query, record: usize, target: &Name) {
    set_target(reply, query, record, target);
    let mut index = 0;
    reply.records_mut().retain(|known| {
        let is_kept = known.section != Section::Answer || (index <= record && known.rtype == rtype::CNAME);
        index += 1;
        is_kept
    });
}
